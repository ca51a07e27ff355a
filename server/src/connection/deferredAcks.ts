/**
 * Acknowledgements (`ack`) that wait for the command log. A client sends no faster than the broker
 * acknowledges. So the broker sends each `ack` only after the log has applied the command of the
 * acknowledged message.
 */

/** Says that the broker has handled `n` messages, the newest of which arrived at `at`, in ms. */
export interface Ack {
  readonly n: number
  readonly at: number
}

/** How many removed acknowledgements may stay in the array until they are spliced out. */
const maxRemovedKept = 1_024

export class DeferredAcks {
  /** Oldest first. */
  readonly #acks: Ack[] = []
  /** How many of the oldest entries of the array are already removed from the queue. */
  #removedCount = 0

  add(n: number, at: number): void {
    this.#acks.push({ n, at })
  }

  /** Removes and returns the oldest acknowledgement; undefined if there is none. */
  removeOldest(): Ack | undefined {
    const ack = this.#acks[this.#removedCount]
    if (ack === undefined) return undefined
    this.#removedCount++
    // With a slow log there may be 100,000 entries. To shift the array for each would be too slow.
    if (this.#removedCount === this.#acks.length || this.#removedCount === maxRemovedKept) {
      this.#acks.splice(0, this.#removedCount)
      this.#removedCount = 0
    }
    return ack
  }
}
