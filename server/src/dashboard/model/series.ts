/**
 * What the charts draw: columns of numbers, one row a second. Rates are differences of the broker's
 * counters over the time that passed, whatever that was.
 */
import type { LockStats } from '@holdfast/client'

/** So many rows are kept: ten minutes. */
export const seriesLength = 600

/** What is known at one moment, beside the counters. */
export interface Reading {
  /** In ms since 1970, and by the monotonic clock. */
  readonly wall: number
  readonly now: number
  readonly stats: LockStats
  readonly held: number
  readonly waiting: number
  /** From asking for the counters to their arrival, in ms. */
  readonly roundTrip: number
}

export const columns = [
  'grants',
  'releases',
  'failures',
  'losses',
  'held',
  'waiting',
  'roundTrip',
  'handoff',
] as const

export type Column = (typeof columns)[number]

export class Series {
  /** In seconds since 1970. */
  readonly times: number[] = []
  readonly #columns = new Map<Column, (number | null)[]>(columns.map((name) => [name, []]))
  #last: Reading | undefined
  #handoffs: number[] = []

  column(name: Column): readonly (number | null)[] {
    return this.#columns.get(name) as (number | null)[]
  }

  /** The newest value; null if there is none. */
  latest(name: Column): number | null {
    return this.column(name).at(-1) ?? null
  }

  /** A hand-off was measured, in ms; it goes into the next row. */
  addHandoff(ms: number): void {
    this.#handoffs.push(ms)
  }

  add(reading: Reading): void {
    const last = this.#last
    this.#last = reading
    // The first reading has nothing to be compared with; nor has the first after a restart.
    if (last === undefined || reading.stats.totalLocks < last.stats.totalLocks) return
    const seconds = Math.max(0.001, (reading.now - last.now) / 1_000)
    const rate = (of: (stats: LockStats) => number) =>
      Math.max(0, of(reading.stats) - of(last.stats)) / seconds
    const handoff = this.#handoffs.length === 0 ? null : Math.max(...this.#handoffs)
    this.#handoffs = []
    this.#push(reading.wall, {
      grants: rate((stats) => stats.totalLocks - stats.failedLocks),
      releases: rate((stats) => stats.unlockCount),
      failures: rate((stats) => stats.failedLocks),
      losses: rate((stats) => stats.expiredLocks),
      held: reading.held,
      waiting: reading.waiting,
      roundTrip: reading.roundTrip,
      handoff,
    })
  }

  /** Where the connection was gone the lines have a gap. */
  interrupt(wall: number): void {
    if (this.#last === undefined) return
    this.#last = undefined
    this.#push(wall, undefined)
  }

  #push(wall: number, row: Readonly<Record<Column, number | null>> | undefined): void {
    this.times.push(wall / 1_000)
    for (const [name, column] of this.#columns) column.push(row?.[name] ?? null)
    if (this.times.length <= seriesLength) return
    this.times.shift()
    for (const column of this.#columns.values()) column.shift()
  }
}
