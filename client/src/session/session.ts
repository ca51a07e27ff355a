/** A session: the client's face, and nothing but its face. */
import { HoldfastError, type LockStats, refuseUnknownOptions } from '@holdfast/shared'
import type { GrantedLock } from '../locks/grantedLock.js'
import { Lock } from '../locks/lock.js'
import { SelfDeadlockWarner, type Warn } from '../locks/selfDeadlockWarner.js'
import { Singleflight } from '../locks/singleflight.js'
import type { RequestTrace, Tracer } from '../locks/tracing.js'
import {
  type CheckedLock,
  checkLock,
  checkQuery,
  checkRevoke,
  checkSelection,
  checkSingleflight,
  checkToken,
  type LockOptions,
  type QueryOptions,
  type RevokeOptions,
  type SingleflightOptions,
  type TryLockOptions,
  tryLockOptions,
} from '../options.js'
import { onAbort, refuseAborted } from '../platform/callbacks.js'
import { callSafely } from '../platform/callSafely.js'
import { checkFunction } from '../platform/checks.js'
import { asyncDispose } from '../platform/disposal.js'
import { LockRequest } from '../requests/requests.js'
import {
  authRequest,
  type QueryResult,
  queryRequest,
  revokeRequest,
  statsRequest,
} from '../requests/simpleRequests.js'
import { LockManager, type LockManagerSession } from '../webLocks/lockManager.js'
import { Emitter } from './emitter.js'
import type { SessionController } from './sessionController.js'
import { type SessionEvents, sessionEvents } from './sessionEvents.js'
import type { SessionState } from './state.js'
import type { Watch, WatchEvent } from './watch.js'

/** What a session is given of where it runs. */
export interface SessionDeps {
  readonly newTask: LockManagerSession['newTask']
  readonly tracer: Tracer | undefined
  /** Undefined if warnings are turned off. */
  readonly warn: Warn | undefined
}

export class Session extends Emitter<SessionEvents> {
  readonly #standing: SessionController
  readonly #singleflight: Singleflight
  readonly #tracer: Tracer | undefined
  readonly #selfWaits: SelfDeadlockWarner | undefined
  /** The name that was given to `connect`. */
  readonly name: string | undefined
  /** The same locks in the shape of `navigator.locks`. */
  readonly locks: LockManager

  /** Sessions come from `connect`. */
  constructor(standing: SessionController, name: string | undefined, surroundings: SessionDeps) {
    super(sessionEvents)
    this.#standing = standing
    this.name = name
    const { tracer, warn } = surroundings
    this.#tracer = tracer
    this.#selfWaits = warn && new SelfDeadlockWarner(standing, warn)
    this.locks = new LockManager({
      standing,
      newTask: surroundings.newTask,
      ask: (wanted) => this.#ask(wanted),
    })
    this.#singleflight = new Singleflight(standing.scheduler, (wanted) => this.#ask(wanted))
  }

  /** Id of the session at the broker. A new session (event `newSession`) has a new one. */
  get id(): string {
    return this.#standing.terms.session
  }

  /** The lease, in ms. */
  get lease(): number {
    return this.#standing.terms.lease
  }

  /** How long the broker keeps this session without a connection, in ms. */
  get grace(): number {
    return this.#standing.terms.grace
  }

  /**
   * For how long the locks of this session can be relied on if nothing more is heard from the
   * broker, in ms; 0 when there are none left to rely on. Whoever needs time to stop what it does
   * under a lock begins when this becomes too little. A lock's own ttl may end before.
   */
  get leaseLeft(): number {
    return this.#standing.lease.left
  }

  get state(): SessionState {
    return this.#standing.state
  }

  /**
   * Waits for a lock and takes it. First come, first served. Not re-entrant: a task that asks for a
   * lock which its own session holds waits until the session unlocks it, for ever if the task
   * itself would have to. After 5 s of that the process is warned once for each key (see `warnings`
   * of `connect`).
   *
   * Rejects with `LOCK_TIMEOUT`, `LOCK_HELD` (with `timeout: 0`; see `holders`), `ABORTED`,
   * `INVALID_KEY`, `INVALID_TTL`, `INVALID_TIMEOUT`, `INVALID_OPTION`, `FORBIDDEN`,
   * `QUOTA_EXCEEDED`, `UNAVAILABLE`, `BAD_MESSAGE` (metadata nested too deep), `LOCK_LOST` (granted
   * and lost again while the connection was gone), `SESSION_CLOSED`, or the error that ended the
   * session, as everything does that waits for an answer then.
   */
  async lock(key: string, options: LockOptions = {}): Promise<Lock> {
    return new Lock(await this.#ask(checkLock(key, options)))
  }

  /**
   * Takes a lock if it is free. Rejects with `LOCK_HELD` at once if it is not, naming the
   * `holders`; with `UNAVAILABLE` while there is no connection; otherwise like `lock`.
   */
  async tryLock(key: string, options: TryLockOptions = {}): Promise<Lock> {
    refuseUnknownOptions('tryLock', options, tryLockOptions)
    return this.lock(key, { ...options, timeout: 0 })
  }

  /**
   * Runs the callback under a lock and gives it back. Rejects with what the callback throws; if it
   * did not throw, with `LOCK_LOST` when the lock was lost meanwhile; otherwise like `lock`.
   */
  async withLock<T>(
    key: string,
    callback: (lock: Lock) => T | PromiseLike<T>,
    options: LockOptions = {},
  ): Promise<T> {
    const checked = checkLock(key, options, 'withLock')
    checkFunction('callback', callback)
    const grant = await this.#ask(checked)
    const { trace } = grant
    const lock = new Lock(grant)
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
   * Like `lock`, but callers of this session who ask for the same key, mode and ttl before the
   * request is settled share that one request and its lock: its fence, its ttl and its loss. Each
   * has its own handle, `timeout` (ms, from 1) and `signal`; the last `unlock` frees the lock, and
   * the last to give up cancels the request. The metadata is that of the first caller.
   *
   * It does not exclude its callers from each other: all of them hold the lock at the same time,
   * so five callers who compute something under it compute it five times. Nor does it share a
   * result, unlike Go's `singleflight.Do`. It excludes other sessions, and callers who come after
   * the grant.
   *
   * Rejects like `lock`; its `LOCK_TIMEOUT` names no holders, because the client keeps the timeout.
   */
  async singleflightLock(key: string, options: SingleflightOptions = {}): Promise<Lock> {
    return this.#singleflight.lock(checkSingleflight(key, options))
  }

  /**
   * Who holds and who waits, for a key, a prefix, or all. May lag a little behind.
   * Rejects with `INVALID_KEY`, `INVALID_OPTION`, `FORBIDDEN` (of a key; otherwise it is left out),
   * `SESSION_CLOSED`.
   */
  async query(options: QueryOptions = {}): Promise<QueryResult> {
    return this.#standing.ask(queryRequest(checkQuery(options)))
  }

  /**
   * Tells what happens to a key or to all keys with a prefix: the state first, then `locked`,
   * `unlocked`, `expired`, `lost`; after a reconnect the state again, marked `resync`.
   * @throws HoldfastError `INVALID_KEY`, `INVALID_OPTION`, `SESSION_CLOSED`
   */
  watch(
    what: string | Pick<QueryOptions, 'key' | 'prefix'>,
    callback: (event: WatchEvent) => void,
  ): Watch {
    const selection = checkSelection('watch', typeof what === 'string' ? { key: what } : what)
    checkFunction('callback', callback)
    if (this.state === 'closed') throw this.#standing.closedError()
    return this.#standing.watches.add(selection, callback)
  }

  /**
   * Ends the lock of a key that has this fence, whoever holds it, for a reason that the broker puts
   * on record. Needs the permission `revoke`. Its holder is told `revoked` and the reason, and is
   * safe to be overtaken only where its fence is checked.
   *
   * Rejects with `LOCK_NOT_HELD` (the key is free, or held with another fence: nothing was done; if
   * the connection dropped meanwhile, it may have been done and asked again), `FORBIDDEN`,
   * `INVALID_KEY`, `INVALID_OPTION`, `SESSION_CLOSED`.
   */
  async revoke(key: string, options: RevokeOptions): Promise<void> {
    const { fence, reason } = checkRevoke(key, options)
    return this.#standing.ask(revokeRequest(key, fence, reason))
  }

  /**
   * Shows a new token of the same principal, before the present one ends; also what later
   * connections will show. Rejects with `UNAUTHORIZED` (the former token still counts while it
   * lasts, here too), `UNAVAILABLE`, `QUOTA_EXCEEDED` (one at a time), `INVALID_OPTION`,
   * `SESSION_CLOSED`.
   */
  async authenticate(token: string): Promise<void> {
    const { settings } = this.#standing
    const former = settings.token
    checkToken(token)
    settings.token = token
    try {
      await this.#standing.ask(authRequest(token))
    } catch (error) {
      const isRefused = (error as HoldfastError).code === 'UNAUTHORIZED'
      if (isRefused && settings.token === token) settings.token = former
      throw error
    }
  }

  /** The counters of the whole broker. Rejects with `FORBIDDEN`, `SESSION_CLOSED`. */
  async stats(): Promise<LockStats> {
    return this.#standing.ask(statsRequest())
  }

  /**
   * Says goodbye: everything is released at once, and every later call rejects with
   * `SESSION_CLOSED`. While its connection is gone, a session with a grace tries once to come back
   * for that; if that fails, the broker keeps the locks for the grace. Resolves within a second,
   * and never rejects.
   */
  close(): Promise<void> {
    return this.#standing.close()
  }

  /**
   * Lets the process end although this session is open, in Node: neither its connection nor its
   * timers keep the process alive, and what waits for an answer then never has one. The locks of a
   * session whose process has ended are free at once, or after its grace. Without effect in a
   * browser and after `close`.
   */
  unref(): this {
    this.#standing.keepAlive(false)
    return this
  }

  /** Keeps the process alive again, as a session does by default. */
  ref(): this {
    this.#standing.keepAlive(true)
    return this
  }

  /** The same as `close`. */
  [asyncDispose](): Promise<void> {
    return this.close()
  }

  #ask(wanted: CheckedLock): Promise<GrantedLock> {
    const { key, mode, metadata } = wanted.terms
    const trace = this.#tracer?.request(key, mode, metadata)
    return trace === undefined ? this.#askUntraced(wanted) : this.#askTraced(wanted, trace)
  }

  async #askTraced(wanted: CheckedLock, trace: RequestTrace): Promise<GrantedLock> {
    try {
      const terms = { ...wanted.terms, metadata: trace.metadata }
      const grant = await this.#askUntraced({ ...wanted, terms })
      callSafely(() => {
        const hold = trace.granted(grant.fence)
        // It may be lost already, while its caller was about to hear of it.
        if (grant.lost === undefined) grant.trace = hold
        else hold.ended(grant.lost)
      })
      return grant
    } catch (error) {
      callSafely(() => trace.failed(error as HoldfastError))
      throw error
    }
  }

  /**
   * Not async, as little as `#ask`: each promise between is paid for with every lock. And what is
   * granted together begins in the order of the queue, so there are as many for everyone.
   */
  #askUntraced({ terms, timeout, signal }: CheckedLock): Promise<GrantedLock> {
    refuseAborted(signal, terms.key)
    const { outbox, scheduler } = this.#standing
    const giveUp = (error: HoldfastError) => {
      if (outbox.get(request.id) !== request) return
      outbox.abandon(request)
      request.fail(error)
    }
    const dueAt = timeout === undefined ? Infinity : scheduler.monotonic() + timeout
    const request = new LockRequest(terms, timeout, dueAt, () => giveUp(timeoutError(timeout)))
    const answer = this.#standing.ask(request)
    this.#selfWaits?.onAsk()
    if (signal !== undefined) {
      const stopListening = onAbort(signal, giveUp)
      answer.then(stopListening, stopListening)
    }
    return answer
  }
}

/** An unlock that found no lock means that it was lost, whether or not we were told so. */
function lossOf(lock: Lock, error: unknown): unknown {
  const isGone = error instanceof HoldfastError && error.code === 'LOCK_NOT_HELD'
  if (!isGone) return error
  return lock.lost ?? new HoldfastError('LOCK_LOST', undefined, { cause: error, key: lock.key })
}

/** Whoever does not wait is not kept waiting for a broker that cannot be asked. */
function timeoutError(timeout: number | undefined): HoldfastError {
  return new HoldfastError(timeout === 0 ? 'UNAVAILABLE' : 'LOCK_TIMEOUT')
}
