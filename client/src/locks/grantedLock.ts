/**
 * One granted lock of a session: until when the session may take it for held, and which handles it
 * has.
 *
 * A caller gets a handle (`Lock`). Usually a lock has one handle; callers who shared a request get
 * one handle each, and the lock is unlocked with the last of them.
 */
import type { HoldfastError, LockMode, LossReason } from '@holdfast/shared'
import { callSafely } from '../platform/callbacks.js'
import type { Scheduler, Task } from '../platform/scheduler.js'
import type { RefreshableLock, RefreshRequest } from '../requests/requests.js'
import { type Expiry, TtlExpiry } from './expiry.js'
import type { HoldTrace } from './tracing.js'

/** The locks of the session, as one lock needs them. */
export interface GrantedLockOwner {
  readonly scheduler: Scheduler
  unlock(lock: GrantedLock): Promise<void>
  refresh(lock: GrantedLock, ttl: number | undefined): RefreshRequest
  lose(locks: readonly GrantedLock[], reason?: LossReason): void
}

/** Is told when the lock is lost, unless the handle was unlocked before. */
export type LossListener = (error: HoldfastError) => void

export class GrantedLock implements Task, RefreshableLock {
  readonly key: string
  readonly mode: LockMode
  readonly fence: number
  readonly #ttl = new TtlExpiry()
  readonly #owner: GrantedLockOwner
  readonly #lossListeners: LossListener[] = []
  /** Is told about the end of the lock, if the session has a tracer. */
  trace: HoldTrace | undefined
  #lost: HoldfastError | undefined
  /** Whether the lock was lost, or unlocked by its last handle. */
  #isOver = false

  constructor(owner: GrantedLockOwner, key: string, mode: LockMode, fence: number) {
    this.#owner = owner
    this.key = key
    this.mode = mode
    this.fence = fence
  }

  get scheduler(): Scheduler {
    return this.#owner.scheduler
  }

  get tableId(): number {
    return this.fence
  }

  /** Why the lock was lost; undefined while the session may take it for held. */
  get lost(): HoldfastError | undefined {
    return this.#lost
  }

  addHandle(listener: LossListener): void {
    this.#lossListeners.push(listener)
  }

  /** Removes a handle. The last handle unlocks the lock; for the others the promise is resolved. */
  removeHandle(listener: LossListener): Promise<void> {
    const index = this.#lossListeners.indexOf(listener)
    if (index >= 0) this.#lossListeners.splice(index, 1)
    if (this.#lossListeners.length > 0) return Promise.resolve()
    this.#end(undefined)
    return this.#owner.unlock(this)
  }

  refresh(ttl: number | undefined): RefreshRequest {
    return this.#owner.refresh(this, ttl)
  }

  /**
   * Marks the lock as lost. The caller calls `notifyLoss` once all locks that are lost at the same
   * time are marked.
   */
  lose(error: HoldfastError): void {
    this.#lost ??= error
    this.#end(error)
  }

  notifyLoss(): void {
    for (const listener of this.#lossListeners) listener(this.#lost!)
  }

  /** The expiry has passed. */
  run(): void {
    this.#owner.lose([this], 'expired')
  }

  /** The ttl that the broker has confirmed last, in ms; undefined if the lock does not expire. */
  get ttl(): number | undefined {
    return this.#ttl.ttl
  }

  /** Sets the ttl of a new lock, and its expiry. */
  startTtl(ttl: number, expiry: Expiry | undefined): void {
    this.#ttl.confirm(ttl, expiry)
    this.#updateExpiry()
  }

  /** The broker confirms the ttl after a resume, with another expiry. */
  confirmTtl(ttl: number, expiry: Expiry): void {
    this.#ttl.confirmAgain(ttl, expiry)
    this.#updateExpiry()
  }

  onRefreshSent(refresh: RefreshRequest): void {
    this.#ttl.begin(refresh)
    this.#updateExpiry()
  }

  onRefreshed(refresh: RefreshRequest): void {
    this.#ttl.succeed(refresh)
    this.#updateExpiry()
    // The client took the lock for lost, but the refresh began another ttl at the broker.
    if (this.#lost !== undefined) void this.#owner.unlock(this)
  }

  onRefreshFailed(refresh: RefreshRequest, { code }: HoldfastError): void {
    this.#ttl.abandon(refresh)
    this.#updateExpiry()
    if (code === 'LOCK_NOT_HELD') this.#owner.lose([this])
  }

  #updateExpiry(): void {
    if (this.#isOver) return
    const { expiry } = this.#ttl
    if (expiry === undefined) this.scheduler.cancel(this)
    else this.scheduler.atExpiry(this, expiry)
  }

  #end(lost: HoldfastError | undefined): void {
    this.#isOver = true
    this.scheduler.cancel(this)
    const { trace } = this
    this.trace = undefined
    if (trace !== undefined) callSafely(() => trace.ended(lost))
  }
}
