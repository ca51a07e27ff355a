/**
 * What somebody who watches the broker is told: the seam between the pipe and its metrics and logs.
 * A broker that nobody watches has no observer, and its messages pay one comparison.
 */
import type { ClientMessage, LockStats } from '@holdfast/shared'
import { type LimitName, limitNameOf } from '../config/limits.js'
import type { Effect, Session } from '../core/index.js'
import type { LogStatus } from './logStatus.js'

/** Why somebody was turned away: a limit, or one of the rules of who may come in. */
export type RefusalCause =
  | LimitName
  | 'origin'
  | 'host'
  | 'not_local'
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

/** How much there is of what, at the moment of asking. */
export interface BrokerGauges {
  readonly connections: number
  /** Of the table, and so of all brokers where several share a log, as the next three. */
  readonly sessions: number
  readonly held: number
  readonly waiting: number
  /** Keys that somebody holds or waits for. */
  readonly keys: number
  /** Since the start, over all connections. */
  readonly bytesReceived: number
  readonly bytesSent: number
  /** Memory that clients take, and that they may take (`limits.memoryBytes`), in bytes. */
  readonly memoryUsed: number
  /** Undefined if the limit is off. */
  readonly memoryLimit: number | undefined
  readonly stats: LockStats
  /** How a log is doing that is shared with other brokers. */
  readonly log?: LogStatus | undefined
}

export interface Observer {
  /** A message of an open session has arrived. On the hot path. */
  onMessage(type: ClientMessage['type']): void
  /**
   * The table did this. On the hot path. Where several brokers share a log, each tells what
   * concerns the sessions that it keeps itself, so that the sum over all brokers is right.
   */
  onEffect(effect: Effect): void
  /** What one turn had to say was written. Once a turn. */
  onFlushed(): void
  onRefused(notice: RefusalNotice): void
  /** The session lives on at another broker that shares the log, and is observed there. */
  onSessionMoved?(session: Session): void
  /** Called once, by the broker that is observed: where to look, and when to stop looking. */
  attach?(vitals: () => BrokerGauges): void
  close?(): void
}

/** An observer that can be scraped. */
export interface Metrics extends Observer {
  readonly contentType: string
  text(): Promise<string>
}

/** One observer from many; undefined if there are none. */
export function observersTogether(observers: readonly Observer[]): Observer | undefined {
  if (observers.length < 2) return observers[0]
  return {
    onMessage: (type) => {
      for (const each of observers) each.onMessage(type)
    },
    onEffect: (effect) => {
      for (const each of observers) each.onEffect(effect)
    },
    onFlushed: () => {
      for (const each of observers) each.onFlushed()
    },
    onRefused: (notice) => {
      for (const each of observers) each.onRefused(notice)
    },
    onSessionMoved: (session) => {
      for (const each of observers) each.onSessionMoved?.(session)
    },
    attach: (vitals) => {
      for (const each of observers) each.attach?.(vitals)
    },
    close: () => {
      for (const each of observers) each.close?.()
    },
  }
}

/** The limit that the table itself has held somebody to; undefined if it did something else. */
export function refusalIn(effect: Effect): RefusalNotice | undefined {
  if (effect.kind !== 'answer' || effect.answer.kind !== 'failed') return undefined
  const { limit } = effect.answer
  if (limit === undefined) return undefined
  const { id: session, principal } = effect.session
  return { cause: limitNameOf(limit), session, principal }
}
