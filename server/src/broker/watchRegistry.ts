/**
 * All watches of the broker. A watch makes the broker send the events of a key, or of all keys with
 * a prefix, to a connection. The cost of an event depends on the length of its key and on the
 * number of matching connections, not on the number of watches, because the index returns each
 * connection at most once for a key (see `sessionWatches.ts`). The broker encodes an event once for
 * all connections.
 */
import type { DequeueReason, LockEvent } from '@holdfast/shared'
import { costOfBytes, costOfNotifying } from '../config/workCosts.js'

import type { Effect, Lock, Request } from '../core/index.js'
import { encodeLockEvent, encodeQueueEvent } from '../protocol/encode.js'
import { PrefixTree } from './prefixTree.js'
import type { Scope } from './queries.js'
import {
  type PublishedEvent,
  type ScopeIndex,
  SessionWatches,
  type StateSearch,
  type Subscriber,
} from './sessionWatches.js'

const eventForReason = {
  unlocked: 'unlocked',
  expired: 'expired',
  maxHold: 'expired',
  stolen: 'lost',
  revoked: 'lost',
  ended: 'lost',
} as const

/** Bytes that a watch takes, with its nodes in the tree of its connection and in the index. */
const watchBytes = 768
/** Bytes that an event takes without its text. */
const eventBytes = 256

/** The watches of one connection. */
interface WatchesOfSubscriber {
  /** All watches, for the events of locks. */
  readonly locks: SessionWatches
  /** The watches with `queue`, for the events of queues; undefined before the first. */
  queues: SessionWatches | undefined
}

export class WatchRegistry {
  readonly #bySubscriber = new Map<Subscriber, WatchesOfSubscriber>()
  readonly #lockIndex = new WatchIndex()
  readonly #queueIndex = new WatchIndex()
  /** Sequence number of the newest event. */
  #newestSequence = 0
  #bytes = 0

  /** Bytes of memory for all watches, and for the events that wait in send queues. */
  get bytes(): number {
    return this.#bytes
  }

  /** How many watches this connection has. */
  countOf(subscriber: Subscriber): number {
    return this.#bySubscriber.get(subscriber)?.locks.size ?? 0
  }

  /** Whether this connection has a watch with this id. */
  has(subscriber: Subscriber, id: number): boolean {
    return this.#bySubscriber.get(subscriber)?.locks.has(id) === true
  }

  /**
   * Adds a watch, which gets every event from now on. Replaces the watch of this connection with
   * the same id, if there is one.
   *
   * @param search The search for the locks and requests of now. The client gets these before the
   *   events.
   * @param withQueue Whether the watch gets the events of queues too.
   */
  add(
    subscriber: Subscriber,
    id: number,
    scope: Scope,
    search?: StateSearch,
    withQueue = false,
  ): void {
    let watches = this.#bySubscriber.get(subscriber)
    if (watches === undefined) {
      const locks = new SessionWatches(subscriber, this.#lockIndex)
      watches = { locks, queues: undefined }
      this.#bySubscriber.set(subscriber, watches)
    } else this.#remove(watches, id)
    this.#addTo(watches.locks, id, scope, search)
    if (!withQueue) return
    watches.queues ??= new SessionWatches(subscriber, this.#queueIndex)
    this.#addTo(watches.queues, id, scope, search)
  }

  remove(subscriber: Subscriber, id: number): void {
    const watches = this.#bySubscriber.get(subscriber)
    if (watches === undefined) return
    this.#remove(watches, id)
    if (watches.locks.size === 0) this.#bySubscriber.delete(subscriber)
  }

  /** Removes all watches of a connection that has ended. */
  removeAll(subscriber: Subscriber): void {
    const watches = this.#bySubscriber.get(subscriber)
    if (watches === undefined) return
    this.#bySubscriber.delete(subscriber)
    for (const list of [watches.locks, watches.queues]) {
      if (list === undefined) continue
      for (const id of list.ids()) this.#bytes -= bytesOf(list, id)
      list.clear()
    }
  }

  /**
   * Sends events to the connections that watch the key, if the effect grants or ends a lock,
   * changes the value of a leader, or if a request begins or ceases to wait.
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

  #addTo(watches: SessionWatches, id: number, scope: Scope, search?: StateSearch): void {
    watches.add(id, scope, this.#newestSequence, search)
    this.#bytes += bytesOf(watches, id)
  }

  #remove({ locks, queues }: WatchesOfSubscriber, id: number): void {
    for (const watches of [locks, queues]) {
      if (watches === undefined || !watches.has(id)) continue
      this.#bytes -= bytesOf(watches, id)
      watches.remove(id)
    }
  }

  /** Makes an event. Its bytes count once while at least one connection keeps the event. */
  #makeEvent(key: string, text: string): PublishedEvent {
    const bytes = eventBytes + 2 * text.length
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

  #publishLock(name: LockEvent['event'], lock: Lock): number {
    const matching = this.#lockIndex.watchesOf(lock.key)
    if (matching.length === 0) return 0
    const text = encodeLockEvent(name, lock)
    const isHeld =
      name === 'locked' || name === 'upgraded' || name === 'downgraded' || name === 'proclaimed'
    // A search that will still list the lock lists it with its present value.
    return this.#publish(
      matching,
      lock.key,
      text,
      (search) => !(isHeld && name !== 'proclaimed') && search.willFind(lock),
    )
  }

  #publishQueue(
    name: 'queued' | 'dequeued',
    request: Request,
    reason: DequeueReason | undefined,
  ): number {
    const { key, keyState } = request
    const matching = this.#queueIndex.watchesOf(key)
    if (matching.length === 0) return 0
    const text = encodeQueueEvent(name, request, reason)
    return this.#publish(matching, key, text, (search) => search.willVisit(keyState))
  }

  #publish(
    matching: readonly SessionWatches[],
    key: string,
    text: string,
    isForState: (search: StateSearch) => boolean,
  ): number {
    const event = this.#makeEvent(key, text)
    for (const watches of matching) watches.publish(event, isForState)
    return costOfNotifying(matching.length) + costOfBytes(text.length)
  }
}

function bytesOf(watches: SessionWatches, id: number): number {
  return watchBytes + 4 * watches.lengthOf(id)
}

/**
 * Maps keys and prefixes to the connections that watch these keys and prefixes. If a connection
 * watches a prefix, the index leaves out the longer prefixes and the keys that begin with the
 * prefix, because the events of these keys match the prefix already.
 */
class WatchIndex implements ScopeIndex {
  readonly #byKey = new Map<string, Set<SessionWatches>>()
  readonly #byPrefix = new PrefixTree<Set<SessionWatches>>()

  add(text: string, isKey: boolean, watches: SessionWatches): void {
    const existing = this.#watchesAt(text, isKey)
    if (existing !== undefined) existing.add(watches)
    else if (isKey) this.#byKey.set(text, new Set([watches]))
    else this.#byPrefix.set(text, new Set([watches]))
  }

  remove(text: string, isKey: boolean, watches: SessionWatches): void {
    const remaining = this.#watchesAt(text, isKey)
    remaining?.delete(watches)
    if (remaining?.size !== 0) return
    if (isKey) this.#byKey.delete(text)
    else this.#byPrefix.delete(text)
  }

  /** The connections that watch this key, each once. */
  watchesOf(key: string): SessionWatches[] {
    const found: SessionWatches[] = [...(this.#byKey.get(key) ?? [])]
    this.#byPrefix.visitPrefixesOf(key, (watchesOfPrefix) => {
      for (const watches of watchesOfPrefix) found.push(watches)
    })
    return found
  }

  #watchesAt(text: string, isKey: boolean): Set<SessionWatches> | undefined {
    return isKey ? this.#byKey.get(text) : this.#byPrefix.get(text)
  }
}
