/**
 * A snapshot of the replicated state, the table and the roll, as text in parts and back; and how
 * one is made from the one before it and the entries since, by nobody's table but its own, so that
 * it can be made in another thread while the broker goes on.
 */
import { dump, LockTable, restore, type SnapshotItem } from '../../core/index.js'
import type { ClusterConfig, Engine } from './engine.js'
import { decodeEntry } from './entry.js'
import { damagedSnapshot, formatVersion, newerFormat } from './logErrors.js'
import { MemberList, type MemberListState } from './memberList.js'

/** Characters of a part; in bytes at most three times as many. */
const partLength = 64 * 1024

/** What is not in the table. */
interface Head {
  readonly v: number
  /** The wall time of whoever made it, for display. */
  readonly at: number
  readonly roll: MemberListState
}

/** The state as of a position. */
export interface Loaded {
  readonly position: number
  readonly at: number
  readonly roll: MemberList
  readonly items: readonly SnapshotItem[]
}

/** The newest snapshot; undefined if there is none. @throws {HoldfastError} if it is damaged. */
export async function loadSnapshot(engine: Pick<Engine, 'snapshot'>): Promise<Loaded | undefined> {
  const stored = await engine.snapshot()
  if (stored === undefined) return undefined
  const items: unknown[] = []
  for await (const line of linesOf(stored.parts)) items.push(parsed(line))
  const head = items.shift() as Partial<Head> | undefined
  if (head?.v !== undefined && head.v > formatVersion) throw newerFormat(head.v)
  if (head?.v !== formatVersion || head.roll === undefined) throw damagedSnapshot()
  const { position } = stored
  const roll = new MemberList(head.roll)
  return { position, at: head.at ?? 0, roll, items: items as SnapshotItem[] }
}

/** Its position; `gone`: entries that it takes are, and undefined: somebody else was faster. */
export type Made = number | 'gone' | undefined

/** Makes a snapshot of everything up to a position, and forgets what nobody needs any more. */
export async function makeSnapshot(
  engine: Engine,
  charter: ClusterConfig,
  upTo: number,
  at: number,
): Promise<Made> {
  await engine.open(charter)
  const former = await loadSnapshot(engine)
  const table = former === undefined ? new LockTable() : restore(former.items)
  const roll = former?.roll ?? new MemberList()
  let position = former?.position ?? 0
  if (position >= upTo) return undefined
  const isWhole = await followTo(engine, position, upTo, (next, text) => {
    position = next
    for (const command of roll.applyEntry(decodeEntry(text, next)) ?? []) table.apply(command)
  })
  if (!isWhole) {
    const newest = await engine.snapshot()
    return newest?.position === former?.position ? 'gone' : undefined
  }
  const head: Head = { v: formatVersion, at, roll: roll.state }
  if (!(await engine.saveSnapshot(position, partsOf(head, dump(table))))) return undefined
  // Whoever is loading the former one at this moment goes on from there.
  if (former !== undefined) await engine.compact(former.position, [...roll.live.keys()])
  return position
}

/**
 * Makes a snapshot of the state that this broker itself has at this moment, in one go: the loop
 * stands still while it is set down, and what is wrong with the state would be in it.
 */
export async function saveState(
  engine: Engine,
  state: { readonly position: number; readonly at: number; readonly roll: MemberList },
  items: Iterable<SnapshotItem>,
): Promise<Made> {
  const { position, at, roll } = state
  const parts = [...partsOf({ v: formatVersion, at, roll: roll.state }, items)]
  return (await engine.saveSnapshot(position, parts)) ? position : undefined
}

/** Resolves when everything up to this position was taken; false if not all of it is there. */
function followTo(
  engine: Engine,
  from: number,
  upTo: number,
  take: (position: number, text: string) => void,
): Promise<boolean> {
  return new Promise((resolve, reject) => {
    let isOver = false
    const over = (finish: () => void): void => {
      isOver = true
      following.stop()
      finish()
    }
    const following = engine.follow(from, {
      entry: (position, text) => {
        if (isOver) return
        try {
          take(position, text)
          if (position >= upTo) over(() => resolve(true))
        } catch (error) {
          over(() => reject(error))
        }
      },
      compacted: () => over(() => resolve(false)),
      failed: (error) => over(() => reject(error)),
    })
  })
}

/** Lines of JSON, cut without regard to lines: a session with many answers exceeds a part. */
function* partsOf(head: Head, items: Iterable<SnapshotItem>): Generator<string> {
  let text = `${JSON.stringify(head)}\n`
  for (const item of items) {
    text += `${JSON.stringify(item)}\n`
    while (text.length >= partLength) {
      // Half of a surrogate pair is nothing that could be written as UTF-8.
      const end = isLowSurrogate(text.charCodeAt(partLength)) ? partLength - 1 : partLength
      yield text.slice(0, end)
      text = text.slice(end)
    }
  }
  if (text !== '') yield text
}

async function* linesOf(parts: AsyncIterable<string>): AsyncGenerator<string> {
  let begun = ''
  for await (const part of parts) {
    const lines = part.split('\n')
    lines[0] = begun + lines[0]
    begun = lines.pop()!
    yield* lines
  }
  if (begun !== '') throw damagedSnapshot()
}

function parsed(line: string): unknown {
  try {
    return JSON.parse(line)
  } catch (cause) {
    throw damagedSnapshot(cause)
  }
}

function isLowSurrogate(code: number): boolean {
  return code >= 0xdc00 && code <= 0xdfff
}
