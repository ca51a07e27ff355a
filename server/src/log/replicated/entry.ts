/**
 * The entries of the replicated log (the command log that several brokers share), as text. Most
 * entries are batches of commands; other entries tell that a broker joins or leaves.
 *
 * An entry names its sender, which is an incarnation (one life of a broker in the log). An entry
 * also has a number, which rises by one for each entry of the incarnation. Therefore readers can
 * ignore two kinds of entries:
 *
 * - Duplicates. A broker appends an entry again when the acknowledgement of the entry was lost.
 * - Entries of incarnations that were declared dead.
 */
import { type Command, findUnknownType } from '../../core/index.js'
import { formatVersion, invalidEntry, newerCommand, newerFormat } from './logErrors.js'

/** The fields that all entries have. */
interface EntryBase {
  /** The incarnation that sent the entry. */
  readonly broker: string
  /** The number of the entry within its incarnation. The `join` has number 1. */
  readonly n: number
  /** The sender's wall time, in ms since 1970, for display. */
  readonly at: number
}

/** A broker joins. `replaces` names the previous incarnation of the broker, which has ended. */
export interface JoinEntry extends EntryBase {
  readonly join: { readonly replaces?: string | undefined }
}

/**
 * A broker leaves. After this entry another broker immediately takes over the sessions of the
 * leaving broker. Otherwise the other brokers would first have to declare the broker dead.
 */
export interface LeaveEntry extends EntryBase {
  readonly leave: true
}

/**
 * The commands of a broker's clients and timers, and the notices of the broker. A heartbeat is an
 * entry without commands and notices.
 */
export interface CommandsEntry extends EntryBase {
  readonly commands: readonly Command[]
  readonly notices?: MemberNotices | undefined
}

/** What the sender of an entry tells the other brokers, besides its commands. */
export interface MemberNotices {
  /** Members that were silent for too long. */
  readonly dead?: readonly DeathNotice[] | undefined
  /** The digest of the sender's table after the entry at this position. */
  readonly digest?: readonly [position: number, value: string] | undefined
  /** Asks all brokers to compare the digests of their tables after this entry. */
  readonly digestRound?: true | undefined
  /** The position of a snapshot that the sender has saved. */
  readonly snapshot?: number | undefined
  /**
   * The sender needs a snapshot that is newer than this position, because the log has compacted
   * (dropped) the entries that follow this position.
   */
  readonly snapshotWantedAfter?: number | undefined
}

/** Declares a member dead, unless the member has sent a newer entry. */
export interface DeathNotice {
  /** The incarnation of the silent member. */
  readonly broker: string
  /** The number of the silent member's last entry. A newer entry shows that the member is alive. */
  readonly last: number
}

/** An entry that this broker has not received, although a later entry proves that it was sent. */
export interface MissingEntry {
  /** The incarnation that sent the entry. */
  readonly broker: string
  readonly n: number
}

export type LogEntry = JoinEntry | LeaveEntry | CommandsEntry

/** The notices of an entry; an empty object if the entry has none. */
export function noticesIn(entry: LogEntry): MemberNotices {
  return ('commands' in entry && entry.notices) || {}
}

/** Encodes an entry whose commands are JSON already. */
export function encodeCommands(
  { broker, n, at }: EntryBase,
  commands: readonly string[],
  notices: MemberNotices | undefined,
): string {
  // Cut off the closing brace, so that the commands can follow as one more field.
  const head = JSON.stringify({ v: formatVersion, broker, n, at, notices }).slice(0, -1)
  return `${head},"commands":[${commands.join()}]}`
}

/** Encodes an entry without commands. */
export function encodeEntry(entry: JoinEntry | LeaveEntry): string {
  return JSON.stringify({ v: formatVersion, ...entry })
}

/**
 * Decodes and validates an entry.
 *
 * @param position The position of the entry, for error messages.
 * @throws {HoldfastError} `INVALID_OPTION` for a newer format and for commands of a newer version;
 *   `UNAVAILABLE` for text that is not an entry.
 */
export function decodeEntry(text: string, position: number): LogEntry {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw invalidEntry(position, cause)
  }
  const { v, broker, n, at, join, leave, commands } = (value ?? {}) as Record<string, unknown>
  if (typeof v === 'number' && v > formatVersion) throw newerFormat(v)
  // An entry has exactly one of these fields: the object `join`, `leave: true`, or the list
  // `commands`. The type of a list is 'object', too.
  const contents = [join, leave, commands].filter((content) => content !== undefined)
  const [content] = contents
  if (
    v !== formatVersion ||
    typeof broker !== 'string' ||
    !Number.isSafeInteger(n) ||
    typeof at !== 'number' ||
    contents.length !== 1 ||
    content === null ||
    (leave === undefined ? typeof content !== 'object' : leave !== true) ||
    (commands !== undefined && !Array.isArray(commands))
  ) {
    throw invalidEntry(position)
  }
  const unknownType = commands === undefined ? undefined : findUnknownType(commands as Command[])
  if (unknownType !== undefined) throw newerCommand(position, unknownType)
  return value as LogEntry
}
