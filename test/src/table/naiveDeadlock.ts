/**
 * Judges deadlocks by a naive reduction of the whole table, as PROTOCOL.md describes it. Each
 * session or scope that does not wait releases all its locks, and the requests that can be granted
 * then are granted. The judge repeats these steps until nothing changes. A request that is left can
 * never be granted.
 */
import type { PlainLock, PlainRequest, PlainState } from './plainValues.js'

/** A whole table, as lists. The requests of each key are in the order of its queue. */
export interface PlainTable {
  readonly locks: readonly PlainLock[]
  /** Without upgrades, which stand in no queue. */
  readonly waiting: readonly PlainRequest[]
  readonly upgrades: readonly PlainRequest[]
}

export function plainTableOf({ keys }: PlainState): PlainTable {
  return {
    locks: keys.flatMap(({ holders }) => holders),
    waiting: keys.flatMap(({ queue }) => queue),
    upgrades: keys.flatMap(({ upgrade }) => (upgrade === undefined ? [] : [upgrade])),
  }
}

/** Whether a new request could never be granted. A set is several requests with one id. */
export function isDeadlock(table: PlainTable, newRequests: readonly PlainRequest[]): boolean {
  const isUpgrade = newRequests[0]!.upgradeOf !== undefined
  let { locks } = table
  let waiting = [...table.waiting, ...(isUpgrade ? [] : newRequests)]
  let upgrades = [...table.upgrades, ...(isUpgrade ? newRequests : [])]
  for (;;) {
    const count = locks.length + waiting.length + upgrades.length
    locks = locks.filter((lock) => [...waiting, ...upgrades].some((wait) => keeps(wait, lock)))
    upgrades = upgrades.filter((upgrade) => othersOf(locks, upgrade).length > 0)
    const grantable = waiting.filter((wait) =>
      waiting
        .filter((member) => isSameRequest(member, wait))
        .every((member) => canBeGranted(member, locks, waiting, upgrades)),
    )
    waiting = waiting.filter((wait) => !grantable.includes(wait))
    if (locks.length + waiting.length + upgrades.length === count) break
  }
  return [...waiting, ...upgrades].some((wait) => isSameRequest(wait, newRequests[0]!))
}

/** Whether a lock stays held while this request waits. */
function keeps(wait: PlainRequest, lock: PlainLock): boolean {
  if (wait.session !== lock.session) return false
  return wait.scope === undefined ? wait.upgradeOf === lock.fence : wait.scope === lock.scope
}

function othersOf(locks: readonly PlainLock[], upgrade: PlainRequest): PlainLock[] {
  return locks.filter((lock) => lock.key === upgrade.key && lock.fence !== upgrade.upgradeOf)
}

function isSameRequest(a: PlainRequest, b: PlainRequest): boolean {
  return a.session === b.session && a.id === b.id
}

function canBeGranted(
  { key, session, id, mode, permits = 0, capacity = 0 }: PlainRequest,
  locks: readonly PlainLock[],
  waiting: readonly PlainRequest[],
  upgrades: readonly PlainRequest[],
): boolean {
  const first = waiting.find((wait) => wait.key === key)!
  if (first.session !== session || first.id !== id) return false
  if (upgrades.some((upgrade) => upgrade.key === key)) return false
  const held = locks.filter((lock) => lock.key === key)
  if (held.length === 0) return true
  if (mode === 'exclusive' || held.some((lock) => lock.mode !== mode)) return false
  return mode === 'shared' || held.reduce((sum, lock) => sum + lock.permits!, permits) <= capacity
}
