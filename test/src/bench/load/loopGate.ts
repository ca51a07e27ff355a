/**
 * A gate that lets loops run while the gate is open. After the gate closes, it reports when the
 * last loop has left.
 */
export class LoopGate {
  #isOpen = false
  #inside = 0
  #onEmpty: (() => void) | undefined

  get isOpen(): boolean {
    return this.#isOpen
  }

  open(): void {
    this.#isOpen = true
  }

  enter(): void {
    this.#inside++
  }

  leave(): void {
    this.#inside--
    if (this.#inside === 0) this.#onEmpty?.()
  }

  /** Resolves when no loop is inside. */
  close(): Promise<void> {
    this.#isOpen = false
    if (this.#inside === 0) return Promise.resolve()
    return new Promise((resolve) => {
      this.#onEmpty = resolve
    })
  }
}
