/**
 * Events and who listens to them: the three methods that everybody knows, and no more, since every
 * page that loads the client loads this.
 */
import { callSafely } from './callSafely.js'

type Arguments<Listener> = Listener extends (...args: infer A) => void ? A : never

interface Entry<Listener> {
  readonly listener: Listener
  readonly once: boolean
}

/** `Events` has a listener's type for each name. */
export class Emitter<Events extends object> {
  readonly #entries = new Map<keyof Events, Entry<Events[keyof Events]>[]>()

  /** Calls the listener for each event of this name; what it throws is reported, not passed on. */
  on<E extends keyof Events>(event: E, listener: Events[E]): this {
    return this.#add(event, listener, false)
  }

  /** Like `on`, for the next event only. */
  once<E extends keyof Events>(event: E, listener: Events[E]): this {
    return this.#add(event, listener, true)
  }

  /** The listener hears no more of it. */
  off<E extends keyof Events>(event: E, listener: Events[E]): this {
    const left = this.#entries.get(event)?.filter((entry) => entry.listener !== listener)
    if (left !== undefined) this.#entries.set(event, left)
    return this
  }

  /**
   * For the owner of the events. Whoever is added or removed meanwhile changes nothing any more.
   */
  emit<E extends keyof Events>(event: E, ...args: Arguments<Events[E]>): void {
    const entries = this.#entries.get(event) ?? []
    this.#entries.set(
      event,
      entries.filter(({ once }) => !once),
    )
    for (const { listener } of entries) {
      callSafely(() => (listener as (...given: unknown[]) => void)(...args))
    }
  }

  #add(event: keyof Events, listener: Events[keyof Events], once: boolean): this {
    this.#entries.set(event, [...(this.#entries.get(event) ?? []), { listener, once }])
    return this
  }
}
