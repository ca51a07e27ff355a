/**
 * The policy of a connection: what its client may do. The folder `access` implements this
 * interface with the settings of the broker and the token of the client.
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
  /** The principal (the name of the client) and its permissions, as the token gives them. */
  readonly identity: Identity
  /** Replaces the identity, after the client has sent a new token for the same principal. */
  replaceIdentity(identity: Identity): void
  /**
   * Counts one message, and returns whether the limit of messages in a second allows this message.
   * `now` is a monotonic time in ms.
   */
  countMessage(now: number): boolean
  /** Whether the client has the permission for this operation on this key. */
  may(operation: Operation, key: string): boolean
  /** Returns why this operation on this key is refused; undefined if the operation is allowed. */
  checkPermission(operation: Operation, key: string): Denial | undefined
  /**
   * Returns why this key or metadata is too large; undefined if the sizes are allowed. A caller
   * that checks only metadata passes `''` as the key.
   */
  checkSize(key: string, metadata: unknown): Denial | undefined
  /** Returns why a set of this many keys is too large; undefined if the size is allowed. */
  checkSetSize(keyCount: number): Denial | undefined
}
