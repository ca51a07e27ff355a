/**
 * The data of the charts: columns of numbers with one row for each second. A rate is the difference
 * of a broker's counter between two samples, divided by the time between the samples.
 */
import type { LockStats } from '@holdfast/client'

/** How many rows are kept: ten minutes. */
export const maxRows = 600

/** The counters and other values at one point in time. */
export interface Sample {
  /** The time of the sample by the wall clock, in ms since 1970. */
  readonly wall: number
  /** The time of the sample by the monotonic clock, in ms. */
  readonly now: number
  /** The counters of the broker. */
  readonly stats: LockStats
  /** How many locks are held. */
  readonly held: number
  /** How many requests wait. */
  readonly waiting: number
  /** Time from the request for the counters to its answer, in ms. */
  readonly roundTrip: number
}

/** The columns: rates per second, counts, and times in ms. */
export const columns = [
  'grants',
  'releases',
  'failures',
  'expirations',
  'held',
  'waiting',
  'roundTrip',
  'handoff',
] as const

export type Column = (typeof columns)[number]

/** The columns, with the newest {@link maxRows} rows. */
export class TimeSeries {
  /** The time of each row, in seconds since 1970. */
  readonly times: number[] = []
  readonly #columns = new Map<Column, (number | null)[]>(columns.map((name) => [name, []]))
  /** The last sample; undefined while there is no connection. */
  #lastSample: Sample | undefined
  /** The hand-offs since the last row, in ms. */
  #handoffs: number[] = []

  column(name: Column): readonly (number | null)[] {
    return this.#columns.get(name) as (number | null)[]
  }

  /** The newest value of a column; null if the column has no value. */
  latest(name: Column): number | null {
    return this.column(name).at(-1) ?? null
  }

  /**
   * Adds a measured hand-off (the time from an unlock to the next grant), in ms. The next row shows
   * the longest hand-off since the last row.
   */
  addHandoff(ms: number): void {
    this.#handoffs.push(ms)
  }

  /**
   * Adds a row with the rates since the last sample. The first sample, and the first sample after a
   * gap, add no row.
   */
  add(sample: Sample): void {
    const previous = this.#lastSample
    this.#lastSample = sample
    // A rate needs an earlier sample of the same broker process. If a counter has fallen, the
    // broker was restarted.
    if (previous === undefined || sample.stats.totalLocks < previous.stats.totalLocks) return
    // At least 0.001, because two samples at the same time would give an infinite rate.
    const seconds = Math.max(0.001, (sample.now - previous.now) / 1_000)
    const rate = (counterOf: (stats: LockStats) => number) =>
      Math.max(0, counterOf(sample.stats) - counterOf(previous.stats)) / seconds
    const handoff = this.#handoffs.length === 0 ? null : Math.max(...this.#handoffs)
    this.#handoffs = []
    this.#push(sample.wall, {
      // `totalLocks` also counts the requests that failed.
      grants: rate((stats) => stats.totalLocks - stats.failedLocks),
      releases: rate((stats) => stats.unlockCount),
      failures: rate((stats) => stats.failedLocks),
      expirations: rate((stats) => stats.expiredLocks),
      held: sample.held,
      waiting: sample.waiting,
      roundTrip: sample.roundTrip,
      handoff,
    })
  }

  /**
   * Call when the connection is lost. Adds one empty row, so that the lines of the charts have a
   * gap. Another call adds no row until the next sample.
   */
  addGap(wall: number): void {
    if (this.#lastSample === undefined) return
    this.#lastSample = undefined
    this.#push(wall, undefined)
  }

  #push(wall: number, row: Readonly<Record<Column, number | null>> | undefined): void {
    this.times.push(wall / 1_000)
    for (const [name, column] of this.#columns) column.push(row?.[name] ?? null)
    if (this.times.length <= maxRows) return
    this.times.shift()
    for (const column of this.#columns.values()) column.shift()
  }
}
