/**
 * The public class `Session`. Each method checks its arguments and passes the call on: most calls
 * for locks to the `LockRequester`, and other calls to the session controller, which holds the
 * state of the session.
 *
 * Terms: the lease is the time for which the broker keeps a session without hearing from the
 * client. The grace is the time for which the broker keeps a session after its connection dropped.
 * A fence is a number that rises with each grant. A ttl is the time after which a lock expires.
 */
import { type LockStats, refuseUnknownOptions } from '@holdfast/shared'
import { type CampaignOptions, checkCampaign, Leadership } from '../locks/leadership.js'
import { Lock } from '../locks/lock.js'
import { HandleRegistry, LockRequester } from '../locks/lockRequester.js'
import { type OnceOptions, type Run, runOnce } from '../locks/once.js'
import {
  type CheckedLock,
  checkLock,
  checkLockSet,
  checkSingleflight,
  type LockOptions,
  type LockSetItem,
  type LockSetOptions,
  noOptions,
  type SingleflightOptions,
  type TryLockOptions,
  type TryLockSetOptions,
  tryLockOptionNames,
  tryLockSetOptionNames,
} from '../locks/options.js'
import { type Scope, type ScopeOptions, ScopeRunner } from '../locks/scope.js'
import { SelfDeadlockWarner, type Warn } from '../locks/selfDeadlockWarner.js'
import { Singleflight } from '../locks/singleflight.js'
import type { Tracer } from '../locks/tracing.js'
import { runWithLock } from '../locks/withLock.js'
import { asyncDispose } from '../platform/callbacks.js'
import { checkFunction } from '../platform/checks.js'
import { type BarrierOptions, checkBarrier } from '../requests/barrierRequest.js'
import {
  type AnyQueryOptions,
  type AnyQueryResult,
  type BarrierQueryResult,
  checkQuery,
  checkRevoke,
  checkToken,
  checkWatch,
  type KeptQueryResult,
  type QueryOptions,
  type QueryResult,
  queryRequest,
  type RecordQueryOptions,
  type RevokeOptions,
  revokeRequest,
  type SessionQueryOptions,
  type SessionQueryResult,
  statsRequest,
} from '../requests/simpleRequests.js'
import { LockManager, type LockManagerSession } from '../webLocks/lockManager.js'
import { checkObserve, type Leader, Observation, type ObserveOptions } from './observation.js'
import type { SessionController } from './sessionController.js'
import {
  isEventName,
  SessionEmitter,
  type SessionEvents,
  type SessionState,
} from './sessionEvents.js'
import type { Watch, WatchCallback, WatchSelection } from './watch.js'

/** The functions and options that `connect` passes to a session. */
export interface SessionDeps {
  /** Calls a callback in a new task of the event loop. */
  readonly newTask: LockManagerSession['newTask']
  readonly tracer: Tracer | undefined
  /** Prints a warning for the developer; undefined if warnings are turned off. */
  readonly warn: Warn | undefined
}

/** A client's session with a broker. The session holds the locks of the client. */
export class Session extends SessionEmitter {
  readonly #controller: SessionController
  readonly #singleflight: Singleflight
  readonly #tracer: Tracer | undefined
  readonly #requester: LockRequester
  readonly #handleRegistry: HandleRegistry
  readonly #scopeRunner: ScopeRunner
  /** The name that was given to `connect`. */
  readonly name: string | undefined
  /** The interface of `navigator.locks` for the locks of this session. */
  readonly locks: LockManager

  /** Internal. Call `connect` to make a session. */
  constructor(controller: SessionController, { newTask, tracer, warn }: SessionDeps) {
    super()
    this.#controller = controller
    this.name = controller.name
    this.#tracer = tracer
    const selfDeadlockWarner = warn && new SelfDeadlockWarner(controller, warn)
    this.#requester = new LockRequester(controller, tracer, selfDeadlockWarner)
    this.#handleRegistry = new HandleRegistry(controller.heldLocks)
    const requestLock = (checkedLock: CheckedLock) => this.#requester.request(checkedLock)
    this.locks = new LockManager({ controller, newTask, requestLock })
    this.#singleflight = new Singleflight(controller.scheduler, requestLock)
    this.#scopeRunner = new ScopeRunner(controller, requestLock)
  }

  /**
   * Id of the session at the broker. If that session ends and the client opens another one, the
   * id changes (event `newSession`).
   */
  get id(): string {
    return this.#controller.info.session
  }

  /** How long the broker keeps this session without hearing from the client, in ms. */
  get lease(): number {
    return this.#controller.info.lease
  }

  /** How long the broker keeps this session without a connection, in ms. */
  get grace(): number {
    return this.#controller.info.grace
  }

  /**
   * How long this session still holds its locks if no further message reaches the broker, in ms; 0
   * if the session may have lost its locks. A caller that needs 500 ms to stop its work must begin
   * to stop while this value is above 500. A lock with a ttl may expire earlier.
   */
  get leaseLeft(): number {
    return this.#controller.lease.leftMs
  }

  /** Whether the session is connected, disconnected or closed; never `connecting`. */
  get state(): SessionState {
    return this.#controller.state
  }

  /**
   * Waits for a lock. The broker grants requests for a key in the order in which they arrive.
   *
   * Locks are not re-entrant, except in a `scope`. If the session already holds the lock, a further
   * call waits until the session unlocks the lock. If only the waiting caller could unlock the
   * lock, the call waits for ever. When a call has waited 5 s for a lock of its own session, the
   * client warns, once for each key (see `warnings` of `connect`).
   *
   * Rejects with one of these codes:
   * - `LOCK_TIMEOUT`, or `LOCK_HELD` with `timeout: 0`. The error has the `holders`.
   * - `LOCK_LOST`: the lock was granted and lost while the connection was gone.
   * - `BAD_MESSAGE`: the metadata is nested too deep.
   * - `ABORTED`, `INVALID_KEY`, `INVALID_TTL`, `INVALID_TIMEOUT`, `INVALID_OPTION`, `FORBIDDEN`,
   *   `QUOTA_EXCEEDED`, `UNAVAILABLE` or `SESSION_CLOSED`.
   *
   * If an error ends the session, every pending call rejects with that error.
   */
  lock(key: string, options: LockOptions = noOptions): Promise<Lock> {
    // Is not `async`, and calls `then` only if there is a tracer, because `async` and `then` would
    // each make one more promise for every lock.
    try {
      const checkedLock = checkLock(key, options)
      // `send` resolves with the `Lock` that `HandleRegistry` returns, so no `then` is needed.
      if (this.#tracer === undefined) return this.#requester.send(checkedLock, this.#handleRegistry)
      return this.#requester.request(checkedLock).then((grantedLock) => new Lock(grantedLock))
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /**
   * Takes a lock if the lock is free. If the lock is not free, rejects immediately with
   * `LOCK_HELD`, and the error has the `holders`. Without a connection, rejects with `UNAVAILABLE`.
   * Other errors are those of `lock`.
   */
  async tryLock(key: string, options: TryLockOptions = {}): Promise<Lock> {
    refuseUnknownOptions('tryLock', options, tryLockOptionNames)
    return this.lock(key, { ...options, timeout: 0 })
  }

  /**
   * Waits for one lock on several keys (at most 64). The broker grants all keys in one step, or
   * none. Two calls for the same keys in different orders cannot deadlock. A key is locked
   * exclusively, unless its item in `keys` is an object with `mode: 'shared'` or with a `capacity`.
   * The lock has one fence. When one key is stolen or revoked, the whole lock is lost.
   *
   * While the call waits, it is in the queue of each key. Later requests for these keys wait behind
   * the call, even for a key that is free. Use a `timeout` to bound this wait.
   *
   * Rejects like `lock`. Each of the `holders` in `LOCK_HELD` and `LOCK_TIMEOUT` also has its
   * `key`.
   */
  async lockAll(keys: readonly LockSetItem[], options: LockSetOptions = {}): Promise<Lock> {
    return new Lock(await this.#requester.request(checkLockSet(keys, options)))
  }

  /** Takes one lock on several keys if all of them are free. Otherwise rejects like `tryLock`. */
  async tryLockAll(keys: readonly LockSetItem[], options: TryLockSetOptions = {}): Promise<Lock> {
    refuseUnknownOptions('tryLockAll', options, tryLockSetOptionNames)
    return new Lock(
      await this.#requester.request(checkLockSet(keys, { ...options, timeout: 0 }, 'tryLockAll')),
    )
  }

  /**
   * Waits for a lock, runs the callback, and unlocks the lock. Resolves with the result of the
   * callback. Rejects with the error that the callback throws. Rejects with `LOCK_LOST` if the
   * callback did not throw, but the lock was lost while the callback ran. Other errors are those of
   * `lock`.
   */
  async withLock<T>(
    key: string,
    callback: (lock: Lock) => T | PromiseLike<T>,
    options: LockOptions = {},
  ): Promise<T> {
    return this.#runWithLock(checkLock(key, options, 'withLock'), callback)
  }

  /** Like `withLock`, but with one lock on several keys, and with the errors of `lockAll`. */
  async withLockAll<T>(
    keys: readonly LockSetItem[],
    callback: (lock: Lock) => T | PromiseLike<T>,
    options: LockSetOptions = {},
  ): Promise<T> {
    return this.#runWithLock(checkLockSet(keys, options, 'withLockAll'), callback)
  }

  async #runWithLock<T>(
    checkedLock: CheckedLock,
    callback: (lock: Lock) => T | PromiseLike<T>,
  ): Promise<T> {
    checkFunction('callback', callback)
    const grantedLock = await this.#requester.request(checkedLock)
    return runWithLock(new Lock(grantedLock), callback, grantedLock.trace)
  }

  /**
   * Like `lock`, but several callers of this session share one request and one lock. They share if
   * they ask for the same key, mode, ttl and `maxHold` before the broker has answered. Each caller
   * has its own handle, `timeout` (at least 1 ms) and `signal`. The last caller who unlocks frees
   * the lock. The last caller who gives up cancels the request. The lock gets the metadata of the
   * first caller.
   *
   * The lock excludes other sessions, and callers of this session who come after the grant. The
   * callers who share the lock run at the same time. Each of them computes its own result, unlike
   * callers of Go's `singleflight.Do`.
   *
   * Rejects like `lock`, but the error `LOCK_TIMEOUT` has no holders, because the client and not
   * the broker measures the timeout.
   */
  async singleflightLock(key: string, options: SingleflightOptions = {}): Promise<Lock> {
    return this.#singleflight.lock(checkSingleflight(key, options))
  }

  /**
   * Calls the listener at the next event with this name. With any other name, `once` runs a
   * function once for a key: see the other signature.
   */
  override once<E extends keyof SessionEvents>(event: E, listener: SessionEvents[E]): this
  /**
   * Runs a function once for all callers with this key, in any session and process. The first
   * caller runs the function under an exclusive lock. All callers that wait meanwhile get the value
   * of this run, as a copy made by JSON. The value may have at most 32 KiB as JSON, and may be
   * `undefined`. For `options.keep` ms after the run, later callers get the value too.
   *
   * If the function throws, this call rejects with that error and the next caller runs its own
   * function. If the lock of the run is lost, or the session ends, the call rejects immediately and
   * does not wait for the function. A call never gets the value of a run that ended before the
   * call, except during the `keep` of that run.
   *
   * If the key is also the name of an event, such as `closed`, pass `options`, even if only `{}`.
   * Without `options`, `once` adds a listener for the event.
   *
   * Rejects like `lock`, and with the errors of the function. Also rejects with `INVALID_OPTION` if
   * the value is not JSON or is too large, and with `LOCK_LOST` if the lock was lost during the
   * run.
   */
  override once<T>(
    key: string,
    callback: (run: Run) => T | PromiseLike<T>,
    options?: OnceOptions,
  ): Promise<T>
  override once(name: string, callback: (...details: never) => unknown, options?: OnceOptions) {
    if (options === undefined && isEventName(name)) {
      return super.once(name as keyof SessionEvents, callback as () => void)
    }
    const callbackOfRun = callback as () => unknown
    return runOnce(this.#controller, this.#requester, name, callbackOfRun, options)
  }

  /**
   * Campaigns for the leadership of an election, and resolves when this session leads. The
   * candidates lead in the order of their campaigns. The leader publishes `value`, which `observe`
   * shows, and leads until it resigns or its leadership is lost.
   *
   * The leadership is an exclusive lock on the key `name`. So a leadership and a plain lock on this
   * key exclude each other. The holder of a plain lock is not a leader.
   *
   * Rejects like `lock`. Rejects with `INVALID_OPTION` if this session is already a candidate or
   * the leader of this election.
   */
  async campaign(name: string, options: CampaignOptions = {}): Promise<Leadership> {
    const checkedLock = checkCampaign(name, options, this.#controller)
    return new Leadership(await this.#requester.request(checkedLock))
  }

  /**
   * Observes an election. The iterator yields the present leader, and then each change: another
   * leader, another value, or `undefined` while no session leads. If the consumer is slow, the
   * iterator skips to the newest change. After a reconnect the iterator yields the present leader
   * only if the leader or its value has changed. Needs the permission `watch`.
   *
   * The iterator throws `ABORTED`, `FORBIDDEN`, `QUOTA_EXCEEDED` or `SESSION_CLOSED`.
   *
   * @throws HoldfastError `INVALID_KEY`, `INVALID_OPTION`, `SESSION_CLOSED`
   */
  observe(name: string, options: ObserveOptions = {}): AsyncIterableIterator<Leader | undefined> {
    const { signal } = checkObserve(name, options)
    if (this.state === 'closed') throw this.#controller.closedError()
    return new Observation(this, () => this.#controller.closedError(), name, signal)
  }

  /**
   * Runs a callback as one logical task, a *scope*. Locks of a scope are re-entrant: a second call
   * for the same key gets the same lock. The broker refuses a request of the scope with `DEADLOCK`
   * if the request could never be granted. When the callback settles, the broker releases all locks
   * of the scope.
   *
   * Give the scope to all code of the task. Calls on the session itself are outside the scope.
   * Resolves with the result of the callback, after the broker has confirmed the releases.
   */
  scope<T>(callback: (scope: Scope) => T | PromiseLike<T>, options: ScopeOptions = {}): Promise<T> {
    return this.#scopeRunner.run(callback, options)
  }

  /**
   * Waits at a barrier. Each call, of this or another session, is one party. When
   * `options.parties` calls wait, all of them resolve together. A later call with the same key
   * begins a new barrier. Barriers and locks have separate keys: a barrier excludes no lock.
   *
   * A call that times out, that is aborted or whose session ends no longer counts as a party.
   * Exception: an abort that reaches the broker after the barrier has opened is too late. The call
   * of a disconnected session stays at the barrier until the grace of the session is over.
   *
   * Rejects with one of these codes:
   * - `CAPACITY_MISMATCH`: the calls that wait have another number of parties. The error has this
   *   number as its `capacity`.
   * - `FORBIDDEN`: the call needs the permission `lock`.
   * - `SESSION_EXPIRED`: the session ended while the call waited.
   * - `LOCK_TIMEOUT`, `ABORTED`, `INVALID_KEY`, `INVALID_TIMEOUT`, `INVALID_OPTION`,
   *   `QUOTA_EXCEEDED`, `UNAVAILABLE` or `SESSION_CLOSED`.
   */
  async barrier(key: string, options: BarrierOptions): Promise<void> {
    return this.#requester.sendBarrierCall(key, checkBarrier(key, options))
  }

  /**
   * Returns the locks and waiting requests of a key, of all keys with a prefix, or of all keys. The
   * result may be slightly stale. With the option `kind`, returns the calls that wait at barriers,
   * the kept results of `once`, or one session. Rejects with `INVALID_KEY`, `INVALID_OPTION` or
   * `SESSION_CLOSED`. A query for a single key may reject with `FORBIDDEN`; other queries leave
   * forbidden keys out.
   */
  async query(options?: QueryOptions): Promise<QueryResult>
  async query(options: RecordQueryOptions<'barriers'>): Promise<BarrierQueryResult>
  async query(options: RecordQueryOptions<'results'>): Promise<KeptQueryResult>
  async query(options: SessionQueryOptions): Promise<SessionQueryResult>
  async query(options: AnyQueryOptions = {}): Promise<AnyQueryResult> {
    return this.#controller.submit(queryRequest(checkQuery(options)))
  }

  /**
   * Watches a key, all keys with a prefix, or all keys (`{}`). The callback first gets the list
   * of the held locks of these keys (event `state`), and then each change: `locked`, `upgraded`,
   * `downgraded`, `unlocked`, `expired`, `lost` or `proclaimed` (a leader published a value). With
   * `queue: true` the event `state` also lists the requests that wait, and the callback also gets
   * `queued`, and `dequeued` with a reason. After a reconnect the callback gets `state` again, with
   * `resync: true`.
   * @throws HoldfastError `INVALID_KEY`, `INVALID_OPTION`, `SESSION_CLOSED`
   */
  watch<HasQueue extends boolean = false>(
    selection: WatchSelection<HasQueue>,
    callback: WatchCallback<HasQueue>,
  ): Watch {
    const checkedSelection = checkWatch(selection)
    checkFunction('callback', callback)
    if (this.state === 'closed') throw this.#controller.closedError()
    return this.#controller.watches.add(checkedSelection, callback as WatchCallback<true>)
  }

  /**
   * Ends the lock on `key` with the fence `options.fence`, whichever session holds that lock. Needs
   * the permission `revoke`. The broker records the reason, and tells the holder that the lock was
   * revoked and why. Until the holder receives that message, the holder may still use the resource,
   * unless the resource checks the fence.
   *
   * Rejects with `LOCK_NOT_HELD` if no lock on `key` has this fence. If the connection dropped
   * during the call, the client sends the request again, and this error may then mean that the
   * first try has already revoked the lock. Also rejects with `FORBIDDEN`, `INVALID_KEY`,
   * `INVALID_OPTION` or `SESSION_CLOSED`.
   */
  async revoke(key: string, options: RevokeOptions): Promise<void> {
    return this.#controller.submit(revokeRequest(key, checkRevoke(key, options)))
  }

  /**
   * Sends a new token, which must name the principal (the identity) that the present token names.
   * Call this method before the present token expires. Later connections use the new token too.
   * Rejects with `UNAUTHORIZED` (the former token then stays in use until it expires),
   * `UNAVAILABLE`, `QUOTA_EXCEEDED` (another call is pending), `INVALID_OPTION` or
   * `SESSION_CLOSED`.
   */
  async authenticate(token: string): Promise<void> {
    checkToken(token)
    return this.#controller.authenticate(token)
  }

  /** Returns the counters of the whole broker. Rejects with `FORBIDDEN` or `SESSION_CLOSED`. */
  async stats(): Promise<LockStats> {
    return this.#controller.submit(statsRequest())
  }

  /**
   * Ends the session: the broker releases the locks of the session, and later calls reject with
   * `SESSION_CLOSED`. A disconnected session with a grace tries once to reconnect, so that the
   * broker can release the locks. If that try fails, the broker keeps the locks for the rest of the
   * grace. Resolves within a second and never rejects.
   */
  close(): Promise<void> {
    return this.#controller.close()
  }

  /**
   * Lets a Node process end although this session is open: neither the connection nor the timers of
   * the session keep the process alive. If the process ends, pending calls never settle. The broker
   * then frees the locks immediately, or after the grace if the session has a grace. The method has
   * no effect in a browser and after `close`.
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

  /** Calls `close`. */
  [asyncDispose](): Promise<void> {
    return this.close()
  }
}
