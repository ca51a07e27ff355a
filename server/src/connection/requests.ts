/**
 * What a connection hands to the broker beside valid messages, and what decides whether the client
 * may send them. The access layer implements the decisions.
 */
import { type ClientMessage, type ErrorCode, type Hello, utf8Length } from '@holdfast/shared'
import type { InvalidMessage } from '@holdfast/shared/clientChecks'
import type { LimitName } from '../config/limits.js'
import type { Identity, Operation } from '../config/permissions.js'

/** An invalid message that has an id: the broker answers it with `failed`. */
export type InvalidRequest = InvalidMessage & { readonly id: number }

/** Why a message is refused. */
export interface Denial {
  readonly code: ErrorCode
  readonly message: string
  /** The limit that the message exceeds; undefined if it lacks a permission. */
  readonly limit: LimitName | undefined
}

/** What the client of one connection may do, and how often. */
export interface ConnectionPolicy {
  /** The client, as its token named it. */
  readonly identity: Identity
  /** The client has shown a new token of the same principal. */
  renew(identity: Identity): void
  /** Whether the client may send one more message now, in ms of a monotonic clock. */
  consume(now: number): boolean
  /** Whether the client may do this to this key. */
  may(operation: Operation, key: string): boolean
  /** Why the client may not do this to this key; undefined if it may. */
  check(operation: Operation, key: string): Denial | undefined
  /** Why a lock with this key and metadata is too large; undefined if it is not. */
  checkSize(key: string, metadata: unknown): Denial | undefined
}

/** Whether the broker handles this message; the connection itself handles hello and garbage. */
export function isForBroker(
  message: ClientMessage | InvalidMessage,
): message is Exclude<ClientMessage, Hello> | InvalidRequest {
  return message.type === 'refusal' ? message.id !== undefined : message.type !== 'hello'
}

/** Whether a frame has more bytes than this. */
export function isLongerThan(text: string, bytes: number): boolean {
  return text.length > bytes || (text.length * 3 > bytes && utf8Length(text) > bytes)
}
