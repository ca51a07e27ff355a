/**
 * The errors of Holdfast: one class, one stable code each.
 *
 * Nobody ever has to parse a sentence: branch on `code`, show `message`, log `cause`.
 */
import type { LossReason } from './messages/messages.js'

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
  /** The key that the failed call was about. */
  readonly key?: string | undefined
  /** With `LOCK_HELD` and `LOCK_TIMEOUT`: who holds the key (the first 16 at most). */
  readonly holders?: readonly Holder[] | undefined
  /** Whether one of the holders is the session that asked. */
  readonly heldByThisSession?: boolean | undefined
  /** Why a lock was lost, or the reason with which a broker closed the connection. */
  readonly reason?: string | undefined
  /** What an operator gave as the reason of a revocation. */
  readonly note?: string | undefined
}

/** What an error may have as members of its own, each only if it has a value. */
const details = ['key', 'holders', 'heldByThisSession', 'reason', 'note'] as const

/** Codes after which the same call may succeed later, without a change by its caller. */
const retryableCodes: ReadonlySet<ErrorCode> = new Set([
  'LOCK_HELD',
  'LOCK_TIMEOUT',
  'QUOTA_EXCEEDED',
  'UNAVAILABLE',
])

/**
 * Shared by every copy of this class in a process: a program may load the package as an ES module
 * and as CommonJS, and an error of one copy reaches code that imported the other.
 */
const brand = Symbol.for('holdfast.HoldfastError')

/** Every error that Holdfast throws, rejects with or aborts a signal with. */
export class HoldfastError extends Error {
  static {
    // Not a declared member: its type would make the classes of two copies different types.
    Object.defineProperty(HoldfastError.prototype, brand, { value: true })
  }

  /**
   * `instanceof` is true for the errors of every copy of this class, such as those of the CommonJS
   * and of the ES form of the package. A subclass has only its own instances.
   */
  static override readonly [Symbol.hasInstance] = isInstance

  override readonly name = 'HoldfastError'
  /** Stable, documented, meant for branching. */
  readonly code: ErrorCode
  /**
   * The key that the failed call was about. Absent if the call was about no key, or the key itself
   * is wrong.
   */
  declare readonly key?: string
  /**
   * With `LOCK_HELD` and `LOCK_TIMEOUT`: who holds the key, the oldest first, at most 16; without
   * metadata with `LOCK_TIMEOUT`. Absent if the broker was not asked or did not answer in time.
   */
  declare readonly holders?: readonly Holder[]
  /**
   * With `holders`: whether one of them is the session that asked. Locks are not re-entrant, so
   * such a call waits for its own session to unlock.
   */
  declare readonly heldByThisSession?: boolean
  /**
   * With `LOCK_LOST`, and with `LOCK_NOT_HELD` of a lock that was lost: why, one of `LostReason`,
   * if that is known. With the error of a session that the broker closed: the reason that it gave.
   */
  declare readonly reason?: LostReason | (string & {})
  /** With the reason `'revoked'`: what the operator gave as the reason, 1 to 256 characters. */
  declare readonly note?: string

  constructor(code: ErrorCode, message: string = errorCodes[code], options?: HoldfastErrorOptions) {
    super(message, options)
    this.code = code
    if (options === undefined) return
    for (const detail of details) {
      const value = options[detail]
      if (value !== undefined) Object.assign(this, { [detail]: value })
    }
  }

  /**
   * Whether the same call may succeed later without a change by its caller: `LOCK_HELD`,
   * `LOCK_TIMEOUT`, `QUOTA_EXCEEDED` and `UNAVAILABLE`. Not `LOCK_LOST`, because only the caller
   * knows whether the work that the lock protected may be done twice.
   */
  get retryable(): boolean {
    return retryableCodes.has(this.code)
  }
}

function isInstance(this: unknown, value: unknown): boolean {
  if (this === HoldfastError) return typeof value === 'object' && value !== null && brand in value
  return Error[Symbol.hasInstance].call(this as () => void, value)
}

/** Whether a string received from a peer is one of our codes. */
export function isErrorCode(value: unknown): value is ErrorCode {
  return typeof value === 'string' && Object.hasOwn(errorCodes, value)
}
