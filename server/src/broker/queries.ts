/**
 * Searches the lock table, for queries and for the locks that are held when a watch begins. A
 * search for one key is a look-up; a search for a prefix walks over all keys in use. A search for a
 * caller in the same process never pauses. A search for a client may pause between two keys. The
 * search pauses when the connection has used up its work budget in this turn of the event loop, and
 * while the client does not read.
 */
import type { HeldInfo, WaitingInfo } from '@holdfast/shared'
import { costOfKeys, costOfSkipping, keysFor } from '../config/workCosts.js'
import {
  type KeyState,
  type KeyWalk,
  type Lock,
  type LockTable,
  type Request,
  waitingCountOf,
  waitingRequestsOf,
} from '../core/index.js'
import type { KeySearch } from '../protocol/chunkedResponses.js'
import { extrasInfo, type RemainingTimes, upgradeInfo } from '../protocol/encodeLockInfo.js'
import type { LockTimes } from './lockTimes.js'
import { PageBuilder, type PageStart } from './queryPage.js'

/** The keys that a query asks for, or that a watch covers. */
export interface KeySelection {
  /** Only this key. */
  readonly key?: string | undefined
  /** Every key that begins with this prefix. If `key` is missing too: every key. */
  readonly prefix?: string | undefined
  /** Return only the page that begins here (see `queryPage.ts`). Default: return all keys. */
  readonly page?: PageStart | undefined
  /** Whether the client may see a key. Default: the client may see all keys. */
  readonly isVisible?: ((key: string) => boolean) | undefined
}

/** The result of a query by a caller in the same process. */
export interface QueryRows {
  readonly held: readonly Lock[]
  readonly waiting: readonly Request[]
  /** How many locks match, including those that `held` omits because of the limit. */
  readonly heldCount: number
  /** How many requests match, including those that `waiting` omits because of the limit. */
  readonly waitingCount: number
}

type Table = Pick<LockTable, 'keys' | 'fence'>

/**
 * Searches the table without a pause.
 *
 * @param limit Return at most this many locks, and at most this many requests.
 */
export function find(table: Table, selection: KeySelection, limit: number): QueryRows {
  if (selection.page !== undefined) return findPage(table, selection, selection.page, limit)
  const held: Lock[] = []
  const waiting: Request[] = []
  let heldCount = 0
  let waitingCount = 0
  const search = new TableSearch(table, selection)
  for (let keyState = search.next(); keyState !== undefined; keyState = search.next()) {
    if (keyState === 'noMatch') continue
    heldCount += keyState.holders.length
    waitingCount += waitingCountOf(keyState)
    appendUpTo(limit, keyState.holders, held)
    appendUpTo(limit, waitingRequestsOf(keyState), waiting)
  }
  return { held, waiting, heldCount, waitingCount }
}

function findPage(
  table: Table,
  selection: KeySelection,
  start: PageStart,
  limit: number,
): QueryRows {
  const builder = new PageBuilder(start, limit)
  const search = new TableSearch(table, selection)
  for (let keyState = search.next(); keyState !== undefined; keyState = search.next()) {
    if (keyState !== 'noMatch') builder.addKey(keyState)
  }
  const { keys, ...counts } = builder.build((key) => search.keyStateOf(key))
  const held: Lock[] = []
  const waiting: Request[] = []
  for (const pageKey of keys) {
    const keyState = search.keyStateOf(pageKey.key)
    if (keyState === undefined) continue
    for (const lock of search.locksOf(keyState, pageKey.held, pageKey.afterFence)) held.push(lock)
    if (pageKey.waiting > 0) {
      const newLength = waiting.length + pageKey.waiting
      appendUpTo(newLength, waitingRequestsOf(keyState), waiting)
    }
  }
  return { held, waiting, ...counts }
}

/** A search checks the work budget each time the search has used this many units of work. */
const unitsPerStep = 8

/** A search through the lock table that may pause between two keys. */
export class TableSearch implements KeySearch {
  readonly #selection: KeySelection
  readonly #table: Table
  readonly #lockTimes: Pick<LockTimes, 'remainingTimesOf'> | undefined
  /**
   * The search leaves out locks with a higher fence, because these locks were granted after the
   * search began. A fence is the number of a grant, and rises with every grant.
   */
  #newestFence: number
  /** Undefined for a search for one key. */
  readonly #walk: KeyWalk | undefined
  /** Whether the search was ended, or a search for one key has returned its key. */
  #hasEnded = false
  /** How many locks newer than the search were skipped since the last {@link resetSkippedCost}. */
  #skippedHolders = 0
  /** The key whose locks {@link locksOf} lists now. */
  #listedKey: KeyState | undefined
  /** The fence of the last lock that {@link locksOf} has listed. */
  #listedFence = 0
  /** How many keys the search may visit between two checks of the work budget. */
  readonly keysPerStep: number
  /** The cost of {@link keysPerStep} keys, in units of work. */
  readonly costPerStep: number

  /** @param lockTimes Undefined if the caller does not need the remaining times of the locks. */
  constructor(
    table: Table,
    selection: KeySelection,
    lockTimes?: Pick<LockTimes, 'remainingTimesOf'>,
  ) {
    this.#table = table
    this.#selection = selection
    this.#lockTimes = lockTimes
    this.#newestFence = table.fence
    const checksPermission = selection.isVisible !== undefined
    this.keysPerStep = keysFor(unitsPerStep, checksPermission)
    this.costPerStep = costOfKeys(this.keysPerStep, checksPermission)
    if (selection.key === undefined) this.#walk = table.keys.walk()
  }

  /** The next key; `'noMatch'` for a key outside the selection; undefined at the end. */
  next(): KeyState | 'noMatch' | undefined {
    const { key, prefix, isVisible } = this.#selection
    if (key !== undefined) {
      if (this.#hasEnded) return undefined
      this.#hasEnded = true
      // The permission for this key was checked before the search.
      return this.#table.keys.get(key)
    }
    const keyState = this.#walk?.next()
    if (keyState === undefined) return undefined
    if (prefix !== undefined && !keyState.key.startsWith(prefix)) return 'noMatch'
    return isVisible === undefined || isVisible(keyState.key) ? keyState : 'noMatch'
  }

  /**
   * Lists the first `limit` locks of a key by rising fence, and no locks that are newer than the
   * search. The locks of the key may change while the caller handles a lock.
   *
   * @param afterFence List only locks with a higher fence. Default 0: all locks.
   */
  *locksOf(keyState: KeyState, limit: number, afterFence = 0): Generator<Lock> {
    this.#listedKey = keyState
    this.#listedFence = afterFence
    let remaining = limit
    for (
      let lock = firstAfter(keyState, afterFence);
      lock !== undefined && remaining > 0;
      remaining--
    ) {
      if (lock.fence > this.#newestFence) break
      this.#listedFence = lock.fence
      yield lock
      // If the table released the lock during the `yield`, the lock has no successor any more.
      const isStillHeld = lock.next !== undefined || keyState.holders.last === lock
      lock = isStillHeld ? lock.next : firstAfter(keyState, this.#listedFence)
    }
  }

  /**
   * How long a lock lasts from now on. Undefined if the lock has neither ttl nor `maxHold`, or if
   * the times are unknown.
   */
  remainingTimesOf(lock: Lock): RemainingTimes | undefined {
    return this.#lockTimes?.remainingTimesOf(lock)
  }

  /**
   * Lets {@link locksOf} also list the locks that were granted since the search began. The chunks
   * of a page need these locks, because the counts of the page include them.
   */
  includeNewLocks(): void {
    this.#newestFence = this.#table.fence
  }

  /** The current state of a key; undefined if the table does not have the key. */
  keyStateOf(key: string): KeyState | undefined {
    return this.#table.keys.get(key)
  }

  /**
   * How many locks of the key were not listed by {@link locksOf}. This call ends the listing of the
   * key.
   */
  unlistedCountOf(keyState: KeyState): number {
    let count = this.countOf(keyState)
    // The holders are in the order of their fences, so the listed locks come first.
    for (let lock = keyState.holders.first; lock !== undefined; lock = lock.next) {
      if (lock.fence > this.#listedFence) break
      count--
    }
    this.#listedKey = undefined
    // `locksOf` may have got an `afterFence` above the newest fence of the search. Then the loop
    // also subtracts locks that `countOf` has left out, and `count` may be negative.
    return Math.max(0, count)
  }

  /**
   * How many locks of a key are older than the search. The newer locks add to the cost that
   * {@link resetSkippedCost} returns.
   */
  countOf({ holders }: KeyState): number {
    let count = holders.length
    for (let lock = holders.last; lock !== undefined; lock = lock.previous) {
      if (lock.fence <= this.#newestFence) break
      count--
    }
    this.#skippedHolders += holders.length - count
    return count
  }

  /** Returns the cost of the holders that were skipped since the last call, in units of work. */
  resetSkippedCost(): number {
    const cost = costOfSkipping(this.#skippedHolders)
    this.#skippedHolders = 0
    return cost
  }

  /**
   * Whether the search has yet to reach a lock. For a lock that has ended: whether the search has
   * yet to reach the place where the lock was.
   */
  willFind({ fence, keyState }: Lock): boolean {
    if (fence > this.#newestFence) return false
    if (keyState === this.#listedKey) return fence > this.#listedFence
    return this.willVisit(keyState)
  }

  /**
   * Whether the search has yet to visit a key. A visit reads the whole queue of the key, so this
   * method also tells whether the search has yet to reach the waiting requests of the key.
   */
  willVisit(keyState: KeyState): boolean {
    return this.#walk === undefined ? !this.#hasEnded : this.#walk.isYetToVisit(keyState)
  }

  /** Whether the search has visited all keys and listed their locks, or was ended. */
  get isOver(): boolean {
    const hasVisitedAll = this.#walk === undefined ? this.#hasEnded : this.#walk.isOver
    return hasVisitedAll && this.#listedKey === undefined
  }

  /** Ends the search early. The caller must end each search that the caller does not finish. */
  end(): void {
    this.#hasEnded = true
    this.#listedKey = undefined
    this.#walk?.end()
  }
}

/** The oldest lock of a key whose fence is higher than `fence`. */
function firstAfter(keyState: KeyState, fence: number): Lock | undefined {
  let lock = keyState.holders.first
  while (lock !== undefined && lock.fence <= fence) lock = lock.next
  return lock
}

/** Appends items of `source` to `target` until `target` has `limit` items. */
function appendUpTo<T>(limit: number, source: Iterable<T>, target: T[]): void {
  if (target.length >= limit) return
  for (const item of source) if (target.push(item) === limit) return
}

/**
 * A lock as callers in the same process see it.
 *
 * @param remaining Undefined if the lock has neither ttl nor maxHold, or if the times are unknown.
 */
export function toHeldInfo(lock: Lock, remaining: RemainingTimes | undefined): HeldInfo {
  // An upgrade gives a lock a new fence, its `presentFence`.
  const { key, mode, session, metadata, presentFence: fence, since, extras } = lock
  const { id, name } = session
  // A lock on several keys is a set of locks, one for each key. A refresh with a new ttl sets the
  // ttl of the first lock only, the primary lock.
  const { ttl } = lock.primary
  const metadataField = metadata === undefined ? {} : { metadata: JSON.parse(metadata) as unknown }
  const value = extras?.election?.value
  const valueField = value === undefined ? {} : { value: JSON.parse(value) as unknown }
  return {
    key,
    mode,
    session: id,
    ...(name === undefined ? {} : { name }),
    ...metadataField,
    fence,
    since,
    ...(ttl === undefined ? {} : { ttl }),
    ...extrasInfo(extras),
    ...valueField,
    ...remainingFields(remaining),
  }
}

function remainingFields(
  remaining: RemainingTimes | undefined,
): Pick<HeldInfo, keyof RemainingTimes> {
  const { ttlRemaining, maxHoldRemaining } = remaining ?? {}
  return {
    ...(ttlRemaining === undefined ? {} : { ttlRemaining }),
    ...(maxHoldRemaining === undefined ? {} : { maxHoldRemaining }),
  }
}

/** A waiting request as callers in the same process see it. */
export function toWaitingInfo({ key, mode, session, since, extras }: Request): WaitingInfo {
  const { id, name } = session
  const nameField = name === undefined ? {} : { name }
  return {
    key,
    mode,
    session: id,
    ...nameField,
    since,
    ...extrasInfo(extras),
    ...upgradeInfo(extras),
  }
}
