/** Who listens to what, and telling them. */
import { refuseUnknownName } from '@holdfast/shared'
import { callSafely } from '../platform/callSafely.js'
import { checkFunction } from '../platform/checks.js'

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
  readonly #events: Readonly<Record<keyof E, 1>>

  /** @param events All that there are. */
  constructor(events: Readonly<Record<keyof E, 1>>) {
    this.#events = events
  }

  /**
   * Calls the listener at each such event.
   * @throws HoldfastError `INVALID_OPTION` for an event that there is not
   */
  on<K extends keyof E>(event: K, listener: E[K]): this {
    return this.#add({ event, listener, once: false })
  }

  /**
   * Calls the listener at the next such event.
   * @throws HoldfastError `INVALID_OPTION` for an event that there is not
   */
  once<K extends keyof E>(event: K, listener: E[K]): this {
    return this.#add({ event, listener, once: true })
  }

  /**
   * Calls the listener no more.
   * @throws HoldfastError `INVALID_OPTION` for an event that there is not
   */
  off<K extends keyof E>(event: K, listener: E[K]): this {
    this.#check(event)
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
    this.#check(entry.event)
    checkFunction('the listener', entry.listener)
    this.#entries.add(entry)
    return this
  }

  /**
   * A listener of a misspelt event would never be called. One of `error` never is either, but
   * Node's `events.once` adds it to every emitter.
   */
  #check(event: keyof E): void {
    if (event !== 'error') refuseUnknownName('a session has no event', String(event), this.#events)
  }
}
