/**
 * Tells the views that something has changed: at once for what a person has done, and a few times a
 * second for what comes from the broker, however much that is.
 */
import type { PageEnvironment } from '../pageEnvironment.js'

/** Least time between two renewals, in ms. */
const paceMs = 200

export class Store {
  readonly #machine: PageEnvironment
  readonly #listeners = new Set<() => void>()
  #isPlanned = false
  /** Rises with every renewal; what is derived from the data is derived once for each. */
  version = 0

  constructor(machine: PageEnvironment) {
    this.#machine = machine
  }

  /** Returns how to stop. */
  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => {
      this.#listeners.delete(listener)
    }
  }

  /** Something has changed that can wait a moment. */
  touch(): void {
    if (this.#isPlanned) return
    this.#isPlanned = true
    this.#machine.after(paceMs, () => {
      this.#machine.soon(() => {
        this.#isPlanned = false
        this.renew()
      })
    })
  }

  /** Something has changed that should be seen now. */
  renew(): void {
    this.version++
    for (const listener of this.#listeners) listener()
  }
}
