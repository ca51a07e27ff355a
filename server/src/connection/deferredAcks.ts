/**
 * The acknowledgements (`ack`) of the broker that wait for the command log, which orders and
 * executes the commands of the broker. When a client acknowledges answers with an `ack`, the broker
 * confirms this `ack` with its own, but only after the log has executed the command. Until then the
 * client sends only a limited number of requests, so a slow log slows the client down.
 */

/** Tells the client how many messages the broker has handled. */
export interface Ack {
  readonly messageCount: number
  /** When the newest of these messages arrived, in ms. */
  readonly at: number
}

/** The array is cleaned up when it has this many removed acknowledgements, or no others. */
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
    // A client that sends on despite a slow log may have 100,000 acknowledgements here. A call of
    // `shift` for each of them would move all the others each time.
    if (this.#removedCount === this.#acks.length || this.#removedCount === maxRemovedKept) {
      this.#acks.splice(0, this.#removedCount)
      this.#removedCount = 0
    }
    return ack
  }
}
