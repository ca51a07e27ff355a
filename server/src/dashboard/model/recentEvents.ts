/**
 * Keeps the last events, newest last, and finds the locks of one key in them. The number of events
 * is bounded, because a page may stay open for days.
 */
import type { LockEvent } from '@holdfast/client'

/** An event with the time at which this page received it. */
export interface TimedEvent {
  /** The number of the event, from 1. */
  readonly sequence: number
  /** In ms since 1970. */
  readonly at: number
  readonly event: LockEvent
}

/** A lock whose grant or end this page has seen. */
export interface SeenLock {
  readonly lock: LockEvent
  /** When the lock ended and how; undefined while it is held. */
  readonly end: { readonly at: number; readonly how: Exclude<EventKind, 'locked'> } | undefined
}

export type EventKind = LockEvent['event']

/** How many events are kept. */
export const maxEvents = 5_000

export class RecentEvents {
  #events: TimedEvent[] = []
  #count = 0

  /** The number of all events, kept or not. */
  get count(): number {
    return this.#count
  }

  /** At least the last {@link maxEvents}, newest last. */
  get events(): readonly TimedEvent[] {
    return this.#events
  }

  add(event: LockEvent, at: number): void {
    this.#events.push({ sequence: ++this.#count, at, event })
    // Remove many events at once, because copying the list for each event would be slow.
    if (this.#events.length >= 2 * maxEvents) this.#events = this.#events.slice(-maxEvents)
  }

  /** The last locks of a key whose grant or end this page has seen, newest first. */
  locksOf(key: string, most: number): SeenLock[] {
    const found = new Map<number, SeenLock>()
    for (let index = this.#events.length - 1; index >= 0; index--) {
      const { event, at } = this.#events[index] as TimedEvent
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
