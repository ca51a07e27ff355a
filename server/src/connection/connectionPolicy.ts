/**
 * What the client of a connection may do, as the broker asks for it. The access layer makes the
 * policy of each connection, from the settings and from the token of its client.
 */
import type { ErrorCode } from '@holdfast/shared'
import type { LimitName } from '../config/limits.js'
import type { Identity, Operation } from '../config/permissions.js'

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
