/**
 * The requests of a session that have no answer yet: their ids, and when each may go out.
 *
 * The order of the ids is the order of asking. While there is no
 * connection requests only gather here; on a new one they go out again in that order.
 */
import type { HoldfastError } from '@holdfast/shared'
import { IdTable } from '@holdfast/shared/idTable'
import type { Scheduler } from '../platform/scheduler.js'
import type { Connection } from '../transport/connection.js'
import { messageText } from '../transport/messages.js'
import { AckWindow } from './ackWindow.js'
import { type AnyRequest, LockRequest } from './requests.js'

/**
 * How long the client waits beyond a timeout for the broker to say so: its verdict is the better
 * one, since it knows whether a grant came first.
 */
const timeoutGraceMs = 250

export class PendingRequests {
  readonly #scheduler: Scheduler
  readonly #pending = new IdTable<AnyRequest>()
  readonly #ackWindow = new AckWindow()
  #nextId = 1
  /** Undefined while there is none, or none that requests may go out on. */
  #connection: Connection | undefined
  /** In order; those that wait for the pace. */
  #waitingForWindow: AnyRequest[] = []

  constructor(schedule: Scheduler) {
    this.#scheduler = schedule
  }

  get pending(): readonly AnyRequest[] {
    return this.#pending.values()
  }

  /** How many stored answers that have arrived the broker may still have. */
  get unconfirmedAnswers(): number {
    return this.#ackWindow.unconfirmed
  }

  get(id: number): AnyRequest | undefined {
    return this.#pending.get(id)
  }

  /** An id for something that is asked on the present connection and not kept here. */
  newId(): number {
    return this.#nextId++
  }

  /** Adds a request under a new id, and sends it as soon as may be. */
  add(request: AnyRequest): void {
    request.id = this.#nextId++
    this.#pending.add(request)
    if (request instanceof LockRequest) this.#scheduleTimeout(request)
    if (this.#connection !== undefined) this.#dispatch(request)
  }

  /** Forgets a request: it was answered, or needs no answer. */
  remove(request: AnyRequest): void {
    this.#pending.remove(request)
    const hasTimeout = request instanceof LockRequest && request.timeout !== undefined
    if (hasTimeout) this.#scheduler.cancel(request)
  }

  /** The broker did nothing about a request, for a reason that may be gone: once more, anew. */
  reissue(request: AnyRequest): void {
    this.remove(request)
    if (request instanceof LockRequest && !request.wanted) return
    request.sentOn = undefined
    request.isRepeat = false
    if (this.#connection !== undefined) this.#acknowledge(this.#connection)
    this.add(request)
  }

  /** The caller of a lock request has been told: leave the queue, and expect no more of it. */
  abandon(request: LockRequest): void {
    request.wanted = false
    this.#scheduler.cancel(request)
    if (request.sentOn === undefined) this.remove(request)
    else this.#sendCancel(request)
  }

  #sendCancel(request: LockRequest): void {
    this.#connection?.send(messageText('cancel', { request: request.id }))
  }

  // --------------------------------------------------------------------------- connections

  /** There is a connection, and it may be acknowledged on, but not yet asked on. */
  begin(connection: Connection, stores: boolean, sameSession: boolean): void {
    this.#ackWindow.restart(stores, sameSession)
    if (sameSession) this.#acknowledge(connection)
  }

  /**
   * Requests may go out on this connection. Those that the broker does not have go first, in order;
   * what it has and nobody here wants leaves.
   */
  open(connection: Connection, waiting?: ReadonlySet<number>): void {
    this.#connection = connection
    const requests = this.#pending.values()
    for (const request of requests) {
      const waits = waiting?.has(request.id)
      if (request instanceof LockRequest) {
        this.#scheduleTimeout(request)
        if (waits && !request.wanted) this.#sendCancel(request)
      }
      if (request.stored && !waits) this.#dispatch(request)
    }
    for (const request of requests) {
      if (request.stored) continue
      // The broker keeps no answers of these, and wants an id it has not seen.
      this.remove(request)
      this.add(request)
    }
  }

  /** The connection is gone. */
  close(): void {
    this.#connection = undefined
    this.#waitingForWindow = []
    for (const request of this.#pending.values()) {
      if (request instanceof LockRequest) this.#scheduleTimeout(request)
    }
  }

  /** The session is over: what cannot outlive it is settled, the rest is asked in the next. */
  leaveSession(sentence: string): void {
    for (const request of this.#pending.values()) {
      if (request instanceof LockRequest) {
        request.granted = undefined
        request.sentOn = undefined
        request.sentAt = undefined
        if (!request.wanted) this.remove(request)
      } else if (request.endWithSession(sentence)) {
        this.remove(request)
      }
    }
  }

  /** Nothing more will be answered. */
  end(error: HoldfastError): void {
    const requests = this.#pending.values()
    for (const request of requests) this.remove(request)
    for (const request of requests) {
      if (!request.endWithSession(error.message)) request.fail(error)
    }
  }

  // ----------------------------------------------------------------------- acknowledgements

  /** The answer to a stored request has arrived. */
  onAnswer(id: number, connection: Connection): void {
    this.#ackWindow.onAnswer(id)
    if (this.#ackWindow.shouldAckNow) this.#acknowledge(connection)
  }

  /** The broker has received the first `n` messages of this connection. */
  onAck(n: number): void {
    this.#ackWindow.onAck(n)
    const waiting = this.#waitingForWindow
    if (waiting.length === 0 || this.#ackWindow.isFull) return
    this.#waitingForWindow = []
    for (const request of waiting) this.#dispatch(request)
  }

  /** The broker wants a sign of life, and hears what else there is to say. */
  pong(n: number, connection: Connection): void {
    connection.send(messageText('pong', { n }))
    if (this.#ackWindow.hasUnackedAnswers) this.#acknowledge(connection)
  }

  #acknowledge(connection: Connection): void {
    do {
      const ids = this.#ackWindow.takeIdsToAck()
      this.#ackWindow.onAckSent(ids, connection.send(messageText('ack', { ids })))
    } while (this.#ackWindow.hasUnackedAnswers)
  }

  #dispatch(request: AnyRequest): void {
    const connection = this.#connection!
    if (this.#pending.get(request.id) !== request) return
    if (request instanceof LockRequest && !request.wanted) {
      this.remove(request)
      return
    }
    if (request.stored && (this.#waitingForWindow.length > 0 || this.#ackWindow.isFull)) {
      this.#waitingForWindow.push(request)
      return
    }
    request.isRepeat = request.sentOn !== undefined
    const number = connection.send(request.text(this.#scheduler), request)
    if (!request.stored) return
    this.#ackWindow.onSent(number)
    // The broker answers an acknowledgement at once, which opens the window again.
    if (this.#ackWindow.isFull) this.#acknowledge(connection)
  }

  #scheduleTimeout(request: LockRequest): void {
    if (request.timeout === undefined || !request.wanted) return
    if (this.#connection === undefined) this.#scheduler.at(request, request.dueAt)
    // Whoever does not want to wait still waits for the answer, however far it has to travel.
    else if (request.timeout === 0) this.#scheduler.cancel(request)
    else this.#scheduler.at(request, request.dueAt + timeoutGraceMs)
  }
}
