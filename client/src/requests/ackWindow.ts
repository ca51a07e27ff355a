/**
 * Flow control for a session with a grace, which is the time for which the broker keeps a session
 * after its connection dropped. For such a session the broker stores responses until the client
 * acknowledges them. So after a resume, which continues the session on a new connection, the broker
 * can repeat a response that was lost with the former connection.
 *
 * A *stored request* is a request whose response the broker stores. The *window* is a set of stored
 * requests. A request enters the window when it is sent. The request leaves the window when the
 * broker confirms an `ack` that followed the request. The window has at most 512 requests. While
 * the window is full, the client sends no further stored request.
 *
 * The broker confirms an `ack` only when each earlier request is answered or waits at the broker,
 * for example for a lock. So when a request leaves the window, the client has its response, or the
 * request waits at the broker.
 *
 * When the client acknowledges responses, the broker deletes them. At any moment the broker stores:
 * - at most about 512 responses to requests in the window
 * - at most about 64 responses that the client has received, and whose requests have left the
 *   window. The client acknowledges responses as soon as it has 64.
 * - the responses that the client has not received, and whose requests left the window while they
 *   waited at the broker
 *
 * In a session without a grace the broker stores no responses, and no request is in the window.
 */
import { maxUnacknowledgedResponses } from '@holdfast/shared'
import type { Connection } from '../transport/connection.js'
import { messageText } from '../transport/messages.js'

/**
 * The highest number of stored requests in the window. This is half of the broker's limit
 * `maxUnacknowledgedResponses`. The other half is for the responses to requests that waited at the
 * broker.
 */
const windowSize = 512
/** The client sends an acknowledgement as soon as it has this many responses to acknowledge. */
const ackThreshold = 64

export class AckWindow {
  /** Whether the broker stores responses of this session. */
  #areResponsesStored = false
  /**
   * The message numbers of the stored requests in the window. A message number is the position of a
   * message among all messages of its connection.
   */
  #messageNumbersInWindow: number[] = []
  /**
   * The ids of the requests whose responses are not acknowledged on this connection yet. A set,
   * because after a resume the broker repeats responses whose ids are here already.
   */
  #unacknowledgedIds = new Set<number>()
  /** The acknowledgements that were sent and may not have reached the broker. */
  #inFlightAcks: { readonly messageNumber: number; readonly ids: readonly number[] }[] = []

  /**
   * Begins a connection, with an empty window. After a resume, responses whose acknowledgement may
   * be lost count as unacknowledged again, so the next call of `acknowledge` includes them. In a
   * new session, no response is left to acknowledge.
   *
   * @param areResponsesStored Whether the broker stores responses of this session.
   * @param isResumed Whether the session was resumed.
   */
  restart(areResponsesStored: boolean, isResumed: boolean): void {
    this.#areResponsesStored = areResponsesStored
    this.#messageNumbersInWindow = []
    this.#unacknowledgedIds = new Set(
      isResumed ? [...this.#inFlightIds, ...this.#unacknowledgedIds] : [],
    )
    this.#inFlightAcks = []
  }

  /** Whether the next stored request must wait until the broker confirms an acknowledgement. */
  get isFull(): boolean {
    return this.#messageNumbersInWindow.length >= windowSize
  }

  /**
   * The number of received responses whose acknowledgement the broker has not confirmed. The broker
   * may still store these responses.
   */
  get unconfirmedCount(): number {
    return this.#inFlightIds.length + this.#unacknowledgedIds.size
  }

  /** The ids in all acknowledgements that may not have reached the broker. */
  get #inFlightIds(): readonly number[] {
    return this.#inFlightAcks.flatMap(({ ids }) => ids)
  }

  /** Call when a stored request was sent, with the message number of the request. */
  onSent(messageNumber: number): void {
    if (this.#areResponsesStored) this.#messageNumbersInWindow.push(messageNumber)
  }

  /** Call for each response to a stored request. Acknowledges responses as soon as there are 64. */
  onResponse(id: number, connection: Connection): void {
    if (this.#areResponsesStored) this.#unacknowledgedIds.add(id)
    if (this.#unacknowledgedIds.size >= ackThreshold) this.acknowledge(connection)
  }

  /**
   * Call in the turn of the event loop in which the client sent a `pong` message. The connection
   * writes all messages of a turn as one frame, so the acknowledgement needs no frame of its own.
   */
  onPongSent(connection: Connection): void {
    if (this.#unacknowledgedIds.size > 0) this.acknowledge(connection)
  }

  /**
   * Acknowledges all responses. One `ack` may have at most `maxUnacknowledgedResponses` ids. After
   * several resumes there may be more ids, and the client then sends several `ack` messages. If
   * every response is acknowledged already, sends an empty `ack`, because the broker's answer to an
   * `ack` lets the client send further stored requests.
   */
  acknowledge(connection: Connection): void {
    do {
      const ids = [...this.#unacknowledgedIds].slice(0, maxUnacknowledgedResponses)
      for (const id of ids) this.#unacknowledgedIds.delete(id)
      const messageNumber = connection.send(messageText('ack', { ids }))
      this.#inFlightAcks.push({ messageNumber, ids })
    } while (this.#unacknowledgedIds.size > 0)
  }

  /**
   * Call when the broker confirms that it has received the first `receivedCount` messages of this
   * connection. The last of these messages is an `ack` or a `pong`. After the confirmation of an
   * `ack`, all earlier requests leave the window, because the broker has handled them. The
   * confirmation of a `pong` changes nothing, because the broker confirms a `pong` at once, perhaps
   * before it has handled all earlier messages.
   */
  onReceiptConfirmed(receivedCount: number): void {
    if (!this.#inFlightAcks.some(({ messageNumber }) => messageNumber === receivedCount)) return
    this.#messageNumbersInWindow = this.#messageNumbersInWindow.filter(
      (messageNumber) => messageNumber > receivedCount,
    )
    this.#inFlightAcks = this.#inFlightAcks.filter(
      ({ messageNumber }) => messageNumber > receivedCount,
    )
  }
}
