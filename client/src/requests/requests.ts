/**
 * What a session may ask about locks: one class for each kind of request, each with its promise.
 * They know how to write themselves and how to be settled, and nothing of connections and their ups
 * and downs.
 */
import { type Granted, HoldfastError, type LockStats, type ServerMessage } from '@holdfast/shared'
import type { ClockReading } from '../locks/expiry.js'
import type { GrantedLock } from '../locks/grantedLock.js'
import type { Refreshing } from '../locks/ttlExpiry.js'
import type { Scheduler, Task } from '../platform/scheduler.js'
import type { Connection, Sendable } from '../transport/connection.js'
import { type LockParams, lockText, messageText, unlockText } from '../transport/messages.js'
import { about } from './errorOf.js'
import type { QueryResult, SimpleRequest } from './simpleRequests.js'

/** What all requests have in common. */
export abstract class Request<T> implements Sendable {
  /** Given when it is added to the session's requests, and rising in that order. */
  id = 0
  sentOn: Connection | undefined = undefined
  messageNumber = 0
  sentAt: ClockReading | undefined = undefined
  /** Whether it was sent on a connection before, under the id that it has. */
  isRepeat = false
  /** Whether the broker stores the answer, so that it is asked again under the same id. */
  abstract readonly stored: boolean
  /** The type of the answer, if it does not fail. */
  abstract readonly answer: ServerMessage['type']
  readonly promise: Promise<T>
  resolve!: (value: T) => void
  reject!: (error: HoldfastError) => void

  constructor() {
    this.promise = new Promise<T>((resolve, reject) => {
      this.resolve = resolve
      this.reject = reject
    })
  }

  /** The key that it is about, for its errors; undefined if it is about none. */
  abstract readonly key: string | undefined

  /** Rejects the promise with this error, which then names the key. */
  fail(error: HoldfastError): void {
    this.reject(about(this.key, error))
  }

  /** The message, as it is to be sent now. */
  abstract text(schedule: Scheduler): string

  get tableId(): number {
    return this.id
  }

  /** Settles what cannot outlive its session; false for what can. */
  endWithSession(_sentence: string): boolean {
    return false
  }
}

export type AnyRequest =
  | LockRequest
  | UnlockRequest
  | RefreshRequest
  | SimpleRequest<void>
  | SimpleRequest<LockStats>
  | SimpleRequest<QueryResult>

/** Ask for a lock; also a task of the schedule, for its timeout. */
export class LockRequest extends Request<GrantedLock> implements Task {
  readonly stored = true
  readonly answer = 'granted'
  readonly terms: LockParams
  /** In ms; undefined waits for ever. */
  readonly timeout: number | undefined
  /** When the timeout is over, by the monotonic clock; Infinity without one. */
  readonly dueAt: number
  /**
   * False once its caller was told that it came to nothing: a grant that still comes is unlocked.
   */
  wanted = true
  /**
   * A grant that arrived while the session was being taken up, until the snapshot says if it lasts.
   */
  granted: Granted | undefined = undefined
  readonly #onTimeout: (request: LockRequest) => void

  constructor(
    terms: LockParams,
    timeout: number | undefined,
    dueAt: number,
    onTimeout: (request: LockRequest) => void,
  ) {
    super()
    this.terms = terms
    this.timeout = timeout
    this.dueAt = dueAt
    this.#onTimeout = onTimeout
  }

  get key(): string {
    return this.terms.key
  }

  text(schedule: Scheduler): string {
    const { timeout } = this
    if (timeout === undefined || timeout === 0) return lockText(this.id, this.terms, timeout)
    const left = Math.ceil(this.dueAt - schedule.monotonic())
    return lockText(this.id, this.terms, Math.min(Math.max(left, 1), timeout))
  }

  run(): void {
    this.#onTimeout(this)
  }
}

export class UnlockRequest extends Request<void> {
  readonly stored = true
  readonly answer = 'unlocked'
  readonly fence: number
  readonly key: string | undefined

  constructor(fence: number, key: string | undefined) {
    super()
    this.fence = fence
    this.key = key
    // An unlock is often not awaited, and never awaited when it is ours alone.
    this.promise.catch(() => {})
  }

  text(): string {
    return unlockText(this.id, this.fence)
  }

  /** Takes the answer; true, since nothing follows it. */
  onResponse(): boolean {
    this.resolve()
    return true
  }

  /** The lock is released, if not by the unlock. */
  override endWithSession(): boolean {
    return this.onResponse()
  }
}

export class RefreshRequest extends Request<void> implements Refreshing {
  readonly stored = true
  readonly answer = 'refreshed'
  readonly grant: GrantedLock
  readonly ttl: number | undefined

  constructor(grant: GrantedLock, ttl: number | undefined) {
    super()
    this.grant = grant
    this.ttl = ttl
    // Whoever asked may have stopped waiting for it.
    this.promise.catch(() => {})
  }

  get key(): string {
    return this.grant.key
  }

  text(): string {
    const { id, grant, ttl } = this
    return messageText('refresh', { id, fence: grant.fence, ttl })
  }

  onSent(): void {
    this.grant.onRefreshSent(this)
  }

  /** Takes the answer; true, since nothing follows it. */
  onResponse(): boolean {
    this.grant.onRefreshed(this)
    this.resolve()
    return true
  }

  override endWithSession(sentence: string): boolean {
    this.fail(new HoldfastError('LOCK_NOT_HELD', sentence))
    return true
  }
}
