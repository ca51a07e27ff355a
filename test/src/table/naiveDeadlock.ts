/**
 * Finds deadlocks in the whole table, under the assumptions in PROTOCOL.md. A scope is one task of
 * a session. An upgrade makes a shared lock exclusive. A scope that waits releases none of its
 * locks, and a lock whose upgrade waits is not released. Every other lock will be released. So the
 * check repeatedly removes those other locks, and the requests that can then be granted. A request
 * that remains can never be granted.
 */
import type { Command, LockTable } from '@holdfast/server/core'
import type { PlainLock, PlainRequest, PlainState } from './plainValues.js'

/** A whole table, as lists. The requests of each key are in the order of its queue. */
export interface PlainTable {
  readonly locks: readonly PlainLock[]
  /** The requests in the queues. An upgrade is in no queue. */
  readonly waiting: readonly PlainRequest[]
  readonly upgrades: readonly PlainRequest[]
}

/** The locks, waiting requests and upgrades of all keys, each in one list. */
export function plainTableOf({ keys }: PlainState): PlainTable {
  return {
    locks: keys.flatMap(({ holders }) => holders),
    waiting: keys.flatMap(({ queue }) => queue),
    upgrades: keys.flatMap(({ upgrade }) => (upgrade === undefined ? [] : [upgrade])),
  }
}

/** Whether a new call, which makes these requests, could never be granted. */
export function isDeadlock(table: PlainTable, newRequests: readonly PlainRequest[]): boolean {
  const isUpgrade = newRequests[0]!.upgradeOf !== undefined
  const stuck = stuckRequests({
    locks: table.locks,
    waiting: [...table.waiting, ...(isUpgrade ? [] : newRequests)],
    upgrades: [...table.upgrades, ...(isUpgrade ? newRequests : [])],
  })
  return stuck.some((request) => isSameCall(request, newRequests[0]!))
}

/** The requests and upgrades of a table that can never be granted. */
export function stuckRequests(table: PlainTable): readonly PlainRequest[] {
  let { locks, waiting, upgrades } = table
  for (;;) {
    const countBefore = locks.length + waiting.length + upgrades.length
    locks = locks.filter((lock) =>
      [...waiting, ...upgrades].some((request) => preventsRelease(request, lock)),
    )
    upgrades = upgrades.filter((upgrade) => locksAwaitedBy(upgrade, locks).length > 0)
    // A set is granted only if each of its requests can be granted.
    const grantable = waiting.filter((request) =>
      waiting
        .filter((member) => isSameCall(member, request))
        .every((member) => canBeGranted(member, locks, waiting, upgrades)),
    )
    waiting = waiting.filter((request) => !grantable.includes(request))
    const countAfter = locks.length + waiting.length + upgrades.length
    if (countAfter === countBefore) return [...waiting, ...upgrades]
  }
}

/** A command that may be refused because of a deadlock. A `once` has no scope, so never is. */
export type RequestCommand = Extract<Command, { type: 'lock' | 'lockAll' | 'upgrade' }>

/** The requests that a command makes, as plain values: for a set, one for each key. */
export function newRequestsOf(command: RequestCommand, table: LockTable): PlainRequest[] {
  // The fields that do not decide whether a request is in a deadlock.
  const unusedFields = {
    ttl: undefined,
    timeout: undefined,
    metadata: undefined,
    since: 0,
    maxHold: undefined,
    notify: undefined,
    once: undefined,
    election: undefined,
  }
  if (command.type === 'upgrade') {
    // The session must hold a lock with this fence.
    const { session, id, fence } = command
    const { key, extras } = table.sessions.get(session)!.held.get(fence)!
    const scope = extras?.scope?.number
    const noPermitsOrSet = { permits: undefined, capacity: undefined, set: undefined }
    const terms = { ...unusedFields, ...noPermitsOrSet, mode: 'exclusive' } as const
    return [{ ...terms, session, id, key, upgradeOf: fence, scope }]
  }
  const { session, id, extras } = command
  const ownFields = { ...unusedFields, session, id, upgradeOf: undefined, scope: extras?.scope }
  if (command.type === 'lockAll') {
    const set = command.items.map(({ key }) => key)
    return command.items.map(({ key, mode, permits, capacity }) => {
      return { ...ownFields, key, mode, permits, capacity, set }
    })
  }
  const { key, mode } = command
  const { permits, capacity } = command.extras ?? {}
  return [{ ...ownFields, key, mode, permits, capacity, set: undefined }]
}

/**
 * Whether this request, while it waits, prevents the release of this lock. An upgrade has the scope
 * of its lock.
 */
function preventsRelease(request: PlainRequest, lock: PlainLock): boolean {
  if (request.session !== lock.session) return false
  return request.scope === undefined
    ? request.upgradeOf === lock.fence
    : request.scope === lock.scope
}

/** The locks that must end before this upgrade is granted: all other locks of its key. */
function locksAwaitedBy(upgrade: PlainRequest, locks: readonly PlainLock[]): PlainLock[] {
  return locks.filter((lock) => lock.key === upgrade.key && lock.fence !== upgrade.upgradeOf)
}

/** Whether the requests belong to one call. A set is one call with a request for each key. */
function isSameCall(a: PlainRequest, b: PlainRequest): boolean {
  return a.session === b.session && a.id === b.id
}

/** Whether a request can be granted, if these locks are held and these requests wait. */
function canBeGranted(
  { key, session, id, mode, permits = 0, capacity = 0 }: PlainRequest,
  locks: readonly PlainLock[],
  waiting: readonly PlainRequest[],
  upgrades: readonly PlainRequest[],
): boolean {
  // Only the first request of a queue can be granted.
  const first = waiting.find((request) => request.key === key)!
  if (first.session !== session || first.id !== id) return false
  if (upgrades.some((upgrade) => upgrade.key === key)) return false
  const held = locks.filter((lock) => lock.key === key)
  if (held.length === 0) return true
  if (mode === 'exclusive' || held.some((lock) => lock.mode !== mode)) return false
  const permitsInUse = held.reduce((sum, lock) => sum + lock.permits!, 0)
  return mode === 'shared' || permitsInUse + permits <= capacity
}
