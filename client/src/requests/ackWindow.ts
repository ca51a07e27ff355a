/**
 * What a session with a grace owes the broker that stores its answers: to say which have arrived,
 * and not to ask for more than can be stored.
 *
 * At most 512 requests go out beyond the last acknowledgement received, and what has been answered
 * is acknowledged as it comes. A session without a grace has no stored answers, and no pace.
 */
import { maxUnacknowledged } from '@holdfast/shared'

/** Most requests that go out beyond the last acknowledgement of the broker. */
const window = 512
/** So many answers are worth an acknowledgement of their own. */
const ackThreshold = 64

export class AckWindow {
  #enabled = false
  /** Numbers of the messages that carried stored requests and are not known to have arrived. */
  #sent: number[] = []
  /** Answers that have arrived and that the broker was not told of on this connection. */
  #unackedAnswers = new Set<number>()
  /**
   * Acknowledgements that were sent, with their message numbers, and are not known to have arrived.
   */
  #inFlightAcks: { readonly number: number; readonly ids: readonly number[] }[] = []

  /** A new connection. What was said on the old one may not have been heard, and is said again. */
  restart(enabled: boolean, sameSession: boolean): void {
    this.#enabled = enabled
    this.#sent = []
    // A set: after a resume every answer comes again, whether or not it is among these.
    this.#unackedAnswers = new Set(
      sameSession ? [...this.#inFlightAcks.flatMap(({ ids }) => ids), ...this.#unackedAnswers] : [],
    )
    this.#inFlightAcks = []
  }

  /** Whether another request has to wait for the broker's next acknowledgement. */
  get isFull(): boolean {
    return this.#sent.length >= window
  }

  /** How many stored answers the broker may still have of those that have arrived here. */
  get unconfirmed(): number {
    return this.#inFlightAcks.reduce(
      (count, { ids }) => count + ids.length,
      this.#unackedAnswers.size,
    )
  }

  /** Whether it is time to acknowledge answers without being asked. */
  get shouldAckNow(): boolean {
    return this.#unackedAnswers.size >= ackThreshold
  }

  get hasUnackedAnswers(): boolean {
    return this.#unackedAnswers.size > 0
  }

  /** A stored request went out as this message. */
  onSent(number: number): void {
    if (this.#enabled) this.#sent.push(number)
  }

  /** The answer to a stored request has arrived. */
  onAnswer(id: number): void {
    if (this.#enabled) this.#unackedAnswers.add(id)
  }

  /** The ids for one acknowledgement, as many as it may carry. */
  takeIdsToAck(): number[] {
    const ids = [...this.#unackedAnswers].slice(0, maxUnacknowledged)
    for (const id of ids) this.#unackedAnswers.delete(id)
    return ids
  }

  /** An acknowledgement of these ids went out as this message. */
  onAckSent(ids: readonly number[], number: number): void {
    this.#inFlightAcks.push({ number, ids })
  }

  /**
   * The broker has received the first `n` messages. Only if the last of them is an acknowledgement
   * of ours has it also acted upon them: a pong is acknowledged on its arrival.
   */
  onAck(n: number): void {
    if (!this.#inFlightAcks.some(({ number }) => number === n)) return
    this.#sent = this.#sent.filter((number) => number > n)
    this.#inFlightAcks = this.#inFlightAcks.filter(({ number }) => number > n)
  }
}
