/**
 * A map that never stops the event loop for long, even with millions of entries.
 *
 * A `Map` of V8 doubles its inner table in one step when the table is full. With a million entries
 * this step takes more than 100 ms. This class therefore divides many entries among 32 smaller
 * maps, the shards, by a hash of the key. Each step then moves a 32nd of the entries.
 *
 * Most maps have few entries, and need no hash: up to {@link maxUndivided} entries stay in one map.
 * With a bad hash the map stays correct, but one shard is larger than the others. With more
 * shards, a broker with a million keys would start slower: see `test/bench/README.md`.
 */

/** With more entries, the map is divided. Dividing this many entries takes about 3 ms. */
const maxUndivided = 16_384
/** A power of two, so that the lowest bits of a hash select the shard. */
const shardCount = 32

export class ShardedMap<K, V> {
  readonly #hash: (key: K) => number
  /** One map, or the shards. */
  #maps: readonly Map<K, V>[] = [new Map<K, V>()]
  #size = 0

  /** @param hash An integer for each key. The lowest 5 bits select the shard. */
  constructor(hash: (key: K) => number) {
    this.#hash = hash
  }

  get size(): number {
    return this.#size
  }

  get(key: K): V | undefined {
    return this.#mapOf(key).get(key)
  }

  /** Adds an entry. The map must not have this key. */
  add(key: K, value: V): void {
    this.#mapOf(key).set(key, value)
    this.#size++
    if (this.#size > maxUndivided && this.#maps.length === 1) this.#divideAmong(shardCount)
  }

  /** Removes an entry. Does nothing if the map does not have this key. */
  delete(key: K): void {
    if (!this.#mapOf(key).delete(key)) return
    this.#size--
    // This limit is much lower than the limit of `add`. With one limit for both, a map of about
    // that size would be divided and joined again and again.
    if (this.#size < maxUndivided / 4 && this.#maps.length > 1) this.#divideAmong(1)
  }

  #mapOf(key: K): Map<K, V> {
    const maps = this.#maps
    return maps.length === 1 ? maps[0]! : maps[this.#hash(key) & (shardCount - 1)]!
  }

  /** Moves all entries into this number of new maps. */
  #divideAmong(mapCount: number): void {
    const formerMaps = this.#maps
    this.#maps = Array.from({ length: mapCount }, () => new Map<K, V>())
    for (const map of formerMaps) for (const [key, value] of map) this.#mapOf(key).set(key, value)
  }
}

/** The hash of a text for a {@link ShardedMap}, by the function FNV-1a. */
export function hashOfText(text: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  // The lowest bits of the product depend only on the lowest bits of each character. So mix in
  // higher bits.
  return hash ^ (hash >>> 16)
}
