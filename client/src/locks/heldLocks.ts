/**
 * The locks that a session treats as held, and the ways in which the session loses locks.
 *
 * A fence is the number of a grant. A ttl is the time after which a lock expires, and a refresh
 * starts the ttl anew. The longest hold (`maxHold`) ends a lock even if the lock is refreshed. A
 * resume continues a session on a new connection.
 */
import { type BrokerLossReason, type HeldItem, HoldfastError } from '@holdfast/shared'
import { IdTable } from '@holdfast/shared/idTable'
import type { Scheduler } from '../platform/scheduler.js'
import { CompleteRequest } from '../requests/onceRequest.js'
import type { PendingRequests } from '../requests/pendingRequests.js'
import {
  type LockRegistry,
  type LockRequest,
  ProclaimRequest,
  RefreshRequest,
  type Request,
  UnlockRequest,
} from '../requests/requests.js'
import {
  type ClockSample,
  canHaveReached,
  type Expiry,
  earlier,
  expiryBySample,
  expiryFrom,
  hasPassed,
  later,
} from './expiry.js'
import { GrantedLock, type GrantedLockOwner } from './grantedLock.js'

const lossTexts: Record<BrokerLossReason, string> = {
  expired: 'its ttl ran out',
  maxHold: 'its maxHold ran out',
  stolen: 'another request stole it',
  revoked: 'an operator revoked it',
}

/**
 * A lock as the broker describes it. A `granted` message has only the fence and `at`, which is the
 * time when the ttl began, by the broker's clock. The snapshot, a list of the session's locks that
 * the broker sends after a resume, also has the ttl.
 */
export type BrokerLock = Pick<HeldItem, 'fence' | 'ttl' | 'at'>

/**
 * The `GrantedLock`s of a session. The class `HeldLock` is something else: it belongs to
 * `session.locks`, which imitates the Web Locks API.
 */
export class HeldLocks implements GrantedLockOwner, LockRegistry<GrantedLock> {
  readonly scheduler: Scheduler
  readonly #pendingRequests: PendingRequests
  readonly #onLost: (lock: GrantedLock) => void
  /** The locks by their fences. */
  readonly #locks = new IdTable<GrantedLock>()
  /**
   * The newest clock sample: when the client sent a message, and when the broker received this
   * message. The expiries of ttls are computed from the sample. The sample must be from the present
   * connection, because the clocks of different brokers cannot be compared.
   */
  clockSample: ClockSample | undefined
  /** The operator's limit of the longest hold, in ms; undefined without a limit. */
  maxHoldLimit: number | undefined

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

  /**
   * Adds a granted lock, and starts its ttl and its longest hold.
   * @param at When the ttl and the longest hold began, by the broker's clock; undefined if the
   *   broker did not say.
   */
  hold(request: LockRequest, fence: number, at: number | undefined): GrantedLock {
    const { params } = request
    const { ttl } = params
    const lock = new GrantedLock(this, params, fence)
    this.#locks.add(lock)
    if (ttl !== undefined) lock.startTtl(ttl, this.#expiryOf(request, ttl, at))
    const maxHold = this.#maxHoldOf(request)
    if (maxHold < Infinity) lock.startHold(this.#expiryOf(request, maxHold, at))
    return lock
  }

  /** The longest hold of a lock with these parameters, in ms; Infinity without a longest hold. */
  #maxHoldOf({ params }: LockRequest): number {
    return Math.min(params.limitAndCallbacks?.maxHold ?? Infinity, this.maxHoldLimit ?? Infinity)
  }

  /**
   * The likely reason of a loss, for a lock that was granted and lost while the connection was
   * gone. The time of the grant is unknown, so the longest hold counts from the sending of the
   * request.
   */
  likelyReasonOf(request: LockRequest): BrokerLossReason {
    const maxHold = this.#maxHoldOf(request)
    const expiry =
      maxHold < Infinity && request.sentAt ? expiryFrom(request.sentAt, maxHold) : undefined
    const isHoldOver = expiry !== undefined && hasPassed(expiry, this.scheduler.now())
    return likelyReason(request.params.ttl, isHoldOver)
  }

  /**
   * Call when the broker has confirmed, after a resume, that the session still holds this lock.
   * Takes only the ttl from the broker's snapshot. The mode and the present fence come from the
   * answers to upgrades and downgrades, which the broker repeats after a resume. The mode in the
   * snapshot may be older than such an answer, or may come from an upgrade whose caller has given
   * up.
   */
  confirm(lock: GrantedLock, { ttl, at }: BrokerLock): void {
    if (ttl === undefined) return
    const expiry = this.#expiryByBroker(ttl, at)
    if (expiry !== undefined) lock.confirmTtl(ttl, expiry)
  }

  /** Unlocks a lock; also sends the `completion` of the lock, if there is one. */
  unlock(lock: GrantedLock): Promise<void> {
    this.#locks.remove(lock)
    const { fence, key, completion } = lock
    return completion === undefined
      ? this.unlockFence(fence, key)
      : this.#unlock(new CompleteRequest(fence, key, completion))
  }

  /** @param key The key for the error of a failed unlock; undefined if no caller gets the error. */
  unlockFence(fence: number, key?: string): Promise<void> {
    return this.#unlock(new UnlockRequest(fence, key))
  }

  #unlock(request: UnlockRequest): Promise<void> {
    this.#pendingRequests.add(request)
    return request.promise
  }

  forget(lock: GrantedLock): void {
    this.#locks.remove(lock)
  }

  submit(request: Request<void>): void {
    this.#pendingRequests.add(request)
  }

  abandon(request: Request<void>): void {
    // A request that has a response already is not pending any more.
    if (this.#pendingRequests.get(request.id) === request) this.#pendingRequests.abandon(request)
  }

  refresh(lock: GrantedLock, ttl: number | undefined): RefreshRequest {
    const request = new RefreshRequest(lock, ttl)
    this.#pendingRequests.add(request)
    return request
  }

  /** @param value JSON text; undefined to publish no value */
  proclaim(lock: GrantedLock, value: string | undefined): Promise<void> {
    const request = new ProclaimRequest(lock, value)
    this.#pendingRequests.add(request)
    return request.promise
  }

  /**
   * Marks these locks as lost, and then calls their listeners.
   *
   * @param reason Undefined if the locks have ended at the broker and the broker did not say why.
   * @param note The operator's reason for a revocation.
   */
  lose(locks: readonly GrantedLock[], reason?: BrokerLossReason, note?: string): void {
    this.#lose(locks, ({ key, ttl }) => {
      // Without a reason from the broker, the longest hold is not the reason: before the client
      // handles a message, the client itself ends each lock whose longest hold is over.
      const lossReason = reason ?? likelyReason(ttl, /* isHoldOver */ false)
      const lossText = Object.hasOwn(lossTexts, lossReason)
        ? lossTexts[lossReason]
        : 'the broker is newer and has a reason that this client does not know'
      const text = `the lock was lost: ${lossText}`
      const message = note === undefined ? text : `${text}: ${note}`
      return new HoldfastError('LOCK_LOST', message, { key, reason: lossReason, note })
    })
  }

  /** Marks all locks as lost, because their session is over. */
  loseAll(message: string, cause?: HoldfastError): void {
    const options = { reason: 'session', ...(cause && { cause }) } as const
    this.#lose(this.all, ({ key }) => new HoldfastError('LOCK_LOST', message, { ...options, key }))
  }

  /**
   * Marks all these locks as lost, and only then calls the first listener. Ignores locks that the
   * session does not hold any more.
   */
  #lose(locks: readonly GrantedLock[], errorFor: (lock: GrantedLock) => HoldfastError): void {
    const lostLocks = locks.filter((lock) => this.get(lock.fence) === lock)
    for (const lock of lostLocks) {
      this.#locks.remove(lock)
      lock.lose(errorFor(lock))
    }
    for (const lock of lostLocks) lock.notifyLoss()
    for (const lock of lostLocks) this.#onLost(lock)
  }

  /**
   * Computes when a period of a new lock expires; the period is the ttl or the longest hold.
   * Returns the later of two expiries; neither is later than the expiry at the broker:
   * - The first counts from the sending of the request, before the period began.
   * - The second counts from `at`, when the period began by the broker's clock.
   */
  #expiryOf(request: LockRequest, periodMs: number, at: number | undefined): Expiry | undefined {
    const bySending = request.sentAt && expiryFrom(request.sentAt, periodMs)
    const byBroker = this.#expiryByBroker(periodMs, at)
    if (bySending === undefined || byBroker === undefined) return bySending ?? byBroker
    return later(bySending, byBroker)
  }

  /**
   * The expiry of a period that began when the broker's clock showed `at`. Because `at` has passed,
   * `earlier` limits the result to the expiry of a period that begins now. Undefined without `at`
   * or without a clock sample. Also undefined if the broker's clock cannot have reached `at` yet,
   * because `at` is then wrong.
   */
  #expiryByBroker(periodMs: number, at: number | undefined): Expiry | undefined {
    const { clockSample } = this
    if (at === undefined || clockSample === undefined) return undefined
    const now = this.scheduler.now()
    if (!canHaveReached(clockSample, at, now)) return undefined
    return earlier(expiryBySample(clockSample, at, periodMs), expiryFrom(now, periodMs))
  }
}

/**
 * The likely reason of a loss that the broker could not report, for instance while the connection
 * was gone:
 * - `expired` for each lock with a ttl, even if the longest hold is over
 * - `maxHold` for a lock without a ttl, if the longest hold is over
 * - `stolen` otherwise. The lock was stolen or revoked, and the client cannot know which.
 */
export function likelyReason(ttl: number | undefined, isHoldOver: boolean): BrokerLossReason {
  if (ttl !== undefined) return 'expired'
  return isHoldOver ? 'maxHold' : 'stolen'
}
