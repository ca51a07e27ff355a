/**
 * Long answers in parts: a snapshot, a query's findings, the state a watch begins with. Each part is
 * encoded only when the connection has room for it, so that a hundred thousand locks are never
 * text in memory all at once.
 */
import { utf8Length } from '@holdfast/shared'
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
  const items = chunks(held, (lock) => encodeHeldItem(lock, ttlBeganAt(lock)))
  for (const chunk of items) yield `{"type":"snapshot","held":[${chunk}],"waiting":[],"more":true}`
  const ids = chunks(waiting, String)
  for (const chunk of ids) yield `{"type":"snapshot","held":[],"waiting":[${chunk}],"more":true}`
  yield '{"type":"snapshot","held":[],"waiting":[],"more":false}'
}

export interface Findings {
  readonly held: readonly Lock[]
  readonly waiting: readonly Request[]
  readonly heldCount: number
  readonly waitingCount: number
}

export function* foundParts(id: number, findings: Findings): Generator<string> {
  const head = `{"type":"found","id":${id}`
  const counts = `"heldCount":${findings.heldCount},"waitingCount":${findings.waitingCount}`
  for (const chunk of chunks(findings.held, encodeHeldInfo)) {
    yield `${head},"held":[${chunk}],"waiting":[],${counts},"more":true}`
  }
  for (const chunk of chunks(findings.waiting, encodeWaitingInfo)) {
    yield `${head},"held":[],"waiting":[${chunk}],${counts},"more":true}`
  }
  yield `${head},"held":[],"waiting":[],${counts},"more":false}`
}

export function* watchingParts(id: number, findings: Findings): Generator<string> {
  const head = `{"type":"watching","id":${id}`
  for (const chunk of chunks(findings.held, encodeHeldInfo)) {
    yield `${head},"held":[${chunk}],"heldCount":${findings.heldCount},"more":true}`
  }
  yield `${head},"held":[],"heldCount":${findings.heldCount},"more":false}`
}

/** Encoded items joined by commas, as many as fit a part. */
function* chunks<T>(items: readonly T[], encode: (item: T) => string): Generator<string> {
  let chunk: string[] = []
  let bytes = 0
  for (const item of items) {
    const text = encode(item)
    const length = utf8Length(text) + 1
    if (chunk.length > 0 && bytes + length > partBytes) {
      yield chunk.join(',')
      chunk = []
      bytes = 0
    }
    chunk.push(text)
    bytes += length
  }
  if (chunk.length > 0) yield chunk.join(',')
}
