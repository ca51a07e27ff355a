/**
 * Tells the views that data has changed: immediately for rare changes, and at most five times a
 * second for data that the broker sends often.
 */
import type { PageEnvironment } from '../pageEnvironment.js'

/** Shortest time between two notifications of {@link ChangeNotifier.notifySoon}, in ms. */
const notifyEveryMs = 200

/** Notifies its listeners of changes, and counts the notifications. */
export class ChangeNotifier {
  readonly #environment: PageEnvironment
  readonly #listeners = new Set<() => void>()
  #isScheduled = false
  /** Rises with every notification. A view computes its derived data once for each version. */
  version = 0

  constructor(environment: PageEnvironment) {
    this.#environment = environment
  }

  /** Calls the listener at every notification. Returns a function that removes the listener. */
  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => {
      this.#listeners.delete(listener)
    }
  }

  /** Notifies once for all changes of the next 200 ms, at the first frame after this time. */
  notifySoon(): void {
    if (this.#isScheduled) return
    this.#isScheduled = true
    this.#environment.after(notifyEveryMs, () => {
      // Notify just before the browser draws a frame, so that this frame shows the newest data.
      this.#environment.beforeNextFrame(() => {
        this.#isScheduled = false
        this.notify()
      })
    })
  }

  /** Notifies immediately. */
  notify(): void {
    this.version++
    for (const listener of this.#listeners) listener()
  }
}
