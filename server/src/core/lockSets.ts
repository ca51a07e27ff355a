/**
 * Sets: one lock on several keys, granted in one step or not at all.
 *
 * While a set of n keys waits, it consists of n requests, one in the queue of each key. When the
 * set is granted, it consists of n locks, one among the holders of each key. These requests or
 * locks are the *members* of the set. They share one session and one id, and the locks share one
 * fence. Code that handles one key treats a member like any other request or lock. Only the first
 * member, the *primary*, is in `held` or `waiting` of its session, is answered, and has deadlines.
 *
 * All requests of a set enter their queues in one step. So the oldest waiting set is ahead of every
 * other set in each queue that they share. Only requests for single keys can be ahead of this set.
 * When these requests have left the queues, the set is at the head of all its queues. Therefore
 * waiting sets cannot block each other for ever.
 */
import type { RequestLockSet } from './clientCommands.js'
import type { LockSet, SetItem } from './lockExtras.js'
import { type CapacityMismatch, capacityMismatch } from './permits.js'
import type { RequestTerms } from './plainRecords.js'
import type { KeyState, Lock, Request, Session } from './records.js'
import type { SessionLimits } from './sessionCommands.js'

/** The terms of one member of a set. Only the first member has a ttl and a timeout. */
export function memberTerms(command: RequestLockSet, index: number): RequestTerms {
  const { id, items, ttl, timeout, metadata, at } = command
  const { mode } = items[index]!
  const isFirst = index === 0
  return {
    id,
    mode,
    ttl: isFirst ? ttl : undefined,
    timeout: isFirst ? timeout : undefined,
    metadata,
    at,
  }
}

/** Whether a new request for a set is granted, waits or fails. */
export type SetDecision =
  | { readonly kind: 'grant' | 'wait' }
  /**
   * The request fails, because it must not wait (its timeout is 0). `keyStates` lists the keys that
   * prevent the grant. The list can be empty in the quiet start after a restart, because the table
   * then grants no set, even if all keys of the set are free.
   */
  | { readonly kind: 'held'; readonly keyStates: readonly KeyState[] }
  | { readonly kind: 'overLimit'; readonly limit: keyof SessionLimits }
  | { readonly kind: 'mismatch'; readonly mismatch: CapacityMismatch }

/**
 * Decides about a new request for a set. Changes nothing.
 *
 * @param keyStates The state of the key of each item.
 * @param isQuiet Whether the broker is in its quiet start.
 */
export function decideSet(
  { items, timeout }: RequestLockSet,
  keyStates: readonly KeyState[],
  { limits, lockCount }: Session,
  isQuiet: boolean,
): SetDecision {
  if (lockCount + items.length > limits.locks) return { kind: 'overLimit', limit: 'locks' }
  for (const [i, keyState] of keyStates.entries()) {
    const mismatch = capacityMismatch(keyState, items[i]!.capacity)
    if (mismatch !== undefined) return { kind: 'mismatch', mismatch }
  }
  const blocked = keyStates.filter((keyState, i) => !isFree(keyState, items[i]!))
  if (blocked.length === 0 && !isQuiet) return { kind: 'grant' }
  if (timeout === 0) return { kind: 'held', keyStates: blocked }
  if (keyStates.some(({ queue }) => queue.length >= limits.waitersPerKey))
    return { kind: 'overLimit', limit: 'waitersPerKey' }
  return { kind: 'wait' }
}

/** Whether a new request for this item could be granted at its key. */
function isFree(keyState: KeyState, item: SetItem): boolean {
  // The item can serve as `extras`, because `admits` reads only the `permits` of the extras.
  return keyState.queue.first === undefined && keyState.admits({ mode: item.mode, extras: item })
}

/**
 * Whether each request of a waiting set is the first of its queue, and is compatible with the
 * holders of its key.
 *
 * Begins with the request that prevented the grant the last time. If this request still prevents
 * the grant, the function checks only one key, however large the set is.
 */
export function canGrantSet(set: LockSet<Lock, Request>): boolean {
  const { requests } = set
  // Begins at `blockedIndex`, and continues at index 0 after the last request.
  for (let i = 0; i < requests.length; i++) {
    const index = (set.blockedIndex + i) % requests.length
    if (isGrantable(requests[index]!)) continue
    set.blockedIndex = index
    return false
  }
  return true
}

/** The keys that prevent the grant of a waiting set. */
export function blockedKeysOf({ requests }: LockSet<Lock, Request>): KeyState[] {
  return requests.filter((request) => !isGrantable(request)).map(({ keyState }) => keyState)
}

/** Whether a request is the first of its queue, and is compatible with the holders of its key. */
function isGrantable(request: Request): boolean {
  const { keyState } = request
  return keyState.queue.first === request && keyState.admits(request)
}
