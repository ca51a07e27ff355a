/**
 * All watches of the broker. A watch makes the broker send the events of a key, or of all keys with
 * a prefix, to a connection. The cost of an event depends on its length and on the number of
 * matching connections. A {@link WatchIndex} returns each connection at most once for a key,
 * however many of its watches match (see `sessionWatches.ts`). The broker encodes an event once for
 * all connections. If many connections must get events, some events wait for later turns of the
 * event loop (see `eventFanOut.ts`).
 */
import type { DequeueReason, LockEvent } from '@holdfast/shared'
import { costOfBytes, costOfNotifying } from '../config/workCosts.js'
import type { Effect, Lock, Request } from '../core/index.js'
import { encodeLockEvent, encodeQueueEvent } from '../protocol/encodeLockInfo.js'
import { EventFanOut, type EventFanOutDeps } from './eventFanOut.js'
import type { KeySelection } from './queries.js'
import { type InitialSearch, SessionWatches, type Subscriber } from './sessionWatches.js'
import { WatchIndex } from './watchIndex.js'

/** The name of the event for each reason why a lock ended. */
const eventForReason = {
  unlocked: 'unlocked',
  expired: 'expired',
  maxHold: 'expired',
  stolen: 'lost',
  revoked: 'lost',
  ended: 'lost',
} as const

/** Bytes of one watch in `SessionWatches` and the index, without its key or prefix. */
const fixedWatchBytes = 768

/** The watches of one connection. */
interface WatchesOfSubscriber {
  /** The watches that get the events of locks: all watches of the connection. */
  readonly lockWatches: SessionWatches
  /** The watches that also get the events of queues; undefined before the first such watch. */
  queueWatches: SessionWatches | undefined
}

export class WatchRegistry {
  readonly #bySubscriber = new Map<Subscriber, WatchesOfSubscriber>()
  readonly #lockIndex = new WatchIndex()
  readonly #queueIndex = new WatchIndex()
  readonly #fanOut: EventFanOut
  /** Bytes of all watches. */
  #watchesBytes = 0

  constructor(deps: EventFanOutDeps) {
    this.#fanOut = new EventFanOut(deps)
  }

  /** Bytes of memory for all watches, and for the events that wait. */
  get bytes(): number {
    return this.#watchesBytes + this.#fanOut.bytes
  }

  /** How many watches this connection has. */
  countOf(subscriber: Subscriber): number {
    return this.#bySubscriber.get(subscriber)?.lockWatches.size ?? 0
  }

  /** Whether this connection has a watch with this id. */
  has(subscriber: Subscriber, id: number): boolean {
    return this.#bySubscriber.get(subscriber)?.lockWatches.has(id) === true
  }

  /**
   * Adds a watch for the later events of the selected keys. If this connection already has a watch
   * with this id, the new watch replaces the old watch.
   *
   * @param search Finds the present locks and requests. The client gets them before the events.
   * @param withQueue Whether the watch gets the events of queues too.
   */
  add(
    subscriber: Subscriber,
    id: number,
    selection: KeySelection,
    search?: InitialSearch,
    withQueue = false,
  ): void {
    let subscriberWatches = this.#bySubscriber.get(subscriber)
    if (subscriberWatches === undefined) {
      const lockWatches = new SessionWatches(subscriber, this.#lockIndex)
      subscriberWatches = { lockWatches, queueWatches: undefined }
      this.#bySubscriber.set(subscriber, subscriberWatches)
    } else this.#remove(subscriberWatches, id)
    this.#addTo(subscriberWatches.lockWatches, id, selection, search)
    if (!withQueue) return
    subscriberWatches.queueWatches ??= new SessionWatches(subscriber, this.#queueIndex)
    this.#addTo(subscriberWatches.queueWatches, id, selection, search)
  }

  /** Removes the watch with this id, if the connection has such a watch. */
  remove(subscriber: Subscriber, id: number): void {
    const subscriberWatches = this.#bySubscriber.get(subscriber)
    if (subscriberWatches === undefined) return
    this.#remove(subscriberWatches, id)
    if (subscriberWatches.lockWatches.size === 0) this.removeAll(subscriber)
  }

  /**
   * Removes all watches of a connection, because the connection has ended or its last watch was
   * removed.
   */
  removeAll(subscriber: Subscriber): void {
    const subscriberWatches = this.#bySubscriber.get(subscriber)
    if (subscriberWatches === undefined) return
    this.#bySubscriber.delete(subscriber)
    for (const watches of [subscriberWatches.lockWatches, subscriberWatches.queueWatches]) {
      if (watches === undefined) continue
      for (const id of watches.ids()) this.#watchesBytes -= bytesOf(watches, id)
      watches.clear()
      this.#fanOut.onWatchesRemoved(watches)
    }
  }

  /**
   * Sends the events of an effect of a command to the connections that watch the key. There
   * is an event when a lock is granted, upgraded, downgraded or ended, and when its value is
   * proclaimed. There is another event when a request begins or ceases to wait. Other effects have
   * no event.
   *
   * @returns The cost in units of work (see `workCosts.ts`). The broker charges the cost to the
   *   client that caused the effect.
   */
  notify(effect: Effect): number {
    if (this.#bySubscriber.size === 0) return 0
    switch (effect.kind) {
      case 'granted': {
        const { lock, request } = effect
        const cost = request === undefined ? 0 : this.#publishQueue('dequeued', request, 'granted')
        return cost + this.#publishLock('locked', lock)
      }
      case 'upgraded': {
        const { lock, request } = effect
        const cost = request === undefined ? 0 : this.#publishQueue('dequeued', request, 'granted')
        return cost + this.#publishLock('upgraded', lock)
      }
      case 'downgraded':
        return this.#publishLock('downgraded', effect.lock)
      case 'released':
        return this.#publishLock(eventForReason[effect.reason], effect.lock)
      case 'proclaimed':
        return this.#publishLock('proclaimed', effect.lock)
      case 'queued':
        return this.#publishQueue('queued', effect.request, undefined)
      case 'withdrawn':
        return this.#publishQueue('dequeued', effect.request, effect.reason)
      default:
        return 0
    }
  }

  #addTo(
    watches: SessionWatches,
    id: number,
    selection: KeySelection,
    search?: InitialSearch,
  ): void {
    watches.add(id, selection, this.#fanOut.newestSequence, search)
    if (search !== undefined) this.#fanOut.onSearchBegan(watches)
    this.#watchesBytes += bytesOf(watches, id)
  }

  #remove({ lockWatches, queueWatches }: WatchesOfSubscriber, id: number): void {
    for (const watches of [lockWatches, queueWatches]) {
      if (watches === undefined || !watches.has(id)) continue
      this.#watchesBytes -= bytesOf(watches, id)
      watches.remove(id)
    }
  }

  #publishLock(name: LockEvent['event'], lock: Lock): number {
    const connectionCount = this.#lockIndex.countOf(lock.key)
    if (connectionCount === 0) return 0
    const text = encodeLockEvent(name, lock)
    // A watch skips an event if its initial search has yet to reach the lock, because the search
    // will show the change. No watch skips `locked`, because a search lists no lock granted after
    // its start.
    const isSkipped = (search: InitialSearch) => name !== 'locked' && search.willFind(lock)
    this.#fanOut.publish(this.#lockIndex, lock.key, text, isSkipped)
    return costOfNotifying(connectionCount) + costOfBytes(text.length)
  }

  #publishQueue(
    name: 'queued' | 'dequeued',
    request: Request,
    reason: DequeueReason | undefined,
  ): number {
    const { key, keyState } = request
    const connectionCount = this.#queueIndex.countOf(key)
    if (connectionCount === 0) return 0
    const text = encodeQueueEvent(name, request, reason)
    // A watch skips the event if its initial search has yet to visit the key. The search will list
    // the whole queue as it is at the visit, also requests that came after the start of the search.
    const isSkipped = (search: InitialSearch) => search.willVisit(keyState)
    this.#fanOut.publish(this.#queueIndex, key, text, isSkipped)
    return costOfNotifying(connectionCount) + costOfBytes(text.length)
  }
}

/**
 * Bytes of a watch. A UTF-16 unit of its key or prefix counts as four bytes: at most two bytes in
 * `SessionWatches`, and two in the index.
 */
function bytesOf(watches: SessionWatches, id: number): number {
  return fixedWatchBytes + 4 * watches.lengthOf(id)
}
