/**
 * The sessions that hold a lock or wait for a lock, gathered from the locks and queues, because no
 * query lists all sessions.
 */
import type { WaitingInfo } from '@holdfast/client'
import type { KeyRow, KnownLock } from './lockModel.js'

/** A session with its locks and its waiting requests. */
export interface SessionRow {
  readonly id: string
  readonly name: string | undefined
  readonly holds: readonly KnownLock[]
  readonly awaits: readonly WaitingInfo[]
}

/** A {@link SessionRow} while it is gathered. */
interface MutableSessionRow {
  readonly id: string
  name: string | undefined
  readonly holds: KnownLock[]
  readonly awaits: WaitingInfo[]
}

/** Gathers the sessions from the rows of all keys, by session id. */
export function sessionRows(rows: Iterable<KeyRow>): Map<string, SessionRow> {
  const sessions = new Map<string, MutableSessionRow>()
  const rowOf = ({ session, name }: KnownLock | WaitingInfo): MutableSessionRow => {
    const existing = sessions.get(session)
    if (existing !== undefined) return existing
    const row = { id: session, name, holds: [], awaits: [] }
    sessions.set(session, row)
    return row
  }
  for (const { held, waiting } of rows) {
    for (const lock of held) rowOf(lock).holds.push(lock)
    for (const request of waiting) rowOf(request).awaits.push(request)
  }
  return sessions
}
