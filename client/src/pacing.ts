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
const worthSaying = 64

export class Pacing {
  #enabled = false
  /** Numbers of the messages that carried stored requests and are not known to have arrived. */
  #sent: number[] = []
  /** Answers that have arrived and that the broker was not told of on this connection. */
  #toSay = new Set<number>()
  /**
   * Acknowledgements that were sent, with their message numbers, and are not known to have arrived.
   */
  #said: { readonly number: number; readonly ids: readonly number[] }[] = []

  /** A new connection. What was said on the old one may not have been heard, and is said again. */
  restart(enabled: boolean, sameSession: boolean): void {
    this.#enabled = enabled
    this.#sent = []
    // A set: after a resume every answer comes again, whether or not it is among these.
    this.#toSay = new Set(
      sameSession ? [...this.#said.flatMap(({ ids }) => ids), ...this.#toSay] : [],
    )
    this.#said = []
  }

  /** Whether another request has to wait for the broker's next acknowledgement. */
  get isFull(): boolean {
    return this.#sent.length >= window
  }

  /** How many stored answers the broker may still have of those that have arrived here. */
  get unconfirmed(): number {
    return this.#said.reduce((count, { ids }) => count + ids.length, this.#toSay.size)
  }

  /** Whether it is time to acknowledge answers without being asked. */
  get isWorthSaying(): boolean {
    return this.#toSay.size >= worthSaying
  }

  get hasToSay(): boolean {
    return this.#toSay.size > 0
  }

  /** A stored request went out as this message. */
  onSent(number: number): void {
    if (this.#enabled) this.#sent.push(number)
  }

  /** The answer to a stored request has arrived. */
  onAnswer(id: number): void {
    if (this.#enabled) this.#toSay.add(id)
  }

  /** The ids for one acknowledgement, as many as it may carry. */
  take(): number[] {
    const ids = [...this.#toSay].slice(0, maxUnacknowledged)
    for (const id of ids) this.#toSay.delete(id)
    return ids
  }

  /** An acknowledgement of these ids went out as this message. */
  onSaid(ids: readonly number[], number: number): void {
    this.#said.push({ number, ids })
  }

  /**
   * The broker has received the first `n` messages. Only if the last of them is an acknowledgement
   * of ours has it also acted upon them: a pong is acknowledged on its arrival.
   */
  onAck(n: number): void {
    if (!this.#said.some(({ number }) => number === n)) return
    this.#sent = this.#sent.filter((number) => number > n)
    this.#said = this.#said.filter(({ number }) => number > n)
  }
}
