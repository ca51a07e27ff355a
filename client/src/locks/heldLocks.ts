/**
 * The locks that a session believes to hold, and how it stops believing.
 */
import { type HeldItem, HoldfastError, type LossReason } from '@holdfast/shared'
import { IdTable } from '@holdfast/shared/idTable'
import type { Scheduler } from '../platform/scheduler.js'
import type { PendingRequests } from '../requests/pendingRequests.js'
import { type LockRequest, RefreshRequest, UnlockRequest } from '../requests/requests.js'
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

const sentences: Record<LossReason, string> = {
  expired: 'its ttl ran out',
  stolen: 'another request stole it',
  revoked: 'an operator revoked it',
}

export class HeldLocks implements GrantedLockOwner {
  readonly scheduler: Scheduler
  readonly #outbox: PendingRequests
  readonly #onLost: (grant: GrantedLock) => void
  /** By fence. */
  readonly #grantedLocks = new IdTable<GrantedLock>()
  /**
   * The newest known, for ttls. Of the present connection: the broker's times mean nothing beside
   * others.
   */
  exchange: ClockSample | undefined

  constructor(schedule: Scheduler, outbox: PendingRequests, onLost: (grant: GrantedLock) => void) {
    this.scheduler = schedule
    this.#outbox = outbox
    this.#onLost = onLost
  }

  get grants(): Pick<IdTable<GrantedLock>, 'get' | 'values'> {
    return this.#grantedLocks
  }

  /** The broker granted the request; `at` is when the ttl began to run there. */
  hold(request: LockRequest, fence: number, at: number | undefined): GrantedLock {
    const { key, mode, ttl } = request.terms
    const grant = new GrantedLock(this, key, mode, fence)
    this.#grantedLocks.add(grant)
    if (ttl !== undefined) {
      grant.ttl.confirm(ttl, this.#boundOf(request, ttl, at))
      grant.onExpiryChanged()
    }
    return grant
  }

  /** The broker says again that this lock is held. */
  confirm(grant: GrantedLock, { ttl, at }: Pick<HeldItem, 'ttl' | 'at'>): void {
    if (ttl === undefined) return
    const bound = this.#boundByClock(ttl, at)
    if (bound === undefined) return
    grant.ttl.confirmAgain(ttl, bound)
    grant.onExpiryChanged()
  }

  unlock(grant: GrantedLock): Promise<void> {
    this.#grantedLocks.remove(grant)
    return this.unlockFence(grant.fence, grant.key)
  }

  /** Gives back what nobody here wants. */
  unlockFence(fence: number, key?: string): Promise<void> {
    const request = new UnlockRequest(fence, key)
    this.#outbox.add(request)
    return request.promise
  }

  refresh(grant: GrantedLock, ttl: number | undefined): RefreshRequest {
    const request = new RefreshRequest(grant, ttl)
    this.#outbox.add(request)
    return request
  }

  /** The refresh came to nothing; if that is because the lock is gone, it is. */
  onRefreshFailed(request: RefreshRequest, error: HoldfastError): void {
    const { grant } = request
    grant.ttl.abandon(request)
    grant.onExpiryChanged()
    if (error.code === 'LOCK_NOT_HELD') this.lose([grant])
  }

  expire(grant: GrantedLock): void {
    this.lose([grant], 'expired')
  }

  /**
   * Without a reason they are gone at the broker, and we were not told why.
   *
   * @param note What the operator gave as the reason of a revocation.
   */
  lose(grants: readonly GrantedLock[], told?: LossReason, note?: string): void {
    this.#lose(grants, ({ key, ttl }) => {
      const reason = told ?? likelyReason(ttl.ttl)
      const sentence = `the lock was lost: ${sentences[reason]}`
      const message = note === undefined ? sentence : `${sentence}: ${note}`
      return new HoldfastError('LOCK_LOST', message, { key, reason, note })
    })
  }

  /** Everything goes with the session. */
  loseAll(sentence: string, cause?: HoldfastError): void {
    const options = { reason: 'session', ...(cause && { cause }) } as const
    this.#lose(
      this.#grantedLocks.values(),
      ({ key }) => new HoldfastError('LOCK_LOST', sentence, { ...options, key }),
    )
  }

  /** All of it is gone before anybody is told of any. */
  #lose(grants: readonly GrantedLock[], errorFor: (grant: GrantedLock) => HoldfastError): void {
    const lost = grants.filter((grant) => this.#grantedLocks.get(grant.fence) === grant)
    for (const grant of lost) {
      this.#grantedLocks.remove(grant)
      grant.lose(errorFor(grant))
    }
    for (const grant of lost) grant.notifyLoss()
    for (const grant of lost) this.#onLost(grant)
  }

  /** Two bounds are right: the ttl began after the request was sent, and it began at `at`. */
  #boundOf(request: LockRequest, ttl: number, at: number | undefined): Expiry | undefined {
    const bySending = request.sentAt && expiryFrom(request.sentAt, ttl)
    const byClock = this.#boundByClock(ttl, at)
    if (bySending === undefined || byClock === undefined) return bySending ?? byClock
    return later(bySending, byClock)
  }

  /**
   * By the broker's clock, as far as that can be true: a time that has not come yet proves nothing,
   * and a ttl that has begun does not last longer than one that begins now.
   */
  #boundByClock(ttl: number, at: number | undefined): Expiry | undefined {
    const { exchange } = this
    if (at === undefined || exchange === undefined) return undefined
    const now = this.scheduler.now()
    if (!isPossible(exchange, at, now)) return undefined
    return earlier(expiryBySample(exchange, at, ttl), expiryFrom(now, ttl))
  }
}

/** For a loss that the broker told of while we were not listening. */
export function likelyReason(ttl: number | undefined): LossReason {
  return ttl === undefined ? 'stolen' : 'expired'
}
