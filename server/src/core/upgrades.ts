/**
 * Upgrades and downgrades: a shared lock becomes exclusive, and an exclusive lock becomes shared.
 *
 * A waiting upgrade is in no queue, but in the field `extras.upgrade` of its key. The table grants
 * the upgrade as soon as the lock to upgrade is the only lock of the key. The upgrade goes before
 * all requests in the queue. While the upgrade waits, the table grants no lock of the key, and the
 * lock to upgrade (`Request.upgradedLock`) stays shared.
 *
 * An upgrade is a grant, so the upgraded lock gets a new fence (the number of a grant). But
 * messages still name the lock by its first fence.
 */
import type { UpgradeLock } from './clientCommands.js'
import { LockExtras } from './lockExtras.js'
import { type KeyState, type Lock, Request, type Session } from './records.js'

/** Whether an upgrade is granted, waits or fails. */
export type UpgradeDecision =
  | 'grant'
  | 'wait'
  /** The lock is exclusive already. */
  | 'unchanged'
  /** Other locks of the key prevent the grant, and the upgrade may not wait. */
  | 'held'
  /** The lock cannot be upgraded, or its upgrade waits already. */
  | 'invalid'

/**
 * Decides about an upgrade. Changes nothing.
 *
 * @param isQuiet Whether the table grants only requests that steal a lock.
 */
export function decideUpgrade(
  lock: Lock,
  timeout: number | undefined,
  isQuiet: boolean,
): UpgradeDecision {
  if (!canChangeMode(lock)) return 'invalid'
  if (lock.mode === 'exclusive') return 'unchanged'
  const waitingUpgrade = lock.keyState.extras?.upgrade
  if (waitingUpgrade?.upgradedLock === lock) return 'invalid'
  if (isOnlyLockOfKey(lock) && !isQuiet) return 'grant'
  // If the upgrade of another lock of the key waits already, the two upgrades would wait for each
  // other. The caller's check for deadlocks then refuses this upgrade.
  return timeout === 0 ? 'held' : 'wait'
}

/**
 * Whether the lock can be upgraded and downgraded. A set and a lock with permits cannot. The lock
 * of a leader or of a `once` cannot either, because such a lock must exclude all other holders of
 * its key.
 */
export function canChangeMode({ mode, extras }: Lock): boolean {
  if (mode === 'permits') return false
  return extras?.set === undefined && extras?.election === undefined && extras?.once === undefined
}

/** Whether the key has a waiting upgrade whose lock is the only lock of the key. */
export function isUpgradeReady({ extras, holders }: KeyState): boolean {
  return extras?.upgrade !== undefined && holders.length === 1
}

/** How many requests of a key wait, including a waiting upgrade. */
export function waitingCountOf({ extras, queue }: KeyState): number {
  return queue.length + (extras?.upgrade === undefined ? 0 : 1)
}

/** The requests of a key that wait: a waiting upgrade, which stands in no queue, then the queue. */
export function* waitingRequestsOf({ extras, queue }: KeyState): IterableIterator<Request> {
  if (extras?.upgrade !== undefined) yield extras.upgrade
  yield* queue
}

/** Makes the request of an upgrade that must wait. */
export function upgradeRequest(command: UpgradeLock, lock: Lock): Request {
  const { id, timeout, at } = command
  const extras = new LockExtras<Lock, Request, Session>({})
  extras.upgradeOf = lock
  extras.scope = lock.extras?.scope
  const terms = { id, mode: 'exclusive', ttl: undefined, timeout, metadata: undefined, at } as const
  return new Request(lock.keyState, lock.session, terms, extras)
}

/**
 * The value of the field `request` in a message `failed` that answers this waiter; undefined for a
 * request for a new lock.
 */
export function requestTypeOfWaiter({ upgradedLock }: Request): 'upgrade' | undefined {
  return upgradedLock === undefined ? undefined : 'upgrade'
}

function isOnlyLockOfKey({ keyState }: Lock): boolean {
  return keyState.holders.length === 1
}
