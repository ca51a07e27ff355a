/**
 * The records of barriers and of the calls that wait at barriers. `barriers.ts` says how the table
 * uses these records. The class of sessions is a type parameter, because the file of this class
 * imports this file, and imports must not form a cycle.
 */

/**
 * The calls that wait for each other at a barrier, in order of arrival.
 *
 * @template S The class of sessions.
 */
export class Barrier<S> {
  /**
   * A number that rises with each new barrier, set by `OrderedList`. Stays 0 for a bookmark: an
   * empty barrier that only marks a place in the list of all barriers.
   */
  order = 0
  /** The neighbours in the list of all barriers, which `OrderedList` sets. */
  previous: Barrier<S> | undefined = undefined
  next: Barrier<S> | undefined = undefined
  readonly key: string
  /** How many calls pass the barrier together. */
  readonly parties: number
  readonly calls = new Set<BarrierCall<S>>()

  constructor(key: string, parties: number) {
    this.key = key
    this.parties = parties
  }
}

/**
 * A call that waits at a barrier.
 *
 * @template S The class of sessions.
 */
export class BarrierCall<S> {
  readonly barrier: Barrier<S>
  readonly session: S
  /** The id of the request with which the client made the call. */
  readonly id: number
  /** In ms; undefined if the call waits for ever. */
  readonly timeout: number | undefined
  /** Wall time of the call, in ms since 1970. */
  readonly since: number

  constructor(
    barrier: Barrier<S>,
    session: S,
    id: number,
    timeout: number | undefined,
    since: number,
  ) {
    this.barrier = barrier
    this.session = session
    this.id = id
    this.timeout = timeout
    this.since = since
  }

  /** The number by which an `IdTable` (a map with numbers as keys) finds the call. */
  get tableId(): number {
    return this.id
  }
}
