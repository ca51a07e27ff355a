/** The public class of a session: checks the arguments of each call and passes the call on. */
import { HoldfastError, type LockStats, refuseUnknownOptions } from '@holdfast/shared'
import type { GrantedLock } from '../locks/grantedLock.js'
import { Lock } from '../locks/lock.js'
import {
  type CheckedLock,
  checkLock,
  checkSingleflight,
  type LockOptions,
  type SingleflightOptions,
  type TryLockOptions,
  tryLockOptions,
} from '../locks/options.js'
import { SelfDeadlockWarner, type Warn } from '../locks/selfDeadlockWarner.js'
import { Singleflight } from '../locks/singleflight.js'
import type { RequestTrace, Tracer } from '../locks/tracing.js'
import { asyncDispose, callSafely, onAbort, throwIfAborted } from '../platform/callbacks.js'
import { checkFunction } from '../platform/checks.js'
import { LockRequest } from '../requests/requests.js'
import {
  authRequest,
  checkQuery,
  checkRevoke,
  checkSelection,
  checkToken,
  type QueryOptions,
  type QueryResult,
  queryRequest,
  type RevokeOptions,
  revokeRequest,
  statsRequest,
} from '../requests/simpleRequests.js'
import { LockManager, type LockManagerSession } from '../webLocks/lockManager.js'
import type { SessionController } from './sessionController.js'
import { SessionEmitter, type SessionState } from './sessionEvents.js'
import type { Watch, WatchEvent } from './watch.js'

/** What a session needs of the platform and of the options of `connect`. */
export interface SessionDeps {
  readonly newTask: LockManagerSession['newTask']
  readonly tracer: Tracer | undefined
  /** Undefined if warnings are turned off. */
  readonly warn: Warn | undefined
}

export class Session extends SessionEmitter {
  readonly #controller: SessionController
  readonly #singleflight: Singleflight
  readonly #tracer: Tracer | undefined
  readonly #selfDeadlockWarner: SelfDeadlockWarner | undefined
  /** The name that was given to `connect`. */
  readonly name: string | undefined
  /** The same locks with the interface of `navigator.locks`. */
  readonly locks: LockManager

  /** Internal: `connect` makes sessions. */
  constructor(controller: SessionController, { newTask, tracer, warn }: SessionDeps) {
    super()
    this.#controller = controller
    this.name = controller.settings.name
    this.#tracer = tracer
    this.#selfDeadlockWarner = warn && new SelfDeadlockWarner(controller, warn)
    const requestLock = (wanted: CheckedLock) => this.#requestLock(wanted)
    this.locks = new LockManager({ controller, newTask, requestLock })
    this.#singleflight = new Singleflight(controller.scheduler, requestLock)
  }

  /** Id of the session at the broker. A new session (event `newSession`) has a new id. */
  get id(): string {
    return this.#controller.info.session
  }

  /** The lease, in ms. */
  get lease(): number {
    return this.#controller.info.lease
  }

  /** How long the broker keeps this session without a connection, in ms. */
  get grace(): number {
    return this.#controller.info.grace
  }

  /**
   * How long the locks of this session last if the client hears nothing more from the broker, in
   * ms; 0 without locks to rely on. A caller that needs time to stop its work under a lock must
   * stop when this value gets too small. The ttl of a lock may end earlier.
   */
  get leaseLeft(): number {
    return this.#controller.lease.remainingMs
  }

  get state(): SessionState {
    return this.#controller.state
  }

  /**
   * Waits for a lock, first come, first served. Locks are not re-entrant: a task that asks for a
   * lock which its own session holds waits until the session unlocks it. If that task itself must
   * unlock it, the task waits for ever. After 5 s the client warns once for each key (see
   * `warnings` of `connect`).
   *
   * Rejects with `LOCK_TIMEOUT`, `LOCK_HELD` (with `timeout: 0`; see `holders`), `ABORTED`,
   * `INVALID_KEY`, `INVALID_TTL`, `INVALID_TIMEOUT`, `INVALID_OPTION`, `FORBIDDEN`,
   * `QUOTA_EXCEEDED`, `UNAVAILABLE`, `BAD_MESSAGE` (metadata nested too deep), `LOCK_LOST` (granted
   * and lost again while the connection was gone), `SESSION_CLOSED`, or with the error that ended
   * the session, like every pending call.
   */
  async lock(key: string, options: LockOptions = {}): Promise<Lock> {
    return new Lock(await this.#requestLock(checkLock(key, options)))
  }

  /**
   * Takes a lock if it is free. Rejects at once with `LOCK_HELD`, which names the `holders`, if it
   * is not free; with `UNAVAILABLE` while there is no connection; otherwise like `lock`.
   */
  async tryLock(key: string, options: TryLockOptions = {}): Promise<Lock> {
    refuseUnknownOptions('tryLock', options, tryLockOptions)
    return this.lock(key, { ...options, timeout: 0 })
  }

  /**
   * Runs the callback under a lock, and unlocks afterwards. Rejects with the error that the
   * callback throws; if the callback did not throw and the lock was lost meanwhile, with
   * `LOCK_LOST`; otherwise like `lock`.
   */
  async withLock<T>(
    key: string,
    callback: (lock: Lock) => T | PromiseLike<T>,
    options: LockOptions = {},
  ): Promise<T> {
    const checked = checkLock(key, options, 'withLock')
    checkFunction('callback', callback)
    const grantedLock = await this.#requestLock(checked)
    const { trace } = grantedLock
    const lock = new Lock(grantedLock)
    let result: T
    try {
      result = await (trace === undefined ? callback(lock) : trace.run(() => callback(lock)))
    } catch (error) {
      await lock.unlock().catch(() => {})
      throw error
    }
    try {
      await lock.unlock()
    } catch (error) {
      throw lossOf(lock, error)
    }
    return result
  }

  /**
   * Like `lock`, but callers of this session share one request if they ask for the same key, mode
   * and ttl before the broker has answered. They share its lock, with its fence, ttl and loss. Each
   * has its own handle, `timeout` (ms, from 1) and `signal`. The last `unlock` frees the lock, and
   * the last caller who gives up cancels the request. The metadata is that of the first caller.
   *
   * The callers are not excluded from each other: all of them hold the lock at the same time, so
   * five callers that compute a value compute it five times. They share no result, unlike callers
   * of Go's `singleflight.Do`. Excluded are other sessions, and callers who come after the grant.
   *
   * Rejects like `lock`; its `LOCK_TIMEOUT` names no holders, because the client keeps the timeout.
   */
  async singleflightLock(key: string, options: SingleflightOptions = {}): Promise<Lock> {
    return this.#singleflight.lock(checkSingleflight(key, options))
  }

  /**
   * The locks and waiting requests of a key, of a prefix, or of all keys. May be slightly stale.
   * Rejects with `INVALID_KEY`, `INVALID_OPTION`, `FORBIDDEN` (for a single key; other results
   * leave forbidden keys out), `SESSION_CLOSED`.
   */
  async query(options: QueryOptions = {}): Promise<QueryResult> {
    return this.#controller.submit(queryRequest(checkQuery(options)))
  }

  /**
   * Calls back with the changes of a key or of all keys with a prefix: first the state, then
   * `locked`, `unlocked`, `expired`, `lost`; after a reconnect the state again, marked `resync`.
   * @throws HoldfastError `INVALID_KEY`, `INVALID_OPTION`, `SESSION_CLOSED`
   */
  watch(
    selection: string | Pick<QueryOptions, 'key' | 'prefix'>,
    callback: (event: WatchEvent) => void,
  ): Watch {
    const options = typeof selection === 'string' ? { key: selection } : selection
    const checked = checkSelection('watch', options)
    checkFunction('callback', callback)
    if (this.state === 'closed') throw this.#controller.closedError()
    return this.#controller.watches.add(checked, callback)
  }

  /**
   * Ends the lock of a key that has this fence, of any holder. The broker records the reason. Needs
   * the permission `revoke`. The holder is told `revoked` and the reason. Until then the holder may
   * still use the resource, unless the resource checks the fence.
   *
   * Rejects with `LOCK_NOT_HELD` (the key is free or has another fence, and nothing was done; if
   * the connection dropped meanwhile, an earlier sending may have done it), `FORBIDDEN`,
   * `INVALID_KEY`, `INVALID_OPTION`, `SESSION_CLOSED`.
   */
  async revoke(key: string, options: RevokeOptions): Promise<void> {
    return this.#controller.submit(revokeRequest(key, checkRevoke(key, options)))
  }

  /**
   * Sends a new token of the same principal before the present token expires. Later connections
   * send the new token too. Rejects with `UNAUTHORIZED` (the former token stays in use until it
   * expires), `UNAVAILABLE`, `QUOTA_EXCEEDED` (one at a time), `INVALID_OPTION`, `SESSION_CLOSED`.
   */
  async authenticate(token: string): Promise<void> {
    const { settings } = this.#controller
    const former = settings.token
    checkToken(token)
    settings.token = token
    try {
      await this.#controller.submit(authRequest(token))
    } catch (error) {
      const isRefused = (error as HoldfastError).code === 'UNAUTHORIZED'
      if (isRefused && settings.token === token) settings.token = former
      throw error
    }
  }

  /** The counters of the whole broker. Rejects with `FORBIDDEN`, `SESSION_CLOSED`. */
  async stats(): Promise<LockStats> {
    return this.#controller.submit(statsRequest())
  }

  /**
   * Ends the session: the broker releases all its locks at once, and every later call rejects with
   * `SESSION_CLOSED`. A disconnected session with a grace tries once to reconnect for that; if the
   * try fails, the broker keeps the locks for the grace. Resolves within a second and never
   * rejects.
   */
  close(): Promise<void> {
    return this.#controller.close()
  }

  /**
   * Lets a Node process end although this session is open: neither its connection nor its timers
   * keep the process alive. Pending calls then never settle. The broker frees the locks when the
   * process has ended, or after the grace. Without effect in a browser and after `close`.
   */
  unref(): this {
    this.#controller.keepProcessAlive(false)
    return this
  }

  /** Undoes `unref`: the session keeps the process alive, as it does by default. */
  ref(): this {
    this.#controller.keepProcessAlive(true)
    return this
  }

  /** The same as `close`. */
  [asyncDispose](): Promise<void> {
    return this.close()
  }

  #requestLock(wanted: CheckedLock): Promise<GrantedLock> {
    const { key, mode, metadata } = wanted.params
    const trace = this.#tracer?.request(key, mode, metadata)
    return trace === undefined ? this.#sendLock(wanted) : this.#traceLock(wanted, trace)
  }

  async #traceLock(wanted: CheckedLock, trace: RequestTrace): Promise<GrantedLock> {
    try {
      const params = { ...wanted.params, metadata: trace.metadata }
      const lock = await this.#sendLock({ ...wanted, params })
      callSafely(() => {
        const hold = trace.granted(lock.fence)
        // The lock may be lost already, between the grant and this continuation.
        if (lock.lost === undefined) lock.trace = hold
        else hold.ended(lock.lost)
      })
      return lock
    } catch (error) {
      callSafely(() => trace.failed(error as HoldfastError))
      throw error
    }
  }

  /**
   * Not async, like `#requestLock`, because every lock pays for each promise. The same number of
   * promises for each caller also keeps callers whose locks arrive in one frame in their order.
   */
  #sendLock({ params, timeout, signal }: CheckedLock): Promise<GrantedLock> {
    throwIfAborted(signal, params.key)
    const { pendingRequests, heldLocks, scheduler } = this.#controller
    const giveUp = (error: HoldfastError) => {
      if (pendingRequests.get(request.id) !== request) return
      pendingRequests.abandon(request)
      request.fail(error)
    }
    const dueAt = timeout === undefined ? Infinity : scheduler.monotonic() + timeout
    // With `timeout: 0` this timeout runs only while the broker cannot be reached.
    const timeoutCode = timeout === 0 ? 'UNAVAILABLE' : 'LOCK_TIMEOUT'
    const onTimeout = () => giveUp(new HoldfastError(timeoutCode))
    const request = new LockRequest(params, timeout, dueAt, heldLocks, onTimeout)
    const lock = this.#controller.submit(request)
    this.#selfDeadlockWarner?.onRequest()
    if (signal !== undefined) {
      const stopListening = onAbort(signal, giveUp)
      lock.then(stopListening, stopListening)
    }
    return lock
  }
}

/**
 * Converts an unlock that found no lock to the loss of the lock, whether or not it was reported.
 */
function lossOf(lock: Lock, error: unknown): unknown {
  const isGone = error instanceof HoldfastError && error.code === 'LOCK_NOT_HELD'
  if (!isGone) return error
  return lock.lost ?? new HoldfastError('LOCK_LOST', undefined, { cause: error, key: lock.key })
}
