/**
 * Keeps the last events, the newest event last, and finds the locks of one key in these events. The
 * number of events is bounded, because a page may stay open for days.
 */
import type { LockEvent } from '@holdfast/client'

/**
 * An event with the time at which this page received the event. The kind of the event, such as
 * `locked`, is in the field `event` of the `LockEvent`.
 */
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
  /** When and how the lock ended; undefined while the lock is held. */
  readonly end: { readonly at: number; readonly kind: EndKind } | undefined
}

export type EventKind = LockEvent['event']

/** The kinds of events that end a lock. */
type EndKind = Exclude<EventKind, 'locked' | 'proclaimed' | 'upgraded' | 'downgraded'>

/** At least this many of the last events are kept, and fewer than twice as many. */
export const keptEvents = 5_000

/** The last events of one page. */
export class RecentEvents {
  /** The kept events, the newest event last. */
  #events: TimedEvent[] = []
  /** The number of all events since the page was opened. */
  #count = 0

  /**
   * The number of all events since the page was opened, including events that are not kept any
   * more.
   */
  get count(): number {
    return this.#count
  }

  /** The kept events, the newest event last (see {@link keptEvents}). */
  get events(): readonly TimedEvent[] {
    return this.#events
  }

  add(event: LockEvent, at: number): void {
    this.#events.push({ sequence: ++this.#count, at, event })
    // Remove many events in one step, because copying the list for each event would be slow.
    if (this.#events.length >= 2 * keptEvents) this.#events = this.#events.slice(-keptEvents)
  }

  /**
   * The last locks of a key whose grant or end this page has seen, the newest lock first; at most
   * `maxLocks`.
   */
  locksOf(key: string, maxLocks: number): SeenLock[] {
    const lockByFence = new Map<number, SeenLock>()
    let grantCount = 0
    let upgradedFence = 0
    // From the newest event to the oldest event, so that the end of a lock comes before its grant.
    for (let index = this.#events.length - 1; index >= 0; index--) {
      const { event, at } = this.#events[index] as TimedEvent
      if (event.key !== key) continue
      if (event.event === 'downgraded' || event.event === 'proclaimed') continue
      if (event.event !== 'locked' && event.event !== 'upgraded') {
        lockByFence.set(event.fence, { lock: event, end: { at, kind: event.event } })
        continue
      }
      const end = lockByFence.get(event.fence)?.end
      // An upgraded lock is the only lock of its key. So an older grant without an end belongs to
      // the upgraded lock, which is in the list already.
      if (end === undefined && event.fence < upgradedFence) continue
      if (event.event === 'upgraded') upgradedFence = Math.max(upgradedFence, event.fence)
      lockByFence.set(event.fence, { lock: event, end })
      // All earlier events are about locks with lower fences.
      if (++grantCount >= maxLocks) break
    }
    return [...lockByFence.values()].sort((a, b) => b.lock.fence - a.lock.fence).slice(0, maxLocks)
  }
}
