/**
 * Long answers in chunks: a snapshot, the answer to a query, the state with which a watch begins.
 * Each chunk is one message, and is encoded only when the connection has room for it. So a hundred
 * thousand locks are never in memory as text at the same time. A query also searches no faster than
 * the client reads.
 */
import { joinFrames, utf8Length } from '@holdfast/shared'
import type { KeyState, Lock } from '../core/index.js'
import {
  encodeHeldInfo,
  encodeSnapshotLock,
  encodeWaitingInfo,
  type SnapshotLock,
  type WaiterInfo,
} from './encode.js'

/** Bytes at which a chunk is full. */
const chunkBytes = 16 * 1024

/** A search through the lock table that may pause between two keys (see `broker/queries.ts`). */
export interface KeySearch {
  /** After this many keys the caller must yield {@link stepCost}. */
  readonly stepKeys: number
  /** What {@link stepKeys} keys cost, in units of work. */
  readonly stepCost: number
  /** The next key; `'noMatch'` for a key outside the scope; undefined at the end. */
  next(): KeyState | 'noMatch' | undefined
  /** At most `limit` locks of a key whose fence is above `afterFence`, by rising fence. */
  locksOf(keyState: KeyState, limit: number, afterFence?: number): Iterable<Lock>
  /** How many locks of the key {@link locksOf} has not listed. */
  unlistedCountOf(keyState: KeyState): number
  /** How many locks the key has. */
  countOf(keyState: KeyState): number
  /** The present state of a key; undefined if the lock table does not have the key. */
  keyStateOf(key: string): KeyState | undefined
  /** From now on {@link locksOf} also lists the locks that were granted during the search. */
  includeNewLocks(): void
  /** Returns what the skipped locks have cost since the last call, in units of work. */
  resetSkippedCost(): number
  /** Ends the search early. */
  end(): void
}

/** Builds one page of a query from all keys (see `broker/queryPage.ts`). */
export interface KeyPageBuilder {
  /** What {@link build} costs, in units of work. */
  readonly sortCost: number
  /** Considers a key for the page. Returns the cost, in units of work. */
  addKey(keyState: KeyState): number
  /** Returns the page, after every key was added. */
  build(keyStateOf: (key: string) => KeyState | undefined): {
    readonly keys: readonly PageKey[]
    readonly heldCount: number
    readonly waitingCount: number
  }
}

/** A key of a page, and how many of its locks and waiting requests the page lists. */
export interface PageKey {
  readonly key: string
  /** The page lists only locks with a higher fence; 0 for all. */
  readonly afterFence: number
  readonly held: number
  readonly waiting: number
}

/** The snapshot that a resumed session gets: its locks, and the ids of its waiting requests. */
export function* snapshotChunks(
  held: readonly SnapshotLock[],
  waiting: readonly number[],
): Generator<string> {
  const chunk = new Chunk()
  const encodeChunk = (more: boolean): string => {
    const lists = chunk.removeLists()
    return `{"type":"snapshot","held":[${lists.held}],"waiting":[${lists.waiting}],"more":${more}}`
  }
  for (const lock of held) {
    const item = encodeSnapshotLock(lock)
    if (!chunk.hasRoomFor(item)) yield encodeChunk(true)
    chunk.add('held', item)
  }
  for (const id of waiting) {
    const item = String(id)
    if (!chunk.hasRoomFor(item)) yield encodeChunk(true)
    chunk.add('waiting', item)
  }
  yield encodeChunk(false)
}

/** Yields frames of messages. Encodes the messages of a frame only when the frame is requested. */
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
 * Yields the chunks of a long answer, and numbers: the units of work since the last yield, when no
 * chunk is full yet.
 */
export type PacedChunks = Generator<string | number>

/**
 * The answer to a query.
 *
 * @param limit Maximum of locks, and maximum of requests, to list. The counts include all matches.
 */
export function* foundChunks(id: number, search: KeySearch, limit: number): PacedChunks {
  const chunk = new Chunk()
  const counts = { held: 0, waiting: 0 }
  const encodeChunk = (more: boolean): string => {
    const countFields = `"heldCount":${counts.held},"waitingCount":${counts.waiting}`
    const { held, waiting } = chunk.removeLists()
    const lists = `"held":[${held}],"waiting":[${waiting}]`
    return `{"type":"found","id":${id},${lists},${countFields},"more":${more}}`
  }
  const left = { held: limit, waiting: limit }
  for (const keyState of keysOf(search)) {
    if (typeof keyState === 'number') {
      yield keyState
      continue
    }
    counts.waiting += keyState.queue.length
    if (left.held <= 0 && (left.waiting <= 0 || keyState.queue.length === 0)) {
      counts.held += search.countOf(keyState)
      continue
    }
    const waiters = waitersOf(keyState, left.waiting)
    left.waiting -= waiters.length
    for (const lock of search.locksOf(keyState, left.held)) {
      left.held--
      counts.held++
      const item = encodeHeldInfo(lock)
      if (!chunk.hasRoomFor(item)) yield encodeChunk(true)
      chunk.add('held', item)
    }
    counts.held += search.unlistedCountOf(keyState)
    for (const waiter of waiters) {
      const item = encodeWaitingInfo(keyState.key, waiter)
      if (!chunk.hasRoomFor(item)) yield encodeChunk(true)
      chunk.add('waiting', item)
    }
  }
  yield encodeChunk(false)
}

/**
 * The answer to a query for one page. The locks of a key are looked up only when the connection has
 * room for them, so that a client that does not read makes the broker keep only keys.
 */
export function* pageChunks(id: number, search: KeySearch, builder: KeyPageBuilder): PacedChunks {
  for (const item of keysOf(search)) {
    const cost = typeof item === 'number' ? item : builder.addKey(item)
    if (cost > 0) yield cost
  }
  yield builder.sortCost
  // The page is built in the turn of its first chunk. So its keys cannot be released before, and a
  // page with keys is never empty.
  search.includeNewLocks()
  const { keys, heldCount, waitingCount } = builder.build((key) => search.keyStateOf(key))
  const chunk = new Chunk()
  const encodeChunk = (more: boolean): string => {
    const countFields = `"heldCount":${heldCount},"waitingCount":${waitingCount}`
    const { held, waiting } = chunk.removeLists()
    const lists = `"held":[${held}],"waiting":[${waiting}]`
    return `{"type":"found","id":${id},${lists},${countFields},"more":${more}}`
  }
  for (const { key, afterFence, held, waiting } of keys) {
    const keyState = search.keyStateOf(key)
    if (keyState === undefined) continue
    const waiters = waitersOf(keyState, waiting)
    for (const lock of search.locksOf(keyState, held, afterFence)) {
      const item = encodeHeldInfo(lock)
      if (!chunk.hasRoomFor(item)) yield encodeChunk(true)
      chunk.add('held', item)
    }
    for (const waiter of waiters) {
      const item = encodeWaitingInfo(key, waiter)
      if (!chunk.hasRoomFor(item)) yield encodeChunk(true)
      chunk.add('waiting', item)
    }
  }
  yield encodeChunk(false)
}

/**
 * The state with which a watch begins.
 *
 * @param limit Maximum of locks to list. The count includes all matches.
 */
export function* watchingChunks(id: number, search: KeySearch, limit: number): PacedChunks {
  const chunk = new Chunk()
  let count = 0
  const encodeChunk = (more: boolean): string => {
    const { held } = chunk.removeLists()
    return `{"type":"watching","id":${id},"held":[${held}],"heldCount":${count},"more":${more}}`
  }
  let left = limit
  for (const keyState of keysOf(search)) {
    if (typeof keyState === 'number') {
      yield keyState
      continue
    }
    if (left <= 0) {
      count += search.countOf(keyState)
      continue
    }
    for (const lock of search.locksOf(keyState, left)) {
      left--
      count++
      const item = encodeHeldInfo(lock)
      if (!chunk.hasRoomFor(item)) yield encodeChunk(true)
      chunk.add('held', item)
    }
    count += search.unlistedCountOf(keyState)
  }
  yield encodeChunk(false)
}

/** Yields the keys that a search finds, and after each step its cost, in units of work. */
function* keysOf(search: KeySearch): Generator<KeyState | number> {
  try {
    let visited = 0
    for (let keyState = search.next(); keyState !== undefined; keyState = search.next()) {
      if (keyState !== 'noMatch') yield keyState
      const skippedCost = search.resetSkippedCost()
      if (++visited % search.stepKeys === 0) yield search.stepCost + skippedCost
      else if (skippedCost > 0) yield skippedCost
    }
  } finally {
    search.end()
  }
}

/** At most `limit` of the requests that wait for a key now. */
function waitersOf(keyState: KeyState, limit: number): WaiterInfo[] {
  const waiters: WaiterInfo[] = []
  if (limit <= 0) return waiters
  for (const { mode, session, since } of keyState.queue) {
    if (waiters.push({ mode, session, since }) >= limit) break
  }
  return waiters
}

/** Collects locks and waiting requests, as JSON elements, until they fill a message. */
class Chunk {
  #held: string[] = []
  #waiting: string[] = []
  #bytes = 0

  /** Whether the chunk has room for an item. An empty chunk has room for any item. */
  hasRoomFor(item: string): boolean {
    return this.#bytes === 0 || this.#bytes + utf8Length(item) < chunkBytes
  }

  add(list: 'held' | 'waiting', item: string): void {
    if (list === 'held') this.#held.push(item)
    else this.#waiting.push(item)
    this.#bytes += utf8Length(item) + 1
  }

  /** Returns the two lists, joined, and empties the chunk. */
  removeLists(): { readonly held: string; readonly waiting: string } {
    const lists = { held: this.#held.join(), waiting: this.#waiting.join() }
    this.#held = []
    this.#waiting = []
    this.#bytes = 0
    return lists
  }
}
