/**
 * The requests of a session: one class for each kind, each with the promise of its caller.
 *
 * A request writes its message, handles its response, and decides whether to end with the session.
 * An object of a class such as `LockRequest` is a pending call. The interface with the same name in
 * the package `shared` is the message that the object sends. The classes of locks import this
 * file. To avoid an import cycle, this file declares interfaces, which these classes implement.
 *
 * A fence is the number of a grant, and a ttl is the time after which a lock expires. After a
 * connection dropped, the client tries to resume its session: to continue the session on a new
 * connection. During a resume the client does not know yet which locks the session still holds. If
 * the client cannot resume the session, the client opens a new session, called the next session.
 */
import {
  type Failed,
  type Granted,
  HoldfastError,
  isErrorCode,
  type ServerMessage,
} from '@holdfast/shared'
import { callSafely } from '../platform/callbacks.js'
import type { ClockTimes } from '../platform/environment.js'
import type { Scheduler, Task } from '../platform/scheduler.js'
import { type Connection, ProtocolViolation, type Sendable } from '../transport/connection.js'
import {
  type LockParams,
  lockText,
  messageText,
  proclaimText,
  type QueuedNotice,
  unlockText,
} from '../transport/messages.js'

/**
 * The messages of the broker that answer a request. A query may get several `found` messages.
 * `watching` is not a response, because a watch is not a `Request`. `queued` is only a notice
 * before the response.
 */
export type Response = Exclude<
  Extract<ServerMessage, { id: number }>,
  { type: 'watching' | 'queued' }
>

/**
 * The `reissueThreshold` of lock requests, which `Request` below explains. The number is high,
 * because `QUOTA_EXCEEDED` may have a cause other than stored responses, such as too many locks.
 */
const lockReissueThreshold = 512

/** Receives the lock and unlock requests that are pending at the end of a resume. */
export interface PendingLockListener {
  onPendingLock(request: LockRequest): void
  onPendingUnlock(fence: number): void
}

/** Receives the requests whose timeout has passed. */
export interface TimeoutListener {
  onTimeout(request: Request): void
}

/** One request. The object is also the task that the scheduler runs when the timeout passes. */
export abstract class Request<T = unknown> implements Sendable, Task {
  /** Set when the request is added to the pending requests. Later requests have higher ids. */
  id = 0
  /**
   * The connection on which the request was sent last. Undefined if it was not sent yet, or must be
   * sent as a new request.
   */
  sentOn: Connection | undefined = undefined
  /** The number of the request's message among all messages of the connection `sentOn`. */
  messageNumber = 0
  /** When the request was sent last. */
  sentAt: ClockTimes | undefined = undefined
  /** Whether the request was sent before with this id, on another connection. */
  isRepeat = false
  /** False after the caller has given up. */
  isWanted = true
  /** The parameters of a lock request; undefined for other kinds of requests. */
  declare readonly params?: LockParams
  /** The timeout of the request, in ms; undefined if the request waits for ever. */
  declare readonly timeout?: number | undefined
  /** When the timeout ends, by the monotonic clock; undefined without a timeout. */
  declare readonly dueAt?: number | undefined
  /**
   * Whether the broker stores the response to this kind of request until the client acknowledges
   * the response. If true, the client sends the request with the same id again after a resume.
   */
  abstract readonly brokerStoresResponse: boolean
  /** The type of the response to a request that does not fail. */
  abstract readonly responseType: Response['type']
  /** The key in the errors of this request; undefined if the request is not about a single key. */
  abstract readonly key: string | undefined
  /**
   * The broker may refuse a request with `QUOTA_EXCEEDED` because the broker stores too many
   * responses. The client counts the responses that it has received and that the broker may still
   * store. If the count is above this threshold, the client sends the refused request again. The
   * repeat can succeed, because the client acknowledges the counted responses. The threshold is 1,
   * because the refusal itself is one of the counted responses.
   */
  get reissueThreshold(): number {
    return 1
  }
  /**
   * Whether the caller may leave the promise unhandled. If true, a rejection never becomes an
   * unhandled rejection, which could end the process of the caller.
   */
  get mayBeUnhandled(): boolean {
    return false
  }
  readonly promise: Promise<T>
  /**
   * Resolves the promise. Has the type of a method, because the compiler checks the parameters of
   * methods less strictly. The compiler then accepts a `Request<T>` of any `T` as a `Request`.
   */
  resolve!: { resolve(value: T): void }['resolve']
  #reject!: (error: HoldfastError) => void

  constructor() {
    this.promise = new Promise<T>((resolve, reject) => {
      this.resolve = resolve
      this.#reject = reject
    })
  }

  /** The id under the name that `IdTable` requires. */
  get tableId(): number {
    return this.id
  }

  /** Returns the message. Called for each sending, because the rest of the timeout changes. */
  abstract text(scheduler: Scheduler): string

  /**
   * Handles a response. Returns true if the request is complete. A query is complete after its last
   * `found`.
   *
   * @param isResuming True while the client does not know yet which locks the session holds.
   */
  abstract onResponse(response: Response, isResuming: boolean): boolean

  /**
   * Checks that the response fits this request.
   * @throws ProtocolViolation for a response that no correct broker sends
   */
  checkResponse({ type, id }: Response): void {
    if (type === 'failed') return
    // A response of a wrong type could leave the request waiting for ever.
    if (!this.isAnsweredBy(type)) {
      throw new ProtocolViolation(
        `${type} cannot answer request ${id}, which waits for ${this.responseType}`,
      )
    }
    // The expiry of a lock counts from `sentAt`. Without `sentAt` the lock would not expire.
    if (this.sentAt === undefined) {
      throw new ProtocolViolation(`${type} answers request ${id}, which was not sent`)
    }
  }

  /** Handles the notice that the request has to wait. Only a lock request asks for the notice. */
  onQueued(_notice: QueuedNotice): void {}

  protected isAnsweredBy(type: Response['type']): boolean {
    return type === this.responseType
  }

  /** Handles the refusal of the broker. */
  onFailed(error: HoldfastError): void {
    this.fail(error)
  }

  /** Rejects the promise with this error, to which it adds the key of the request. */
  fail(error: HoldfastError): void {
    // The constructor does not call `catch`, because `catch` makes one more promise, and most
    // requests succeed.
    if (this.mayBeUnhandled) this.promise.catch(() => {})
    this.#reject(withKey(this.key, error))
  }

  /** The rest of the timeout for a message that is sent now, in ms; undefined without a timeout. */
  protected timeoutLeft(scheduler: Scheduler): number | undefined {
    const { timeout, dueAt } = this
    if (timeout === undefined || timeout === 0 || dueAt === undefined) return timeout
    // At least 1 ms, because 0 would mean that the request must not wait.
    return Math.min(Math.max(Math.ceil(dueAt - scheduler.monotonic()), 1), timeout)
  }

  /**
   * Handles the end of the session. Returns true if the request is complete. After false, the next
   * session sends the request again. Without a next session, the caller of this method rejects the
   * promise.
   *
   * @param _message The error message, if the request rejects its promise.
   * @param _error The error that ended the session for good; undefined if a new session follows.
   */
  onSessionEnded(_message: string, _error?: HoldfastError): boolean {
    return false
  }

  /**
   * Called on each pending request at the end of a resume. A lock request passes itself to the
   * listener, and an unlock request passes its fence; other requests do nothing.
   */
  reportPendingLock(_listener: PendingLockListener): void {}

  /** The scheduler calls this method when the timeout has passed. */
  onDue(): void {}
}

/** The functions that a lock request calls to look up and change the locks of the session. */
export interface LockRegistry<L> {
  /** The session's lock with this fence; undefined if the session does not hold that lock. */
  get(fence: number): unknown
  /**
   * Adds the granted lock.
   * @param at When `ttl` and `maxHold` (how long the lock may be held) began to count, by the
   *   broker's clock; undefined if the broker did not say.
   */
  hold(request: LockRequest, fence: number, at: number | undefined): L
  /** Unlocks a lock that no caller of this session wants. */
  unlockFence(fence: number): void
}

/** Asks for a lock. */
export class LockRequest<L = unknown> extends Request<L> {
  readonly brokerStoresResponse = true
  readonly responseType = 'granted'
  declare readonly params: LockParams
  declare readonly timeout: number | undefined
  declare readonly dueAt: number | undefined
  /**
   * A `granted` that arrived during a resume. The request keeps this message until the snapshot,
   * which lists the session's locks at the broker, shows whether the lock still exists.
   */
  grantDuringResume: Granted | undefined = undefined
  #wasQueued = false
  readonly #registry: LockRegistry<L>
  readonly #timeoutListener: TimeoutListener

  constructor(
    params: LockParams,
    timeout: number | undefined,
    dueAt: number | undefined,
    registry: LockRegistry<L>,
    timeoutListener: TimeoutListener,
  ) {
    super()
    this.params = params
    this.timeout = timeout
    this.dueAt = dueAt
    this.#registry = registry
    this.#timeoutListener = timeoutListener
  }

  get key(): string {
    return this.params.key
  }

  override get reissueThreshold(): number {
    return lockReissueThreshold
  }

  text(scheduler: Scheduler): string {
    return lockText(this.id, this.params, this.timeoutLeft(scheduler))
  }

  /**
   * Calls the caller's function only for the first notice. If a later session sends the request
   * again, the broker may send another notice.
   */
  override onQueued(notice: QueuedNotice): void {
    const onQueued = this.params.limitAndCallbacks?.onQueued
    if (onQueued === undefined || this.#wasQueued || !this.isWanted) return
    this.#wasQueued = true
    callSafely(() => onQueued(notice))
  }

  override checkResponse(response: Response): void {
    super.checkResponse(response)
    if (response.type === 'granted' && this.#registry.get(response.fence) !== undefined) {
      throw new ProtocolViolation(`granted.fence ${response.fence} is held already`)
    }
  }

  /** Returns false during a resume, because only the end of the resume completes the request. */
  onResponse(response: Response, isResuming: boolean): boolean {
    const granted = response as Granted
    if (isResuming) this.grantDuringResume = granted
    else if (this.isWanted) this.hold(granted.fence, granted.at)
    else this.#registry.unlockFence(granted.fence)
    return !isResuming
  }

  /** Holds the granted lock, and resolves the promise with that lock. */
  hold(fence: number, at: number | undefined): void {
    this.resolve(this.#registry.hold(this, fence, at))
  }

  /** Lets the next session, if any, send the request again, unless the caller has given up. */
  override onSessionEnded(): boolean {
    this.grantDuringResume = undefined
    this.sentOn = undefined
    this.sentAt = undefined
    return !this.isWanted
  }

  override reportPendingLock(listener: PendingLockListener): void {
    listener.onPendingLock(this)
  }

  override onDue(): void {
    this.#timeoutListener.onTimeout(this)
  }
}

/** Unlocks the lock with this fence. */
export class UnlockRequest extends Request<void> {
  readonly brokerStoresResponse = true
  readonly responseType = 'unlocked'
  readonly fence: number
  readonly key: string | undefined

  constructor(fence: number, key: string | undefined) {
    super()
    this.fence = fence
    this.key = key
  }

  /** Many callers do not await an unlock. */
  override get mayBeUnhandled(): boolean {
    return true
  }

  text(): string {
    return unlockText(this.id, this.fence)
  }

  onResponse(): boolean {
    this.resolve()
    return true
  }

  /** Succeeds, because the end of the session has released the lock. */
  override onSessionEnded(_message?: string, _error?: HoldfastError): boolean {
    return this.onResponse()
  }

  /** Reports the fence of the lock whose unlock is pending. */
  override reportPendingLock(listener: PendingLockListener): void {
    listener.onPendingUnlock(this.fence)
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
  readonly brokerStoresResponse = true
  readonly responseType = 'refreshed'
  /** The new ttl in ms; undefined keeps the present ttl. */
  readonly ttl: number | undefined
  readonly #lock: RefreshableLock

  constructor(lock: RefreshableLock, ttl: number | undefined) {
    super()
    this.#lock = lock
    this.ttl = ttl
  }

  /** The caller may have stopped waiting. */
  override get mayBeUnhandled(): boolean {
    return true
  }

  get key(): string {
    return this.#lock.key
  }

  text(): string {
    return messageText('refresh', { id: this.id, fence: this.#lock.fence, ttl: this.ttl })
  }

  /** The connection calls this method when the socket has accepted the message. */
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

  override onSessionEnded(message: string): boolean {
    this.fail(new HoldfastError('LOCK_NOT_HELD', message))
    return true
  }
}

/** Changes the value that the leader of an election publishes. `fence` names the leader's lock. */
export class ProclaimRequest extends Request<void> {
  readonly brokerStoresResponse = true
  readonly responseType = 'proclaimed'
  readonly key: string
  readonly #fence: number
  readonly #value: string | undefined

  /** @param value JSON text; undefined to publish no value */
  constructor({ key, fence }: { readonly key: string; readonly fence: number }, value?: string) {
    super()
    this.key = key
    this.#fence = fence
    this.#value = value
  }

  text(): string {
    return proclaimText(this.id, this.#fence, this.#value)
  }

  onResponse(): boolean {
    this.resolve()
    return true
  }

  /** Fails, because the end of the session has ended the leadership. */
  override onSessionEnded(message: string): boolean {
    this.fail(new HoldfastError('LOCK_NOT_HELD', message))
    return true
  }
}

/**
 * Makes the error of a `failed` message. An unknown code, which a newer broker may send, becomes
 * `UNAVAILABLE`.
 *
 * @param sessionId The id of the session that sent the request.
 */
export function errorOfFailed(
  { code, message, holders, capacity, cycle }: Failed,
  sessionId: string,
): HoldfastError {
  const knownCode = isErrorCode(code) ? code : 'UNAVAILABLE'
  const heldByThisSession = holders?.some((holder) => holder.session === sessionId)
  const text = heldByThisSession
    ? `${message}; this session holds the lock, and locks are not re-entrant`
    : message
  return new HoldfastError(knownCode, text, { holders, heldByThisSession, capacity, cycle })
}

/** Returns the error with the key of the failed call; an error that has a key stays unchanged. */
export function withKey(key: string | undefined, error: HoldfastError): HoldfastError {
  if (key === undefined || error.key !== undefined) return error
  // The spread copies the details of the error, but not the cause, which is not enumerable.
  const causeDetails = Object.hasOwn(error, 'cause') && { cause: error.cause }
  return new HoldfastError(error.code, error.message, { ...error, ...causeDetails, key })
}
