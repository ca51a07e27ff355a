/**
 * Looking at the table: what a query finds and what a watch begins with. A key is a look-up; a
 * prefix is a walk over all keys in use. A client's walk is paced: it pauses when its connection
 * has used up its share of a turn, and while the client does not read.
 */
import type { HeldInfo, WaitingInfo } from '@holdfast/shared'
import { costOfKeys, costOfPassing, keysFor } from '../config/workCosts.js'
import type { KeyState, KeyWalk, Lock, LockTable, Request } from '../core/index.js'
import type { KeySearch } from '../protocol/chunkedResponses.js'
import { PageChoice, type PageStart } from './queryPage.js'

export interface Scope {
  /** Exactly this key. */
  readonly key?: string | undefined
  /** Every key that begins so; with neither, every key. */
  readonly prefix?: string | undefined
  /** Answer with one page, in the order of keys, of what begins here; see `queryPage.ts`. */
  readonly page?: PageStart | undefined
  /** Which keys may be seen; without it, all. */
  readonly sees?: ((key: string) => boolean) | undefined
}

/** What callers in the same process are shown. */
export interface QueryRows {
  readonly held: readonly Lock[]
  readonly waiting: readonly Request[]
  readonly heldCount: number
  readonly waitingCount: number
}

type Table = Pick<LockTable, 'keys' | 'fence'>

/**
 * Looks at everything at once.
 *
 * @param limit Most locks and most requests; the counts are of all.
 */
export function find(table: Table, scope: Scope, limit: number): QueryRows {
  if (scope.page !== undefined) return findPage(table, scope, scope.page, limit)
  const held: Lock[] = []
  const waiting: Request[] = []
  let heldCount = 0
  let waitingCount = 0
  const search = new Search(table, scope)
  for (let entry = search.next(); entry !== undefined; entry = search.next()) {
    if (entry === 'elsewhere') continue
    heldCount += entry.holders.length
    waitingCount += entry.queue.length
    takeUpTo(limit, entry.holders, held)
    takeUpTo(limit, entry.queue, waiting)
  }
  return { held, waiting, heldCount, waitingCount }
}

function findPage(table: Table, scope: Scope, start: PageStart, limit: number): QueryRows {
  const choice = new PageChoice(start, limit)
  const search = new Search(table, scope)
  for (let entry = search.next(); entry !== undefined; entry = search.next()) {
    if (entry !== 'elsewhere') choice.offer(entry)
  }
  const { keys, ...counts } = choice.page((key) => search.entryOf(key))
  const held: Lock[] = []
  const waiting: Request[] = []
  for (const one of keys) {
    const entry = search.entryOf(one.key)
    if (entry === undefined) continue
    for (const lock of search.locksOf(entry, one.held, one.afterFence)) held.push(lock)
    if (one.waiting > 0) takeUpTo(waiting.length + one.waiting, entry.queue, waiting)
  }
  return { held, waiting, ...counts }
}

/** Units between two looks at what a walk has used. */
const stepUnits = 8

/** A search through the table that may pause between two keys. */
export class Search implements KeySearch {
  readonly #scope: Scope
  readonly #table: Table
  /** The last fence before the search began, or before its {@link lookAgain}. */
  #fence: number
  readonly #walk: KeyWalk | undefined
  #isOver = false
  /** Holders that were passed without being listed, since the last look at what that cost. */
  #passed = 0
  /** The key whose locks are being listed, and the fence of the last one. */
  #entry: KeyState | undefined
  #listed = 0
  /** How many keys it may visit before it should look whether it is another's turn. */
  readonly stepKeys: number
  /** What that costs. */
  readonly stepCost: number

  constructor(table: Table, scope: Scope) {
    this.#table = table
    this.#scope = scope
    this.#fence = table.fence
    const isJudged = scope.sees !== undefined
    this.stepKeys = keysFor(stepUnits, isJudged)
    this.stepCost = costOfKeys(this.stepKeys, isJudged)
    if (scope.key === undefined) this.#walk = table.keys.walk()
  }

  /** The next key; `'elsewhere'` if it is none of those looked for; undefined at the end. */
  next(): KeyState | 'elsewhere' | undefined {
    const { key, prefix, sees } = this.#scope
    if (key !== undefined) {
      if (this.#isOver) return undefined
      this.#isOver = true
      return this.#table.keys.get(key)
    }
    const entry = this.#walk?.next()
    if (entry === undefined) return undefined
    if (prefix !== undefined && !entry.key.startsWith(prefix)) return 'elsewhere'
    return sees === undefined || sees(entry.key) ? entry : 'elsewhere'
  }

  /**
   * The locks of a key that are older than the search, at most so many, in the order of their
   * fences. Others may come and go between two of them.
   *
   * @param after Only those with a higher fence. Default all.
   */
  *locksOf(entry: KeyState, most: number, after = 0): Generator<Lock> {
    this.#entry = entry
    this.#listed = after
    let left = most
    for (let lock = firstAfter(entry, after); lock !== undefined && left > 0; left--) {
      if (lock.fence > this.#fence) break
      this.#listed = lock.fence
      yield lock
      // A lock that was released meanwhile leads nowhere.
      const isThere = lock.next !== undefined || entry.holders.last === lock
      lock = isThere ? lock.next : firstAfter(entry, this.#listed)
    }
  }

  /** From here on, {@link locksOf} lists the locks that there are now. */
  lookAgain(): void {
    this.#fence = this.#table.fence
  }

  /** What the table has under a key now. */
  entryOf(key: string): KeyState | undefined {
    return this.#table.keys.get(key)
  }

  /** How many locks of the key {@link locksOf} has not listed; ends its list. */
  unlistedOf(entry: KeyState): number {
    let count = this.countOf(entry)
    for (let lock = entry.holders.first; lock !== undefined; lock = lock.next) {
      if (lock.fence > this.#listed) break
      count--
    }
    this.#entry = undefined
    return Math.max(0, count)
  }

  /** How many locks of a key are older than the search. */
  countOf({ holders }: KeyState): number {
    let count = holders.length
    for (let lock = holders.last; lock !== undefined; lock = lock.previous) {
      if (lock.fence <= this.#fence) break
      count--
    }
    this.#passed += holders.length - count
    return count
  }

  /** Units of work that passing holders has cost since the last call. */
  takePassedCost(): number {
    const cost = costOfPassing(this.#passed)
    this.#passed = 0
    return cost
  }

  /** Whether a lock that is released now is one that the search would still have come to. */
  isToCome({ fence, keyState }: Lock): boolean {
    if (fence > this.#fence) return false
    if (keyState === this.#entry) return fence > this.#listed
    return this.#walk === undefined ? !this.#isOver : this.#walk.isYetToVisit(keyState)
  }

  /** Gives up the rest. Every search must be ended or come to its end. */
  end(): void {
    this.#isOver = true
    this.#walk?.end()
  }
}

function firstAfter(entry: KeyState, fence: number): Lock | undefined {
  let lock = entry.holders.first
  while (lock !== undefined && lock.fence <= fence) lock = lock.next
  return lock
}

function takeUpTo<T>(limit: number, from: Iterable<T>, to: T[]): void {
  if (to.length >= limit) return
  for (const item of from) if (to.push(item) === limit) return
}

/** A lock as callers in the same process see it. */
export function toHeldInfo({ key, mode, session, metadata, fence, since }: Lock): HeldInfo {
  const { id, name } = session
  const described = metadata === undefined ? {} : { metadata: JSON.parse(metadata) as unknown }
  return {
    key,
    mode,
    session: id,
    ...(name === undefined ? {} : { name }),
    ...described,
    fence,
    since,
  }
}

/** A waiting request as callers in the same process see it. */
export function toWaitingInfo({ key, mode, session: { id, name }, since }: Request): WaitingInfo {
  return { key, mode, session: id, ...(name === undefined ? {} : { name }), since }
}
