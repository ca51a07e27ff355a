/**
 * The last events, newest last, and what they say about one key. Bounded: a page that is left open
 * over night must not fill the memory of its browser.
 */
import type { LockEvent } from '@holdfast/client'

/** An event with the time this page saw it, in ms since 1970. */
export interface Seen {
  /** Counts up from 1. */
  readonly sequence: number
  readonly at: number
  readonly event: LockEvent
}

/** A lock from its grant to its end, as far as they were seen. */
export interface Past {
  readonly lock: LockEvent
  /** When it ended and how; undefined while it is held. */
  readonly end: { readonly at: number; readonly how: Exclude<Kind, 'locked'> } | undefined
}

export type Kind = LockEvent['event']

/** So many events are kept. */
export const tailLength = 5_000

export class RecentEvents {
  #events: Seen[] = []
  #count = 0

  /** How many there were, kept or not. */
  get count(): number {
    return this.#count
  }

  /** At least the last {@link tailLength}, newest last. */
  get events(): readonly Seen[] {
    return this.#events
  }

  add(event: LockEvent, at: number): void {
    this.#events.push({ sequence: ++this.#count, at, event })
    // In large steps, so that this costs nothing at each.
    if (this.#events.length >= 2 * tailLength) this.#events = this.#events.slice(-tailLength)
  }

  /** The last locks of a key that were seen being taken or released, newest first. */
  past(key: string, most: number): Past[] {
    const found = new Map<number, Past>()
    for (let index = this.#events.length - 1; index >= 0; index--) {
      const { event, at } = this.#events[index] as Seen
      if (event.key !== key) continue
      if (event.event === 'locked') {
        found.set(event.fence, { lock: event, end: found.get(event.fence)?.end })
      } else if (found.size < most) {
        found.set(event.fence, { lock: event, end: { at, how: event.event } })
      }
      if (found.size >= most && event.event === 'locked') break
    }
    return [...found.values()].sort((a, b) => b.lock.fence - a.lock.fence).slice(0, most)
  }
}
