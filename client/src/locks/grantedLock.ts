/**
 * One grant, as the session keeps it: until when it may be believed in, and who here uses it.
 *
 * What callers get are handles (`Lock`) on it. Usually there is one; callers who shared a request
 * have one each, and the last of them to leave gives the lock back.
 */
import type { HoldfastError, LockMode } from '@holdfast/shared'
import { callSafely } from '../platform/callSafely.js'
import type { Scheduler, Task } from '../platform/scheduler.js'
import type { RefreshRequest } from '../requests/requests.js'
import type { HoldTrace } from './tracing.js'
import { type Refreshing, TtlExpiry } from './ttlExpiry.js'

/** What a grant needs of the session that it belongs to. */
export interface GrantedLockOwner {
  readonly scheduler: Scheduler
  unlock(grant: GrantedLock): Promise<void>
  refresh(grant: GrantedLock, ttl: number | undefined): RefreshRequest
  /** The ttl may be over at the broker. */
  expire(grant: GrantedLock): void
}

/** Told when the grant is lost, unless it left before. */
export type LossListener = (error: HoldfastError) => void

export class GrantedLock implements Task {
  readonly key: string
  readonly mode: LockMode
  readonly fence: number
  readonly ttl = new TtlExpiry()
  readonly #owner: GrantedLockOwner
  readonly #lossListeners: LossListener[] = []
  /** Told of the end, if somebody traces. */
  trace: HoldTrace | undefined
  #lost: HoldfastError | undefined
  /** Lost, or given back by the last who had it. */
  #isOver = false

  constructor(owner: GrantedLockOwner, key: string, mode: LockMode, fence: number) {
    this.#owner = owner
    this.key = key
    this.mode = mode
    this.fence = fence
  }

  get schedule(): Scheduler {
    return this.#owner.scheduler
  }

  get tableId(): number {
    return this.fence
  }

  /** Why it was lost; undefined while it may be believed in. */
  get lost(): HoldfastError | undefined {
    return this.#lost
  }

  /** Finds out about losses that are due, whether or not their timer has come. */
  expireDue(): void {
    this.schedule.expireDue()
  }

  join(member: LossListener): void {
    this.#lossListeners.push(member)
  }

  /** The last to leave gives the lock back; the others are done at once. */
  leave(member: LossListener): Promise<void> {
    const place = this.#lossListeners.indexOf(member)
    if (place >= 0) this.#lossListeners.splice(place, 1)
    if (this.#lossListeners.length > 0) return Promise.resolve()
    this.#end(undefined)
    return this.#owner.unlock(this)
  }

  refresh(ttl: number | undefined): RefreshRequest {
    return this.#owner.refresh(this, ttl)
  }

  /** Marks it lost; `tell` follows, once everything that is lost with it is marked too. */
  lose(error: HoldfastError): void {
    this.#lost ??= error
    this.#end(error)
  }

  notifyLoss(): void {
    for (const member of this.#lossListeners) member(this.#lost!)
  }

  /** The bound of the ttl has passed. */
  run(): void {
    this.#owner.expire(this)
  }

  onRefreshSent(refresh: Refreshing): void {
    this.ttl.begin(refresh)
    this.onExpiryChanged()
  }

  onRefreshed(refresh: Refreshing): void {
    this.ttl.succeed(refresh)
    this.onExpiryChanged()
    // Given up here, it has begun another ttl there, and nobody else could give it back.
    if (this.#lost !== undefined) void this.#owner.unlock(this)
  }

  onExpiryChanged(): void {
    if (this.#isOver) return
    const { bound } = this.ttl
    if (bound === undefined) this.schedule.cancel(this)
    else this.schedule.by(this, bound)
  }

  #end(lost: HoldfastError | undefined): void {
    this.#isOver = true
    this.schedule.cancel(this)
    const { trace } = this
    this.trace = undefined
    if (trace !== undefined) callSafely(() => trace.ended(lost))
  }
}
