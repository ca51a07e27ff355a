/**
 * The public class `Lock`, which is a caller's handle on a granted lock, and the periodic refresh.
 *
 * `Lock` is not `GrantedLock`: a `GrantedLock` is the session's record of one lock. Callers of
 * `singleflightLock` share one `GrantedLock`, and each caller has a `Lock` of its own. The ttl of a
 * lock is the time after which the lock expires. A scope is one logical task of a session; when the
 * task ends, the locks of the scope are released.
 */
import { HoldfastError, type LockMode } from '@holdfast/shared'
import { asyncDispose, onAbort, throwIfAborted } from '../platform/callbacks.js'
import type { Task } from '../platform/scheduler.js'
import { withKey } from '../requests/requests.js'
import type { GrantedLock, LossListener } from './grantedLock.js'
import {
  checkModeChange,
  checkUpgrade,
  DowngradeRequest,
  type UpgradeOptions,
  UpgradeRequest,
} from './modeChanges.js'
import {
  type AutoRefreshOptions,
  checkAutoRefresh,
  checkRefresh,
  type RefreshOptions,
} from './options.js'

/** The functions of a scope that a lock in the scope calls. */
export interface LockScope {
  /** Called when the handle is unlocked or lost. */
  onEnded(): void
  /**
   * When the former calls of the scope have been answered, calls `send`, which sends a request.
   * The returned promise rejects when the signal is aborted or the timeout is over, even before
   * `send` is called.
   */
  inTurn<T>(
    signal: AbortSignal | undefined,
    timeout: number | undefined,
    send: () => Promise<T>,
  ): Promise<T>
}

/** The empty list that all handles without listeners share, to save an array for each handle. */
const noListeners: readonly (() => void)[] = []

export class Lock implements LossListener {
  readonly #grantedLock: GrantedLock
  /** Whether the lock comes from `singleflightLock`, so that several callers may share it. */
  readonly #isSingleflight: boolean
  /** Undefined outside a scope. */
  readonly #scope: LockScope | undefined
  #abortController: AbortController | undefined
  /** The loss that was reported to this handle, or that came before this handle was made. */
  #reportedLoss: HoldfastError | undefined
  /** The promise of the first `unlock`, or of the release when the scope ended. */
  #unlocking: Promise<void> | undefined
  /** Called once, when this handle is unlocked or the lock is lost. */
  #endListeners: readonly (() => void)[] = noListeners

  /** Internal. Call `lock` of a session to get a lock. */
  constructor(grantedLock: GrantedLock, isSingleflight = false, scope?: LockScope) {
    this.#grantedLock = grantedLock
    this.#isSingleflight = isSingleflight
    this.#scope = scope
    this.#reportedLoss = grantedLock.lossError
    if (this.#reportedLoss === undefined) grantedLock.addHandle(this)
  }

  /** The key; for a lock of several keys, the first key. */
  get key(): string {
    return this.#grantedLock.key
  }

  /** All keys of the lock, in the order of the request. */
  get keys(): readonly string[] {
    const { special, key } = this.#grantedLock
    return special?.items?.map((item) => item.key) ?? [key]
  }

  /** The mode; for a lock of several keys, the mode of the first key. */
  get mode(): LockMode {
    return this.#grantedLock.mode
  }

  /** How many permits the lock has; undefined unless the mode is `'permits'`. */
  get permits(): number | undefined {
    return this.#grantedLock.special?.permits
  }

  /** How many permits the key has; undefined unless the mode is `'permits'`. */
  get capacity(): number | undefined {
    return this.#grantedLock.special?.capacity
  }

  /**
   * The fencing token: the number of the grant. Each grant has a higher number than all earlier
   * grants. An upgrade is a grant, so an upgrade changes the fence. A protected resource must
   * refuse a request whose fencing token is lower than a token that the resource has seen.
   */
  get fence(): number {
    return this.#grantedLock.presentFence
  }

  /**
   * Whether this handle holds the lock at this moment. Each read compares the expiry of the lock
   * with the clock, which also works after this process was suspended. For the client the lock
   * expires earlier than for the broker. So the value is false before the broker can grant the
   * expired lock to another session.
   */
  get held(): boolean {
    this.#grantedLock.scheduler.runExpired()
    return this.#unlocking === undefined && this.#currentLoss === undefined
  }

  /**
   * How long until `maxHold` or the operator's limit ends the lock, in ms; `Infinity` without a
   * limit. A refresh does not prolong this time.
   */
  get holdLeft(): number {
    return this.#grantedLock.holdLeft
  }

  /**
   * A signal that is aborted when the lock is lost; its reason is a `HoldfastError` `LOCK_LOST`.
   * `unlock` does not abort the signal.
   */
  get signal(): AbortSignal {
    if (this.#abortController === undefined) {
      this.#abortController = new AbortController()
      if (this.#currentLoss !== undefined) this.#abortController.abort(this.#currentLoss)
    }
    return this.#abortController.signal
  }

  /** The error `LOCK_LOST`, with a `reason`, if the lock was lost; otherwise undefined. */
  get lost(): HoldfastError | undefined {
    this.#grantedLock.scheduler.runExpired()
    return this.#currentLoss
  }

  /**
   * Starts the ttl of the lock anew. The argument (in ms, 1 to 2^31 - 1) is the new ttl. Default:
   * the present ttl. For a lock without a ttl, `refresh()` only verifies that the lock is held.
   *
   * Rejects with `LOCK_NOT_HELD` (if the lock was lost, `cause` says why), `ABORTED`,
   * `INVALID_TTL` or `INVALID_OPTION`.
   */
  async refresh(ttl?: number, options: RefreshOptions = {}): Promise<void> {
    checkRefresh(ttl, options)
    const { signal } = options
    if (!this.held) throw this.#notHeldError()
    throwIfAborted(signal, this.key)
    await this.#responseOrLoss(this.#grantedLock.refresh(ttl).promise, signal)
  }

  /**
   * Changes the value that the leader of an election publishes. Only the subclass `Leadership`
   * calls this method.
   *
   * @param value JSON text; undefined to publish no value
   */
  protected async changeValue(value: string | undefined): Promise<void> {
    if (!this.held) throw this.#notHeldError()
    await this.#responseOrLoss(this.#grantedLock.proclaim(value))
  }

  /**
   * Makes a shared lock exclusive, as soon as the lock is the only lock of its key. The upgrade
   * precedes all requests that wait for the key. The lock stays shared until the upgrade is
   * granted, and then has a higher fence. While an upgrade waits, the broker grants no other lock
   * of the key.
   *
   * The ttl is not restarted. After an abort or a timeout the lock is shared as before. If the
   * broker grants the upgrade before the client's cancellation arrives, the client downgrades the
   * lock, which then has a higher fence.
   *
   * Rejects with one of these codes:
   * - `DEADLOCK`: another lock of the key is being upgraded, so each upgrade would wait for the
   *   other. Unlock this lock, and then lock again.
   * - `INVALID_OPTION`: an option is invalid, another upgrade of this lock waits, or the mode
   *   cannot change. The mode cannot change if the lock is exclusive already, has permits or
   *   several keys, is a leadership, or comes from `singleflightLock`.
   * - `LOCK_HELD` (with `timeout: 0`), `LOCK_TIMEOUT`, `ABORTED`, `LOCK_NOT_HELD`, `FORBIDDEN` or
   *   `INVALID_TIMEOUT`.
   */
  async upgrade(options: UpgradeOptions = {}): Promise<void> {
    const { timeout, signal } = checkUpgrade(options)
    if (!this.held) throw this.#notHeldError()
    this.#checkModeChange('exclusive')
    throwIfAborted(signal, this.key)
    const request = new UpgradeRequest(this.#grantedLock, timeout)
    const send = async () => {
      // While the call waited for its turn in the scope, the lock may have ended.
      if (!this.held) throw this.#notHeldError()
      request.submit()
      const stopListening = onAbort(signal, (error) => request.giveUp(error))
      const settled = this.#responseOrLoss(request.promise).catch((error) => {
        // The client treats a lock as lost earlier than the broker does. So the upgrade may still
        // wait at the broker, and the client cancels the upgrade.
        if (this.#currentLoss !== undefined) request.giveUp(this.#notHeldError())
        throw error
      })
      return settled.finally(stopListening)
    }
    await (this.#scope === undefined ? send() : this.#scope.inTurn(signal, timeout, send))
  }

  /**
   * Makes an exclusive lock shared. The broker does this immediately, and then grants the shared
   * requests that come next in the queue. The fence and the ttl stay as they are.
   *
   * Rejects with `LOCK_NOT_HELD`, or with `INVALID_OPTION` for a lock that is shared already, has
   * permits or several keys, is a leadership or comes from `singleflightLock`.
   */
  async downgrade(): Promise<void> {
    if (!this.held) throw this.#notHeldError()
    this.#checkModeChange('shared')
    const request = new DowngradeRequest(this.#grantedLock)
    this.#grantedLock.submit(request)
    await this.#responseOrLoss(request.promise)
  }

  #checkModeChange(newMode: LockMode): void {
    const obstacle = this.#isSingleflight ? 'several callers may share this lock' : undefined
    checkModeChange(this.#grantedLock, newMode, obstacle)
  }

  /** Waits for the response to a request about this lock. Rejects earlier if the lock is lost. */
  #responseOrLoss(response: Promise<void>, signal?: AbortSignal): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      const onEnd = () => {
        // After an unlock, the broker still answers the request. After a loss, an answer may never
        // come.
        if (this.#currentLoss !== undefined) reject(this.#notHeldError())
      }
      const stopListening = onAbort(signal, (error) => reject(withKey(this.key, error)))
      // Removes the listeners before the caller gets the outcome.
      const onSettled = () => {
        stopListening()
        this.#removeEndListener(onEnd)
        response.then(resolve, reject)
      }
      this.#addEndListener(onEnd)
      response.then(onSettled, onSettled)
    })
  }

  /**
   * Refreshes the lock every `interval` ms until the lock is unlocked, and then resolves. Each
   * refresh may take `timeout` ms. The sum of `interval` and `timeout` must be below the lock's
   * ttl. By default `interval` and `timeout` are each a third of the lock's present ttl.
   *
   * In a hidden tab a refresh may be late, because browsers delay the timers of such a tab. The
   * client then refreshes when the broker asks the client for a sign of life. The broker asks after
   * half the lease. The lease is how long the broker keeps a session without hearing from its
   * client.
   *
   * A caller need not await the promise: an unhandled rejection is not reported, and `signal`
   * reports the loss. Rejects with one of these codes:
   * - `LOCK_LOST` when the lock is lost; `LOCK_NOT_HELD` if the lock was lost before the call.
   * - `LOCK_NOT_HELD` or `LOCK_TIMEOUT`: the error of the first refresh that fails.
   * - `INVALID_INTERVAL`, also if `options` is absent and the lock has no ttl.
   * - `INVALID_TIMEOUT` or `INVALID_OPTION`.
   */
  autoRefresh(options?: AutoRefreshOptions): Promise<void> {
    const refreshing = this.#autoRefresh(options)
    refreshing.catch(() => {})
    return refreshing
  }

  async #autoRefresh(options: AutoRefreshOptions | undefined): Promise<void> {
    const checkedOptions = checkAutoRefresh(options, this.#grantedLock.ttl)
    if (!this.held) {
      if (this.#currentLoss !== undefined) throw this.#notHeldError()
      return
    }
    // Always assigned below: `refreshPeriodically` calls its last argument before it returns.
    let onLockEnded: () => void
    const refreshing = refreshPeriodically(this.#grantedLock, checkedOptions, (end) => {
      // After an unlock, `#reportedLoss` is undefined, so `refreshing` resolves.
      onLockEnded = () => end(this.#reportedLoss)
      this.#addEndListener(onLockEnded)
    })
    return refreshing.finally(() => this.#removeEndListener(onLockEnded))
  }

  /**
   * Unlocks the lock; from this call on `held` is false. A second call returns the promise of the
   * first call. If the connection is gone, the promise settles later: when the broker has confirmed
   * the unlock, or when the session ends. The end of a session releases its locks.
   *
   * Rejects with `LOCK_NOT_HELD` if the lock was lost before (`cause` says why). A caller need not
   * await the promise: an unhandled rejection is not reported.
   */
  unlock(): Promise<void> {
    this.#unlocking ??= this.#unlock()
    return this.#unlocking
  }

  /**
   * Internal. Ends this handle, because its scope has ended and releases the lock.
   *
   * @param released Resolves when the broker has released the locks of the scope.
   */
  endWithScope(released: Promise<void>): void {
    if (this.#unlocking !== undefined || this.#currentLoss !== undefined) return
    this.#unlocking = released
    this.#grantedLock.forgetHandle(this)
    this.#end()
  }

  /** Like `unlock`, but does not reject if the lock was lost. */
  async [asyncDispose](): Promise<void> {
    try {
      await this.unlock()
    } catch (error) {
      if (!(error instanceof HoldfastError && error.code === 'LOCK_NOT_HELD')) throw error
    }
  }

  #unlock(): Promise<void> {
    this.#grantedLock.scheduler.runExpired()
    if (this.#currentLoss !== undefined) {
      const rejection = Promise.reject(this.#notHeldError())
      rejection.catch(() => {})
      return rejection
    }
    const unlocking = this.#grantedLock.unlockHandle(this)
    this.#end()
    return unlocking
  }

  /**
   * The loss of the lock, or undefined. If many locks are lost together, all of them are marked as
   * lost before the first handle is informed. So the granted lock may know the loss before this
   * handle does. A loss after `unlock` does not count.
   */
  get #currentLoss(): HoldfastError | undefined {
    return (
      this.#reportedLoss ??
      (this.#unlocking === undefined ? this.#grantedLock.lossError : undefined)
    )
  }

  /** Internal. Called when the lock is lost. */
  onLost(error: HoldfastError): void {
    this.#reportedLoss = error
    this.#abortController?.abort(error)
    this.#end()
  }

  /** Calls the end listeners once. */
  #end(): void {
    const listeners = this.#endListeners
    this.#endListeners = noListeners
    for (const listener of listeners) listener()
    this.#scope?.onEnded()
  }

  #addEndListener(listener: () => void): void {
    this.#endListeners = [...this.#endListeners, listener]
  }

  #removeEndListener(listener: () => void): void {
    this.#endListeners = this.#endListeners.filter((other) => other !== listener)
  }

  #notHeldError(): HoldfastError {
    const cause = this.#currentLoss
    // The first spread copies `reason` and `note` of the loss.
    const errorOptions = { ...cause, ...(cause && { cause }), key: this.key }
    return new HoldfastError('LOCK_NOT_HELD', cause?.message, errorOptions)
  }
}

/**
 * Refreshes the lock until a refresh fails or the caller calls `end`. The interval counts from the
 * sending of one refresh to the sending of the next. A refresh that takes longer than the timeout
 * fails. So the ttl, which is longer than interval plus timeout, passes only if a refresh fails.
 *
 * @param onStart Called once, at the start, with the function `end`. The caller must call
 *   `end(undefined)` when the lock is unlocked, and `end(loss)` when the lock is lost.
 */
function refreshPeriodically(
  grantedLock: GrantedLock,
  { interval, timeout }: AutoRefreshOptions,
  onStart: (end: (error: unknown) => void) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const { scheduler } = grantedLock
    /** When the last refresh was sent; before the first refresh, when the first interval began. */
    let sentAt = scheduler.monotonic()
    let isRefreshing = false
    let isEnded = false
    const end = (error: unknown) => {
      isEnded = true
      scheduler.cancel(task)
      if (error === undefined) resolve()
      else reject(error)
    }
    const scheduleNext = () => {
      isRefreshing = false
      if (!isEnded) scheduler.at(task, sentAt + interval)
    }
    // The task runs when the interval has passed. During a refresh, the task runs when the timeout
    // of the refresh has passed.
    const onDue = () => {
      if (isRefreshing) {
        end(new HoldfastError('LOCK_TIMEOUT', undefined, { key: grantedLock.key }))
        return
      }
      sentAt = scheduler.monotonic()
      isRefreshing = true
      scheduler.after(task, timeout)
      grantedLock.refresh(undefined).promise.then(scheduleNext, end)
    }
    const task: Task = { onDue }
    onStart(end)
    scheduleNext()
  })
}
