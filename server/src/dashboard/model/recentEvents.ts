/**
 * Keeps the last events, the newest event last, and finds the locks of one key in these events. The
 * number of events is bounded, because a page may stay open for days.
 */
import type { LockEvent } from '@holdfast/client'

/**
 * An event that this page has received. The kind of the event, such as `locked`, is in the field
 * `event` of the `LockEvent`.
 */
export interface TimedEvent {
  /** The position of the event among all events of this page, from 1. */
  readonly sequence: number
  /** When this page received the event, in ms since 1970. */
  readonly at: number
  readonly event: LockEvent
}

/** A lock whose grant or end this page has seen. */
export interface SeenLock {
  /** The event of the grant; the event of the end if the event of the grant is not kept. */
  readonly lock: LockEvent
  /** When and how the lock ended; undefined while the lock is held. */
  readonly end: { readonly at: number; readonly kind: EndKind } | undefined
}

export type EventKind = LockEvent['event']

/** The kinds of events that end a lock. */
type EndKind = Exclude<EventKind, 'locked' | 'proclaimed' | 'upgraded' | 'downgraded'>

/** How many events stay when old events are removed. Before, the list has twice as many. */
export const keptEvents = 5_000

/** The last events of one page. */
export class RecentEvents {
  /** The kept events, the newest event last. */
  #events: TimedEvent[] = []
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
   * The last locks of a key, as far as the kept events have the grant or the end of the lock. The
   * newest lock is first. Returns at most `maxLocks` locks.
   */
  locksOf(key: string, maxLocks: number): SeenLock[] {
    const lockByFence = new Map<number, SeenLock>()
    let grantCount = 0
    let upgradedFence = 0
    // Go from the newest event to the oldest, so that the end of a lock comes before its grant.
    for (let index = this.#events.length - 1; index >= 0; index--) {
      const { event, at } = this.#events[index] as TimedEvent
      if (event.key !== key) continue
      // These events neither begin nor end a lock.
      if (event.event === 'downgraded' || event.event === 'proclaimed') continue
      if (event.event !== 'locked' && event.event !== 'upgraded') {
        lockByFence.set(event.fence, { lock: event, end: { at, kind: event.event } })
        continue
      }
      const end = lockByFence.get(event.fence)?.end
      // At an upgrade, all other locks of the key have ended, and the lock gets a higher fence. So
      // an older grant without an end is the first grant of the upgraded lock. The map already has
      // that lock, under its new fence.
      if (end === undefined && event.fence < upgradedFence) continue
      if (event.event === 'upgraded') upgradedFence = Math.max(upgradedFence, event.fence)
      lockByFence.set(event.fence, { lock: event, end })
      // All older events are about locks with lower fences.
      if (++grantCount >= maxLocks) break
    }
    return [...lockByFence.values()].sort((a, b) => b.lock.fence - a.lock.fence).slice(0, maxLocks)
  }
}
