/**
 * The deadlines of `maxHold`, which is the longest time for which a lock is held, even if its
 * client refreshes the lock. The timekeeper keeps at most one deadline for an object. For a `Lock`
 * object, this is the deadline of the ttl (how long the lock lives without a refresh). So each
 * `maxHold` has an object of its own, the `HoldDeadline`.
 */
import { type Lock, ShardedMap } from '../core/index.js'

/** The object for which the timekeeper keeps the `maxHold` of one lock. */
export class HoldDeadline {
  readonly lock: Lock

  constructor(lock: Lock) {
    this.lock = lock
  }
}

/**
 * The part of the timekeeper that this file needs. A client deadline is a deadline in compensated
 * time: monotonic time without the pauses of the broker, in ms. The `maxHold` has such a deadline,
 * although no message of the client can postpone the end of the hold.
 */
export interface HoldTimekeeper {
  setClientDeadline(subject: HoldDeadline, at: number): void
  clearClientDeadline(subject: HoldDeadline): void
  clientDeadlineOf(subject: HoldDeadline): number | undefined
}

/** The `maxHold` deadlines that this broker keeps, for the locks of its own sessions. */
export class HoldDeadlines {
  readonly #time: HoldTimekeeper
  readonly #byLock = new ShardedMap<Lock, HoldDeadline>(/* hash */ ({ fence }) => fence)

  constructor(time: HoldTimekeeper) {
    this.#time = time
  }

  /**
   * Starts the deadline of a lock, or starts it again. Does nothing for a lock without a `maxHold`.
   *
   * @param startsAt When the hold starts, in compensated time.
   */
  start(lock: Lock, startsAt: number): void {
    const maxHold = lock.extras?.maxHold
    if (maxHold === undefined) return
    let deadline = this.#byLock.get(lock)
    if (deadline === undefined) {
      deadline = new HoldDeadline(lock)
      this.#byLock.add(lock, deadline)
    }
    this.#time.setClientDeadline(deadline, startsAt + maxHold)
  }

  /** Clears the deadline of a lock, if there is one. */
  clear(lock: Lock): void {
    // Most locks have no `maxHold`, and need no lookup.
    if (lock.extras?.maxHold === undefined) return
    const deadline = this.#byLock.get(lock)
    if (deadline === undefined) return
    this.#byLock.delete(lock)
    this.#time.clearClientDeadline(deadline)
  }

  /** When the `maxHold` of a lock started, in compensated time; undefined without a deadline. */
  startTimeOf(lock: Lock): number | undefined {
    const endsAt = this.endOf(lock)
    return endsAt === undefined ? undefined : endsAt - lock.extras!.maxHold!
  }

  /** When the `maxHold` of a lock ends, in compensated time; undefined without a deadline. */
  endOf(lock: Lock): number | undefined {
    if (lock.extras?.maxHold === undefined) return undefined
    const deadline = this.#byLock.get(lock)
    return deadline && this.#time.clientDeadlineOf(deadline)
  }
}
