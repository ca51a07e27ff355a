/**
 * The requests of a session that have no response yet: their ids, and when the client sends them.
 *
 * Each request has an id, and ids rise in the order of the calls. Without a connection the requests
 * wait here. On a new connection the client sends the requests in the order of their ids.
 *
 * A *stored* request is a request whose response the broker stores until the client acknowledges
 * the response. On a new connection a stored request keeps its id, and any other request gets a new
 * id. A resume continues the session on a new connection. After a resume, the client does not
 * repeat the requests that wait at the broker.
 */
import type { Failed, HoldfastError } from '@holdfast/shared'
import { IdTable } from '@holdfast/shared/idTable'
import type { Scheduler } from '../platform/scheduler.js'
import type { Connection } from '../transport/connection.js'
import { messageText } from '../transport/messages.js'
import { AckWindow } from './ackWindow.js'
import type { Request } from './requests.js'

/**
 * How long the client waits for the broker's response after the timeout of a request, in ms.
 * The broker should decide, because only the broker knows whether it granted the lock in time.
 */
const extraWaitMs = 250

export class PendingRequests {
  readonly #scheduler: Scheduler
  readonly #requests = new IdTable<Request>()
  /** Limits how many stored requests are under way. Further stored requests wait. */
  readonly #ackWindow = new AckWindow()
  #nextId = 1
  /** The connection for requests. Undefined while the client is disconnected or is resuming. */
  #connection: Connection | undefined
  /** The stored requests, in order, that must wait until the broker confirms acknowledgements. */
  #waitingForAck: Request[] = []

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

  /** Returns a new id for a message that this class does not keep, such as `watch`. */
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
   * Call when the broker has refused a request. If the refusal is final, returns false. Otherwise
   * returns true, and sends the request again with a new id, unless the caller has given up. Two
   * refusals are not final:
   * - `QUOTA_EXCEEDED`, if stored responses have used up the quota. An acknowledgement makes the
   *   broker delete stored responses.
   * - `BAD_MESSAGE` for a repeated request. The broker refused the first sending, but the refusal
   *   was lost, and the broker had not stored it. The broker now refuses the old id of the repeat,
   *   because the session has used a higher id since. With a new id, the broker checks the request.
   */
  reissue(request: Request, { code }: Failed): boolean {
    const isRefusedRepeat = code === 'BAD_MESSAGE' && request.isRepeat
    // The refusal may be about another quota, such as the number of locks. Only above the threshold
    // does the client assume that the stored responses have used up the quota.
    const isQuotaOfStoredResponses =
      code === 'QUOTA_EXCEEDED' && this.#ackWindow.unconfirmedCount > request.reissueThreshold
    const mayReissue = isRefusedRepeat || isQuotaOfStoredResponses
    if (!request.brokerStoresResponse || !mayReissue) return false
    this.remove(request)
    if (request.isWanted) {
      request.sentOn = undefined
      request.isRepeat = false
      if (this.#connection !== undefined) this.#ackWindow.acknowledge(this.#connection)
      this.add(request)
    }
    return true
  }

  /**
   * Call when the caller of a request has given up. A request that was not sent is removed. For a
   * request that was sent, the client sends a `cancel`, and the request stays until its response.
   */
  abandon(request: Request): void {
    request.isWanted = false
    this.#scheduler.cancel(request)
    if (request.sentOn === undefined) this.remove(request)
    else this.#sendCancel(request)
  }

  #sendCancel(request: Request): void {
    this.#connection?.send(messageText('cancel', { request: request.id }))
  }

  // --------------------------------------------------------------------------- connections

  /**
   * Call when a connection is open. Acknowledges responses, but sends no request before
   * `startSending`.
   *
   * @param areResponsesStored Whether the broker stores responses of this session.
   * @param isResumed Whether the session was resumed.
   */
  onConnected(connection: Connection, areResponsesStored: boolean, isResumed: boolean): void {
    this.#ackWindow.restart(areResponsesStored, isResumed)
    if (isResumed) this.#ackWindow.acknowledge(connection)
  }

  /**
   * Sends the pending requests on this connection, in order.
   *
   * @param waiting After a resume: the ids of the requests that wait in the broker's queues. These
   *   requests are not sent again. If the caller of such a request has given up, the client cancels
   *   the request. Undefined in a new session.
   */
  startSending(connection: Connection, waiting?: ReadonlySet<number>): void {
    this.#connection = connection
    const requests = this.all
    for (const request of requests) {
      const isWaiting = waiting?.has(request.id)
      this.#scheduleTimeout(request)
      if (isWaiting && !request.isWanted) this.#sendCancel(request)
      if (request.brokerStoresResponse && !isWaiting) this.#dispatch(request)
    }
    for (const request of requests) {
      if (request.brokerStoresResponse) continue
      // The broker remembers neither this request nor its id, so the client sends the request as if
      // it were new: `add` gives the request a new id. The new id is higher than all former ids, so
      // this request follows the stored requests.
      this.remove(request)
      this.add(request)
    }
  }

  /** Call when the connection is gone. The requests then wait for the next connection. */
  onDisconnected(): void {
    this.#connection = undefined
    this.#waitingForAck = []
    for (const request of this.all) this.#scheduleTimeout(request)
  }

  /**
   * Call when the session has ended. Removes the requests that end with their session. The client
   * sends the other requests again in its next session.
   */
  endSession(message: string): void {
    for (const request of this.all) {
      if (request.onSessionEnded(message)) this.remove(request)
    }
  }

  /** Ends every request, because the session is closed for good. */
  endAll(error: HoldfastError): void {
    const requests = this.all
    for (const request of requests) this.remove(request)
    for (const request of requests) {
      if (!request.onSessionEnded(error.message, error)) request.fail(error)
    }
  }

  // ----------------------------------------------------------------------- acknowledgements

  /** Call when the response to a stored request has arrived. */
  onStoredResponse(id: number, connection: Connection): void {
    this.#ackWindow.onResponse(id, connection)
  }

  /**
   * Call when the broker confirms that it has received the first `receivedCount` messages of the
   * connection.
   */
  onReceiptConfirmed(receivedCount: number): void {
    this.#ackWindow.onReceiptConfirmed(receivedCount)
    const waitingRequests = this.#waitingForAck
    if (waitingRequests.length === 0 || this.#ackWindow.isFull) return
    this.#waitingForAck = []
    for (const request of waitingRequests) {
      // The request may have ended while it waited.
      if (this.#requests.get(request.id) === request) this.#dispatch(request)
    }
  }

  /**
   * Sends a `pong`, and in the same frame an `ack` if there are responses to acknowledge.
   *
   * @param pingNumber The number of the `ping`, or 0 for a `pong` without a `ping`.
   * @param asksForIdleLease Whether the `pong` asks for the idle lease (twice the ordinary lease).
   * @returns The message number of the `pong`.
   */
  pong(pingNumber: number, connection: Connection, asksForIdleLease: boolean): number {
    const idle = asksForIdleLease ? true : undefined
    const messageNumber = connection.send(messageText('pong', { n: pingNumber, idle }))
    this.#ackWindow.onPongSent(connection)
    return messageNumber
  }

  /**
   * Sends the request, unless the caller has given up. A stored request waits if the window is
   * full, or if other stored requests wait already.
   */
  #dispatch(request: Request): void {
    const connection = this.#connection!
    if (!request.isWanted) {
      this.remove(request)
      return
    }
    if (
      request.brokerStoresResponse &&
      (this.#waitingForAck.length > 0 || this.#ackWindow.isFull)
    ) {
      this.#waitingForAck.push(request)
      return
    }
    // Here `sentOn` is from an earlier sending, because `send` below sets `sentOn`.
    request.isRepeat = request.sentOn !== undefined
    const messageNumber = connection.send(request.text(this.#scheduler), request)
    if (!request.brokerStoresResponse) return
    this.#ackWindow.onSent(messageNumber)
    // Requests leave a full window only after an acknowledgement. When the broker has confirmed the
    // acknowledgement, `onReceiptConfirmed` sends the requests that wait.
    if (this.#ackWindow.isFull) this.#ackWindow.acknowledge(connection)
  }

  /**
   * Starts or moves the timeout of a request. Without a connection the client measures the timeout.
   * With a connection the broker measures the timeout, and the client waits a little longer.
   */
  #scheduleTimeout(request: Request): void {
    const { timeout, dueAt } = request
    if (timeout === undefined || dueAt === undefined || !request.isWanted) return
    if (this.#connection === undefined) this.#scheduler.at(request, dueAt)
    // With `timeout: 0` the caller waits for the broker's response, however long that takes.
    else if (timeout === 0) this.#scheduler.cancel(request)
    else this.#scheduler.at(request, dueAt + extraWaitMs)
  }
}
