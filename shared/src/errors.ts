/**
 * The errors of Holdfast: one class, `HoldfastError`, with a stable code for each kind of error. A
 * program branches on `code`, shows `message` to people, and logs `cause`.
 *
 * A ttl is the time after which a lock expires. A lease is the time for which the broker keeps a
 * session without hearing from its client. A fencing token (fence) is the number of a grant; a
 * later grant has a higher fence. A scope is one logical task of a client. The capacity of a
 * semaphore is the number of its permits. The parties of a barrier are the calls that pass
 * together. An upgrade makes a shared lock exclusive. Like a request for a lock, an upgrade may
 * have to wait. With automatic refreshes, the interval is the time between two refreshes, and the
 * timeout is the longest wait for the answer to a refresh.
 */

/**
 * Every error code, with the default message of an error with that code. A message says what failed
 * and what the caller can do. The README of this package lists these messages too.
 */
export const errorCodes = {
  LOCK_HELD: 'a session holds or awaits the key; try again later',
  LOCK_NOT_HELD: 'the session does not hold this lock; stop using what it protects',
  LOCK_TIMEOUT: 'no grant, or no answer to a refresh, within the timeout; try again later',
  LOCK_LOST: 'the lock was lost; stop using what it protects',
  INVALID_KEY: 'invalid key; use 1 to 512 bytes of UTF-8 without control characters',
  INVALID_TTL: 'invalid ttl; use an integer of ms from 1 to 2^31 - 1',
  INVALID_TIMEOUT: 'invalid timeout; use an integer of ms from 0 to 2^31 - 1',
  INVALID_INTERVAL: 'invalid interval; keep interval + timeout below ttl',
  INVALID_OPTION: 'an option has a value that is not allowed',
  ABORTED: 'the caller aborted; `cause` is the reason of the signal',
  SESSION_EXPIRED: 'the broker ended the session; connect again',
  SESSION_CLOSED: 'the session is closed; connect again',
  UNAUTHORIZED: 'the broker requires a valid token; set the option `token`',
  FORBIDDEN: 'the broker does not permit this; ask its operator',
  DEADLOCK: 'this request can never be granted; release locks, then lock again',
  CAPACITY_MISMATCH: 'other callers use another capacity or number of parties; use theirs',
  QUOTA_EXCEEDED: 'a limit of the broker is reached; release locks or try again later',
  BAD_MESSAGE: 'the message is not in the protocol; update the client',
  UNAVAILABLE: 'no broker is reachable and ready; try again later',
} as const

/**
 * Why a lock was lost although its session goes on. The broker reports these losses in the message
 * `lost`.
 * - `expired`: the ttl of the lock passed.
 * - `maxHold`: the session has held the lock for the longest time allowed.
 * - `stolen`: another request stole the lock.
 * - `revoked`: an operator revoked the lock.
 *
 * A broker that is newer than the client may send another text.
 */
export type BrokerLossReason = 'expired' | 'maxHold' | 'stolen' | 'revoked'

/**
 * Every reason why a lock was lost: a {@link BrokerLossReason}, or `'session'` if the session that
 * held the lock ended. For example, the caller closed the session, its lease ran out, or its
 * connection was gone for longer than the session's grace.
 */
export type LostReason = BrokerLossReason | 'session'

/** A stable error code. */
export type ErrorCode = keyof typeof errorCodes

/** A lock and its holder, as the broker shows them to other sessions. */
export interface Holder {
  /** Id of the session that holds the lock. */
  readonly session: string
  /** The name of that session, from the options of `connect`; undefined without a name. */
  readonly name?: string | undefined
  /** The metadata that the holder gave for the lock; undefined without metadata. */
  readonly metadata?: unknown
  /** The key of the lock; only in an error of a request for several keys. */
  readonly key?: string | undefined
  /** How many permits a lock of a semaphore has; undefined for an exclusive or shared lock. */
  readonly permits?: number | undefined
  /** The longest time for which the lock may be held, in ms; undefined without such a limit. */
  readonly maxHold?: number | undefined
  /** Fencing token of the lock. */
  readonly fence: number
  /** When the lock was granted, by the broker's wall clock, in ms since 1970. For display only. */
  readonly since: number
}

/**
 * One request of a deadlock. The requests form a cycle: each request waits, at its key, for the
 * session of the next request, and the last request waits for the session of the first request.
 */
export interface CycleEntry {
  /** The key that the request waits for; undefined if the caller may not query the key. */
  readonly key?: string | undefined
  /** Id of the session of the request. */
  readonly session: string
  /** The name of that session; undefined without a name, or if the caller may not query the key. */
  readonly name?: string | undefined
  /** The number of the request's scope; undefined outside a scope. */
  readonly scope?: number | undefined
}

/** Details of a {@link HoldfastError}. */
export interface HoldfastErrorOptions {
  /** The cause of this error: another error, or the reason of an `AbortSignal`. */
  readonly cause?: unknown
  /** The key that the failed call was about. */
  readonly key?: string | undefined
  /** With `LOCK_HELD` and `LOCK_TIMEOUT`: the oldest holders of the key, at most 16. */
  readonly holders?: readonly Holder[] | undefined
  /** With `CAPACITY_MISMATCH`: the capacity or the number of parties that other callers use. */
  readonly capacity?: number | undefined
  /**
   * With `DEADLOCK`: the requests that wait for each other, at most 16, the refused request first.
   */
  readonly cycle?: readonly CycleEntry[] | undefined
  /** With `holders`: whether one of the holders is the session that made the request. */
  readonly heldByThisSession?: boolean | undefined
  /** Why a lock was lost, or the reason with which a broker closed the connection. */
  readonly reason?: string | undefined
  /** The explanation that the operator gave for a revocation. */
  readonly note?: string | undefined
}

/** The names of the options that become properties of an error, unless they are undefined. */
const detailNames = [
  'key',
  'holders',
  'heldByThisSession',
  'capacity',
  'cycle',
  'reason',
  'note',
] as const

/** Codes of errors after which the same call may succeed later. */
const retryableCodes: ReadonlySet<ErrorCode> = new Set([
  'LOCK_HELD',
  'LOCK_TIMEOUT',
  'QUOTA_EXCEEDED',
  'UNAVAILABLE',
])

/**
 * Marks the errors of every copy of this class in a process. A program may load the package as an
 * ES module and as CommonJS, and an error of one copy may reach code that imported the other copy.
 */
const brand = Symbol.for('holdfast.HoldfastError')

/** The error that Holdfast throws, rejects promises with, and aborts signals with. */
export class HoldfastError extends Error {
  static {
    // The brand is set here, not declared as a field, so that it is absent from the type of the
    // class. To the compiler, the symbols of two copies of this class differ. So a declared brand
    // would make the classes of the two copies incompatible types.
    Object.defineProperty(HoldfastError.prototype, brand, { value: true })
  }

  /**
   * Makes `instanceof HoldfastError` true for the errors of every copy of this class, such as the
   * CommonJS and the ES form of the package. For a subclass, `instanceof` works as usual.
   */
  static override readonly [Symbol.hasInstance] = isInstance

  override readonly name = 'HoldfastError'
  /** The kind of error. Stable, so a program may branch on it. */
  readonly code: ErrorCode
  // The fields below are only declared, so that an error has no field without a value.

  /**
   * The key of the failed call. Absent if the call has no key, or if the key itself is invalid.
   */
  declare readonly key?: string
  /**
   * With `LOCK_HELD` and `LOCK_TIMEOUT`: the holders of the key, the oldest first, at most 16. With
   * `LOCK_TIMEOUT` the holders have no metadata. If no broker answered in time, the error has no
   * `holders`.
   */
  declare readonly holders?: readonly Holder[]
  /**
   * With `holders`: whether the session that made the call is one of the holders. Locks are not
   * re-entrant, so such a call cannot succeed before its own session unlocks the key.
   */
  declare readonly heldByThisSession?: boolean
  /**
   * With `CAPACITY_MISMATCH`: the capacity, or the number of parties of a barrier, that the other
   * callers use at the moment.
   */
  declare readonly capacity?: number
  /**
   * With `DEADLOCK`: the requests that wait for each other, at most 16, the refused request first.
   * Absent if the client found the deadlock itself: a scope asked for a key that the same scope
   * holds already.
   */
  declare readonly cycle?: readonly CycleEntry[]
  /**
   * With `LOCK_LOST` and `LOCK_NOT_HELD`: why the lock was lost, unless the client does not know.
   * With other codes: the reason in the broker's close frame, if the client must not reconnect.
   */
  // `string & {}` allows any text, and lets editors still suggest the known reasons.
  declare readonly reason?: LostReason | (string & {})
  /** With the reason `'revoked'`: the explanation that the operator gave, 1 to 256 characters. */
  declare readonly note?: string

  constructor(code: ErrorCode, message: string = errorCodes[code], options?: HoldfastErrorOptions) {
    super(message, options)
    this.code = code
    if (options === undefined) return
    for (const name of detailNames) {
      const value = options[name]
      if (value !== undefined) Object.assign(this, { [name]: value })
    }
  }

  /**
   * Whether the same call, repeated later without a change, may succeed: true for `LOCK_HELD`,
   * `LOCK_TIMEOUT`, `QUOTA_EXCEEDED` and `UNAVAILABLE`. False for `LOCK_LOST`, because only the
   * caller knows whether the protected work may be done twice.
   */
  get retryable(): boolean {
    return retryableCodes.has(this.code)
  }
}

/** Implements `value instanceof X`, where `this` is X: `HoldfastError` or a subclass. */
function isInstance(this: unknown, value: unknown): boolean {
  if (this === HoldfastError) return typeof value === 'object' && value !== null && brand in value
  // The usual `instanceof` of classes, with the subclass as X.
  return Error[Symbol.hasInstance].call(this as () => void, value)
}

/** Whether a value from another program is one of the error codes. */
export function isErrorCode(value: unknown): value is ErrorCode {
  return typeof value === 'string' && Object.hasOwn(errorCodes, value)
}
