/**
 * Requests and holds the lock of one React component. Releases the lock when the component is
 * unmounted, and when the key or the `Session` changes.
 */
import { HoldfastError } from '@holdfast/shared'
import type { Lock } from '../locks/lock.js'
import type { LockOptions } from '../locks/options.js'
import { platformEnvironment } from '../platform/environment.js'
import type { Session } from '../session/session.js'
import { Store } from './store.js'

/**
 * - `idle`: the component has not requested the lock, or has released it.
 * - `waiting`: the request waits for its grant.
 * - `held`: the component holds the lock.
 * - `lost`: the component held the lock, and has lost it.
 * - `failed`: the request was rejected.
 */
export type LockState = 'idle' | 'waiting' | 'held' | 'lost' | 'failed'

/** The options of `session.lock`, except `signal`, because `release` withdraws the request. */
export type AcquireOptions = Omit<LockOptions, 'signal'>

/** The lock of a component at one moment. */
export interface LockStatus {
  /** Undefined while the state is `idle`, and if the session was not open at the request. */
  readonly target: LockTarget | undefined
  readonly state: LockState
  readonly lock: Lock | undefined
  readonly error: HoldfastError | undefined
}

/** The session and the key of a component's lock. */
export interface LockTarget {
  readonly session: Session
  readonly key: string
}

/** A request that waits for its grant. */
interface Attempt {
  readonly controller: AbortController
  /** Resolves with undefined if the request fails or is withdrawn. */
  readonly granted: Promise<Lock | undefined>
}

export const idleLock: LockStatus = {
  target: undefined,
  state: 'idle',
  lock: undefined,
  error: undefined,
}

export class LockStore extends Store<LockStatus> {
  /** The newest options of the component; read by each request. */
  options: AcquireOptions = {}
  /** Whether the component wants the lock without a call of `acquire`. */
  #isAutomatic = false
  #target: LockTarget | undefined
  /** The request that waits; undefined if no request waits. */
  #attempt: Attempt | undefined

  constructor() {
    super(idleLock)
  }

  /**
   * Sets the session and the key of the lock. Returns a function that withdraws the request and
   * releases the lock.
   *
   * An automatic request is sent at the end of the turn of the event loop. React's strict mode
   * mounts, unmounts and mounts each component in one turn, and the store must not request the lock
   * twice.
   */
  attach(target: LockTarget, isAutomatic: boolean): () => void {
    this.#target = target
    this.#isAutomatic = isAutomatic
    if (isAutomatic) {
      platformEnvironment.endOfTurn(() => {
        if (this.#target === target && this.#attempt === undefined) void this.acquire()
      })
    }
    return () => {
      this.release()
      this.#target = undefined
    }
  }

  /**
   * `useLock` returns this function to the component. With `overrides`, a new request replaces the
   * request that waits.
   */
  readonly acquire = (overrides?: AcquireOptions): Promise<Lock | undefined> => {
    const { lock } = this.getSnapshot()
    if (lock?.held) return Promise.resolve(lock)
    if (this.#attempt !== undefined && overrides === undefined) return this.#attempt.granted
    return this.#request({ ...this.options, ...overrides })
  }

  /** `useLock` returns this function to the component. */
  readonly release = (): void => {
    const { state, lock } = this.getSnapshot()
    this.#attempt?.controller.abort()
    this.#attempt = undefined
    void lock?.unlock()
    if (state !== 'idle') this.set(idleLock)
  }

  #request(options: AcquireOptions): Promise<Lock | undefined> {
    const target = this.#target
    if (target === undefined) {
      const error = new HoldfastError('UNAVAILABLE', 'the session is not open yet')
      this.set({ ...idleLock, state: 'failed', error })
      return Promise.resolve(undefined)
    }
    this.#attempt?.controller.abort()
    const controller = new AbortController()
    const isCurrent = () => this.#attempt?.controller === controller
    const granted = target.session.lock(target.key, { ...options, signal: controller.signal }).then(
      (lock) => {
        if (!isCurrent()) {
          void lock.unlock()
          return undefined
        }
        this.#attempt = undefined
        this.#hold(target, lock)
        return lock
      },
      (error: HoldfastError) => {
        if (isCurrent()) {
          this.#attempt = undefined
          this.set({ target, state: 'failed', lock: undefined, error })
        }
        return undefined
      },
    )
    this.#attempt = { controller, granted }
    this.set({ target, state: 'waiting', lock: undefined, error: undefined })
    return granted
  }

  #hold(target: LockTarget, lock: Lock): void {
    this.set({ target, state: 'held', lock, error: undefined })
    const onLost = () => {
      // Ignores the loss of a lock that the component has released meanwhile.
      if (this.getSnapshot().lock !== lock) return
      const error = lock.lost
      this.set({ target, state: 'lost', lock: undefined, error })
      // Requests the lock again only if the session ended at the broker. The `Session` object then
      // opens a new session. After a steal or a revocation, the component must not take the lock
      // back.
      if (this.#isAutomatic && error?.reason === 'session') void this.acquire()
    }
    if (lock.signal.aborted) onLost()
    else lock.signal.addEventListener('abort', onLost)
  }
}
