/**
 * Which connections want to know what happens to which keys. What an event costs everybody is the
 * length of its key and the number of connections that match, never the number of their watches:
 * the index has each connection at most once on the way of any key (`sessionWatches.ts`). An event
 * is encoded once, however many connections are told.
 */
import { costOfBytes, costOfTelling } from '../config/workCosts.js'
import type { Effect, Lock } from '../core/index.js'
import { encodeLockEvent } from '../protocol/encode.js'
import { PrefixTree } from './prefixTree.js'
import type { Scope, Search } from './queries.js'
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
  stolen: 'lost',
  revoked: 'lost',
  ended: 'lost',
} as const

/** Bytes that a watch takes, with its places in the trees of its session and of the broker. */
const watchBytes = 768
/** Bytes that an event takes beside its text. */
const eventBytes = 256

export class WatchRegistry {
  readonly #bySubscriber = new Map<Subscriber, SessionWatches>()
  readonly #index = new Index()
  /** Of the newest event that was published. */
  #sequence = 0
  #bytes = 0

  /** Bytes that all watches take, with the events that are not written yet. */
  get bytes(): number {
    return this.#bytes
  }

  /** How many watches this connection has. */
  countOf(subscriber: Subscriber): number {
    return this.#bySubscriber.get(subscriber)?.size ?? 0
  }

  /** Whether one of them has this id. */
  has(subscriber: Subscriber, id: number): boolean {
    return this.#bySubscriber.get(subscriber)?.has(id) === true
  }

  /**
   * From the next event on. Takes the place of a watch of this connection with the same id.
   *
   * @param search What gathers the state that the watch begins with.
   */
  add(subscriber: Subscriber, id: number, scope: Scope, search?: Pick<Search, 'isToCome'>): void {
    let watches = this.#bySubscriber.get(subscriber)
    if (watches === undefined) {
      watches = new SessionWatches(subscriber, this.#index)
      this.#bySubscriber.set(subscriber, watches)
    } else this.#remove(watches, id)
    watches.add(id, scope, this.#sequence, search)
    this.#bytes += bytesOf(watches, id)
  }

  remove(subscriber: Subscriber, id: number): void {
    const watches = this.#bySubscriber.get(subscriber)
    if (watches === undefined) return
    this.#remove(watches, id)
    if (watches.size === 0) this.#bySubscriber.delete(subscriber)
  }

  /** The connection is gone. */
  removeAll(subscriber: Subscriber): void {
    const watches = this.#bySubscriber.get(subscriber)
    if (watches === undefined) return
    this.#bySubscriber.delete(subscriber)
    for (const id of watches.ids()) this.#bytes -= bytesOf(watches, id)
    watches.clear()
  }

  /**
   * Tells the connections that watch what the table did.
   *
   * @returns What that costs the client that caused it, in units of work.
   */
  tell(effect: Effect): number {
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

  /** Its bytes count as long as at least one connection keeps it, and once. */
  #newEvent(key: string, text: string): PublishedEvent {
    const bytes = eventBytes + 2 * text.length
    let kept = 0
    return {
      key,
      sequence: ++this.#sequence,
      text,
      keep: () => {
        if (++kept === 1) this.#bytes += bytes
      },
      release: () => {
        if (--kept === 0) this.#bytes -= bytes
      },
    }
  }

  #publish(name: LockEventName, lock: Lock): number {
    const { key } = lock
    const interested = this.#index.watching(key)
    if (interested.length === 0) return 0
    const event = this.#newEvent(key, encodeLockEvent(name, lock))
    const ended = name === 'locked' ? undefined : lock
    for (const watches of interested) watches.publish(event, ended)
    return costOfTelling(interested.length) + costOfBytes(event.text.length)
  }
}

function bytesOf(watches: SessionWatches, id: number): number {
  return watchBytes + 4 * watches.lengthOf(id)
}

/** The scopes that no wider one of the same connection covers, each with its connections. */
class Index implements ScopeIndex {
  readonly #byKey = new Map<string, Set<SessionWatches>>()
  readonly #byPrefix = new PrefixTree<Set<SessionWatches>>()

  add(text: string, isKey: boolean, watches: SessionWatches): void {
    const former = this.#at(text, isKey)
    if (former !== undefined) former.add(watches)
    else if (isKey) this.#byKey.set(text, new Set([watches]))
    else this.#byPrefix.set(text, new Set([watches]))
  }

  remove(text: string, isKey: boolean, watches: SessionWatches): void {
    const all = this.#at(text, isKey)
    all?.delete(watches)
    if (all?.size !== 0) return
    if (isKey) this.#byKey.delete(text)
    else this.#byPrefix.delete(text)
  }

  /** The connections that watch this key, each once. */
  watching(key: string): SessionWatches[] {
    const found: SessionWatches[] = [...(this.#byKey.get(key) ?? [])]
    this.#byPrefix.visitPrefixesOf(key, (all) => {
      for (const watches of all) found.push(watches)
    })
    return found
  }

  #at(text: string, isKey: boolean): Set<SessionWatches> | undefined {
    return isKey ? this.#byKey.get(text) : this.#byPrefix.get(text)
  }
}
