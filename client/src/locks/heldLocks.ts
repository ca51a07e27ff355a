/** The locks that a session takes for held, and the ways in which it loses them. */
import { type HeldItem, HoldfastError, type LossReason } from '@holdfast/shared'
import { IdTable } from '@holdfast/shared/idTable'
import type { Scheduler } from '../platform/scheduler.js'
import type { PendingRequests } from '../requests/pendingRequests.js'
import {
  type LockKeeper,
  type LockRequest,
  RefreshRequest,
  UnlockRequest,
} from '../requests/requests.js'
import {
  type ClockSample,
  type Expiry,
  earlier,
  expiryBySample,
  expiryFrom,
  isPossible,
  later,
} from './expiry.js'
import { GrantedLock, type GrantedLockOwner } from './grantedLock.js'

const lossTexts: Record<LossReason, string> = {
  expired: 'its ttl ran out',
  stolen: 'another request stole it',
  revoked: 'an operator revoked it',
}

export class HeldLocks implements GrantedLockOwner, LockKeeper<GrantedLock> {
  readonly scheduler: Scheduler
  readonly #pendingRequests: PendingRequests
  readonly #onLost: (lock: GrantedLock) => void
  /** By fence. */
  readonly #locks = new IdTable<GrantedLock>()
  /**
   * The newest clock sample, for the expiry of ttls. It must be of the present connection, because
   * times of different brokers cannot be compared.
   */
  clockSample: ClockSample | undefined

  constructor(
    scheduler: Scheduler,
    pendingRequests: PendingRequests,
    onLost: (lock: GrantedLock) => void,
  ) {
    this.scheduler = scheduler
    this.#pendingRequests = pendingRequests
    this.#onLost = onLost
  }

  get all(): readonly GrantedLock[] {
    return this.#locks.values()
  }

  get(fence: number): GrantedLock | undefined {
    return this.#locks.get(fence)
  }

  /** Adds a granted lock; `at` is the broker's time at which the ttl began. */
  hold(request: LockRequest<GrantedLock>, fence: number, at: number | undefined): GrantedLock {
    const { key, mode, ttl } = request.params
    const lock = new GrantedLock(this, key, mode, fence)
    this.#locks.add(lock)
    if (ttl !== undefined) lock.startTtl(ttl, this.#expiryOf(request, ttl, at))
    return lock
  }

  /** The broker confirms after a resume that the session still holds this lock. */
  confirm(lock: GrantedLock, { ttl, at }: Pick<HeldItem, 'ttl' | 'at'>): void {
    if (ttl === undefined) return
    const expiry = this.#expiryByBroker(ttl, at)
    if (expiry !== undefined) lock.confirmTtl(ttl, expiry)
  }

  unlock(lock: GrantedLock): Promise<void> {
    this.#locks.remove(lock)
    return this.unlockFence(lock.fence, lock.key)
  }

  /** Unlocks a lock by its fence; without a key, no caller of this session wants the lock. */
  unlockFence(fence: number, key?: string): Promise<void> {
    const request = new UnlockRequest(fence, key)
    this.#pendingRequests.add(request)
    return request.promise
  }

  refresh(lock: GrantedLock, ttl: number | undefined): RefreshRequest {
    const request = new RefreshRequest(lock, ttl)
    this.#pendingRequests.add(request)
    return request
  }

  /**
   * The session has lost these locks.
   *
   * @param reason Undefined if the locks are gone at the broker, and the broker did not say why.
   * @param note The operator's reason for a revocation.
   */
  lose(locks: readonly GrantedLock[], reason?: LossReason, note?: string): void {
    this.#lose(locks, ({ key, ttl }) => {
      const lossReason = reason ?? likelyReason(ttl)
      const text = `the lock was lost: ${lossTexts[lossReason]}`
      const message = note === undefined ? text : `${text}: ${note}`
      return new HoldfastError('LOCK_LOST', message, { key, reason: lossReason, note })
    })
  }

  /** All locks are lost with their session. */
  loseAll(message: string, cause?: HoldfastError): void {
    const options = { reason: 'session', ...(cause && { cause }) } as const
    this.#lose(this.all, ({ key }) => new HoldfastError('LOCK_LOST', message, { ...options, key }))
  }

  /** Marks all of the locks as lost before any listener is called. */
  #lose(locks: readonly GrantedLock[], errorFor: (lock: GrantedLock) => HoldfastError): void {
    const lost = locks.filter((lock) => this.get(lock.fence) === lock)
    for (const lock of lost) {
      this.#locks.remove(lock)
      lock.lose(errorFor(lock))
    }
    for (const lock of lost) lock.notifyLoss()
    for (const lock of lost) this.#onLost(lock)
  }

  /**
   * The later of two expiries that are both right: the ttl began after the request was sent, and it
   * began at `at` by the broker's clock.
   */
  #expiryOf(request: LockRequest, ttl: number, at: number | undefined): Expiry | undefined {
    const bySending = request.sentAt && expiryFrom(request.sentAt, ttl)
    const byBroker = this.#expiryByBroker(ttl, at)
    if (bySending === undefined || byBroker === undefined) return bySending ?? byBroker
    return later(bySending, byBroker)
  }

  /**
   * The expiry by the broker's clock. A time that cannot have come yet proves nothing. A ttl that
   * has begun cannot last longer than a ttl that begins now.
   */
  #expiryByBroker(ttl: number, at: number | undefined): Expiry | undefined {
    const { clockSample } = this
    if (at === undefined || clockSample === undefined) return undefined
    const now = this.scheduler.now()
    if (!isPossible(clockSample, at, now)) return undefined
    return earlier(expiryBySample(clockSample, at, ttl), expiryFrom(now, ttl))
  }
}

/** The likely reason of a loss that the broker did not report, because the connection was gone. */
export function likelyReason(ttl: number | undefined): LossReason {
  return ttl === undefined ? 'stolen' : 'expired'
}
