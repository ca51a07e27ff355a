/**
 * The interface through which the broker asks what the client of a connection may do. The access
 * layer makes the policy of each connection from the settings and from the token of the client.
 */
import type { ErrorCode } from '@holdfast/shared'
import type { LimitName } from '../config/limits.js'
import type { Identity, Operation } from '../config/permissions.js'

/** Why a message is refused. */
export interface Denial {
  readonly code: ErrorCode
  readonly message: string
  /** The limit that the message exceeds; undefined if the client lacks a permission. */
  readonly limit: LimitName | undefined
}

/** What the client of one connection may do, and how often. */
export interface ConnectionPolicy {
  /** The client, as its token names it. */
  readonly identity: Identity
  /** Replaces the identity, after the client has sent a new token of the same principal. */
  renew(identity: Identity): void
  /**
   * Counts one message, and returns whether the rate allows it. `now` is a monotonic time in ms.
   */
  consume(now: number): boolean
  /** Whether the client has the permission for this operation on this key. */
  may(operation: Operation, key: string): boolean
  /** Returns why this operation on this key is refused; undefined if it is allowed. */
  check(operation: Operation, key: string): Denial | undefined
  /** Returns why this key or metadata is too large; undefined if the sizes are allowed. */
  checkSize(key: string, metadata: unknown): Denial | undefined
}
