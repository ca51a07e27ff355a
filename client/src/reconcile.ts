/**
 * After a resume: what the broker says, against what the client believes and wants.
 *
 * The broker sends its stored answers again and then a snapshot of all that the session holds and
 * waits for; live messages may come in between. Nothing is settled before the snapshot is whole: a
 * grant that is repeated may have been lost again while nobody listened.
 */
import type { Granted, HeldItem, Snapshot } from '@holdfast/shared'
import type { Grant } from './grant.js'
import { type AnyRequest, LockRequest, UnlockRequest } from './requests.js'

/** Collects the parts of a snapshot, and what happens while they come. */
export class Resumption {
  readonly held = new Map<number, HeldItem>()
  readonly waiting = new Set<number>()
  /** Fences of the locks that were lost since the resume. */
  readonly lost = new Set<number>()

  /** Takes a part; true if it was the last. */
  add({ held, waiting, more }: Snapshot): boolean {
    for (const item of held) this.held.set(item.id, item)
    for (const id of waiting) this.waiting.add(id)
    return !more
  }
}

/** What is to be done; each list is in the order of asking. */
export interface Reconciliation {
  /** Held here and there. */
  readonly kept: (readonly [Grant, HeldItem])[]
  /** Held here and not there: lost. */
  readonly gone: Grant[]
  /** Granted while away, and wanted. */
  readonly granted: (readonly [LockRequest, HeldItem | Granted])[]
  /** Granted while away and lost again before anybody was told. */
  readonly missed: LockRequest[]
  /** Settled here, and not waiting there: nothing more will come of these. */
  readonly finished: LockRequest[]
  /** Wait there, and are not wanted here. */
  readonly unwanted: LockRequest[]
  /** Fences of what is held there and not wanted here. */
  readonly surplus: number[]
}

export function reconcile(
  said: Resumption,
  pending: Iterable<AnyRequest>,
  grants: ReadonlyMap<number, Grant>,
): Reconciliation {
  const todo: Reconciliation = {
    kept: [],
    gone: [],
    granted: [],
    missed: [],
    finished: [],
    unwanted: [],
    surplus: [],
  }
  /** Fences that are spoken for: somebody here has them, gets them, or is giving them back. */
  const known = new Set<number>()
  for (const request of pending) {
    if (request instanceof UnlockRequest) known.add(request.fence)
    else if (request instanceof LockRequest) judge(request, said, todo, known)
  }
  const heldThere = new Map<number, HeldItem>()
  for (const item of said.held.values())
    if (!said.lost.has(item.fence)) heldThere.set(item.fence, item)
  for (const grant of grants.values()) {
    const item = heldThere.get(grant.fence)
    if (item === undefined) todo.gone.push(grant)
    else todo.kept.push([grant, item])
    known.add(grant.fence)
  }
  for (const fence of heldThere.keys()) if (!known.has(fence)) todo.surplus.push(fence)
  return todo
}

/** One lock request without a settled answer. Those that are in no list are asked again. */
function judge(
  request: LockRequest,
  said: Resumption,
  todo: Reconciliation,
  known: Set<number>,
): void {
  const held = grantOf(request, said)
  if (held !== undefined && said.lost.has(held.fence)) {
    known.add(held.fence)
    lostBeforeTold(request, todo)
  } else if (held !== undefined) {
    known.add(held.fence)
    if (request.wanted) {
      todo.granted.push([request, held])
    } else {
      todo.finished.push(request)
      todo.surplus.push(held.fence)
    }
  } else if (said.waiting.has(request.id)) {
    if (!request.wanted) todo.unwanted.push(request)
  } else if (request.granted !== undefined) {
    lostBeforeTold(request, todo)
  } else if (!request.wanted) {
    todo.finished.push(request)
  }
}

/**
 * The lock of a request, as far as it is held there: listed in the snapshot, or granted on this
 * connection after the snapshot listed the request as waiting.
 */
function grantOf(request: LockRequest, said: Resumption): HeldItem | Granted | undefined {
  const item = said.held.get(request.id)
  if (item !== undefined) return item
  return said.waiting.has(request.id) ? request.granted : undefined
}

function lostBeforeTold(request: LockRequest, todo: Reconciliation): void {
  if (request.wanted) todo.missed.push(request)
  else todo.finished.push(request)
}
