/**
 * The deadlines of `maxHold`: the longest time for which a lock is held, whether its client
 * refreshes the lock or not. A lock can have two deadlines, because its ttl (how long the lock
 * lives without a refresh) has a deadline too. So `maxHold` needs a subject of its own.
 */
import type { Lock } from '../core/index.js'

/** The subject of the deadline of one lock. */
export class HoldDeadline {
  readonly lock: Lock

  constructor(lock: Lock) {
    this.lock = lock
  }
}

/** The part of the timekeeper that keeps the deadlines. */
export interface HoldTimekeeper {
  setClientDeadline(subject: HoldDeadline, at: number): void
  clearClientDeadline(subject: HoldDeadline): void
  clientDeadlineOf(subject: HoldDeadline): number | undefined
}

/** The deadlines of the locks that this broker keeps the deadlines of and that have a `maxHold`. */
export class HoldDeadlines {
  readonly #time: HoldTimekeeper
  readonly #byLock = new Map<Lock, HoldDeadline>()

  constructor(time: HoldTimekeeper) {
    this.#time = time
  }

  /** Starts the deadline of a lock, if the lock has a `maxHold`. @param now In compensated time. */
  start(lock: Lock, now: number): void {
    const maxHold = lock.extras?.maxHold
    if (maxHold === undefined) return
    let deadline = this.#byLock.get(lock)
    if (deadline === undefined) {
      deadline = new HoldDeadline(lock)
      this.#byLock.set(lock, deadline)
    }
    this.#time.setClientDeadline(deadline, now + maxHold)
  }

  /** Clears the deadline of a lock, if there is one. */
  clear(lock: Lock): void {
    if (lock.extras?.maxHold === undefined) return
    const deadline = this.#byLock.get(lock)
    if (deadline === undefined) return
    this.#byLock.delete(lock)
    this.#time.clearClientDeadline(deadline)
  }

  /** When the `maxHold` of a lock started, in compensated time; undefined without a deadline. */
  startOf(lock: Lock): number | undefined {
    const maxHold = lock.extras?.maxHold
    const deadline = maxHold === undefined ? undefined : this.#byLock.get(lock)
    const endsAt = deadline && this.#time.clientDeadlineOf(deadline)
    return endsAt === undefined ? undefined : endsAt - maxHold!
  }
}
