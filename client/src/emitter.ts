/** Who listens to what, and telling them. */
import { callSafely } from './callSafely.js'

/** Of each event, what its listeners are told. */
type Listeners<E> = { readonly [K in keyof E]: (...details: never[]) => void }

interface Entry<E> {
  readonly event: keyof E
  readonly listener: E[keyof E]
  readonly once: boolean
}

/** Tells listeners of events; `E` has a function for each, which takes what they are told. */
export class Emitter<E extends Listeners<E>> {
  /** In the order of their coming. */
  readonly #entries = new Set<Entry<E>>()

  /** Calls the listener at each such event. */
  on<K extends keyof E>(event: K, listener: E[K]): this {
    return this.#add({ event, listener, once: false })
  }

  /** Calls the listener at the next such event. */
  once<K extends keyof E>(event: K, listener: E[K]): this {
    return this.#add({ event, listener, once: true })
  }

  /** Calls the listener no more. */
  off<K extends keyof E>(event: K, listener: E[K]): this {
    for (const entry of this.#entries) {
      if (entry.event === event && entry.listener === listener) this.#entries.delete(entry)
    }
    return this
  }

  /** Tells all who listen; what one of them throws is reported, and the others are told. */
  emit<K extends keyof E>(event: K, ...details: Parameters<E[K]>): void {
    for (const entry of [...this.#entries]) {
      if (entry.event !== event) continue
      // Somebody who was told before it may have brought about another event, and that was its.
      if (entry.once && !this.#entries.delete(entry)) continue
      callSafely(() => (entry.listener as E[K])(...details))
    }
  }

  #add(entry: Entry<E>): this {
    this.#entries.add(entry)
    return this
  }
}
