/**
 * Acknowledgements (`ack`) that wait for the command log. The log puts the commands of the broker
 * in order and executes them. The broker sends an `ack` only after the log has executed the command
 * of the acknowledged message. A client sends only a limited number of messages that the broker has
 * not acknowledged, so a slow log slows the client down.
 */

/** Tells the client how many messages the broker has handled. */
export interface Ack {
  readonly messageCount: number
  /** When the newest of these messages arrived, in ms. */
  readonly at: number
}

/** Removed acknowledgements stay in the array until the array has this many of them. */
const maxRemovedKept = 1_024

export class DeferredAcks {
  /** The acknowledgements, oldest first. The first `#removedCount` acknowledgements are removed. */
  readonly #acks: Ack[] = []
  #removedCount = 0

  add(messageCount: number, at: number): void {
    this.#acks.push({ messageCount, at })
  }

  /** Removes and returns the oldest acknowledgement; undefined if there is none. */
  removeOldest(): Ack | undefined {
    const ack = this.#acks[this.#removedCount]
    if (ack === undefined) return undefined
    this.#removedCount++
    // With a slow log there may be 100,000 acknowledgements. A call of `shift` for each of them
    // would move all the others each time.
    if (this.#removedCount === this.#acks.length || this.#removedCount === maxRemovedKept) {
      this.#acks.splice(0, this.#removedCount)
      this.#removedCount = 0
    }
    return ack
  }
}
