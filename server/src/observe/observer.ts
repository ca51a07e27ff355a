/**
 * What somebody who watches the broker is told: the seam between the pipe and its metrics and logs.
 * A broker that nobody watches has no observer, and its messages pay one comparison.
 */
import type { ClientMessage } from '@holdfast/shared'
import type { LimitName } from '../access/limits.js'
import type { Effect } from '../core/index.js'

/** Why somebody was turned away: a limit, or one of the rules of who may come in. */
export type RefusalCause =
  | LimitName
  | 'origin'
  | 'host'
  | 'stranger'
  | 'insecure'
  | 'token'
  | 'unauthorized'
  | 'forbidden'

/** Somebody was turned away. */
export interface RefusalNotice {
  readonly cause: RefusalCause
  readonly remoteAddress?: string | undefined
  readonly origin?: string | undefined
  readonly session?: string | undefined
  readonly principal?: string | undefined
  /** What was asked for. */
  readonly operation?: string | undefined
  readonly key?: string | undefined
}

export interface Observer {
  /** A message of an open session has arrived. On the hot path. */
  received(type: ClientMessage['type']): void
  /** The table did this. On the hot path. */
  did(effect: Effect): void
  /** What one turn had to say was written. Once a turn. */
  flushed(): void
  refused(notice: RefusalNotice): void
}

/** One observer from many; undefined if there are none. */
export function observersTogether(observers: readonly Observer[]): Observer | undefined {
  if (observers.length < 2) return observers[0]
  return {
    received: (type) => {
      for (const each of observers) each.received(type)
    },
    did: (effect) => {
      for (const each of observers) each.did(effect)
    },
    flushed: () => {
      for (const each of observers) each.flushed()
    },
    refused: (notice) => {
      for (const each of observers) each.refused(notice)
    },
  }
}
