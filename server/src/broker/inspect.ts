/**
 * Looking at the table: what a query finds. A key is a look-up; a prefix is a walk over all keys in
 * use, which is why the answer is bounded and nothing on the hot path comes here.
 */
import type { HeldInfo, WaitingInfo } from '@holdfast/shared'
import type { Entry, Lock, LockTable, Request } from '../core/index.js'
import type { Findings } from './parts.js'

export interface Scope {
  /** Exactly this key. */
  readonly key?: string | undefined
  /** Every key that begins so; with neither, every key. */
  readonly prefix?: string | undefined
  /** Which keys may be seen; without it, all. */
  readonly sees?: ((key: string) => boolean) | undefined
}

/** @param limit Most locks and most requests to return; the counts are of all. */
export function find(table: Pick<LockTable, 'keys'>, scope: Scope, limit: number): Findings {
  const held: Lock[] = []
  const waiting: Request[] = []
  let heldCount = 0
  let waitingCount = 0
  for (const entry of entriesIn(table, scope)) {
    heldCount += entry.holders.length
    waitingCount += entry.queue.length
    takeUpTo(limit, entry.holders, held)
    takeUpTo(limit, entry.queue, waiting)
  }
  return { held, waiting, heldCount, waitingCount }
}

function* entriesIn(
  table: Pick<LockTable, 'keys'>,
  { key, prefix, sees }: Scope,
): Generator<Entry> {
  if (key !== undefined) {
    const entry = table.keys.get(key)
    if (entry !== undefined) yield entry
    return
  }
  for (const entry of table.keys.values()) {
    if (prefix !== undefined && !entry.key.startsWith(prefix)) continue
    if (sees === undefined || sees(entry.key)) yield entry
  }
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
