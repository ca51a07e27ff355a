/**
 * Builds one page of a query. A page begins where the previous page ended: after a key, or after
 * one of the locks of a key. The lock table does not sort its keys, so the builder considers every
 * key and keeps the lowest keys after the start of the page.
 */
import { costOfSkipping, costOfSort } from '../config/workCosts.js'
import { type KeyState, waitingCountOf } from '../core/index.js'
import type { KeyPageBuilder, PageKey } from '../protocol/chunkedResponses.js'

/** Where a page begins. */
export interface PageStart {
  /** List only keys after this key, in the order of UTF-16 code units; '' lists all keys. */
  readonly after: string
  /**
   * List also the locks of the key `after` with a fence (number of the grant) above this fence.
   * Undefined: list none of its locks.
   */
  readonly afterFence?: number | undefined
}

/**
 * Chooses the first keys after `start`, each with all its holders and its whole queue. The page has
 * at most `limit` holders and at most `limit` waiting requests. If the first key alone exceeds a
 * limit, the page has only this key, and lists only its first holders and requests. The builder
 * keeps only keys and no states, because the states may change while the search is paused.
 */
export class PageBuilder implements KeyPageBuilder {
  readonly #start: PageStart
  readonly #limit: number
  #lowestKeys: string[] = []
  /** A key above this key is too high for the page; undefined until `addKey` sorts the keys. */
  #upperBound: string | undefined
  #keyCount = 0
  #heldCount = 0
  #waitingCount = 0

  constructor(start: PageStart, limit: number) {
    this.#start = start
    this.#limit = limit
  }

  /**
   * The cost of sorting the kept keys once, as {@link build} does, in units of work (see
   * `workCosts.ts`).
   */
  get sortCost(): number {
    return costOfSort(this.#lowestKeys.length)
  }

  /**
   * Considers one key for the page. The caller must call this method exactly once for each key.
   *
   * @returns The cost in units of work, nearly always 0. The caller adds the cost of visiting the
   *   key.
   */
  addKey(keyState: KeyState): number {
    const { key } = keyState
    const { after, afterFence } = this.#start
    if (keyState.isIdle || key < after || (key === after && afterFence === undefined)) return 0
    const { held, waiting } = this.#countsOf(keyState)
    // Three loops run over the holders of the key `after`: `#countsOf` here and in `build`, and
    // `locksOf` of the search. The loops also visit holders that this page does not list.
    const skippedCost = key === after ? 3 * costOfSkipping(keyState.holders.length) : 0
    // Both counts are 0 only for the key `after`, if the previous page has listed all its locks.
    // With a limit of 1, this key would take the only place, and the page would be empty.
    if (held === 0 && waiting === 0) return skippedCost
    this.#keyCount++
    this.#heldCount += held
    this.#waitingCount += waiting
    if (this.#upperBound !== undefined && key >= this.#upperBound) return skippedCost
    this.#lowestKeys.push(key)
    // Most keys cause no sort, because the list grows to twice the length that the page needs.
    if (this.#lowestKeys.length < 2 * this.#limit) return skippedCost
    const cost = skippedCost + this.sortCost
    this.#sort()
    this.#upperBound = this.#lowestKeys.at(-1)
    return cost
  }

  /**
   * Builds the page. Call this method after every key was added. The counts include all locks and
   * requests after the start, including the locks and requests of later pages.
   */
  build(keyStateOf: (key: string) => KeyState | undefined): {
    readonly keys: readonly PageKey[]
    readonly heldCount: number
    readonly waitingCount: number
  } {
    this.#sort()
    const keys: PageKey[] = []
    const listedTotal = { held: 0, waiting: 0 }
    // If a key was too high for this page, another page follows.
    let isLastPage = this.#keyCount <= this.#lowestKeys.length
    for (const key of this.#lowestKeys) {
      const keyState = keyStateOf(key)
      if (keyState === undefined) continue
      const { held, waiting } = this.#countsOf(keyState)
      // Since `addKey`, the locks and requests of this key have ended, so the page omits the key.
      if (held === 0 && waiting === 0) continue
      const remaining = {
        held: this.#limit - listedTotal.held,
        waiting: this.#limit - listedTotal.waiting,
      }
      // The page ends before a key that does not fit. If that key is the first key of the page, the
      // page lists a part of the key.
      const fits = held <= remaining.held && waiting <= remaining.waiting
      if (!fits) isLastPage = false
      if (!fits && keys.length > 0) break
      const listed = {
        held: Math.min(held, remaining.held),
        waiting: Math.min(waiting, remaining.waiting),
      }
      keys.push({ key, afterFence: this.#afterFenceFor(key), ...listed })
      listedTotal.held += listed.held
      listedTotal.waiting += listed.waiting
      if (!fits) break
    }
    if (isLastPage) return { keys, heldCount: listedTotal.held, waitingCount: listedTotal.waiting }
    const heldCount = Math.max(this.#heldCount, listedTotal.held)
    const waitingCount = Math.max(this.#waitingCount, listedTotal.waiting)
    // If the counts equal the lengths of the lists, a client takes the page for the last page. On
    // an earlier page they can be equal by chance, because keys may have changed since `addKey`.
    const looksLikeLastPage = heldCount === listedTotal.held && waitingCount === listedTotal.waiting
    return { keys, heldCount: looksLikeLastPage ? heldCount + 1 : heldCount, waitingCount }
  }

  /** How many holders and waiters of a key are after the start of the page. */
  #countsOf(keyState: KeyState): { readonly held: number; readonly waiting: number } {
    if (keyState.key !== this.#start.after) {
      return { held: keyState.holders.length, waiting: waitingCountOf(keyState) }
    }
    let held = 0
    const afterFence = this.#afterFenceFor(keyState.key)
    for (let lock = keyState.holders.last; lock !== undefined; lock = lock.previous) {
      if (lock.fence <= afterFence) break
      held++
    }
    // The previous page has listed the queue of this key.
    return { held, waiting: 0 }
  }

  #afterFenceFor(key: string): number {
    return key === this.#start.after ? (this.#start.afterFence ?? 0) : 0
  }

  /**
   * Sorts the kept keys, and drops the keys that are too high for the page. A page has at most
   * `limit` keys.
   */
  #sort(): void {
    // The comparison never returns 0, because every key was added once.
    this.#lowestKeys = this.#lowestKeys.sort((a, b) => (a < b ? -1 : 1)).slice(0, this.#limit)
  }
}
