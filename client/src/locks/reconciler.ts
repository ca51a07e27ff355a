/**
 * Compares the state of the broker with the state of the client after a resume.
 *
 * The broker first repeats its stored responses, and then sends a snapshot of everything that the
 * session holds and waits for. Live messages may arrive in between. The client settles nothing
 * before the last part of the snapshot, because a repeated grant may be of a lock that was lost
 * again while the connection was gone.
 */
import { type HeldItem, HoldfastError, type Snapshot } from '@holdfast/shared'
import type { PendingRequests } from '../requests/pendingRequests.js'
import type { LockRequest, Reconciliation } from '../requests/requests.js'
import { ProtocolViolation } from '../transport/connection.js'
import type { GrantedLock } from './grantedLock.js'
import { type HeldLocks, likelyReason } from './heldLocks.js'

/** A lock at the broker; a lock that was just granted has no ttl here. */
type BrokerLock = Pick<HeldItem, 'fence' | 'ttl' | 'at'>

export class Reconciler implements Reconciliation {
  /** The fences of the locks that the session has lost since the resume. */
  readonly lost = new Set<number>()
  readonly #pendingRequests: PendingRequests
  readonly #heldLocks: HeldLocks
  /** The locks at the broker, by the ids of their requests. */
  readonly #held = new Map<number, BrokerLock>()
  /** The ids of the requests that wait at the broker. */
  readonly #waiting = new Set<number>()
  readonly #pendingLocks: LockRequest[] = []
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
    for (const item of held) this.#held.set(item.id, item)
    for (const id of waiting) this.#waiting.add(id)
    return !more
  }

  onPendingLock(request: LockRequest): void {
    this.#pendingLocks.push(request)
  }

  onPendingUnlock(fence: number): void {
    this.#pendingUnlocks.push(fence)
  }

  /**
   * Settles every request whose outcome is known. Returns the ids of the requests that wait at the
   * broker. The caller sends all other pending requests again. Listeners for losses are called
   * last, because they may call the session.
   */
  settle(): ReadonlySet<number> {
    for (const request of this.#pendingRequests.all) request.reconcile(this)
    for (const { id, granted } of this.#pendingLocks) {
      // Granted after the snapshot had listed the request as waiting.
      if (granted !== undefined && this.#waiting.delete(id)) this.#held.set(id, granted)
    }
    const surplus = new Map<number, BrokerLock>()
    for (const lock of this.#held.values()) {
      if (!this.lost.has(lock.fence)) surplus.set(lock.fence, lock)
    }
    const gone = this.#heldLocks.all.filter((lock) => !this.#confirm(lock, surplus))
    for (const fence of this.#pendingUnlocks) surplus.delete(fence)
    for (const request of this.#pendingLocks) this.#settleLock(request, surplus)
    // Every lock that is left here is held at the broker, and no caller of this session wants it.
    for (const fence of surplus.keys()) {
      this.#heldLocks.unlockFence(fence)
    }
    this.#heldLocks.lose(gone)
    return this.#waiting
  }

  /** Confirms a lock that the broker lists too; false if the broker does not list it. */
  #confirm(lock: GrantedLock, surplus: Map<number, BrokerLock>): boolean {
    const brokerLock = surplus.get(lock.fence)
    if (brokerLock !== undefined) this.#heldLocks.confirm(lock, brokerLock)
    return surplus.delete(lock.fence)
  }

  #settleLock(request: LockRequest, surplus: Map<number, BrokerLock>): void {
    const { id, granted, wanted } = request
    if (this.#waiting.has(id)) return
    const held = this.#held.get(id)
    // The broker does not know the request, so it must be sent again.
    if (wanted && held === undefined && granted === undefined) return
    this.#pendingRequests.remove(request)
    if (!wanted) return
    if (held !== undefined && surplus.delete(held.fence)) {
      request.hold(held.fence, held.at)
      return
    }
    const reason = likelyReason(request.params.ttl)
    const message = 'the lock was granted and lost while the connection was gone'
    request.fail(new HoldfastError('LOCK_LOST', message, { reason }))
  }
}
