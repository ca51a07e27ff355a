/**
 * Passes events (changes of locks and queues) to the connections that watch the key of the event. A
 * {@link SessionWatches} has the watches of one connection, and passes events to this connection.
 * One command may release ten thousand locks that a hundred connections watch, which makes a
 * million notifications. So a turn of the event loop has a budget of notifications. Events beyond
 * the budget wait in one queue for all connections. The broker passes these events on in order, at
 * the end of this turn and of later turns.
 *
 * A watch begins with a search, which sends the client a list of the present locks and requests.
 */
import { turnBudget } from '../config/workCosts.js'
import type { InitialSearch, PublishedEvent, SessionWatches } from './sessionWatches.js'
import type { WatchIndex } from './watchIndex.js'

export interface EventFanOutDeps {
  /** `turn` is the number of the present turn of the event loop. */
  readonly scheduler: { readonly turn: number }
  /** Calls back after the broker has handled all input that has already arrived in this turn. */
  readonly endOfTurn: (callback: () => void) => void
}

/** Bytes that an event takes besides its text. */
const fixedEventBytes = 256

/** An event that waits for a turn whose budget is not used up. */
interface WaitingEvent {
  readonly event: PublishedEvent
  readonly index: WatchIndex
  /**
   * By connection: the id of its watch that must not get the event. When the event was published,
   * the search of this watch had yet to reach the lock or request of the event. The search itself
   * then shows the change.
   */
  readonly excludedIds: ReadonlyMap<SessionWatches, number> | undefined
}

export class EventFanOut {
  readonly #deps: EventFanOutDeps
  /** Events that wait, the oldest first. */
  #waiting: WaitingEvent[] = []
  /** The connections with a watch whose search may be unfinished. */
  readonly #searching = new Set<SessionWatches>()
  /** The turn for which `#notificationsLeft` counts; -1 before the first event. */
  #turn = -1
  /** The rest of the budget of the turn `#turn`. One event to one connection uses up one. */
  #notificationsLeft = 0
  /** Sequence number of the newest event. */
  #newestSequence = 0
  #bytes = 0

  constructor(deps: EventFanOutDeps) {
    this.#deps = deps
  }

  /** Sequence number of the newest event. A later event has a higher number. */
  get newestSequence(): number {
    return this.#newestSequence
  }

  /** Bytes of the events that wait here or in send queues. */
  get bytes(): number {
    return this.#bytes
  }

  /** Call when the search of a watch begins. */
  onSearchBegan(watches: SessionWatches): void {
    this.#searching.add(watches)
  }

  /** Call when a connection has no watches any more. */
  onWatchesRemoved(watches: SessionWatches): void {
    this.#searching.delete(watches)
  }

  /**
   * Passes an event, now or at the end of a turn, to the connections that watch the key.
   *
   * @param isYetToReach Whether a search has yet to reach the lock or request of the event.
   */
  publish(
    index: WatchIndex,
    key: string,
    text: string,
    isYetToReach: (search: InitialSearch) => boolean,
  ): void {
    const event = this.#makeEvent(key, text)
    this.#beginTurn()
    if (this.#waiting.length === 0 && this.#notificationsLeft > 0) {
      for (const watches of index.watchesOf(key)) {
        watches.publish(event, watches.excludedIdFor(isYetToReach))
        this.#notificationsLeft--
      }
      return
    }
    event.retain()
    if (this.#waiting.length === 0) this.#deps.endOfTurn(this.#continue)
    this.#waiting.push({ event, index, excludedIds: this.#excludedIdsFor(isYetToReach) })
  }

  /** Renews the budget of notifications at the first event of a turn. */
  #beginTurn(): void {
    const { turn } = this.#deps.scheduler
    if (turn === this.#turn) return
    this.#turn = turn
    this.#notificationsLeft = turnBudget.notifications
  }

  /**
   * Passes on waiting events at the end of a turn. Renews the budget, because other events may have
   * used up the budget of this turn.
   */
  readonly #continue = (): void => {
    this.#notificationsLeft = turnBudget.notifications
    let passedCount = 0
    for (const { event, index, excludedIds } of this.#waiting) {
      if (this.#notificationsLeft <= 0) break
      for (const watches of index.watchesOf(event.key)) {
        watches.publish(event, excludedIds?.get(watches))
        this.#notificationsLeft--
      }
      event.release()
      passedCount++
    }
    this.#waiting = this.#waiting.slice(passedCount)
    if (this.#waiting.length > 0) this.#deps.endOfTurn(this.#continue)
  }

  #excludedIdsFor(
    isYetToReach: (search: InitialSearch) => boolean,
  ): Map<SessionWatches, number> | undefined {
    let excludedIds: Map<SessionWatches, number> | undefined
    for (const watches of this.#searching) {
      const id = watches.excludedIdFor(isYetToReach)
      if (id !== undefined) {
        excludedIds ??= new Map()
        excludedIds.set(watches, id)
      } else if (!watches.isSearching) this.#searching.delete(watches)
    }
    return excludedIds
  }

  /** Makes an event. Its bytes count from the first `retain` until the last `release`. */
  #makeEvent(key: string, text: string): PublishedEvent {
    // V8 stores at most two bytes for each UTF-16 unit of a text.
    const bytes = fixedEventBytes + 2 * text.length
    let retainCount = 0
    return {
      key,
      sequence: ++this.#newestSequence,
      text,
      retain: () => {
        if (++retainCount === 1) this.#bytes += bytes
      },
      release: () => {
        if (--retainCount === 0) this.#bytes -= bytes
      },
    }
  }
}
