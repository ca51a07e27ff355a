/** A lock in a caller's hands. */
import { HoldfastError, type LockMode } from '@holdfast/shared'
import {
  type AutoRefreshOptions,
  checkAutoRefresh,
  checkRefresh,
  type RefreshOptions,
} from '../options.js'
import { onAbort, refuseAborted } from '../platform/callbacks.js'
import { asyncDispose } from '../platform/disposal.js'
import { about } from '../requests/errorOf.js'
import { refreshPeriodically } from './autoRefresh.js'
import type { GrantedLock, LossListener } from './grantedLock.js'

export class Lock {
  readonly #grantedLock: GrantedLock
  readonly #member: LossListener = (error) => this.#onLost(error)
  #controller: AbortController | undefined
  /** Set when this handle was told, or was made too late for that. */
  #lost: HoldfastError | undefined
  #unlocked: Promise<void> | undefined
  /** Called once, when it is unlocked or lost. */
  #onEnd: (() => void)[] = []

  /** Locks come from a session. */
  constructor(grant: GrantedLock) {
    this.#grantedLock = grant
    this.#lost = grant.lost
    if (this.#lost === undefined) grant.join(this.#member)
  }

  get key(): string {
    return this.#grantedLock.key
  }

  get mode(): LockMode {
    return this.#grantedLock.mode
  }

  /** The fencing token: rises with every grant. Let the protected resource refuse lower ones. */
  get fence(): number {
    return this.#grantedLock.fence
  }

  /**
   * Whether the lock is held at this moment. Looks at the clock, synchronously: it is false before
   * anybody else can be granted the lock, even if this process was stopped meanwhile.
   */
  get held(): boolean {
    this.#grantedLock.expireDue()
    return this.#unlocked === undefined && this.#loss === undefined
  }

  /**
   * Aborted when the lock is lost, with a `HoldfastError` `LOCK_LOST` as its reason; not by
   * `unlock`.
   */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      if (this.#loss !== undefined) this.#controller.abort(this.#loss)
    }
    return this.#controller.signal
  }

  /** Why the lock was lost, if it was: `LOCK_LOST` with a `reason`. */
  get lost(): HoldfastError | undefined {
    this.#grantedLock.expireDue()
    return this.#loss
  }

  /**
   * Starts the ttl anew, with a new one (in ms, 1 to 2^31 - 1) if given. Without any ttl it
   * verifies that the lock is held.
   *
   * Rejects with `LOCK_NOT_HELD` (`cause` says why, if it was lost), `ABORTED`, `INVALID_TTL`,
   * `INVALID_OPTION`.
   */
  async refresh(ttl?: number, options: RefreshOptions = {}): Promise<void> {
    checkRefresh(ttl, options)
    const { signal } = options
    if (!this.held) throw this.#notHeld()
    refuseAborted(signal, this.key)
    const request = this.#grantedLock.refresh(ttl)
    await new Promise<void>((resolve, reject) => {
      const onEnd = () => {
        // The answer to a refresh comes before that to a later unlock; a loss is the end of both.
        if (this.#loss !== undefined) reject(this.#notHeld())
      }
      const stopListening = onAbort(signal, (error) => reject(about(this.key, error)))
      const settle = () => {
        stopListening()
        this.#forget(onEnd)
        request.promise.then(resolve, reject)
      }
      this.#onEnd.push(onEnd)
      request.promise.then(settle, settle)
    })
  }

  /**
   * Refreshes the lock every `interval` ms until it is unlocked, and resolves then. Each refresh
   * may take `timeout` ms. Both together must be below the lock's ttl. Without options each is a
   * third of the ttl that the lock has now. In a hidden tab, where timers hardly run, a refresh may
   * be late by up to a third of the session's lease.
   *
   * Rejects with the error of the first refresh that fails (`LOCK_NOT_HELD`, `LOCK_TIMEOUT`), with
   * `LOCK_LOST` when the lock is lost, `INVALID_INTERVAL` (also without options for a lock
   * without a ttl), `INVALID_TIMEOUT`, `INVALID_OPTION`. It need not be awaited: a rejection
   * that is not handled is not reported, and `signal` tells of the loss.
   */
  autoRefresh(options?: AutoRefreshOptions): Promise<void> {
    const running = this.#autoRefresh(options)
    running.catch(() => {})
    return running
  }

  async #autoRefresh(options: AutoRefreshOptions | undefined): Promise<void> {
    const pace = checkAutoRefresh(options, this.#grantedLock.ttl.ttl)
    if (!this.held) {
      if (this.#loss !== undefined) throw this.#notHeld()
      return
    }
    let onEnd: () => void
    const running = refreshPeriodically(this.#grantedLock, pace, (end) => {
      onEnd = () => end(this.#lost)
      this.#onEnd.push(onEnd)
    })
    return running.finally(() => this.#forget(onEnd))
  }

  /**
   * Gives the lock back; from this call on `held` is false. A second call has the outcome of the
   * first. While the connection is gone it settles when the broker has confirmed, or when the end
   * of the session has made it moot.
   *
   * Rejects with `LOCK_NOT_HELD` if the lock was lost before (`cause` says why). It need not be
   * awaited: a rejection that nobody handles is not reported.
   */
  unlock(): Promise<void> {
    this.#unlocked ??= this.#unlock()
    return this.#unlocked
  }

  /** Unlocks, and does not mind if the lock was lost. */
  async [asyncDispose](): Promise<void> {
    try {
      await this.unlock()
    } catch (error) {
      if (!(error instanceof HoldfastError && error.code === 'LOCK_NOT_HELD')) throw error
    }
  }

  #unlock(): Promise<void> {
    this.#grantedLock.expireDue()
    if (this.#loss !== undefined) {
      const refused = Promise.reject(this.#notHeld())
      refused.catch(() => {})
      return refused
    }
    const left = this.#grantedLock.leave(this.#member)
    this.#end()
    return left
  }

  /** A loss is known before this handle is told: many may be lost at once. */
  get #loss(): HoldfastError | undefined {
    return this.#lost ?? (this.#unlocked === undefined ? this.#grantedLock.lost : undefined)
  }

  #onLost(error: HoldfastError): void {
    this.#lost = error
    this.#controller?.abort(error)
    this.#end()
  }

  #end(): void {
    for (const listener of this.#onEnd.splice(0)) listener()
  }

  #forget(listener: () => void): void {
    this.#onEnd = this.#onEnd.filter((other) => other !== listener)
  }

  #notHeld(): HoldfastError {
    const cause = this.#loss
    // What was lost says why, in the same members.
    const details = { ...cause, ...(cause && { cause }), key: this.key }
    return new HoldfastError('LOCK_NOT_HELD', cause?.message, details)
  }
}
