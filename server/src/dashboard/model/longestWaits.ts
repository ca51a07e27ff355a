/**
 * The requests that have waited longest. They reveal a holder that does not unlock. The length of a
 * queue would not reveal this holder, because the queue may have only one waiter.
 */
import type { HeldInfo, WaitingInfo } from '@holdfast/client'
import type { KeyRow } from './lockModel.js'

/** The longest wait for one key, with the holder that the request probably waits for. */
export interface LongWait {
  readonly key: string
  /** The request of the key that has waited longest. */
  readonly request: WaitingInfo
  /** The holder that has held the key longest; undefined if no session holds the key. */
  readonly holder: HeldInfo | undefined
}

/** The longest wait of each key, sorted by length, the longest first; at most `max` waits. */
export function longestWaits(rows: Iterable<KeyRow>, max: number): LongWait[] {
  const waits = [...rows].flatMap(({ key, held, waiting }) => {
    const request = oldestOf(waiting)
    return request === undefined ? [] : [{ key, request, holder: oldestOf(held) }]
  })
  waits.sort((a, b) => a.request.since - b.request.since || (a.key < b.key ? -1 : 1))
  return waits.slice(0, max)
}

function oldestOf<T extends { readonly since: number }>(items: readonly T[]): T | undefined {
  return items.reduce<T | undefined>(
    (oldest, item) => (oldest === undefined || item.since < oldest.since ? item : oldest),
    undefined,
  )
}
