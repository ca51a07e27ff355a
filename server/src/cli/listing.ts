/**
 * Listing locks page by page, since a query answers at most 1,000: as many as were asked for, or
 * all of them; and saying so when a listing is not whole.
 */
import type { HeldInfo, QueryResult, Session, WaitingInfo } from '@holdfast/client'
import type { Command } from 'commander'
import { exitCodes, printError } from './exitCodes.js'
import { integerIn } from './parse.js'

/** Most locks, and most waiting requests, of one page; what a query answers at most. */
export const pageSize = 1_000

export interface ListFlags {
  readonly limit?: number | undefined
  readonly all?: boolean | undefined
}

/** Adds `--limit` and, if more than one page can be had, `--all`. */
export function withListFlags(command: Command, what: string, canBeAll: boolean): Command {
  const most = canBeAll ? Number.MAX_SAFE_INTEGER : pageSize
  command.option(
    '--limit <n>',
    `at most so many ${what} (default ${pageSize}, and exit code 1 if there are more)`,
    integerIn(1, most),
  )
  return canBeAll ? command.option('--all', `all ${what}, however many`) : command
}

/** A lock, and how many wait for its key. */
export interface ListedLock extends HeldInfo {
  readonly waiting: number
}

export interface Listing {
  /** In the order of their keys. */
  readonly locks: readonly ListedLock[]
  /** How many locks there were when the listing began; with `--all`, how many are listed. */
  readonly heldCount: number
}

/** @param most How many locks to list; `Infinity` for all. */
export async function listLocks(
  session: Session,
  prefix: string | undefined,
  most: number,
): Promise<Listing> {
  const locks: ListedLock[] = []
  let heldCount = 0
  let cut: { readonly key: string; readonly waiting: number } | undefined
  for await (const page of pagesOf(session, prefix)) {
    heldCount ||= page.heldCount
    const queues = countByKey(page.waiting)
    // A key that does not fit into a page tells its queue in part or, further on, not at all.
    const key = onlyKeyOf(page)
    if (key !== undefined && key !== cut?.key) {
      cut = { key, waiting: (await session.query({ key, limit: 1 })).waitingCount }
    }
    for (const lock of page.held) {
      if (locks.length === most) break
      const waiting = lock.key === cut?.key ? cut.waiting : (queues.get(lock.key) ?? 0)
      locks.push({ ...lock, waiting })
    }
    if (locks.length === most) break
  }
  return { locks, heldCount: most === Number.POSITIVE_INFINITY ? locks.length : heldCount }
}

/**
 * All that matches, page by page in the order of keys. A lock that is held from the first page to
 * the last is on exactly one of them.
 */
export async function* pagesOf(
  session: Session,
  prefix: string | undefined,
): AsyncGenerator<QueryResult> {
  let after = ''
  let afterFence: number | undefined
  for (;;) {
    const page = await session.query({ prefix, after, afterFence })
    const last = lastKeyIn(page)
    if (last === undefined) return
    yield page
    if (page.held.length === page.heldCount && page.waiting.length === page.waitingCount) return
    // Whole pages end between keys; one that is full of a single key's locks goes on within it.
    const isWithin = page.held.length === pageSize && page.held[0]?.key === last
    afterFence = isWithin ? page.held.at(-1)?.fence : undefined
    after = last
  }
}

function lastKeyIn({ held, waiting }: QueryResult): string | undefined {
  const [one, other] = [held.at(-1)?.key, waiting.at(-1)?.key]
  return one === undefined || (other !== undefined && other > one) ? other : one
}

/** The key that alone fills a page; undefined if there are several, or room for more. */
function onlyKeyOf({ held, waiting }: QueryResult): string | undefined {
  if (held.length < pageSize && waiting.length < pageSize) return undefined
  const keys = [held[0], held.at(-1), waiting[0], waiting.at(-1)].flatMap((one) => one?.key ?? [])
  return keys.every((key) => key === keys[0]) ? keys[0] : undefined
}

export function countByKey(waiting: readonly WaitingInfo[]): Map<string, number> {
  const queues = new Map<string, number>()
  for (const { key } of waiting) queues.set(key, (queues.get(key) ?? 0) + 1)
  return queues
}

/** Says that a listing is not whole. Not for a user who asked for no more. */
export function reportCut(sentence: string, { limit }: ListFlags): void {
  if (limit !== undefined) return
  printError(sentence)
  process.exitCode = exitCodes.failed
}
