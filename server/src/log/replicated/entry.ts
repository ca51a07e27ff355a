/**
 * One entry of the replicated log: what one broker has to say in one go, as text.
 *
 * It names the incarnation that says it and counts its entries, so that an entry which was put
 * twice, because the first answer got lost, is taken once, and one of a broker that was declared
 * dead is not taken at all.
 */
import type { Command } from '../../core/index.js'
import { formatVersion, newerFormat, noEntry } from './logErrors.js'

interface Base {
  /** The incarnation that says this: one life of one broker. */
  readonly broker: string
  /** Counts the entries of the incarnation; its `join` is the first. */
  readonly n: number
  /** The sender's wall time, in ms since 1970: opaque, for display. */
  readonly at: number
}

/** I am here; an incarnation of mine that was before is not any more. */
export interface JoinEntry extends Base {
  readonly join: { readonly replaces?: string | undefined }
}

/** Goodbye: nobody need wait for my silence. */
export interface LeaveEntry extends Base {
  readonly leave: true
}

/** What clients and timers of this broker want, and what it has noticed; or just a sign of life. */
export interface CommandsEntry extends Base {
  readonly commands: readonly Command[]
  readonly notices?: Notices | undefined
}

export interface Notices {
  /** These have been silent for too long. */
  readonly dead?: readonly DeathNotice[] | undefined
  /** What the table came to at this count of entries. */
  readonly digest?: readonly [count: number, value: string] | undefined
  /** A snapshot of this position has been made. */
  readonly snapshot?: number | undefined
  /** A snapshot that is newer than this position is needed: entries after it are gone. */
  readonly wanted?: number | undefined
}

export interface DeathNotice {
  readonly broker: string
  /** The last entry that came of it: if it has said anything since, it lives. */
  readonly last: number
}

export type LogEntry = JoinEntry | LeaveEntry | CommandsEntry

export function noticesIn(entry: LogEntry): Notices {
  return ('commands' in entry && entry.notices) || {}
}

/** A speech, of commands that are JSON texts already. */
export function encodeCommands(
  { broker, n, at }: Base,
  commands: readonly string[],
  notices: Notices | undefined,
): string {
  const head = JSON.stringify({ v: formatVersion, broker, n, at, notices }).slice(0, -1)
  return `${head},"commands":[${commands.join()}]}`
}

export function encodeEntry(entry: JoinEntry | LeaveEntry): string {
  return JSON.stringify({ v: formatVersion, ...entry })
}

/**
 * @param position Where it stands in the log, for people.
 * @throws {HoldfastError} `UNAVAILABLE` for a newer format, and for what is no entry.
 */
export function decodeEntry(text: string, position: number): LogEntry {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw noEntry(position, cause)
  }
  const { v, broker, n, at, join, leave, commands } = (value ?? {}) as Record<string, unknown>
  if (typeof v === 'number' && v > formatVersion) throw newerFormat(v)
  const kinds = [join, leave, commands].filter((kind) => kind !== undefined)
  if (
    v !== formatVersion ||
    typeof broker !== 'string' ||
    !Number.isSafeInteger(n) ||
    typeof at !== 'number' ||
    kinds.length !== 1 ||
    kinds[0] === null ||
    typeof kinds[0] !== (leave === undefined ? 'object' : 'boolean') ||
    (commands !== undefined && !Array.isArray(commands))
  ) {
    throw noEntry(position)
  }
  return value as LogEntry
}
