/** A caller's handle on a lock, and the periodic refresh of a lock. */
import { HoldfastError, type LockMode } from '@holdfast/shared'
import { asyncDispose, onAbort, throwIfAborted } from '../platform/callbacks.js'
import type { Task } from '../platform/scheduler.js'
import { withKey } from '../requests/requests.js'
import type { GrantedLock, LossListener } from './grantedLock.js'
import {
  type AutoRefreshOptions,
  checkAutoRefresh,
  checkRefresh,
  type RefreshOptions,
} from './options.js'

export class Lock {
  readonly #grantedLock: GrantedLock
  readonly #lossListener: LossListener = (error) => this.#onLost(error)
  #controller: AbortController | undefined
  /** Set when this handle is told about the loss, or was made after the loss. */
  #lost: HoldfastError | undefined
  #unlocked: Promise<void> | undefined
  /** Called once, when the lock is unlocked or lost. */
  #endListeners: (() => void)[] = []

  /** Internal: a session makes locks. */
  constructor(grantedLock: GrantedLock) {
    this.#grantedLock = grantedLock
    this.#lost = grantedLock.lost
    if (this.#lost === undefined) grantedLock.addHandle(this.#lossListener)
  }

  get key(): string {
    return this.#grantedLock.key
  }

  get mode(): LockMode {
    return this.#grantedLock.mode
  }

  /**
   * The fencing token, which rises with every grant. A protected resource must refuse lower ones.
   */
  get fence(): number {
    return this.#grantedLock.fence
  }

  /**
   * Whether the lock is held at this moment. Reads the clock, so the value is false before another
   * session can be granted the lock, even if this process was stopped meanwhile.
   */
  get held(): boolean {
    this.#grantedLock.scheduler.expireDue()
    return this.#unlocked === undefined && this.#loss === undefined
  }

  /**
   * Aborted when the lock is lost, with a `HoldfastError` `LOCK_LOST` as its reason. `unlock` does
   * not abort it.
   */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      if (this.#loss !== undefined) this.#controller.abort(this.#loss)
    }
    return this.#controller.signal
  }

  /** `LOCK_LOST` with a `reason` if the lock was lost; otherwise undefined. */
  get lost(): HoldfastError | undefined {
    this.#grantedLock.scheduler.expireDue()
    return this.#loss
  }

  /**
   * Starts the ttl anew; with an argument, starts a new ttl (in ms, 1 to 2^31 - 1). For a lock
   * without a ttl, `refresh()` verifies that the lock is held.
   *
   * Rejects with `LOCK_NOT_HELD` (if the lock was lost, `cause` says why), `ABORTED`,
   * `INVALID_TTL`, `INVALID_OPTION`.
   */
  async refresh(ttl?: number, options: RefreshOptions = {}): Promise<void> {
    checkRefresh(ttl, options)
    const { signal } = options
    if (!this.held) throw this.#notHeld()
    throwIfAborted(signal, this.key)
    const request = this.#grantedLock.refresh(ttl)
    await new Promise<void>((resolve, reject) => {
      const onEnd = () => {
        // After an unlock the response to the refresh still arrives, but not after a loss.
        if (this.#loss !== undefined) reject(this.#notHeld())
      }
      const stopListening = onAbort(signal, (error) => reject(withKey(this.key, error)))
      const settle = () => {
        stopListening()
        this.#removeEndListener(onEnd)
        request.promise.then(resolve, reject)
      }
      this.#endListeners.push(onEnd)
      request.promise.then(settle, settle)
    })
  }

  /**
   * Refreshes the lock every `interval` ms until the lock is unlocked, and then resolves. Each
   * refresh may take `timeout` ms. Both together must be below the lock's ttl. Without options each
   * is a third of the lock's present ttl. In a hidden tab, where timers hardly run, a refresh may
   * be late by up to a third of the session's lease.
   *
   * Rejects with the error of the first refresh that fails (`LOCK_NOT_HELD`, `LOCK_TIMEOUT`), with
   * `LOCK_LOST` when the lock is lost, `INVALID_INTERVAL` (also without options for a lock
   * without a ttl), `INVALID_TIMEOUT`, `INVALID_OPTION`. A caller need not await the promise: an
   * unhandled rejection is not reported, and `signal` reports the loss.
   */
  autoRefresh(options?: AutoRefreshOptions): Promise<void> {
    const running = this.#autoRefresh(options)
    running.catch(() => {})
    return running
  }

  async #autoRefresh(options: AutoRefreshOptions | undefined): Promise<void> {
    const checked = checkAutoRefresh(options, this.#grantedLock.ttl)
    if (!this.held) {
      if (this.#loss !== undefined) throw this.#notHeld()
      return
    }
    let onEnd: () => void
    const running = refreshPeriodically(this.#grantedLock, checked, (end) => {
      onEnd = () => end(this.#lost)
      this.#endListeners.push(onEnd)
    })
    return running.finally(() => this.#removeEndListener(onEnd))
  }

  /**
   * Unlocks the lock; from this call on `held` is false. A second call has the outcome of the
   * first. While the connection is gone, the promise settles when the broker has confirmed the
   * unlock, or when the session ends, which releases the lock too.
   *
   * Rejects with `LOCK_NOT_HELD` if the lock was lost before (`cause` says why). A caller need not
   * await the promise: an unhandled rejection is not reported.
   */
  unlock(): Promise<void> {
    this.#unlocked ??= this.#unlock()
    return this.#unlocked
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
    this.#grantedLock.scheduler.expireDue()
    if (this.#loss !== undefined) {
      const refused = Promise.reject(this.#notHeld())
      refused.catch(() => {})
      return refused
    }
    const unlocked = this.#grantedLock.removeHandle(this.#lossListener)
    this.#end()
    return unlocked
  }

  /**
   * The loss of the lock. Many locks may be lost at once, and all of them are marked as lost before
   * their handles are told.
   */
  get #loss(): HoldfastError | undefined {
    return this.#lost ?? (this.#unlocked === undefined ? this.#grantedLock.lost : undefined)
  }

  #onLost(error: HoldfastError): void {
    this.#lost = error
    this.#controller?.abort(error)
    this.#end()
  }

  #end(): void {
    for (const listener of this.#endListeners.splice(0)) listener()
  }

  #removeEndListener(listener: () => void): void {
    this.#endListeners = this.#endListeners.filter((other) => other !== listener)
  }

  #notHeld(): HoldfastError {
    const cause = this.#loss
    // The spread copies the reason of the loss.
    const details = { ...cause, ...(cause && { cause }), key: this.key }
    return new HoldfastError('LOCK_NOT_HELD', cause?.message, details)
  }
}

/**
 * Refreshes the lock until a refresh fails or `end` is called. The interval counts from the sending
 * of one refresh to the sending of the next, so that a ttl must only cover interval plus timeout.
 *
 * @param onStart Receives `end`, for the end of the lock: without an error if the lock was
 *   unlocked, with the loss if it was lost.
 */
function refreshPeriodically(
  lock: GrantedLock,
  { interval, timeout }: AutoRefreshOptions,
  onStart: (end: (error: unknown) => void) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const { scheduler } = lock
    let startedAt = scheduler.monotonic()
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
      if (!isEnded) scheduler.at(task, startedAt + interval)
    }
    const run = () => {
      if (isRefreshing) {
        end(new HoldfastError('LOCK_TIMEOUT', undefined, { key: lock.key }))
        return
      }
      startedAt = scheduler.monotonic()
      isRefreshing = true
      scheduler.after(task, timeout)
      lock.refresh(undefined).promise.then(scheduleNext, end)
    }
    const task: Task = { run }
    onStart(end)
    scheduleNext()
  })
}
