/**
 * Reads and writes snapshots of the replicated state (the lock table and the member list) as parts
 * of text. Normally {@link makeSnapshot} loads the former snapshot into a table of its own, and
 * applies the entries that follow. So another thread can make a snapshot while the broker goes on.
 * Only {@link saveState} saves the table of the broker itself.
 */
import { dump, LockTable, restore, type SnapshotItem } from '../../core/index.js'
import type { StateSnapshot } from '../log.js'
import { ItemDigest } from './digest.js'
import type { ClusterConfig, Engine } from './engine.js'
import { decodeEntry } from './entry.js'
import {
  DamagedChunkError,
  damagedSnapshot,
  entryLost,
  formatVersion,
  newerFormat,
} from './logErrors.js'
import { MemberList, type MemberListState } from './memberList.js'

/** Characters of a part. A part has at most three times as many bytes of UTF-8. */
const defaultPartLength = 64 * 1024

/** The first line of a snapshot: the format, the time, and the member list. */
interface SnapshotHead {
  readonly v: number
  /** The wall time at which the snapshot was made, for display. */
  readonly at: number
  readonly members: MemberListState
}

/** A loaded snapshot: the state after the entry at `position`. */
export interface LoadedSnapshot {
  readonly position: number
  readonly at: number
  readonly members: MemberList
  /** The items of the table. They can be read only once, because reading drops their text. */
  readonly items: Iterable<SnapshotItem>
}

/** The state before the first entry of a log. */
export function emptyLog(): LoadedSnapshot {
  return { position: 0, at: 0, members: new MemberList(), items: [] }
}

/**
 * Loads the newest snapshot; undefined if there is none. Keeps the text of the snapshot and not its
 * items, because millions of items would need several times as much memory as their text. If a line
 * is damaged, the reader of the items gets the error `UNAVAILABLE`.
 *
 * @param onPart Called with the number of loaded parts, each time a part was loaded.
 * @throws {DamagedChunkError} if a chunk of the snapshot is missing or damaged.
 * @throws {HoldfastError} `UNAVAILABLE` if the beginning of the snapshot is damaged;
 *   `INVALID_OPTION` if the snapshot has a newer format.
 */
export async function loadSnapshot(
  engine: Pick<Engine, 'snapshot'>,
  onPart: (count: number) => void = () => {},
): Promise<LoadedSnapshot | undefined> {
  const stored = await engine.snapshot()
  if (stored === undefined) return undefined
  const parts: string[] = []
  // `push` returns the number of parts.
  for await (const part of stored.parts) onPart(parts.push(part))
  const items = itemsIn(parts)
  // The first line is the head, and the other lines are the items of the table.
  const head = items.next().value as Partial<SnapshotHead> | undefined
  if (head?.v !== undefined && head.v > formatVersion) throw newerFormat(head.v)
  if (head?.v !== formatVersion || head.members === undefined) throw damagedSnapshot()
  const { position } = stored
  const members = new MemberList(head.members)
  return { position, at: head.at ?? 0, members, items: items as Iterable<SnapshotItem> }
}

/**
 * The outcome of making a snapshot:
 * - the position of the snapshot
 * - `'compacted'` if the log has dropped entries that the snapshot needs
 * - `'damaged'` if a chunk of the former snapshot is damaged
 * - undefined if another broker has made a snapshot first
 */
export type SnapshotOutcome = number | 'compacted' | 'damaged' | undefined

/**
 * Makes a snapshot up to a position, and compacts the log up to the former snapshot.
 *
 * @param upTo The position of the last entry that the snapshot must contain.
 * @param at The wall time of the snapshot, for display.
 * @param onProblem Called with the reason if the snapshot is saved, but the log is not compacted.
 */
export async function makeSnapshot(
  engine: Engine,
  config: ClusterConfig,
  upTo: number,
  at: number,
  onProblem?: (why: string) => void,
): Promise<SnapshotOutcome> {
  await engine.open(config)
  let former: LoadedSnapshot | undefined
  try {
    former = await loadSnapshot(engine)
  } catch (error) {
    if (!(error instanceof DamagedChunkError)) throw error
    // If a newer snapshot exists, a missing chunk is no damage, because brokers remove the chunks
    // of older snapshots.
    return (await engine.snapshot())?.position === error.position ? 'damaged' : undefined
  }
  const table = former === undefined ? new LockTable() : restore(former.items)
  const members = former?.members ?? new MemberList()
  let position = former?.position ?? 0
  if (position >= upTo) return undefined
  const isComplete = await followTo(engine, position, upTo, (next, text) => {
    position = next
    const entry = decodeEntry(text, next)
    const missing = members.missingBefore(entry)
    if (missing !== undefined) throw entryLost(missing.broker, missing.n, next)
    // `applyEntry` updates the members, and returns the commands of the entry for the table.
    const commands = members.applyEntry(entry) ?? []
    for (const command of commands) table.apply(command)
  })
  if (!isComplete) {
    const newest = await engine.snapshot()
    return newest?.position === former?.position ? 'compacted' : undefined
  }
  const head: SnapshotHead = { v: formatVersion, at, members: members.state }
  if (!(await engine.saveSnapshot(position, partsOf(head, dump(table), engine)))) return undefined
  await compactTo(engine, former, members, onProblem)
  return position
}

/**
 * Compacts the log only up to the former snapshot, because another broker may be loading that
 * snapshot and the entries after it. Does not throw, because the caller must tell the other brokers
 * of the new snapshot even if the log cannot be compacted.
 */
async function compactTo(
  engine: Engine,
  former: { readonly position: number } | undefined,
  members: MemberList,
  onProblem: ((why: string) => void) | undefined,
): Promise<void> {
  if (former === undefined) return
  try {
    const liveIds = [...members.live.keys()]
    await engine.compact(former.position, liveIds)
  } catch (error) {
    onProblem?.(error instanceof Error ? error.message : String(error))
  }
}

/**
 * Saves this broker's current table as a snapshot. A wrong table would give a wrong snapshot. So
 * call this function only if {@link makeSnapshot} cannot read the entries or the former snapshot.
 * Compacts the log up to the former snapshot, as {@link makeSnapshot} does.
 *
 * The engine reads and stores the table part by part, so that the broker goes on meanwhile.
 *
 * @param frozenTable The table as it was at `state.position`. This function calls its `end`.
 * @param onProblem Called with the reason if the snapshot is saved, but the log is not compacted.
 * @throws {Error} if the items of the snapshot do not have the digest of the table.
 */
export async function saveState(
  engine: Engine,
  state: { readonly position: number; readonly at: number; readonly members: MemberList },
  frozenTable: StateSnapshot,
  onProblem: (why: string) => void,
): Promise<SnapshotOutcome> {
  const { position, at, members } = state
  const head: SnapshotHead = { v: formatVersion, at, members: members.state }
  try {
    const former = await engine.snapshot()
    if (!(await engine.saveSnapshot(position, partsOf(head, verifiedItems(frozenTable), engine))))
      return undefined
    await compactTo(engine, former, members, onProblem)
    return position
  } finally {
    frozenTable.end()
  }
}

/**
 * Yields the items. After the last item, throws if their digest is not the digest of the table.
 */
function* verifiedItems({ items, digest }: StateSnapshot): Generator<SnapshotItem> {
  const itemDigest = new ItemDigest()
  // `addAll` adds each item to the digest and yields the item.
  yield* itemDigest.addAll(items)
  if (itemDigest.value !== digest)
    throw new Error(
      `the items of the snapshot have the digest ${itemDigest.value}, but the table has ${digest}`,
    )
}

/** Reads the log up to a position. Resolves with false if some of the entries are compacted. */
function followTo(
  engine: Engine,
  from: number,
  upTo: number,
  onEntry: (position: number, text: string) => void,
): Promise<boolean> {
  return new Promise((resolve, reject) => {
    let isOver = false
    const finish = (settle: () => void): void => {
      isOver = true
      // `subscription` is set, because the engine calls the listener only after `follow` returns.
      subscription.stop()
      settle()
    }
    const subscription = engine.follow(from, {
      entry: (position, text) => {
        if (isOver) return
        try {
          onEntry(position, text)
          if (position >= upTo) finish(() => resolve(true))
        } catch (error) {
          finish(() => reject(error))
        }
      },
      compacted: () => finish(() => resolve(false)),
      failed: (error) => finish(() => reject(error)),
    })
  })
}

/**
 * Yields the lines of a snapshot as parts. A part may begin and end within a line, because the line
 * of a session with many answers can be longer than a part.
 */
function* partsOf(
  head: SnapshotHead,
  items: Iterable<SnapshotItem>,
  { partLength = defaultPartLength }: Pick<Engine, 'partLength'>,
): Generator<string> {
  let text = `${JSON.stringify(head)}\n`
  for (const item of items) {
    text += `${JSON.stringify(item)}\n`
    while (text.length >= partLength) {
      // Half of a surrogate pair cannot be written as UTF-8.
      const end = isLowSurrogate(text.charCodeAt(partLength)) ? partLength - 1 : partLength
      yield text.slice(0, end)
      text = text.slice(end)
    }
  }
  if (text !== '') yield text
}

/** Parses the lines of these parts, and empties the array as it goes on, to free its memory. */
function* itemsIn(parts: string[]): Generator<unknown, undefined, undefined> {
  let incompleteLine = ''
  // `pop` takes constant time, and `shift` does not.
  parts.reverse()
  for (let part = parts.pop(); part !== undefined; part = parts.pop()) {
    const lines = part.split('\n')
    lines[0] = incompleteLine + lines[0]
    incompleteLine = lines.pop()!
    for (const line of lines) yield parseLine(line)
  }
  if (incompleteLine !== '') throw damagedSnapshot()
}

function parseLine(line: string): unknown {
  try {
    return JSON.parse(line)
  } catch (cause) {
    throw damagedSnapshot(cause)
  }
}

function isLowSurrogate(code: number): boolean {
  return code >= 0xdc00 && code <= 0xdfff
}
