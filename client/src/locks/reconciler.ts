/**
 * Compares the state of the broker with the state of the client after a resume, which continues a
 * session on a new connection.
 *
 * After a resume the broker first repeats the responses that it has stored for the session. Then
 * the broker sends a snapshot in several parts. The snapshot lists the held locks and the waiting
 * requests of the session. New messages may arrive between the parts. A repeated `granted` may be
 * about a lock that was lost while the connection was gone. Only the snapshot shows such a loss, so
 * the client settles no request before the last part.
 *
 * A fence is the number of a grant, and a ttl is the time after which a lock expires.
 */
import { HoldfastError, type Snapshot } from '@holdfast/shared'
import type { PendingRequests } from '../requests/pendingRequests.js'
import type { LockRequest, PendingLockListener } from '../requests/requests.js'
import { ProtocolViolation } from '../transport/connection.js'
import type { GrantedLock } from './grantedLock.js'
import type { BrokerLock, HeldLocks } from './heldLocks.js'

export class Reconciler implements PendingLockListener {
  /**
   * The fences of the locks that the session has lost since the resume. The handler of the message
   * `lost` adds the fences.
   */
  readonly lostFences = new Set<number>()
  readonly #pendingRequests: PendingRequests
  readonly #heldLocks: HeldLocks
  /** The locks at the broker, by the ids of their requests. */
  readonly #brokerLocks = new Map<number, BrokerLock>()
  /** The ids of the requests that wait at the broker. */
  readonly #waitingIds = new Set<number>()
  /** The lock requests whose outcome the client does not know yet. */
  readonly #pendingLockRequests: LockRequest[] = []
  /** The fences of the locks whose unlock has no response yet. */
  readonly #pendingUnlocks: number[] = []

  constructor(pendingRequests: PendingRequests, heldLocks: HeldLocks) {
    this.#pendingRequests = pendingRequests
    this.#heldLocks = heldLocks
  }

  /**
   * Adds a part of the snapshot. Returns true if it is the last part.
   *
   * @throws ProtocolViolation if the snapshot lists a request that was not sent
   */
  add({ held, waiting, more }: Snapshot): boolean {
    for (const id of [...held.map((item) => item.id), ...waiting]) {
      const request = this.#pendingRequests.get(id)
      if (request !== undefined && request.sentAt === undefined) {
        throw new ProtocolViolation(`snapshot lists request ${id}, which was not sent`)
      }
    }
    for (const item of held) this.#brokerLocks.set(item.id, item)
    for (const id of waiting) this.#waitingIds.add(id)
    return !more
  }

  /** Each pending lock request calls this method during `settle`. */
  onPendingLock(request: LockRequest): void {
    this.#pendingLockRequests.push(request)
  }

  /** Each pending unlock request calls this method during `settle`. */
  onPendingUnlock(fence: number): void {
    this.#pendingUnlocks.push(fence)
  }

  /**
   * Settles every lock request whose outcome is known. Returns the ids of the requests that wait at
   * the broker; the caller must send all other pending requests again. The listeners of lost locks
   * are called last, because a listener may call the session.
   */
  settle(): ReadonlySet<number> {
    for (const request of this.#pendingRequests.all) request.reportPendingLock(this)
    for (const { id, grantDuringResume } of this.#pendingLockRequests) {
      // A part of the snapshot listed the request as waiting, and the grant came after that part.
      if (grantDuringResume !== undefined && this.#waitingIds.delete(id))
        this.#brokerLocks.set(id, grantDuringResume)
    }
    // At first all locks that the session holds at the broker, by fence. The code below removes
    // each lock that the client also holds, has asked to unlock, or gives to a waiting caller.
    const unclaimed = new Map<number, BrokerLock>()
    for (const lock of this.#brokerLocks.values()) {
      if (!this.lostFences.has(lock.fence)) unclaimed.set(lock.fence, lock)
    }
    const locksGoneAtBroker = this.#heldLocks.all.filter((lock) => !this.#claim(lock, unclaimed))
    for (const fence of this.#pendingUnlocks) unclaimed.delete(fence)
    for (const request of this.#pendingLockRequests) this.#settleLock(request, unclaimed)
    // No caller of this session wants the locks that are left in the map.
    for (const fence of unclaimed.keys()) {
      this.#heldLocks.unlockFence(fence)
    }
    this.#heldLocks.lose(locksGoneAtBroker)
    return this.#waitingIds
  }

  /**
   * Removes a lock of the client from `unclaimed`, and takes over the ttl that the broker knows.
   * Returns false if the lock is not in `unclaimed`.
   */
  #claim(lock: GrantedLock, unclaimed: Map<number, BrokerLock>): boolean {
    const brokerLock = unclaimed.get(lock.fence)
    if (brokerLock !== undefined) this.#heldLocks.confirm(lock, brokerLock)
    return unclaimed.delete(lock.fence)
  }

  #settleLock(request: LockRequest, unclaimed: Map<number, BrokerLock>): void {
    const { id, grantDuringResume, isWanted } = request
    if (this.#waitingIds.has(id)) return
    const brokerLock = this.#brokerLocks.get(id)
    const isUnknownToBroker = brokerLock === undefined && grantDuringResume === undefined
    // The request stays pending, so that the client sends the request again.
    if (isWanted && isUnknownToBroker) return
    this.#pendingRequests.remove(request)
    // The caller has given up. A lock of the request stays in `unclaimed`, so `settle` unlocks the
    // lock.
    if (!isWanted) return
    if (brokerLock !== undefined && unclaimed.delete(brokerLock.fence)) {
      request.hold(brokerLock.fence, brokerLock.at)
      return
    }
    const reason = this.#heldLocks.likelyReasonOf(request)
    const message = 'the lock was granted and lost while the connection was gone'
    request.fail(new HoldfastError('LOCK_LOST', message, { reason }))
  }
}
