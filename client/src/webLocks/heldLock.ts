/**
 * The lock that a callback of `locks.request` is given: the specification's two members, and what
 * the network makes worth knowing.
 */
import type { LockMode } from '@holdfast/shared'
import type { Lock } from '../locks/lock.js'
import type { Arguments } from './arguments.js'

export class HeldLock {
  readonly #lock: Lock
  readonly #asked: Arguments

  /** Callbacks of `locks.request` are given one. */
  constructor(lock: Lock, asked: Arguments) {
    this.#lock = lock
    this.#asked = asked
  }

  get name(): string {
    return this.#asked.name
  }

  get mode(): LockMode {
    return this.#lock.mode
  }

  /** Not in the specification: the fencing token, for the resource that the lock protects. */
  get fence(): number {
    return this.#lock.fence
  }

  /** Not in the specification: aborted when the lock is stolen or lost, with `LOCK_LOST`. */
  get signal(): AbortSignal {
    return this.#lock.signal
  }

  /** Not in the specification: whether the lock is held at this moment, by the clock. */
  get held(): boolean {
    return this.#lock.held
  }

  /** Not in the specification: what was attached to the request. */
  get metadata(): unknown {
    return this.#asked.metadata
  }

  /** Not in the specification: the ttl that was asked for, in ms. */
  get ttl(): number | undefined {
    return this.#asked.ttl
  }
}
