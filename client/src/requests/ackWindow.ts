/**
 * Flow control for a session with a grace, whose responses the broker stores until the client
 * acknowledges them.
 *
 * The client sends at most 512 stored requests beyond the last acknowledgement that the broker has
 * received, and acknowledges responses as they arrive. In a session without a grace the broker
 * stores nothing, and the window does not limit anything.
 */
import { maxUnacknowledged } from '@holdfast/shared'
import type { Connection } from '../transport/connection.js'
import { messageText } from '../transport/messages.js'

/** Most stored requests beyond the last acknowledgement that the broker has received. */
const windowSize = 512
/** The client sends an acknowledgement of its own for this many responses. */
const ackThreshold = 64

export class AckWindow {
  #enabled = false
  /** Numbers of the messages with stored requests that are not known to have arrived. */
  #sent: number[] = []
  /** Ids of the responses that have arrived and are not acknowledged on this connection. */
  #unackedResponses = new Set<number>()
  /** The acknowledgements that were sent and are not known to have arrived. */
  #inFlightAcks: { readonly messageNumber: number; readonly ids: readonly number[] }[] = []

  /** A new connection. Acknowledgements that may be lost are sent again. */
  restart(enabled: boolean, isSameSession: boolean): void {
    this.#enabled = enabled
    this.#sent = []
    // A set, because after a resume the broker repeats every response that it stores.
    this.#unackedResponses = new Set(
      isSameSession ? [...this.#inFlightIds, ...this.#unackedResponses] : [],
    )
    this.#inFlightAcks = []
  }

  /** Whether the next stored request must wait for an acknowledgement of the broker. */
  get isFull(): boolean {
    return this.#sent.length >= windowSize
  }

  /** How many of the responses that have arrived the broker may still store. */
  get unconfirmedCount(): number {
    return this.#inFlightIds.length + this.#unackedResponses.size
  }

  /** The ids in acknowledgements that are not known to have arrived. */
  get #inFlightIds(): readonly number[] {
    return this.#inFlightAcks.flatMap(({ ids }) => ids)
  }

  /** A stored request was sent as this message. */
  onSent(messageNumber: number): void {
    if (this.#enabled) this.#sent.push(messageNumber)
  }

  /** The response to a stored request has arrived; many responses are acknowledged at once. */
  onResponse(id: number, connection: Connection): void {
    if (this.#enabled) this.#unackedResponses.add(id)
    if (this.#unackedResponses.size >= ackThreshold) this.acknowledge(connection)
  }

  /** Acknowledges responses with the frame of a `pong`, if there are any. */
  onPing(connection: Connection): void {
    if (this.#unackedResponses.size > 0) this.acknowledge(connection)
  }

  /**
   * Acknowledges all responses, with as many messages as that needs. Without responses it sends an
   * empty acknowledgement, because the broker answers an acknowledgement at once.
   */
  acknowledge(connection: Connection): void {
    do {
      const ids = [...this.#unackedResponses].slice(0, maxUnacknowledged)
      for (const id of ids) this.#unackedResponses.delete(id)
      const messageNumber = connection.send(messageText('ack', { ids }))
      this.#inFlightAcks.push({ messageNumber, ids })
    } while (this.#unackedResponses.size > 0)
  }

  /**
   * The broker has received the first `n` messages. The window opens only if message `n` is an
   * acknowledgement, because only then has the broker handled all `n` messages. The broker answers
   * a `pong` when it arrives, before it handles earlier messages.
   */
  onAck(n: number): void {
    if (!this.#inFlightAcks.some(({ messageNumber }) => messageNumber === n)) return
    this.#sent = this.#sent.filter((messageNumber) => messageNumber > n)
    this.#inFlightAcks = this.#inFlightAcks.filter(({ messageNumber }) => messageNumber > n)
  }
}
