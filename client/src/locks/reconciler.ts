/**
 * After a resume: what the broker says, against what the client believes and wants.
 *
 * The broker sends its stored answers again and then a snapshot of all that the session holds and
 * waits for; live messages may come in between. Nothing is settled before the snapshot is whole: a
 * grant that is repeated may have been lost again while nobody listened.
 */
import { type HeldItem, HoldfastError, type Snapshot } from '@holdfast/shared'
import type { PendingRequests } from '../requests/pendingRequests.js'
import { LockRequest, UnlockRequest } from '../requests/requests.js'
import { ProtocolViolation } from '../transport/violation.js'
import { type HeldLocks, likelyReason } from './heldLocks.js'

/** What is held there; a grant that was just made tells no ttl. */
type Item = Pick<HeldItem, 'fence' | 'ttl' | 'at'>

export class Reconciler {
  /** Fences of the locks that were lost since the resume. */
  readonly lost = new Set<number>()
  readonly #outbox: PendingRequests
  readonly #heldLocks: HeldLocks
  /** What the broker says, by the ids of the requests. */
  readonly #held = new Map<number, Item>()
  readonly #waiting = new Set<number>()

  constructor(outbox: PendingRequests, holdings: HeldLocks) {
    this.#outbox = outbox
    this.#heldLocks = holdings
  }

  /**
   * Takes a part of the snapshot; true if it was the last.
   *
   * @throws Violation if it lists a request that was not sent.
   */
  add({ held, waiting, more }: Snapshot): boolean {
    for (const id of [...held.map((item) => item.id), ...waiting]) {
      const request = this.#outbox.get(id)
      if (request !== undefined && request.sentAt === undefined) {
        throw new ProtocolViolation(`snapshot lists request ${id}, which was not sent`)
      }
    }
    for (const item of held) this.#held.set(item.id, item)
    for (const id of waiting) this.#waiting.add(id)
    return !more
  }

  /**
   * Settles everything that can be, whoever may hear of a loss last; the ids that the broker keeps
   * waiting. What is in no list of the broker's is asked again.
   */
  settle(): ReadonlySet<number> {
    const requests = this.#outbox.pending
    for (const request of requests) {
      if (!(request instanceof LockRequest) || request.granted === undefined) continue
      // Granted since the snapshot listed it.
      if (this.#waiting.delete(request.id)) this.#held.set(request.id, request.granted)
    }
    /** By fence, and without what is spoken for: in the end, what nobody here wants. */
    const surplus = new Map<number, Item>()
    for (const item of this.#held.values()) {
      if (!this.lost.has(item.fence)) surplus.set(item.fence, item)
    }
    const gone = this.#heldLocks.grants.values().filter((grant) => {
      const item = surplus.get(grant.fence)
      if (item !== undefined) this.#heldLocks.confirm(grant, item)
      return !surplus.delete(grant.fence)
    })
    for (const request of requests) {
      if (request instanceof UnlockRequest) surplus.delete(request.fence)
      else if (request instanceof LockRequest) this.#judge(request, surplus)
    }
    for (const fence of surplus.keys()) {
      this.#heldLocks.unlockFence(fence)
    }
    this.#heldLocks.lose(gone)
    return this.#waiting
  }

  /** One request for a lock that has no settled answer. */
  #judge(request: LockRequest, surplus: Map<number, Item>): void {
    const { id, granted, wanted } = request
    if (this.#waiting.has(id)) return
    const held = this.#held.get(id)
    if (wanted && held === undefined && granted === undefined) return
    this.#outbox.remove(request)
    if (!wanted) return
    if (held !== undefined && surplus.delete(held.fence)) {
      request.resolve(this.#heldLocks.hold(request, held.fence, held.at))
      return
    }
    const reason = likelyReason(request.terms.ttl)
    const sentence = 'the lock was granted and lost while the connection was gone'
    request.fail(new HoldfastError('LOCK_LOST', sentence, { reason }))
  }
}
