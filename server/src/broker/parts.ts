/**
 * Long answers in parts: a snapshot, a query's findings, the state a watch begins with. Each part
 * is encoded only when the connection has room for it, so that a hundred thousand locks are never
 * text in memory all at once.
 */
import { joinFrames, utf8Length } from '@holdfast/shared'
import type { Lock, Request } from '../core/index.js'
import { encodeHeldInfo, encodeHeldItem, encodeWaitingInfo } from './encode.js'

/** Bytes at which a part is full. */
const partBytes = 16 * 1024

/** @param ttlBeganAt When a lock's ttl began to run, if it has one. */
export function* snapshotParts(
  held: readonly Lock[],
  waiting: readonly number[],
  ttlBeganAt: (lock: Lock) => number | undefined,
): Generator<string> {
  const encodeHeld = (lock: Lock): string => encodeHeldItem(lock, ttlBeganAt(lock))
  for (const part of parts(held, encodeHeld, waiting, String)) {
    yield `{"type":"snapshot","held":[${part.held}],"waiting":[${part.waiting}],"more":${part.more}}`
  }
}

/** Messages as frames; each is encoded only when its frame has room. */
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
    if (bytes < partBytes) continue
    yield* joinFrames(messages)
    messages = []
    bytes = 0
  }
  if (messages.length > 0) yield* joinFrames(messages)
}

export interface Findings {
  readonly held: readonly Lock[]
  readonly waiting: readonly Request[]
  readonly heldCount: number
  readonly waitingCount: number
}

/** Bytes that findings keep until they are said: a place for each, and what goes with any. */
export function weightOf({ held, waiting }: Findings): number {
  return 256 + 8 * (held.length + waiting.length)
}

export function* foundParts(id: number, findings: Findings): Generator<string> {
  const { held, waiting, heldCount, waitingCount } = findings
  const counts = `"heldCount":${heldCount},"waitingCount":${waitingCount}`
  for (const part of parts(held, encodeHeldInfo, waiting, encodeWaitingInfo)) {
    const lists = `"held":[${part.held}],"waiting":[${part.waiting}]`
    yield `{"type":"found","id":${id},${lists},${counts},"more":${part.more}}`
  }
}

export function* watchingParts(id: number, { held, heldCount }: Findings): Generator<string> {
  for (const part of parts(held, encodeHeldInfo, [], String)) {
    const list = `"held":[${part.held}],"heldCount":${heldCount}`
    yield `{"type":"watching","id":${id},${list},"more":${part.more}}`
  }
}

/** Two lists of items as JSON elements, cut into parts; there is always a last part, if empty. */
interface Part {
  readonly held: string
  readonly waiting: string
  readonly more: boolean
}

function* parts<H, W>(
  held: Iterable<H>,
  encodeHeld: (item: H) => string,
  waiting: Iterable<W>,
  encodeWaiting: (item: W) => string,
): Generator<Part> {
  let part: { held: string[]; waiting: string[] } = { held: [], waiting: [] }
  let bytes = 0
  function* add(text: string, list: 'held' | 'waiting'): Generator<Part> {
    const length = utf8Length(text) + 1
    if (bytes > 0 && bytes + length > partBytes) {
      yield { held: part.held.join(), waiting: part.waiting.join(), more: true }
      part = { held: [], waiting: [] }
      bytes = 0
    }
    part[list].push(text)
    bytes += length
  }
  for (const item of held) yield* add(encodeHeld(item), 'held')
  for (const item of waiting) yield* add(encodeWaiting(item), 'waiting')
  yield { held: part.held.join(), waiting: part.waiting.join(), more: false }
}
