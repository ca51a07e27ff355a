/**
 * Tells the loops of a load when to end. A loop calls `enter`, repeats its work while `isOpen` is
 * true, and calls `leave` at its end. `close` waits until all loops have left.
 */
export class LoopGate {
  #isOpen = false
  /** The number of loops that have called `enter` and not yet `leave`. */
  #insideCount = 0
  #onAllLeft: (() => void) | undefined

  /** Whether loops may repeat their work. */
  get isOpen(): boolean {
    return this.#isOpen
  }

  /** Lets loops run. */
  open(): void {
    this.#isOpen = true
  }

  /** Call when a loop begins. */
  enter(): void {
    this.#insideCount++
  }

  /** Call when a loop ends. */
  leave(): void {
    this.#insideCount--
    if (this.#insideCount === 0) this.#onAllLeft?.()
  }

  /** Makes the loops end. Resolves when all loops have left. */
  close(): Promise<void> {
    this.#isOpen = false
    if (this.#insideCount === 0) return Promise.resolve()
    return new Promise((resolve) => {
      this.#onAllLeft = resolve
    })
  }
}
