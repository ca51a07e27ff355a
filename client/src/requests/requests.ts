/**
 * The requests of a session: one class for each kind, each with the promise of its caller.
 *
 * A request knows its message, its response, and what the end of a session means to it. Code that
 * handles all requests calls the methods of `Request`; a new kind of request overrides them. A
 * request knows locks only by the interfaces that this file declares.
 */
import {
  type Failed,
  type Granted,
  HoldfastError,
  isErrorCode,
  type ServerMessage,
} from '@holdfast/shared'
import type { ClockReading } from '../platform/environment.js'
import type { Scheduler, Task } from '../platform/scheduler.js'
import { type Connection, ProtocolViolation, type Sendable } from '../transport/connection.js'
import { type LockParams, lockText, messageText, unlockText } from '../transport/messages.js'

/** The messages of the broker that end a request, or that are a part of its response. */
export type Response = Exclude<Extract<ServerMessage, { id: number }>, { type: 'watching' }>

/**
 * With more unconfirmed responses than this, the broker may have refused a lock for their number.
 */
const manyResponses = 512

/** Is told about the locks and unlocks that are pending after a resume. */
export interface Reconciliation {
  onPendingLock(request: LockRequest): void
  onPendingUnlock(fence: number): void
}

/** Also the scheduler's task for the timeout of the request. */
export abstract class Request<T = unknown> implements Sendable, Task {
  /** Set when the request is added to the pending requests. Later requests have higher ids. */
  id = 0
  sentOn: Connection | undefined = undefined
  messageNumber = 0
  sentAt: ClockReading | undefined = undefined
  /** Whether this id was sent before, on another connection. */
  isRepeat = false
  /** False once the caller has given up, as the caller of a lock request may. */
  wanted = true
  /** The lock of a lock request; undefined for other kinds of requests. */
  declare readonly params?: LockParams
  /** The timeout of a lock request, in ms; undefined waits for ever. */
  declare readonly timeout?: number | undefined
  /** When the timeout ends, by the monotonic clock. */
  declare readonly dueAt?: number
  /** Whether the broker stores the response, so that the request is repeated with the same id. */
  abstract readonly stored: boolean
  /** The type of the response to a request that does not fail. */
  abstract readonly responseType: Response['type']
  /** The key in the errors of this request; undefined for a request about no single key. */
  abstract readonly key: string | undefined
  /**
   * A stored request that the broker refuses with `QUOTA_EXCEEDED` is sent anew if the broker may
   * have more unconfirmed responses than this, because those may have used up the quota.
   */
  readonly reissueAbove: number = 1
  readonly promise: Promise<T>
  /** Has the type of a method, so that a request of any result is a `Request`. */
  resolve!: { resolve(value: T): void }['resolve']
  #reject!: (error: HoldfastError) => void

  constructor() {
    this.promise = new Promise<T>((resolve, reject) => {
      this.resolve = resolve
      this.#reject = reject
    })
  }

  get tableId(): number {
    return this.id
  }

  /** The text of the message, at the time of sending. */
  abstract text(scheduler: Scheduler): string

  /**
   * Handles the response, or a part of the response. Returns true if the request is complete.
   *
   * @param isResuming Whether the state of the session's locks is not yet known.
   */
  abstract onResponse(response: Response, isResuming: boolean): boolean

  /**
   * @throws ProtocolViolation for a response that a broker cannot mean. Without this check, the
   * request could wait for ever, or a lock could have no end.
   */
  checkResponse({ type, id }: Response): void {
    if (type === 'failed') return
    if (type !== this.responseType) {
      throw new ProtocolViolation(
        `${type} cannot answer request ${id}, which waits for ${this.responseType}`,
      )
    }
    if (this.sentAt === undefined) {
      throw new ProtocolViolation(`${type} answers request ${id}, which was not sent`)
    }
  }

  /** The broker refused the request. */
  onFailed(error: HoldfastError): void {
    this.fail(error)
  }

  /** Rejects the promise with this error and the key. */
  fail(error: HoldfastError): void {
    this.#reject(withKey(this.key, error))
  }

  /**
   * The session is over. Returns true if the request is complete; false if the next session must
   * send the request again.
   */
  endWithSession(_message: string): boolean {
    return false
  }

  /** Reports a pending lock or unlock after a resume. */
  reconcile(_reconciliation: Reconciliation): void {}

  /** The timeout has passed. */
  run(): void {}
}

/** The locks of the session, as a lock request needs them. */
export interface LockKeeper<L> {
  /** The lock with this fence, if the session holds it. */
  get(fence: number): L | undefined
  /** Adds the granted lock; `at` is the broker's time at which the ttl began. */
  hold(request: LockRequest<L>, fence: number, at: number | undefined): L
  /** Unlocks a lock that no caller of this session wants. */
  unlockFence(fence: number): void
}

/** Asks for a lock. */
export class LockRequest<L = unknown> extends Request<L> {
  readonly stored = true
  readonly responseType = 'granted'
  override readonly reissueAbove: number = manyResponses
  declare readonly params: LockParams
  declare readonly timeout: number | undefined
  declare readonly dueAt: number
  /** A grant that arrived during a resume; the snapshot then says whether the lock still exists. */
  granted: Granted | undefined = undefined
  readonly #keeper: LockKeeper<L>
  readonly #onTimeout: () => void

  constructor(
    params: LockParams,
    timeout: number | undefined,
    dueAt: number,
    keeper: LockKeeper<L>,
    onTimeout: () => void,
  ) {
    super()
    this.params = params
    this.timeout = timeout
    this.dueAt = dueAt
    this.#keeper = keeper
    this.#onTimeout = onTimeout
  }

  get key(): string {
    return this.params.key
  }

  text(scheduler: Scheduler): string {
    const { timeout } = this
    if (timeout === undefined || timeout === 0) return lockText(this.id, this.params, timeout)
    const left = Math.ceil(this.dueAt - scheduler.monotonic())
    return lockText(this.id, this.params, Math.min(Math.max(left, 1), timeout))
  }

  override checkResponse(response: Response): void {
    super.checkResponse(response)
    if (response.type === 'granted' && this.#keeper.get(response.fence) !== undefined) {
      throw new ProtocolViolation(`granted.fence ${response.fence} is held already`)
    }
  }

  onResponse(response: Response, isResuming: boolean): boolean {
    const granted = response as Granted
    if (isResuming) this.granted = granted
    else if (this.wanted) this.hold(granted.fence, granted.at)
    else this.#keeper.unlockFence(granted.fence)
    return !isResuming
  }

  /** Holds the granted lock and resolves the promise with it. */
  hold(fence: number, at: number | undefined): void {
    this.resolve(this.#keeper.hold(this, fence, at))
  }

  /** A request that still waits is sent again in the next session. */
  override endWithSession(): boolean {
    this.granted = undefined
    this.sentOn = undefined
    this.sentAt = undefined
    return !this.wanted
  }

  override reconcile(reconciliation: Reconciliation): void {
    reconciliation.onPendingLock(this)
  }

  override run(): void {
    this.#onTimeout()
  }
}

/** Unlocks the lock with this fence. */
export class UnlockRequest extends Request<void> {
  readonly stored = true
  readonly responseType = 'unlocked'
  readonly fence: number
  readonly key: string | undefined

  constructor(fence: number, key: string | undefined) {
    super()
    this.fence = fence
    this.key = key
    // Many callers do not await an unlock, so a rejection must not count as unhandled.
    this.promise.catch(() => {})
  }

  text(): string {
    return unlockText(this.id, this.fence)
  }

  onResponse(): boolean {
    this.resolve()
    return true
  }

  /** The end of the session has released the lock. */
  override endWithSession(): boolean {
    return this.onResponse()
  }

  override reconcile(reconciliation: Reconciliation): void {
    reconciliation.onPendingUnlock(this.fence)
  }
}

/** The lock that a refresh request refreshes. */
export interface RefreshableLock {
  readonly key: string
  readonly fence: number
  onRefreshSent(request: RefreshRequest): void
  onRefreshed(request: RefreshRequest): void
  onRefreshFailed(request: RefreshRequest, error: HoldfastError): void
}

/** Starts the ttl of a lock anew. */
export class RefreshRequest extends Request<void> {
  readonly stored = true
  readonly responseType = 'refreshed'
  /** The new ttl in ms; undefined keeps the present ttl. */
  readonly ttl: number | undefined
  readonly #lock: RefreshableLock

  constructor(lock: RefreshableLock, ttl: number | undefined) {
    super()
    this.#lock = lock
    this.ttl = ttl
    // The caller may have stopped waiting, so a rejection must not count as unhandled.
    this.promise.catch(() => {})
  }

  get key(): string {
    return this.#lock.key
  }

  text(): string {
    return messageText('refresh', { id: this.id, fence: this.#lock.fence, ttl: this.ttl })
  }

  onSent(): void {
    this.#lock.onRefreshSent(this)
  }

  onResponse(): boolean {
    this.#lock.onRefreshed(this)
    this.resolve()
    return true
  }

  override onFailed(error: HoldfastError): void {
    this.#lock.onRefreshFailed(this, error)
    this.fail(error)
  }

  override endWithSession(message: string): boolean {
    this.fail(new HoldfastError('LOCK_NOT_HELD', message))
    return true
  }
}

/**
 * The error of a `failed` message. A code that this client does not know becomes `UNAVAILABLE`,
 * because a newer broker may have more codes.
 *
 * @param session The id of the session that sent the request.
 */
export function errorOfFailed({ code, message, holders }: Failed, session: string): HoldfastError {
  const knownCode = isErrorCode(code) ? code : 'UNAVAILABLE'
  const heldByThisSession = holders?.some((holder) => holder.session === session)
  const text = heldByThisSession
    ? `${message}; this session holds it itself, and locks are not re-entrant`
    : message
  return new HoldfastError(knownCode, text, { holders, heldByThisSession })
}

/** The same error with the key of the failed call, unless the error has a key already. */
export function withKey(key: string | undefined, error: HoldfastError): HoldfastError {
  if (key === undefined || error.key !== undefined) return error
  // The spread copies the details of the error, but not the cause, which is not enumerable.
  const cause = Object.hasOwn(error, 'cause') && { cause: error.cause }
  return new HoldfastError(error.code, error.message, { ...error, ...cause, key })
}
