/**
 * The requests of a session that have no response yet: their ids, and when the client sends them.
 *
 * Ids rise in the order of the calls. Without a connection the requests only gather here. A new
 * connection sends them again in the same order.
 */
import type { Failed, HoldfastError } from '@holdfast/shared'
import { IdTable } from '@holdfast/shared/idTable'
import type { Scheduler } from '../platform/scheduler.js'
import type { Connection } from '../transport/connection.js'
import { messageText } from '../transport/messages.js'
import { AckWindow } from './ackWindow.js'
import type { Request } from './requests.js'

/**
 * How long the client waits beyond the timeout of a lock request for the broker's response, in ms.
 * The broker's decision is the better one, because only the broker knows whether a grant came
 * first.
 */
const timeoutGraceMs = 250

export class PendingRequests {
  readonly #scheduler: Scheduler
  readonly #requests = new IdTable<Request>()
  readonly #ackWindow = new AckWindow()
  #nextId = 1
  /** Undefined without a connection, and while requests may not be sent on the connection. */
  #connection: Connection | undefined
  /** The stored requests that wait until the ack window is open, in order. */
  #waitingForWindow: Request[] = []

  constructor(scheduler: Scheduler) {
    this.#scheduler = scheduler
  }

  /** All pending requests, in the order of their ids. */
  get all(): readonly Request[] {
    return this.#requests.values()
  }

  get(id: number): Request | undefined {
    return this.#requests.get(id)
  }

  /** A new id for a message that is not kept here, such as `watch`. */
  newId(): number {
    return this.#nextId++
  }

  /** Adds a request with a new id, and sends it as soon as possible. */
  add(request: Request): void {
    request.id = this.#nextId++
    this.#requests.add(request)
    this.#scheduleTimeout(request)
    if (this.#connection !== undefined) this.#dispatch(request)
  }

  /** Removes a request that is complete. */
  remove(request: Request): void {
    this.#requests.remove(request)
    if (request.timeout !== undefined) this.#scheduler.cancel(request)
  }

  /**
   * Sends a refused request again with a new id, if the refusal says nothing about the request
   * itself. Returns false if the refusal is final. Two refusals are not:
   * - `QUOTA_EXCEEDED`, if stored responses have used up the quota, because an acknowledgement
   *   frees them;
   * - `BAD_MESSAGE` for a repeated request. The refusal of its first sending was lost, and later
   *   requests have used higher ids, so the broker refuses the lower id.
   */
  reissue(request: Request, { code }: Failed): boolean {
    const mayReissue =
      request.stored &&
      (code === 'BAD_MESSAGE'
        ? request.isRepeat
        : code === 'QUOTA_EXCEEDED' && this.#ackWindow.unconfirmedCount > request.reissueAbove)
    if (!mayReissue) return false
    this.remove(request)
    if (request.wanted) {
      request.sentOn = undefined
      request.isRepeat = false
      if (this.#connection !== undefined) this.#ackWindow.acknowledge(this.#connection)
      this.add(request)
    }
    return true
  }

  /** The caller has given up: the request leaves the broker's queue. */
  abandon(request: Request): void {
    request.wanted = false
    this.#scheduler.cancel(request)
    if (request.sentOn === undefined) this.remove(request)
    else this.#sendCancel(request)
  }

  #sendCancel(request: Request): void {
    this.#connection?.send(messageText('cancel', { request: request.id }))
  }

  // --------------------------------------------------------------------------- connections

  /** A connection is open. Responses may be acknowledged on it; requests must still wait. */
  connect(connection: Connection, isStoring: boolean, isSameSession: boolean): void {
    this.#ackWindow.restart(isStoring, isSameSession)
    if (isSameSession) this.#ackWindow.acknowledge(connection)
  }

  /**
   * Sends the pending requests on this connection, in order.
   *
   * @param waiting The ids that the broker keeps in its queues: these are not sent again, and those
   *   that no caller wants are cancelled.
   */
  startSending(connection: Connection, waiting?: ReadonlySet<number>): void {
    this.#connection = connection
    const requests = this.all
    for (const request of requests) {
      const isWaiting = waiting?.has(request.id)
      this.#scheduleTimeout(request)
      if (isWaiting && !request.wanted) this.#sendCancel(request)
      if (request.stored && !isWaiting) this.#dispatch(request)
    }
    for (const request of requests) {
      if (request.stored) continue
      // The broker stores no response to this request, and refuses an id that it has seen.
      this.remove(request)
      this.add(request)
    }
  }

  /** The connection is gone. */
  disconnect(): void {
    this.#connection = undefined
    this.#waitingForWindow = []
    for (const request of this.all) this.#scheduleTimeout(request)
  }

  /** The session is over: requests either end with it, or are sent again in the next session. */
  endSession(message: string): void {
    for (const request of this.all) {
      if (request.endWithSession(message)) this.remove(request)
    }
  }

  /** The client is closed: every request ends. */
  endAll(error: HoldfastError): void {
    const requests = this.all
    for (const request of requests) this.remove(request)
    for (const request of requests) {
      if (!request.endWithSession(error.message)) request.fail(error)
    }
  }

  // ----------------------------------------------------------------------- acknowledgements

  /** The response to a stored request has arrived. */
  onStoredResponse(id: number, connection: Connection): void {
    this.#ackWindow.onResponse(id, connection)
  }

  /** The broker has received the first `n` messages of this connection. */
  onAck(n: number): void {
    this.#ackWindow.onAck(n)
    const waiting = this.#waitingForWindow
    if (waiting.length === 0 || this.#ackWindow.isFull) return
    this.#waitingForWindow = []
    for (const request of waiting) this.#dispatch(request)
  }

  /** Answers a `ping`, and acknowledges responses with the same frame. */
  pong(n: number, connection: Connection): void {
    connection.send(messageText('pong', { n }))
    this.#ackWindow.onPing(connection)
  }

  #dispatch(request: Request): void {
    const connection = this.#connection!
    if (this.#requests.get(request.id) !== request) return
    if (!request.wanted) {
      this.remove(request)
      return
    }
    if (request.stored && (this.#waitingForWindow.length > 0 || this.#ackWindow.isFull)) {
      this.#waitingForWindow.push(request)
      return
    }
    request.isRepeat = request.sentOn !== undefined
    const messageNumber = connection.send(request.text(this.#scheduler), request)
    if (!request.stored) return
    this.#ackWindow.onSent(messageNumber)
    // The broker answers an `ack` at once, and the answer opens the window again.
    if (this.#ackWindow.isFull) this.#ackWindow.acknowledge(connection)
  }

  /**
   * Starts or moves the timeout of a request. Without a connection the client keeps the timeout.
   * With a connection the broker keeps it, and the client waits a little longer.
   */
  #scheduleTimeout(request: Request): void {
    const { timeout, dueAt } = request
    if (timeout === undefined || dueAt === undefined || !request.wanted) return
    if (this.#connection === undefined) this.#scheduler.at(request, dueAt)
    // With `timeout: 0` the caller waits for the broker's response, however long that takes.
    else if (timeout === 0) this.#scheduler.cancel(request)
    else this.#scheduler.at(request, dueAt + timeoutGraceMs)
  }
}
