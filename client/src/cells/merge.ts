/**
 * Merges the answers of several cells into one answer. Cells are independent brokers or clusters.
 * Each key is in exactly one cell, so no lock is in two answers.
 */
import type { HeldInfo, LockStats, RefusedDeadlock, WaitingInfo } from '@holdfast/shared'
import type { AnyQueryResult, QueryResult } from '../requests/simpleRequests.js'

/** Adds up the counters of the cells. */
export function mergeStats(statsOfCells: readonly LockStats[]): LockStats {
  const sum = (name: CounterName) =>
    statsOfCells.reduce((total, stats) => total + (stats[name] ?? 0), 0)
  const totalLocks = sum('totalLocks')
  // `totalLocks` counts the granted and the failed requests of a cell. `successRate` is the
  // fraction of these requests that was granted.
  const grantedLocks = statsOfCells.reduce(
    (total, stats) => total + stats.successRate * stats.totalLocks,
    0,
  )
  return {
    totalLocks,
    activeLocks: sum('activeLocks'),
    failedLocks: sum('failedLocks'),
    expiredLocks: sum('expiredLocks'),
    refreshCount: sum('refreshCount'),
    unlockCount: sum('unlockCount'),
    successRate: totalLocks === 0 ? 0 : grantedLocks / totalLocks,
    ...mergeOptionalCounters(statsOfCells, sum),
  }
}

/** The merged list has at most this many refused deadlocks, as many as one broker keeps. */
const maxDeadlocks = 20

type CounterName = Exclude<keyof LockStats, 'newestDeadlock' | 'deadlocks'>

/**
 * Merges the refused deadlocks and the counters that old brokers do not send. Returns `{}` if no
 * broker sent these counters.
 */
function mergeOptionalCounters(
  statsOfCells: readonly LockStats[],
  sum: (name: CounterName) => number,
): Partial<LockStats> {
  // A broker has either all of these counters or none of them.
  if (statsOfCells.every(({ barriers }) => barriers === undefined)) return {}
  const newestFirst = (deadlocks: RefusedDeadlock[]) =>
    deadlocks.sort((a, b) => b.since - a.since).slice(0, maxDeadlocks)
  // The list `deadlocks` includes `newestDeadlock`. Old brokers send only `newestDeadlock`.
  const deadlocks = newestFirst(
    statsOfCells.flatMap((stats) => stats.deadlocks ?? stats.newestDeadlock ?? []),
  )
  const [newestDeadlock] = deadlocks
  const hasList = statsOfCells.some((stats) => stats.deadlocks !== undefined)
  return {
    barriers: sum('barriers'),
    barrierCalls: sum('barrierCalls'),
    keptResults: sum('keptResults'),
    refusedDeadlocks: sum('refusedDeadlocks'),
    ...(newestDeadlock === undefined ? {} : { newestDeadlock }),
    ...(hasList && deadlocks.length > 0 ? { deadlocks } : {}),
  }
}

/**
 * Merges the answers to a query for barriers, for kept results, or for a session. At a barrier,
 * calls of several sessions wait for each other. A kept result is a value that a broker keeps for
 * later calls of `once`.
 *
 * The merged answer has the first `limit` items, cell after cell. A query for a session needs no
 * limit, because at most one cell has a session with the id of the query.
 */
export function mergeNonLockResults(
  answers: readonly AnyQueryResult[],
  kind: 'barriers' | 'results' | 'sessions',
  limit: number,
): Partial<AnyQueryResult> {
  if (kind === 'sessions') {
    const sessions = answers.flatMap((answer) => answer.sessions)
    return { sessions, sessionsCount: sessions.length }
  }
  if (kind === 'barriers') {
    const arrivedCount = answers.reduce((total, result) => total + result.arrivedCount, 0)
    return { arrived: answers.flatMap(({ arrived }) => arrived).slice(0, limit), arrivedCount }
  }
  const keptCount = answers.reduce((total, result) => total + result.keptCount, 0)
  return { kept: answers.flatMap(({ kept }) => kept).slice(0, limit), keptCount }
}

/**
 * Merges the answers to a query for locks, if the query asks for no pages. The merged answer has
 * the first `limit` locks and the first `limit` waiting requests, cell after cell.
 */
export function mergeLockResults(answers: readonly QueryResult[], limit: number): QueryResult {
  return {
    held: answers.flatMap(({ held }) => held).slice(0, limit),
    waiting: answers.flatMap(({ waiting }) => waiting).slice(0, limit),
    ...countsOf(answers),
  }
}

/**
 * Merges one page of each cell into one page, in the order of keys. All pages begin after the same
 * key. The merged page follows the rules of a page of one broker:
 * - A page has all items of each of its keys, with one exception.
 * - The exception is an oversized key: a key with more than `limit` locks or waiting requests. Such
 *   a key is alone on its page, and the page leaves out the items beyond `limit`.
 */
export function mergePages(pages: readonly QueryResult[], limit: number): QueryResult {
  const counts = countsOf(pages)
  // Only the cells with incomplete pages can have further keys.
  const lastKeys = pages.filter(isIncomplete).map(lastKeyOf)
  // A page may be empty although its cell has further keys: the broker chose locks for the page,
  // and all of them ended during the search. The next keys of this cell are unknown, and may
  // precede all keys of the other cells. So the merged page must be empty, and the caller must ask
  // again.
  if (lastKeys.includes(undefined)) return { held: [], waiting: [], ...counts }
  const earliestLastKey = (lastKeys as string[]).reduce<string | undefined>(earlierKey, undefined)
  const oversizedKeys = new Set(pages.flatMap((page) => oversizedKeyOf(page, limit) ?? []))
  const byKey = groupByKey(pages)
  const held: HeldInfo[] = []
  const waiting: WaitingInfo[] = []
  for (const key of [...byKey.keys()].sort(compareKeys)) {
    // The cell whose page ends with `earliestLastKey` may have further keys that precede this key.
    if (earliestLastKey !== undefined && key > earliestLastKey) break
    const group = byKey.get(key)!
    const isFirstKey = held.length + waiting.length === 0
    const exceedsLimit =
      held.length + group.held.length > limit || waiting.length + group.waiting.length > limit
    // An oversized key must be alone on its page.
    const isOversized = oversizedKeys.has(key)
    if (!isFirstKey && (exceedsLimit || isOversized)) break
    held.push(...group.held)
    waiting.push(...group.waiting)
    if (isOversized) break
  }
  return { held, waiting, ...counts }
}

function countsOf(answers: readonly QueryResult[]): {
  readonly heldCount: number
  readonly waitingCount: number
} {
  return {
    heldCount: answers.reduce((total, { heldCount }) => total + heldCount, 0),
    waitingCount: answers.reduce((total, { waitingCount }) => total + waitingCount, 0),
  }
}

/**
 * Whether the cell has items for later pages. `heldCount` and `waitingCount` count the items of
 * this page and of all later pages.
 */
function isIncomplete({ held, waiting, heldCount, waitingCount }: QueryResult): boolean {
  return held.length < heldCount || waiting.length < waitingCount
}

/**
 * The only key of a page, if this key may be oversized; otherwise undefined. The key may be
 * oversized if the page is full and the cell has further items, which may belong to the same key.
 */
function oversizedKeyOf(page: QueryResult, limit: number): string | undefined {
  const { held, waiting } = page
  if (!isIncomplete(page) || (held.length < limit && waiting.length < limit)) return undefined
  const key = lastKeyOf(page)
  return [...held, ...waiting].every((item) => item.key === key) ? key : undefined
}

/** The last key of a page, in the order of keys; undefined for an empty page. */
function lastKeyOf({ held, waiting }: QueryResult): string | undefined {
  const keys = [held.at(-1)?.key, waiting.at(-1)?.key].filter((key) => key !== undefined)
  return keys.sort(compareKeys).at(-1)
}

interface KeyGroup {
  readonly held: HeldInfo[]
  readonly waiting: WaitingInfo[]
}

function groupByKey(pages: readonly QueryResult[]): Map<string, KeyGroup> {
  const groups = new Map<string, KeyGroup>()
  const groupOf = (key: string): KeyGroup => {
    const group = groups.get(key) ?? { held: [], waiting: [] }
    groups.set(key, group)
    return group
  }
  for (const { held, waiting } of pages) {
    for (const item of held) groupOf(item.key).held.push(item)
    for (const item of waiting) groupOf(item.key).waiting.push(item)
  }
  return groups
}

/** The key that comes first in the order of keys; `b` if `a` is undefined. */
function earlierKey(a: string | undefined, b: string): string {
  return a === undefined || b < a ? b : a
}

/** The order of keys: by UTF-16 units, as brokers order the keys of pages. */
function compareKeys(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
