/**
 * All watches of the broker. A watch makes the broker send the events of a key, or of all keys with
 * a prefix, to a connection. The cost of an event depends on the length of its key and on the
 * number of matching connections, not on the number of watches, because the index returns each
 * connection at most once for a key (see `sessionWatches.ts`). The broker encodes an event once for
 * all connections.
 */
import { costOfBytes, costOfNotifying } from '../config/workCosts.js'
import type { Effect, Lock } from '../core/index.js'
import { encodeLockEvent } from '../protocol/encode.js'
import { PrefixTree } from './prefixTree.js'
import type { Scope, TableSearch } from './queries.js'
import {
  type PublishedEvent,
  type ScopeIndex,
  SessionWatches,
  type Subscriber,
} from './sessionWatches.js'

type LockEventName = 'locked' | 'unlocked' | 'expired' | 'lost'

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

export class WatchRegistry {
  readonly #bySubscriber = new Map<Subscriber, SessionWatches>()
  readonly #index = new WatchIndex()
  /** Sequence number of the newest event. */
  #newestSequence = 0
  #bytes = 0

  /** Bytes of memory for all watches, and for the events that wait in send queues. */
  get bytes(): number {
    return this.#bytes
  }

  /** How many watches this connection has. */
  countOf(subscriber: Subscriber): number {
    return this.#bySubscriber.get(subscriber)?.size ?? 0
  }

  /** Whether this connection has a watch with this id. */
  has(subscriber: Subscriber, id: number): boolean {
    return this.#bySubscriber.get(subscriber)?.has(id) === true
  }

  /**
   * Adds a watch, which gets every event from now on. Replaces the watch of this connection with
   * the same id, if there is one.
   *
   * @param search The search for the locks that are held now. The client gets these locks before
   *   the events.
   */
  add(
    subscriber: Subscriber,
    id: number,
    scope: Scope,
    search?: Pick<TableSearch, 'willFind'>,
  ): void {
    let watches = this.#bySubscriber.get(subscriber)
    if (watches === undefined) {
      watches = new SessionWatches(subscriber, this.#index)
      this.#bySubscriber.set(subscriber, watches)
    } else this.#remove(watches, id)
    watches.add(id, scope, this.#newestSequence, search)
    this.#bytes += bytesOf(watches, id)
  }

  remove(subscriber: Subscriber, id: number): void {
    const watches = this.#bySubscriber.get(subscriber)
    if (watches === undefined) return
    this.#remove(watches, id)
    if (watches.size === 0) this.#bySubscriber.delete(subscriber)
  }

  /** Removes all watches of a connection that has ended. */
  removeAll(subscriber: Subscriber): void {
    const watches = this.#bySubscriber.get(subscriber)
    if (watches === undefined) return
    this.#bySubscriber.delete(subscriber)
    for (const id of watches.ids()) this.#bytes -= bytesOf(watches, id)
    watches.clear()
  }

  /**
   * Sends an event to the connections that watch the key, if the effect grants or ends a lock.
   *
   * @returns The cost in units of work (see `workCosts.ts`). The broker charges the cost to the
   *   client that caused the effect.
   */
  notify(effect: Effect): number {
    if (this.#bySubscriber.size === 0) return 0
    if (effect.kind === 'granted') return this.#publish('locked', effect.lock)
    if (effect.kind !== 'released') return 0
    return this.#publish(eventForReason[effect.reason], effect.lock)
  }

  #remove(watches: SessionWatches, id: number): void {
    if (!watches.has(id)) return
    this.#bytes -= bytesOf(watches, id)
    watches.remove(id)
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

  #publish(name: LockEventName, lock: Lock): number {
    const { key } = lock
    const matching = this.#index.watchesOf(key)
    if (matching.length === 0) return 0
    const event = this.#makeEvent(key, encodeLockEvent(name, lock))
    const endedLock = name === 'locked' ? undefined : lock
    for (const watches of matching) watches.publish(event, endedLock)
    return costOfNotifying(matching.length) + costOfBytes(event.text.length)
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
