/**
 * Finds the connections that watch a key. The broker has one index for the events of locks, and one
 * for the events of queues (see `watchRegistry.ts`).
 */
import { PrefixTree } from './prefixTree.js'
import type { GroupIndex, SessionWatches } from './sessionWatches.js'

/**
 * Maps keys and prefixes to the connections that watch these keys and prefixes. The index stores a
 * connection as its {@link SessionWatches}. For a connection that watches a prefix, the index needs
 * no entry for a key or longer prefix that begins with this prefix. The entry of the prefix already
 * finds the connection for these events.
 */
export class WatchIndex implements GroupIndex {
  readonly #byKey = new Map<string, Set<SessionWatches>>()
  readonly #byPrefix = new PrefixTree<Set<SessionWatches>>()

  add(keyOrPrefix: string, isKey: boolean, watches: SessionWatches): void {
    const entry = this.#watchesAt(keyOrPrefix, isKey)
    if (entry !== undefined) entry.add(watches)
    else if (isKey) this.#byKey.set(keyOrPrefix, new Set([watches]))
    else this.#byPrefix.set(keyOrPrefix, new Set([watches]))
  }

  remove(keyOrPrefix: string, isKey: boolean, watches: SessionWatches): void {
    const entry = this.#watchesAt(keyOrPrefix, isKey)
    entry?.delete(watches)
    // Delete only an entry that exists and is empty now.
    if (entry?.size !== 0) return
    if (isKey) this.#byKey.delete(keyOrPrefix)
    else this.#byPrefix.delete(keyOrPrefix)
  }

  /** The connections that watch this key, each once. */
  watchesOf(key: string): SessionWatches[] {
    const matches: SessionWatches[] = [...(this.#byKey.get(key) ?? [])]
    this.#byPrefix.visitPrefixesOf(key, (connections) => {
      for (const connection of connections) matches.push(connection)
    })
    return matches
  }

  /** How many connections watch this key. */
  countOf(key: string): number {
    let count = this.#byKey.get(key)?.size ?? 0
    this.#byPrefix.visitPrefixesOf(key, (connections) => {
      count += connections.size
    })
    return count
  }

  #watchesAt(keyOrPrefix: string, isKey: boolean): Set<SessionWatches> | undefined {
    return isKey ? this.#byKey.get(keyOrPrefix) : this.#byPrefix.get(keyOrPrefix)
  }
}
