/**
 * A value outside React that components follow with `useSyncExternalStore`. The value is an
 * immutable snapshot: each change replaces the snapshot by another one.
 */
export class Store<T> {
  #snapshot: T
  readonly #listeners = new Set<() => void>()

  constructor(initialSnapshot: T) {
    this.#snapshot = initialSnapshot
  }

  /** Calls the listener after each change. Returns a function that removes the listener. */
  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener)
    this.onSubscribed()
    return () => {
      if (this.#listeners.delete(listener) && this.#listeners.size === 0) this.onAbandoned()
    }
  }

  readonly getSnapshot = (): T => this.#snapshot

  /** Whether the store has a listener. */
  protected get hasListeners(): boolean {
    return this.#listeners.size > 0
  }

  /** Replaces the snapshot, and calls all listeners. */
  protected set(snapshot: T): void {
    this.#snapshot = snapshot
    // A copy, because a listener may add or remove listeners.
    for (const listener of [...this.#listeners]) listener()
  }

  /** Called after a listener was added. */
  protected onSubscribed(): void {}

  /** Called when the last listener was removed. */
  protected onAbandoned(): void {}
}
