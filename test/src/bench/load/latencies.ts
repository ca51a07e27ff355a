/** Records latencies in a histogram with three significant digits. */
import { build, type Histogram } from 'hdr-histogram-js'

/** The histogram records whole numbers, in units of 0.1 µs. */
const unitsPerMs = 10_000
const unitsPerUs = unitsPerMs / 1_000
/** The longest time that the histogram can record. */
const longestMs = 60_000

export class Latencies {
  readonly #histogram: Histogram = build({
    lowestDiscernibleValue: 1,
    highestTrackableValue: longestMs * unitsPerMs,
    numberOfSignificantValueDigits: 3,
  })

  /** Adds a latency. A latency beyond `longestMs` counts as `longestMs`. */
  record(ms: number): void {
    // The histogram cannot record 0.
    const units = Math.max(1, Math.round(ms * unitsPerMs))
    this.#histogram.recordValue(Math.min(units, longestMs * unitsPerMs))
  }

  /** The number of recorded latencies. */
  get count(): number {
    return this.#histogram.totalCount
  }

  /** The latency at this percentile (from 0 to 100), in µs. */
  percentile(percentile: number): number {
    return this.#histogram.getValueAtPercentile(percentile) / unitsPerUs
  }

  /** The longest latency, in µs. */
  get max(): number {
    return this.#histogram.maxValue / unitsPerUs
  }

  /** Adds the latencies of another histogram. */
  add(other: Latencies): void {
    this.#histogram.add(other.#histogram)
  }

  reset(): void {
    this.#histogram.reset()
  }
}
