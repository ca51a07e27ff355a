/**
 * Latencies, in a histogram that keeps three digits of each at no cost worth naming.
 */
import { build, type Histogram } from 'hdr-histogram-js'

/** The histogram counts whole numbers; a tenth of a microsecond is fine enough. */
const perMs = 10_000
const perUs = perMs / 1_000
const longestMs = 60_000

export class Latencies {
  readonly #histogram: Histogram = build({
    lowestDiscernibleValue: 1,
    highestTrackableValue: longestMs * perMs,
    numberOfSignificantValueDigits: 3,
  })

  record(ms: number): void {
    this.#histogram.recordValue(Math.min(Math.max(1, Math.round(ms * perMs)), longestMs * perMs))
  }

  get count(): number {
    return this.#histogram.totalCount
  }

  /** In µs. */
  percentile(percentile: number): number {
    return this.#histogram.getValueAtPercentile(percentile) / perUs
  }

  /** In µs. */
  get max(): number {
    return this.#histogram.maxValue / perUs
  }

  /** Adds what another one has. */
  add(other: Latencies): void {
    this.#histogram.add(other.#histogram)
  }

  reset(): void {
    this.#histogram.reset()
  }
}
