/**
 * Lets lanes run while it is open, and tells when the last of them has left after it was closed.
 */
export class Turnstile {
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

  /** Resolves when nobody is inside any more. */
  close(): Promise<void> {
    this.#isOpen = false
    if (this.#inside === 0) return Promise.resolve()
    return new Promise((resolve) => {
      this.#onEmpty = resolve
    })
  }
}
