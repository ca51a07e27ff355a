/**
 * Acknowledgements that wait for the log: a client paces itself by them, so each is sent only when
 * the log has come as far as the message that it acknowledges.
 */

/** That so many messages were handled, the newest of which arrived at a time, in ms. */
export interface Ack {
  readonly n: number
  readonly at: number
}

/** Acknowledgements that are kept at most after they were taken. */
const keptTaken = 1_024

export class DeferredAcks {
  /** Oldest first. */
  readonly #acks: Ack[] = []
  /** How many of them were taken. */
  #taken = 0

  add(n: number, at: number): void {
    this.#acks.push({ n, at })
  }

  /** The oldest that was not taken; undefined if there is none. */
  next(): Ack | undefined {
    const ack = this.#acks[this.#taken]
    if (ack === undefined) return undefined
    this.#taken++
    // To shift each of a hundred thousand, with a log that is slow, would take for ever.
    if (this.#taken === this.#acks.length || this.#taken === keptTaken) {
      this.#acks.splice(0, this.#taken)
      this.#taken = 0
    }
    return ack
  }
}
