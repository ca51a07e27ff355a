/** Records latencies in a histogram with three significant digits. */
import { build, type Histogram } from 'hdr-histogram-js'

/** The number of units in 1 ms. The histogram records whole units of 0.1 µs. */
const perMs = 10_000
/** The number of these units in 1 µs. */
const perUs = perMs / 1_000
/**
 * The longest time that the histogram can record, in ms. Longer times are recorded as this time.
 */
const longestMs = 60_000

export class Latencies {
  readonly #histogram: Histogram = build({
    lowestDiscernibleValue: 1,
    highestTrackableValue: longestMs * perMs,
    numberOfSignificantValueDigits: 3,
  })

  /** Adds a latency. A latency beyond `longestMs` counts as `longestMs`. */
  record(ms: number): void {
    // The histogram cannot record 0.
    this.#histogram.recordValue(Math.min(Math.max(1, Math.round(ms * perMs)), longestMs * perMs))
  }

  /** The number of recorded latencies. */
  get count(): number {
    return this.#histogram.totalCount
  }

  /** The latency at this percentile, in µs. */
  percentile(percentile: number): number {
    return this.#histogram.getValueAtPercentile(percentile) / perUs
  }

  /** The longest latency, in µs. */
  get max(): number {
    return this.#histogram.maxValue / perUs
  }

  /** Adds the latencies of another histogram. */
  add(other: Latencies): void {
    this.#histogram.add(other.#histogram)
  }

  reset(): void {
    this.#histogram.reset()
  }
}
