/** Carries out what the reconciliation after a resume comes to. */
import { type Granted, HoldfastError, type Lost, type Snapshot } from '@holdfast/shared'
import { type Holdings, likelyReason } from './holdings.js'
import type { Outbox } from './outbox.js'
import { Resumption, reconcile } from './reconcile.js'
import type { LockRequest } from './requests.js'

export class Reconciler {
  readonly #said = new Resumption()
  readonly #outbox: Outbox
  readonly #holdings: Holdings
  #unwanted: readonly LockRequest[] = []

  constructor(outbox: Outbox, holdings: Holdings) {
    this.#outbox = outbox
    this.#holdings = holdings
  }

  /** Takes a part of the snapshot; true if it was the last. */
  add(part: Snapshot): boolean {
    return this.#said.add(part)
  }

  onGranted(request: LockRequest, message: Granted): void {
    request.granted = message
  }

  onLost({ fence }: Lost): void {
    this.#said.lost.add(fence)
  }

  /** Settles everything that can be; the ids that the broker keeps waiting. */
  settle(): ReadonlySet<number> {
    const said = this.#said
    const todo = reconcile(said, this.#outbox.pending, this.#holdings.grants)
    this.#unwanted = todo.unwanted
    for (const request of todo.finished) this.#outbox.remove(request)
    for (const [grant, item] of todo.kept) this.#holdings.confirm(grant, item)
    for (const [request, { fence, at }] of todo.granted) {
      this.#outbox.remove(request)
      request.resolve(this.#holdings.hold(request, fence, at))
    }
    for (const request of todo.missed) {
      this.#outbox.remove(request)
      const reason = likelyReason(request.terms.ttl)
      const sentence = 'the lock was granted and lost again while the connection was gone'
      request.reject(new HoldfastError('LOCK_LOST', sentence, { reason }))
    }
    for (const fence of todo.surplus) this.#holdings.unlockFence(fence)
    for (const grant of todo.gone) this.#holdings.lose(grant, likelyReason(grant.ttl.ttl))
    return said.waiting
  }

  /** Once requests may go out: what waits at the broker and is not wanted here leaves. */
  cancelUnwanted(): void {
    for (const request of this.#unwanted) this.#outbox.sendCancel(request)
  }
}
