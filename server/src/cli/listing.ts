/**
 * Lists locks page by page, because a query returns at most 1,000 locks. Also reports that a
 * listing is incomplete.
 */
import { getHeapStatistics } from 'node:v8'
import type { HeldInfo, QueryResult, WaitingInfo } from '@holdfast/client'
import type { Command } from 'commander'
import type { AnySession } from './connecting.js'
import { Exit, exitCodes, printError } from './exitCodes.js'
import { integerParser } from './parse.js'

/** One query returns at most this many locks, and at most this many waiting requests. */
export const pageSize = 1_000

export interface ListFlags {
  readonly limit?: number | undefined
  readonly all?: boolean | undefined
}

/**
 * Adds `--limit`, and also `--all` if the command can list more than one page.
 *
 * @param items What the command lists, in the plural, such as "locks".
 */
export function withListFlags(command: Command, items: string, hasPages: boolean): Command {
  const maxLimit = hasPages ? Number.MAX_SAFE_INTEGER : pageSize
  command.option(
    '--limit <n>',
    `list at most so many ${items} (default ${pageSize}, with exit code 1 if there are more)`,
    integerParser(1, maxLimit),
  )
  return hasPages ? command.option('--all', `list all ${items}, however many there are`) : command
}

/** A held lock, and how many requests wait for its key. */
export interface ListedLock extends HeldInfo {
  readonly waiting: number
}

export interface Listing {
  /** The listed locks, in the order of their keys. */
  readonly locks: readonly ListedLock[]
  /** `locks.length` if all locks were asked for; otherwise how many were held at the beginning. */
  readonly heldCount: number
}

/**
 * Lists the locks whose keys begin with the prefix.
 *
 * @param maxLocks The maximum of locks to list; `Infinity` for all.
 */
export async function listLocks(
  session: AnySession,
  prefix: string | undefined,
  maxLocks: number,
): Promise<Listing> {
  const locks: ListedLock[] = []
  let heldCount = 0
  /** The last key that filled a page by itself, and how many requests wait for this key. */
  let pageFiller: { readonly key: string; readonly waiting: number } | undefined
  for await (const page of pagesOf(session, prefix)) {
    // Only the first page counts all locks. A later page does not count the locks before its start.
    heldCount ||= page.heldCount
    const queueLengths = countByKey(page.waiting)
    // If one key fills the page, the page may list only a part of the queue of that key. So ask the
    // broker how many requests wait.
    const fillingKey = onlyKeyOf(page)
    if (fillingKey !== undefined && fillingKey !== pageFiller?.key) {
      const { waitingCount } = await session.query({ key: fillingKey, limit: 1 })
      pageFiller = { key: fillingKey, waiting: waitingCount }
    }
    for (const lock of page.held) {
      if (locks.length === maxLocks) break
      const waiting =
        lock.key === pageFiller?.key ? pageFiller.waiting : (queueLengths.get(lock.key) ?? 0)
      locks.push({ ...lock, waiting })
    }
    if (locks.length === maxLocks) break
  }
  return { locks, heldCount: maxLocks === Number.POSITIVE_INFINITY ? locks.length : heldCount }
}

/**
 * Queries all locks and waiting requests whose keys begin with the prefix, page by page in the
 * order of their keys. A lock that is held from the first page to the last is on exactly one page.
 *
 * @throws {Exit} 69 if the pages of the broker have no end; 1 if the pages do not fit into memory
 */
export async function* pagesOf(
  session: AnySession,
  prefix: string | undefined,
): AsyncGenerator<QueryResult> {
  let after = ''
  let afterFence: number | undefined
  let emptyPages = 0
  for (let pageCount = 0; pageCount < maxPages; pageCount++) {
    const page = await session.query({ prefix, after, afterFence })
    const lastKey = lastKeyIn(page)
    if (lastKey === undefined) {
      if (page.heldCount + page.waitingCount === 0) return
      // The locks of this page were released while the broker chose the page. So ask again.
      if (++emptyPages === maxEmptyPages) {
        throw endlessPages(`it has sent ${maxEmptyPages} empty pages, and says that more follow`)
      }
      continue
    }
    emptyPages = 0
    yield page
    if (page.held.length === page.heldCount && page.waiting.length === page.waitingCount) return
    // A page ends between two keys, unless the locks of one key fill the page. In that case the
    // next page begins within that key, after the last fence (an integer that rises with every
    // grant).
    const isWithinKey = page.held.length === pageSize && page.held[0]?.key === lastKey
    const lastFence = isWithinKey ? page.held.at(-1)?.fence : undefined
    // Without `lastFence`, the page has listed every lock of its last key. That is an advance from
    // any fence of the key, so compare with Infinity.
    const advances =
      lastKey > after ||
      (lastKey === after && afterFence !== undefined && (lastFence ?? Infinity) > afterFence)
    if (!advances) throw endlessPages('it sent the same page again')
    afterFence = lastFence
    after = lastKey
    checkMemory()
  }
  throw endlessPages(`it has sent ${maxPages} pages`)
}

/** No broker has the memory for so many full pages. */
const maxPages = 100_000
/** After so many empty pages in a row, this command gives up. */
const maxEmptyPages = 100
/** The share of the heap that a listing may fill. */
const maxHeapShare = 0.8

function endlessPages(reason: string): Exit {
  return new Exit(
    exitCodes.unavailable,
    `The broker does not list its locks to their end: ${reason}: update the broker`,
  )
}

/** Ends a listing before this process runs out of memory, because Node would then abort. */
function checkMemory(): void {
  const { used_heap_size: used, heap_size_limit: limit } = getHeapStatistics()
  if (used < limit * maxHeapShare) return
  throw new Exit(
    exitCodes.failed,
    'The broker has more locks than the memory of this command can take: give a longer prefix, ' +
      'or list fewer locks',
  )
}

/** The last key of a page in the order of keys; undefined for an empty page. */
function lastKeyIn({ held, waiting }: QueryResult): string | undefined {
  const [lastHeld, lastWaiting] = [held.at(-1)?.key, waiting.at(-1)?.key]
  if (lastHeld === undefined) return lastWaiting
  return lastWaiting !== undefined && lastWaiting > lastHeld ? lastWaiting : lastHeld
}

/** The key that alone fills a page; undefined if the page has several keys, or is not full. */
function onlyKeyOf({ held, waiting }: QueryResult): string | undefined {
  if (held.length < pageSize && waiting.length < pageSize) return undefined
  const ends = [held[0], held.at(-1), waiting[0], waiting.at(-1)]
  const keys = ends.flatMap((item) => item?.key ?? [])
  return keys.every((key) => key === keys[0]) ? keys[0] : undefined
}

/** How many of the given requests wait for each key. */
export function countByKey(waiting: readonly WaitingInfo[]): Map<string, number> {
  const counts = new Map<string, number>()
  for (const { key } of waiting) counts.set(key, (counts.get(key) ?? 0) + 1)
  return counts
}

/**
 * Prints that a listing is incomplete and sets the exit code 1, unless the user set the limit of
 * the listing with `--limit`.
 */
export function reportIncomplete(message: string, { limit }: ListFlags): void {
  if (limit !== undefined) return
  printError(message)
  process.exitCode = exitCodes.failed
}
