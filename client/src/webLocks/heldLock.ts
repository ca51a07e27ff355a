/**
 * The lock that `locks.request` passes to its callback. This lock has the members `name` and `mode`
 * of the W3C specification, and further members that only the lock of a broker has.
 */
import type { Lock } from '../locks/lock.js'

/** The two modes of the W3C specification. */
export type WebLockMode = 'exclusive' | 'shared'

/** A callback gets `null` if the request has the option `ifAvailable` and the lock is not free. */
export type LockCallback<T> = (lock: HeldLock | null) => T

/** Those arguments of the request that are members of the held lock too. */
interface RequestedLock {
  readonly name: string
  readonly mode: WebLockMode
  readonly metadata: unknown
  readonly ttl: number | undefined
}

/**
 * Implements what the W3C specification calls a `Lock`, around a `Lock` of this client. Once the
 * lock is lost, `held` is false, although the callback may still run.
 */
export class HeldLock {
  readonly #lock: Lock
  readonly #requested: RequestedLock

  /** Internal. `locks.request` makes held locks. */
  constructor(lock: Lock, requested: RequestedLock) {
    this.#lock = lock
    this.#requested = requested
  }

  get name(): string {
    return this.#requested.name
  }

  get mode(): WebLockMode {
    return this.#requested.mode
  }

  /**
   * Not in the specification: the number of the grant, as a fencing token. The resource that the
   * lock protects must refuse an access whose number is lower than a number seen before.
   */
  get fence(): number {
    return this.#lock.fence
  }

  /** Not in the specification: aborted with `LOCK_LOST` when the lock is lost or stolen. */
  get signal(): AbortSignal {
    return this.#lock.signal
  }

  /** Not in the specification: whether the lock is held; each read checks the expiry. */
  get held(): boolean {
    return this.#lock.held
  }

  /** Not in the specification: the metadata of the request. */
  get metadata(): unknown {
    return this.#requested.metadata
  }

  /** Not in the specification: how long after its grant the lock expires, in ms. */
  get ttl(): number | undefined {
    return this.#requested.ttl
  }
}
