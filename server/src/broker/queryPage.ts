/**
 * One page of a query that continues after the page before it. The table has no order, so the page
 * is chosen by looking at every key: the lowest keys after the last key of the page before.
 */
import { costOfPassing, costOfSort } from '../config/workCosts.js'
import type { KeyState } from '../core/index.js'
import type { KeyPage, PageKey } from '../protocol/chunkedResponses.js'

/** Where a page begins. */
export interface PageStart {
  /** Only keys after this one, in the order of UTF-16 code units; '' for all. */
  readonly after: string
  /** Also the locks of `after` itself whose fence is higher than this. */
  readonly afterFence?: number | undefined
}

/**
 * Chooses the first keys after `start`, each with all its holders and its whole queue, as many as
 * fit into `limit` of either. A key that alone has more of one than `limit` is cut, and alone on
 * its page. It keeps keys and no entries: the table may change while a client's walk is paused.
 */
export class PageChoice implements KeyPage {
  readonly #start: PageStart
  readonly #limit: number
  #lowest: string[] = []
  /** No key from here on is among the lowest. */
  #bound: string | undefined
  #seen = 0
  #held = 0
  #waiting = 0

  constructor(start: PageStart, limit: number) {
    this.#start = start
    this.#limit = limit
  }

  /** Units that putting all kept keys in order costs, which {@link page} does as well. */
  get sortCost(): number {
    return costOfSort(this.#lowest.length)
  }

  /**
   * Looks at one key of the table; each is offered once.
   *
   * @returns The units that this has cost beside the visit; nearly always 0.
   */
  offer(entry: KeyState): number {
    const { key } = entry
    const { after, afterFence } = this.#start
    if (entry.isIdle || key < after || (key === after && afterFence === undefined)) return 0
    const { held, waiting } = this.#sizeOf(entry)
    // Here, when the page is put together, and when its first lock is looked up.
    const passed = key === after ? 3 * costOfPassing(entry.holders.length) : 0
    // The former page listed all of this key. If the key counted, a page of `limit` 1 was empty.
    if (held === 0 && waiting === 0) return passed
    this.#seen++
    this.#held += held
    this.#waiting += waiting
    if (this.#bound !== undefined && key >= this.#bound) return passed
    this.#lowest.push(key)
    if (this.#lowest.length < 2 * this.#limit) return passed
    const cost = passed + this.sortCost
    this.#sort()
    this.#bound = this.#lowest.at(-1)
    return cost
  }

  /** The page, once every key was offered. The counts are of everything after its start. */
  page(entryOf: (key: string) => KeyState | undefined): {
    readonly keys: readonly PageKey[]
    readonly heldCount: number
    readonly waitingCount: number
  } {
    this.#sort()
    const keys: PageKey[] = []
    const total = { held: 0, waiting: 0 }
    let isWhole = this.#seen <= this.#lowest.length
    for (const key of this.#lowest) {
      const entry = entryOf(key)
      if (entry === undefined) continue
      const { held, waiting } = this.#sizeOf(entry)
      // All locks that the page would list of this key were released after the key was offered.
      if (held === 0 && waiting === 0) continue
      const most = { held: this.#limit - total.held, waiting: this.#limit - total.waiting }
      const fits = held <= most.held && waiting <= most.waiting
      if (!fits) isWhole = false
      if (!fits && keys.length > 0) break
      const told = { held: Math.min(held, most.held), waiting: Math.min(waiting, most.waiting) }
      keys.push({ key, afterFence: this.#fenceFor(key), ...told })
      total.held += told.held
      total.waiting += told.waiting
      if (!fits) break
    }
    if (isWhole) return { keys, heldCount: total.held, waitingCount: total.waiting }
    const heldCount = Math.max(this.#held, total.held)
    const waitingCount = Math.max(this.#waiting, total.waiting)
    // Keys came and went since they were offered; that must not make this look like the last page.
    const looksWhole = heldCount === total.held && waitingCount === total.waiting
    return { keys, heldCount: looksWhole ? heldCount + 1 : heldCount, waitingCount }
  }

  #sizeOf(entry: KeyState): { readonly held: number; readonly waiting: number } {
    if (entry.key !== this.#start.after) {
      return { held: entry.holders.length, waiting: entry.queue.length }
    }
    let held = 0
    const fence = this.#fenceFor(entry.key)
    for (let lock = entry.holders.last; lock !== undefined; lock = lock.previous) {
      if (lock.fence <= fence) break
      held++
    }
    // Its queue was told on the page before.
    return { held, waiting: 0 }
  }

  #fenceFor(key: string): number {
    return key === this.#start.after ? (this.#start.afterFence ?? 0) : 0
  }

  #sort(): void {
    // Every key is there once, so no two are equal.
    this.#lowest = this.#lowest.sort((a, b) => (a < b ? -1 : 1)).slice(0, this.#limit)
  }
}
