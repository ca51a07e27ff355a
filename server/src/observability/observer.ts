/**
 * The interface between the broker and its metrics and logger. The broker calls an observer for
 * each message, effect (change in the lock table) and refusal, and after each write of output.
 * Without an observer, this interface costs the broker one comparison for each message.
 */
import type { ClientMessage, LockStats } from '@holdfast/shared'
import { type LimitName, limitNameOf } from '../config/limits.js'
import type { Effect, Session } from '../core/index.js'
import type { LogStatus } from './logStatus.js'

/** A name in snake_case: `messagesPerSecond` becomes `messages_per_second`. */
type SnakeCase<Name extends string> = Name extends `${infer First}${infer Rest}`
  ? `${First extends Lowercase<First> ? First : `_${Lowercase<First>}`}${SnakeCase<Rest>}`
  : ''

/**
 * Why the broker refused a client or a request, in snake_case, as metrics and log lines show the
 * cause. The cause is the limit that was reached, or one of the rules below. For example,
 * `messages_per_second` is the limit `messagesPerSecond`.
 *
 * - `origin`: the page's origin is not in `origins`.
 * - `host`: the client called the broker by a name that is not in `hosts`.
 * - `not_local`: without `authenticate`, only programs on this machine may connect.
 * - `insecure`: the client sent a token without TLS.
 * - `token`: the token in the HTTP request that opens the connection is malformed.
 * - `unauthorized`: `authenticate` refused the token.
 * - `forbidden`: the client has no permission for the request.
 * - `deadlock`: the request would complete a cycle of requests that wait for each other.
 * - `cell`: the key belongs to another cell (the part of all keys that a broker serves).
 */
export type RefusalCause =
  | SnakeCase<LimitName>
  | 'origin'
  | 'host'
  | 'not_local'
  | 'insecure'
  | 'token'
  | 'unauthorized'
  | 'forbidden'
  | 'deadlock'
  | 'cell'

/** The cause of a refusal by this limit: the limit's name in snake_case. */
export function refusalCauseOf(limit: LimitName): RefusalCause {
  return limit.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`) as RefusalCause
}

/** A refused client or request. A field is undefined if its value is unknown or does not apply. */
export interface RefusalNotice {
  readonly cause: RefusalCause
  readonly remoteAddress?: string | undefined
  readonly origin?: string | undefined
  readonly session?: string | undefined
  readonly principal?: string | undefined
  /** The operation that was refused, such as `lock` or `revoke`. */
  readonly operation?: string | undefined
  readonly key?: string | undefined
}

/** The check of a new token, which a client has sent on its open connection. */
export interface TokenNotice {
  /** Whether the session continues with the new token. */
  readonly isAccepted: boolean
  readonly session: string
  readonly principal: string
  readonly remoteAddress: string | undefined
}

/**
 * The counters of a broker: the fields of `LockStats` that are numbers. `/status`, which
 * needs no token, must not show the other fields. Those have the keys, session ids and session
 * names of refused deadlocks.
 */
export type LockCounters = {
  readonly [Name in keyof LockStats as LockStats[Name] extends number | undefined
    ? Name
    : never]: LockStats[Name]
}

/** The current values of the numbers that the broker counts, and the state of a shared log. */
export interface BrokerGauges {
  readonly connections: number
  /** Sessions in the lock table. With a shared log, these are the sessions of all brokers. */
  readonly sessions: number
  /** Locks held in the lock table; with a shared log, the locks of all brokers. */
  readonly held: number
  /** Waiting requests in the lock table; with a shared log, the requests at all brokers. */
  readonly waiting: number
  /** Keys with a holder or a waiter in the lock table; with a shared log, at all brokers. */
  readonly keys: number
  /** Barriers at which calls wait; with a shared log, at all brokers. */
  readonly barriers: number
  /** Calls that wait at barriers; with a shared log, at all brokers. */
  readonly barrierCalls: number
  /** Results of `once` that the table keeps; with a shared log, of all brokers. */
  readonly keptResults: number
  /** Bytes received over all connections since the start. */
  readonly bytesReceived: number
  /** Bytes sent over all connections since the start. */
  readonly bytesSent: number
  /** Estimated memory that the broker keeps for clients, in bytes. */
  readonly memoryUsed: number
  /** The limit `memoryBytes`, in bytes; undefined if the limit is off. */
  readonly memoryLimit: number | undefined
  readonly stats: LockCounters
  /** The state of the log that brokers share; undefined without a shared log. */
  readonly log?: LogStatus | undefined
}

/**
 * Functions that the broker calls. The metrics and the broker logger are observers. A program can
 * pass its own observer in the option `observer`.
 */
export interface Observer {
  /** Called for each message of an open session, so this function must be fast. */
  onMessage(type: ClientMessage['type']): void
  /**
   * Called for each effect in the lock table, so this function must be fast. If several brokers
   * share a log, one of them, the owner broker, keeps the timers of a session. Only that broker
   * calls this function for the effects of the session. So no effect counts twice in a sum over all
   * brokers.
   */
  onEffect(effect: Effect): void
  /** Called at most once in a turn of the event loop, after the output of that turn was written. */
  onFlushed(): void
  /** Called for each client or request that the broker refused. */
  onRefused(notice: RefusalNotice): void
  /** Called when the broker has checked a new token, which a client sent in an open session. */
  onTokenChecked?(notice: TokenNotice): void
  /** Called when another broker that shares the log has become the owner broker of the session. */
  onSessionMoved?(session: Session): void
  /** Called once when the broker starts. `gauges` returns the current values at any time. */
  attach?(gauges: () => BrokerGauges): void
  /** Called once when the broker closes; release timers and other resources here. */
  close?(): void
}

/** An observer whose numbers `/metrics` serves. */
export interface Metrics extends Observer {
  /** The `content-type` of the text. */
  readonly contentType: string
  /** All metrics in the text format of Prometheus. */
  text(): Promise<string>
}

/** Combines observers into one observer that calls all of them; undefined if the list is empty. */
export function combineObservers(observers: readonly Observer[]): Observer | undefined {
  if (observers.length < 2) return observers[0]
  return {
    onMessage: (type) => {
      for (const observer of observers) observer.onMessage(type)
    },
    onEffect: (effect) => {
      for (const observer of observers) observer.onEffect(effect)
    },
    onFlushed: () => {
      for (const observer of observers) observer.onFlushed()
    },
    onRefused: (notice) => {
      for (const observer of observers) observer.onRefused(notice)
    },
    onTokenChecked: (notice) => {
      for (const observer of observers) observer.onTokenChecked?.(notice)
    },
    onSessionMoved: (session) => {
      for (const observer of observers) observer.onSessionMoved?.(session)
    },
    attach: (gauges) => {
      for (const observer of observers) observer.attach?.(gauges)
    },
    close: () => {
      for (const observer of observers) observer.close?.()
    },
  }
}

/**
 * The notice for a request that the lock table refused by a limit or because of a deadlock;
 * undefined for other effects.
 */
export function refusalIn(effect: Effect): RefusalNotice | undefined {
  if (effect.kind !== 'answer' || effect.answer.kind !== 'failed') return undefined
  const { limit, code, cycle } = effect.answer
  const { id: session, principal } = effect.session
  // The first request of the cycle is the refused request.
  if (code === 'DEADLOCK') return { cause: 'deadlock', session, principal, key: cycle?.[0]?.key }
  if (limit === undefined) return undefined
  return { cause: refusalCauseOf(limitNameOf(limit)), session, principal }
}
