/**
 * Long answers in parts: a snapshot, a query's findings, the state a watch begins with. Each part
 * is encoded only when the connection has room for it, so that a hundred thousand locks are never
 * text in memory all at once. What a query finds is looked for no faster than it is read either.
 */
import { joinFrames, utf8Length } from '@holdfast/shared'
import type { KeyState, Lock } from '../core/index.js'
import {
  encodeHeldInfo,
  encodeHeldItem,
  encodeWaitingInfo,
  type HeldItem,
  type Waiter,
} from './encode.js'

/** Bytes at which a part is full. */
const chunkBytes = 16 * 1024

/** A search through the lock table that may pause between two keys; `broker/queries.ts` has it. */
export interface KeySearch {
  /** After so many keys the search says what they cost. */
  readonly stepKeys: number
  /** What {@link stepKeys} keys cost, in units of work. */
  readonly stepCost: number
  /** The next key; `'elsewhere'` for a key that does not match; undefined at the end. */
  next(): KeyState | 'elsewhere' | undefined
  /** At most so many locks of a key, by rising fence, of those with a fence above `after`. */
  locksOf(entry: KeyState, most: number, after?: number): Iterable<Lock>
  /** How many locks of the key {@link locksOf} has not listed. */
  unlistedOf(entry: KeyState): number
  /** How many locks the key has. */
  countOf(entry: KeyState): number
  /** What the lock table has under a key now. */
  entryOf(key: string): KeyState | undefined
  /** From here on, {@link locksOf} lists the locks that the table has now. */
  lookAgain(): void
  /** What skipping locks has cost since the last call, in units of work. */
  takePassedCost(): number
  /** Gives up the rest of the search. */
  end(): void
}

/** One page of a query, chosen from all keys; `broker/queryPage.ts` has it. */
export interface KeyPage {
  /** What {@link page} costs, in units of work. */
  readonly sortCost: number
  /** Considers one key for the page. Returns what that cost, in units of work. */
  offer(entry: KeyState): number
  /** The page, after every key was offered. */
  page(entryOf: (key: string) => KeyState | undefined): {
    readonly keys: readonly PageKey[]
    readonly heldCount: number
    readonly waitingCount: number
  }
}

/** A key of a page, and how much of it the page tells. */
export interface PageKey {
  readonly key: string
  /** Only locks with a higher fence; 0 for all. */
  readonly afterFence: number
  readonly held: number
  readonly waiting: number
}

export function* snapshotChunks(
  held: readonly HeldItem[],
  waiting: readonly number[],
): Generator<string> {
  const part = new Chunk()
  const text = (more: boolean): string => {
    const lists = part.take()
    return `{"type":"snapshot","held":[${lists.held}],"waiting":[${lists.waiting}],"more":${more}}`
  }
  for (const lock of held) {
    const item = encodeHeldItem(lock)
    if (!part.fits(item)) yield text(true)
    part.add('held', item)
  }
  for (const id of waiting) {
    const item = String(id)
    if (!part.fits(item)) yield text(true)
    part.add('waiting', item)
  }
  yield text(false)
}

/** Messages as frames; each is encoded only when its frame has room. */
export function* messageFrames<T>(
  items: Iterable<T>,
  encode: (item: T) => string,
): Generator<string> {
  let messages: string[] = []
  let bytes = 0
  for (const item of items) {
    const message = encode(item)
    messages.push(message)
    bytes += utf8Length(message)
    if (bytes < chunkBytes) continue
    yield* joinFrames(messages)
    messages = []
    bytes = 0
  }
  if (messages.length > 0) yield* joinFrames(messages)
}

/**
 * Texts of a long answer, or a number: so many units were used since the last one, with nothing to
 * say yet.
 */
export type PacedChunks = Generator<string | number>

/** A query's answer. @param limit Most locks and most requests; the counts are of all. */
export function* foundChunks(id: number, search: KeySearch, limit: number): PacedChunks {
  const part = new Chunk()
  const counts = { held: 0, waiting: 0 }
  const text = (more: boolean): string => {
    const numbers = `"heldCount":${counts.held},"waitingCount":${counts.waiting}`
    const { held, waiting } = part.take()
    const lists = `"held":[${held}],"waiting":[${waiting}]`
    return `{"type":"found","id":${id},${lists},${numbers},"more":${more}}`
  }
  const left = { held: limit, waiting: limit }
  for (const entry of keysOf(search)) {
    if (typeof entry === 'number') {
      yield entry
      continue
    }
    counts.waiting += entry.queue.length
    if (left.held <= 0 && (left.waiting <= 0 || entry.queue.length === 0)) {
      counts.held += search.countOf(entry)
      continue
    }
    const waiters = waitersOf(entry, left.waiting)
    left.waiting -= waiters.length
    for (const lock of search.locksOf(entry, left.held)) {
      left.held--
      counts.held++
      const item = encodeHeldInfo(lock)
      if (!part.fits(item)) yield text(true)
      part.add('held', item)
    }
    counts.held += search.unlistedOf(entry)
    for (const waiter of waiters) {
      const item = encodeWaitingInfo(entry.key, waiter)
      if (!part.fits(item)) yield text(true)
      part.add('waiting', item)
    }
  }
  yield text(false)
}

/**
 * The answer to a query for one page. What is told is looked up when there is room for it, so that
 * a client that does not read keeps nothing alive but keys.
 */
export function* pageChunks(id: number, search: KeySearch, choice: KeyPage): PacedChunks {
  for (const entry of keysOf(search)) {
    const cost = typeof entry === 'number' ? entry : choice.offer(entry)
    if (cost > 0) yield cost
  }
  yield choice.sortCost
  // In the same turn as the first of them is told: a page that has keys is never empty.
  search.lookAgain()
  const { keys, heldCount, waitingCount } = choice.page((key) => search.entryOf(key))
  const part = new Chunk()
  const text = (more: boolean): string => {
    const numbers = `"heldCount":${heldCount},"waitingCount":${waitingCount}`
    const { held, waiting } = part.take()
    const lists = `"held":[${held}],"waiting":[${waiting}]`
    return `{"type":"found","id":${id},${lists},${numbers},"more":${more}}`
  }
  for (const { key, afterFence, held, waiting } of keys) {
    const entry = search.entryOf(key)
    if (entry === undefined) continue
    const waiters = waitersOf(entry, waiting)
    for (const lock of search.locksOf(entry, held, afterFence)) {
      const item = encodeHeldInfo(lock)
      if (!part.fits(item)) yield text(true)
      part.add('held', item)
    }
    for (const waiter of waiters) {
      const item = encodeWaitingInfo(key, waiter)
      if (!part.fits(item)) yield text(true)
      part.add('waiting', item)
    }
  }
  yield text(false)
}

/** What is held when a watch begins. @param limit Most locks; the count is of all. */
export function* watchingChunks(id: number, search: KeySearch, limit: number): PacedChunks {
  const part = new Chunk()
  let count = 0
  const text = (more: boolean): string =>
    `{"type":"watching","id":${id},"held":[${part.take().held}],"heldCount":${count},"more":${more}}`
  let left = limit
  for (const entry of keysOf(search)) {
    if (typeof entry === 'number') {
      yield entry
      continue
    }
    if (left <= 0) {
      count += search.countOf(entry)
      continue
    }
    for (const lock of search.locksOf(entry, left)) {
      left--
      count++
      const item = encodeHeldInfo(lock)
      if (!part.fits(item)) yield text(true)
      part.add('held', item)
    }
    count += search.unlistedOf(entry)
  }
  yield text(false)
}

/** The keys that a search finds, and from time to time what that has cost. */
function* keysOf(search: KeySearch): Generator<KeyState | number> {
  try {
    let visited = 0
    for (let entry = search.next(); entry !== undefined; entry = search.next()) {
      if (entry !== 'elsewhere') yield entry
      const passed = search.takePassedCost()
      if (++visited % search.stepKeys === 0) yield search.stepCost + passed
      else if (passed > 0) yield passed
    }
  } finally {
    search.end()
  }
}

/** At most `most` of the requests that wait for a key now. */
function waitersOf(entry: KeyState, most: number): Waiter[] {
  const waiters: Waiter[] = []
  if (most <= 0) return waiters
  for (const { mode, session, since } of entry.queue) {
    if (waiters.push({ mode, session, since }) >= most) break
  }
  return waiters
}

/** Two lists of items as JSON elements, gathered until they fill a message. */
class Chunk {
  #held: string[] = []
  #waiting: string[] = []
  #bytes = 0

  /** Whether there is room for an item; there always is for the first. */
  fits(item: string): boolean {
    return this.#bytes === 0 || this.#bytes + utf8Length(item) < chunkBytes
  }

  add(list: 'held' | 'waiting', item: string): void {
    if (list === 'held') this.#held.push(item)
    else this.#waiting.push(item)
    this.#bytes += utf8Length(item) + 1
  }

  /** The two lists, which are empty from then on. */
  take(): { readonly held: string; readonly waiting: string } {
    const lists = { held: this.#held.join(), waiting: this.#waiting.join() }
    this.#held = []
    this.#waiting = []
    this.#bytes = 0
    return lists
  }
}
