/**
 * Long answers in chunks: the snapshot, the answer to a query, and the locks that are held when a
 * watch begins. A snapshot lists the locks of a session for a client that resumes the session.
 *
 * Each chunk is one message, and is encoded only when the connection has room for the chunk. So a
 * hundred thousand locks are never in memory as text at the same time. A query also searches no
 * faster than the client reads.
 */
import { joinIntoFrames, utf8Length } from '@holdfast/shared'
import { type KeyState, type Lock, waitingCountOf, waitingRequestsOf } from '../core/index.js'
import {
  encodeHeldInfo,
  encodeQueuedInfo,
  encodeWaitingInfo,
  type RemainingTimes,
  type WaiterInfo,
} from './encodeLockInfo.js'
import { encodeSnapshotLock, type SnapshotLock } from './encodeSessionMessages.js'

/** A chunk is full when it has this many bytes. */
export const chunkBytes = 16 * 1024

/** A search through the lock table that may pause between two keys (see `broker/queries.ts`). */
export interface KeySearch {
  /**
   * After this many calls of {@link next}, a generator that uses this search must yield
   * {@link costPerStep}, so that the broker can pause the generator.
   */
  readonly keysPerStep: number
  /** The cost of {@link keysPerStep} keys, in units of work (see `config/workCosts.ts`). */
  readonly costPerStep: number
  /** The next key; `'noMatch'` for a key that the query does not ask for; undefined at the end. */
  next(): KeyState | 'noMatch' | undefined
  /**
   * Lists at most `limit` locks of a key, by rising fence (the number of a grant; a later grant has
   * a higher fence). Leaves out locks with a fence up to `afterFence`. Also leaves out locks that
   * were granted after the search began, until {@link includeNewLocks} is called.
   */
  locksOf(keyState: KeyState, limit: number, afterFence?: number): Iterable<Lock>
  /** How long a lock lasts from now on; undefined without a limit, or if the time is unknown. */
  remainingTimesOf(lock: Lock): RemainingTimes | undefined
  /**
   * How many locks of the key {@link locksOf} has not listed. Ends the listing of the key, so call
   * this method last.
   */
  unlistedCountOf(keyState: KeyState): number
  /** How many locks of the key were granted before the search began. */
  countOf(keyState: KeyState): number
  /** The current state of a key; undefined if the lock table does not have the key. */
  keyStateOf(key: string): KeyState | undefined
  /** From now on {@link locksOf} also lists the locks that were granted during the search. */
  includeNewLocks(): void
  /**
   * Returns the cost of skipping locks that are newer than the search, in units of work. Counts the
   * locks that were skipped since the last call.
   */
  resetSkippedCost(): number
  /** Ends the search early. */
  end(): void
}

/** Builds one page of a query from all keys (see `broker/queryPage.ts`). */
export interface KeyPageBuilder {
  /** The cost of {@link build}, which sorts the keys of the page, in units of work. */
  readonly sortCost: number
  /** Considers a key for the page. Returns the cost, in units of work. */
  addKey(keyState: KeyState): number
  /**
   * Returns the page. Call this method after every key was added.
   *
   * @param keyStateOf Returns the current state of a key; see {@link KeySearch.keyStateOf}.
   */
  build(keyStateOf: (key: string) => KeyState | undefined): {
    readonly keys: readonly PageKey[]
    readonly heldCount: number
    readonly waitingCount: number
  }
}

/** A key of a page, and which of its locks and waiting requests the page lists. */
export interface PageKey {
  readonly key: string
  /** The page lists only locks with a higher fence; 0 for all locks. */
  readonly afterFence: number
  /** How many of these locks the page lists. */
  readonly held: number
  /** How many waiting requests the page lists. */
  readonly waiting: number
}

/**
 * Encodes the snapshot of a resumed session: its locks, and the ids of its waiting requests. In all
 * messages of this file, the field `more` says whether a further chunk follows.
 */
export function* snapshotChunks(
  held: readonly SnapshotLock[],
  waiting: readonly number[],
): Generator<string> {
  const chunk = new Chunk()
  /** Encodes and empties the chunk. */
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

/**
 * Encodes each item as one message, and yields frames of about {@link chunkBytes} that join these
 * messages. Encodes the messages of a frame only when the caller asks for the frame.
 */
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
    yield* joinIntoFrames(messages)
    messages = []
    bytes = 0
  }
  if (messages.length > 0) yield* joinIntoFrames(messages)
}

/**
 * Yields the chunks of a long answer as texts, and numbers between the chunks. A number is the
 * units of work since the previous number. At a number the caller can pause, even before a chunk is
 * full.
 */
export type PacedChunks = Generator<string | number>

/**
 * Encodes the answer to a query that asks for no page.
 *
 * @param limit At most this many locks, and at most this many requests, are listed. The fields
 *   `heldCount` and `waitingCount` count all matches.
 */
export function* foundChunks(id: number, search: KeySearch, limit: number): PacedChunks {
  const chunk = new Chunk()
  const counts = { held: 0, waiting: 0 }
  const encodeChunk = (more: boolean): string => {
    const countFields = `"heldCount":${counts.held},"waitingCount":${counts.waiting}`
    const { held, waiting } = chunk.removeLists()
    const listFields = `"held":[${held}],"waiting":[${waiting}]`
    return `{"type":"found","id":${id},${listFields},${countFields},"more":${more}}`
  }
  /** How many more locks and requests the answer may list. */
  const remaining = { held: limit, waiting: limit }
  for (const keyState of keysOf(search)) {
    if (typeof keyState === 'number') {
      yield keyState
      continue
    }
    const waitingCount = waitingCountOf(keyState)
    counts.waiting += waitingCount
    const listsNoRequest = remaining.waiting <= 0 || waitingCount === 0
    if (remaining.held <= 0 && listsNoRequest) {
      counts.held += search.countOf(keyState)
      continue
    }
    const waiters = waitersOf(keyState, remaining.waiting)
    remaining.waiting -= waiters.length
    for (const lock of search.locksOf(keyState, remaining.held)) {
      remaining.held--
      counts.held++
      const item = encodeHeldInfo(lock, search.remainingTimesOf(lock))
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
 * Encodes the answer to a query for one page. Looks up the locks of a key only when the connection
 * can send them. So while a client does not read, the broker keeps only the keys of the page in
 * memory, and not the locks.
 */
export function* pageChunks(id: number, search: KeySearch, builder: KeyPageBuilder): PacedChunks {
  for (const item of keysOf(search)) {
    const cost = typeof item === 'number' ? item : builder.addKey(item)
    if (cost > 0) yield cost
  }
  yield builder.sortCost
  // The counts of the page include the locks that were granted during the search.
  search.includeNewLocks()
  // The page is built and its first chunk is encoded in the same turn of the event loop. So no lock
  // of the page can end between these two steps, and a page with keys is never empty.
  const { keys, heldCount, waitingCount } = builder.build((key) => search.keyStateOf(key))
  const chunk = new Chunk()
  const encodeChunk = (more: boolean): string => {
    const countFields = `"heldCount":${heldCount},"waitingCount":${waitingCount}`
    const { held, waiting } = chunk.removeLists()
    const listFields = `"held":[${held}],"waiting":[${waiting}]`
    return `{"type":"found","id":${id},${listFields},${countFields},"more":${more}}`
  }
  for (const { key, afterFence, held, waiting } of keys) {
    const keyState = search.keyStateOf(key)
    if (keyState === undefined) continue
    const waiters = waitersOf(keyState, waiting)
    for (const lock of search.locksOf(keyState, held, afterFence)) {
      const item = encodeHeldInfo(lock, search.remainingTimesOf(lock))
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
 * Encodes the locks that are held when a watch begins, and the requests that wait.
 *
 * @param limit At most this many locks, and at most this many requests, are listed. The fields
 *   `heldCount` and `waitingCount` count all matches.
 * @param withQueue Whether the watch shows the requests that wait.
 */
export function* watchingChunks(
  id: number,
  search: KeySearch,
  limit: number,
  withQueue: boolean,
): PacedChunks {
  const chunk = new Chunk()
  const counts = { held: 0, waiting: 0 }
  const encodeChunk = (more: boolean): string => {
    const { held, waiting } = chunk.removeLists()
    const queueFields = withQueue ? `"waiting":[${waiting}],"waitingCount":${counts.waiting},` : ''
    const heldFields = `"held":[${held}],"heldCount":${counts.held}`
    return `{"type":"watching","id":${id},${heldFields},${queueFields}"more":${more}}`
  }
  /** How many more locks and requests the answer may list. */
  const remaining = { held: limit, waiting: withQueue ? limit : 0 }
  for (const keyState of keysOf(search)) {
    if (typeof keyState === 'number') {
      yield keyState
      continue
    }
    // The waiters are copied before the next `yield`, because the watch gets an event for each
    // later change of this queue.
    const waiters = waitersOf(keyState, remaining.waiting)
    counts.waiting += waitingCountOf(keyState)
    remaining.waiting -= waiters.length
    if (remaining.held <= 0) counts.held += search.countOf(keyState)
    else {
      for (const lock of search.locksOf(keyState, remaining.held)) {
        remaining.held--
        counts.held++
        const item = encodeHeldInfo(lock, search.remainingTimesOf(lock))
        if (!chunk.hasRoomFor(item)) yield encodeChunk(true)
        chunk.add('held', item)
      }
      counts.held += search.unlistedCountOf(keyState)
    }
    for (const waiter of waiters) {
      const item = encodeQueuedInfo(keyState.key, waiter)
      if (!chunk.hasRoomFor(item)) yield encodeChunk(true)
      chunk.add('waiting', item)
    }
  }
  yield encodeChunk(false)
}

/**
 * Yields the keys that a search finds, and numbers between the keys. A number is the cost of the
 * search since the previous number, in units of work.
 */
function* keysOf(search: KeySearch): Generator<KeyState | number> {
  try {
    let visited = 0
    for (let keyState = search.next(); keyState !== undefined; keyState = search.next()) {
      if (keyState !== 'noMatch') yield keyState
      const skippedCost = search.resetSkippedCost()
      if (++visited % search.keysPerStep === 0) yield search.costPerStep + skippedCost
      else if (skippedCost > 0) yield skippedCost
    }
  } finally {
    search.end()
  }
}

/** Copies at most `limit` of the requests that wait for a key now. */
function waitersOf(keyState: KeyState, limit: number): WaiterInfo[] {
  const waiters: WaiterInfo[] = []
  if (limit <= 0 || waitingCountOf(keyState) === 0) return waiters
  for (const { id, mode, session, since, extras } of waitingRequestsOf(keyState)) {
    if (waiters.push({ id, mode, session, since, extras }) >= limit) break
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

  add(listName: 'held' | 'waiting', item: string): void {
    if (listName === 'held') this.#held.push(item)
    else this.#waiting.push(item)
    // One more byte for the comma between two items.
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
