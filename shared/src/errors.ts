/**
 * The errors of Holdfast: one class, one stable code each.
 *
 * Nobody ever has to parse a sentence: branch on `code`, show `message`, log `cause`.
 */
import type { LossReason } from './messages.js'

/** What each code means, in the words the documentation uses. The keys are the complete list. */
export const errorCodes = {
  LOCK_HELD: 'the key is taken',
  LOCK_NOT_HELD: 'the session does not hold the lock (any more)',
  LOCK_TIMEOUT: 'no grant, or no answer to a refresh, within the timeout',
  LOCK_LOST: 'the lock was lost; `reason` says how',
  INVALID_KEY: 'a key is 1 to 512 bytes of well-formed UTF-8 without control characters',
  INVALID_TTL: 'a ttl is an integer of ms from 1 to 2^31 - 1',
  INVALID_TIMEOUT: 'a timeout is an integer of ms from 0 (or 1) to 2^31 - 1',
  INVALID_INTERVAL: 'an interval is an integer of ms, and with its timeout below the ttl',
  INVALID_OPTION: 'an option has a value that it cannot have',
  ABORTED: 'the caller aborted; `cause` is the reason of the signal',
  SESSION_EXPIRED: 'the session has ended at the broker',
  SESSION_CLOSED: 'the session was closed',
  UNAUTHORIZED: 'the broker did not accept who is asking',
  FORBIDDEN: 'the broker does not allow it to who is asking',
  QUOTA_EXCEEDED: 'a limit of the broker was reached',
  BAD_MESSAGE: 'the broker was sent what is not in the protocol',
  UNAVAILABLE: 'no broker could be reached, or it is not serving now',
} as const

/**
 * Why a lock was lost: its ttl ran out, somebody stole it, or the session that owned it is over
 * (its connection or its lease, or it was closed).
 */
export type LostReason = LossReason | 'session'

/** A stable error code. */
export type ErrorCode = keyof typeof errorCodes

/** Who holds a lock, as far as another session is told. */
export interface Holder {
  /** Id of the session that holds the lock. */
  readonly session: string
  /** The name that session gave itself in `connect`, if any. */
  readonly name?: string | undefined
  /** What the holder attached to the lock, if anything. */
  readonly metadata?: unknown
  /** Fencing token of the lock. */
  readonly fence: number
  /** Wall time of the grant at the broker, in ms since 1970; for display only. */
  readonly since: number
}

/** What may accompany a {@link HoldfastError}. */
export interface HoldfastErrorOptions {
  /** What led to this error: another error, or the reason of an `AbortSignal`. */
  readonly cause?: unknown
  /** With `LOCK_HELD`: who holds the key now (the first 16 at most). */
  readonly holders?: readonly Holder[] | undefined
  /** With `LOCK_LOST`: why, if that is known. */
  readonly reason?: LostReason | undefined
}

/** Every error that Holdfast throws, rejects with or aborts a signal with. */
export class HoldfastError extends Error {
  override readonly name = 'HoldfastError'
  /** Stable, documented, meant for branching. */
  readonly code: ErrorCode
  /** With `LOCK_HELD`: who holds the key now (the first 16 at most). */
  declare readonly holders?: readonly Holder[]
  /** With `LOCK_LOST`: why, if that is known. */
  declare readonly reason?: LostReason

  constructor(code: ErrorCode, message: string = errorCodes[code], options?: HoldfastErrorOptions) {
    super(message, options)
    this.code = code
    if (options?.holders !== undefined) this.holders = options.holders
    if (options?.reason !== undefined) this.reason = options.reason
  }
}

/** Whether a string received from a peer is one of our codes. */
export function isErrorCode(value: unknown): value is ErrorCode {
  return typeof value === 'string' && Object.hasOwn(errorCodes, value)
}
