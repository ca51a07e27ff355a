/**
 * Finds the messages that may need a whole turn of the event loop. Such a message releases many
 * locks, grants many waiters, or checks a large graph for deadlocks.
 *
 * Every connection has a small budget of its own in each turn, and these messages may exceed that
 * budget. A hundred connections could each send such a message in one turn. So the broker handles
 * these messages only while the budget that all connections share has units left. Otherwise the
 * messages wait for a later turn.
 */
import type { KeyState, Lock, LockTable, Request, Session } from '../core/index.js'

/** A command with at least this many releases, grants or answers may need a whole turn. */
const manyEffects = 100
/**
 * The answers to this many followers may need a whole turn, because each follower gets a value
 * of up to 32 KiB. A follower is a call `once` that waits for a value that another client computes.
 */
const manyFollowers = 8

/** Whether this session has so few locks that its end needs no whole turn. */
export function canEndInOneTurn(session: Session): boolean {
  return session.lockCount < manyEffects
}

/**
 * Whether the broker may need a whole turn of the event loop to handle this message.
 *
 * @param parsedMessage The message as parsed from JSON, not validated yet.
 */
export function mayNeedWholeTurn(
  session: Session,
  parsedMessage: unknown,
  { keys, barriers }: Pick<LockTable, 'keys' | 'barriers'>,
): boolean {
  if (typeof parsedMessage !== 'object' || parsedMessage === null) return false
  const message = parsedMessage as Record<string, unknown>
  const { type, key, fence, steal, scope, request, items } = message
  const keyState = typeof key === 'string' ? keys.get(key) : undefined
  switch (type) {
    case 'bye':
      return !canEndInOneTurn(session)
    case 'endScope':
      return hasManyLocks(session, scope)
    case 'lock':
      return (
        (steal === true && keyState !== undefined && stealEndsAtLeast(keyState, manyEffects)) ||
        (scope !== undefined && mayCheckLargeGraph(session, scope, keyState))
      )
    case 'lockAll':
      return scope !== undefined && Array.isArray(items)
        ? items.some((item) => mayCheckLargeGraph(session, scope, keys.get(String(item?.key))))
        : false
    case 'upgrade': {
      const lock = lockOf(session, fence)
      if (lock === undefined) return false
      return mayCheckLargeGraph(session, lock.extras?.scope?.number, lock.keyState)
    }
    case 'unlock':
    case 'downgrade':
    case 'complete': {
      const lock = lockOf(session, fence)
      if (lock === undefined) return false
      const members = lock.extras?.set?.locks ?? [lock]
      // Only `complete` has a value for the followers.
      const answersFollowers = type === 'complete'
      return members.some((member) => mayGrantMany(member.keyState, answersFollowers))
    }
    case 'cancel': {
      const waitingRequest = typeof request === 'number' ? session.waiting.get(request) : undefined
      return (
        waitingRequest !== undefined &&
        mayGrantMany(waitingRequest.keyState, /* answersFollowers */ false, waitingRequest)
      )
    }
    case 'revoke':
      return keyState !== undefined && mayGrantMany(keyState)
    case 'barrier':
      // The last call to arrive at a barrier makes the broker answer all calls that wait there.
      return typeof key === 'string' && (barriers.get(key)?.calls.size ?? 0) >= manyEffects
    default:
      return false
  }
}

function lockOf(session: Session, fence: unknown): Lock | undefined {
  return typeof fence === 'number' ? session.held.get(fence) : undefined
}

/** Whether a steal of the key would end at least `count` locks. */
export function stealEndsAtLeast({ holders }: KeyState, count: number): boolean {
  let lockCount = 0
  for (const { extras } of holders) {
    // A holder may be a member of a set (one lock on several keys). The steal ends the whole set.
    lockCount += extras?.set?.locks.length ?? 1
    if (lockCount >= count) return true
  }
  return false
}

/**
 * Whether a release of the key may grant many waiters at once, or answer many followers. The broker
 * grants the first waiters of the queue, but grants an exclusive waiter only alone. So at most one
 * waiter is granted if the first or second waiter is exclusive, as in most queues.
 *
 * @param answersFollowers Whether the message answers the followers of the key.
 * @param withdrawn A waiter that the message removes from the queue.
 */
function mayGrantMany(
  { queue, extras }: KeyState,
  answersFollowers = false,
  withdrawn?: Request,
): boolean {
  if (answersFollowers && (extras?.followers?.requests.size ?? 0) >= manyFollowers) return true
  // If the queue is empty and `withdrawn` is undefined, both branches give undefined.
  const firstWaiter = queue.first === withdrawn ? withdrawn?.next : queue.first
  if (queue.length < manyEffects || firstWaiter === undefined) return false
  return firstWaiter.mode !== 'exclusive' && firstWaiter.next?.mode !== 'exclusive'
}

/** Whether the scope (one logical task of the session) has many locks. */
function hasManyLocks({ scopes }: Session, scopeNumber: unknown): boolean {
  const scope = typeof scopeNumber === 'number' ? scopes?.get(scopeNumber) : undefined
  return scope !== undefined && scope.locks.size >= manyEffects
}

/**
 * Whether a check for deadlocks may visit many scopes, sets or locks. The check reaches other
 * scopes and sets only if an upgrade, a scope or a set waits for the key. Otherwise the check
 * visits only the locks of this scope. An idle key has no holder and no waiter, so its lock is
 * granted without a check.
 */
function mayCheckLargeGraph(
  session: Session,
  scopeNumber: unknown,
  keyState: KeyState | undefined,
): boolean {
  const { scopes: waitingScopesAndSets, upgrade } = keyState?.extras ?? {}
  if (waitingScopesAndSets !== undefined || upgrade !== undefined) return true
  return keyState !== undefined && !keyState.isIdle && hasManyLocks(session, scopeNumber)
}
