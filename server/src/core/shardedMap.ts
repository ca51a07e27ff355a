/**
 * A map for a million entries that never stops the event loop.
 *
 * A `Map` of V8 doubles its inner table in one step when the table is full. With a million entries
 * this step takes more than 100 ms. This class therefore divides many entries among 256 small maps,
 * the shards, by a hash of the key. Each step then moves a small part of the entries.
 *
 * Most tables have few entries, and need no hash: the first {@link maxUnsharded} entries stay in one
 * map. Bad hashes cost no correctness. They only make one shard larger than the others.
 */

/** The most entries of the first map. A map with this many entries grows in about 3 ms. */
const maxUnsharded = 32_768
/** A power of two. With 10 million entries, a shard has about 39,000 entries. */
const shardCount = 256

export class ShardedMap<K, V> {
  readonly #hash: (key: K) => number
  /** The first entries. Other entries are in the shards. */
  readonly #first = new Map<K, V>()
  /** Undefined until the first map is full. */
  #shards: readonly Map<K, V>[] | undefined
  /** The number of entries in the shards. */
  #shardedCount = 0

  /** @param hash An integer for each key. Different keys should have different lowest 8 bits. */
  constructor(hash: (key: K) => number) {
    this.#hash = hash
  }

  get size(): number {
    return this.#first.size + this.#shardedCount
  }

  get(key: K): V | undefined {
    if (this.#shards === undefined) return this.#first.get(key)
    // Looks at the shards first, because most entries of a large map are there.
    return this.#shardOf(this.#shards, key).get(key) ?? this.#first.get(key)
  }

  /** Adds an entry. The map must not have this key. */
  add(key: K, value: V): void {
    if (this.#first.size < maxUnsharded) {
      this.#first.set(key, value)
      return
    }
    this.#shards ??= Array.from({ length: shardCount }, () => new Map<K, V>())
    this.#shardOf(this.#shards, key).set(key, value)
    this.#shardedCount++
  }

  /** Removes an entry. Does nothing if the map does not have this key. */
  delete(key: K): void {
    if (this.#shards === undefined) {
      this.#first.delete(key)
      return
    }
    if (this.#shardOf(this.#shards, key).delete(key)) this.#shardedCount--
    else this.#first.delete(key)
    // The first map must be half empty, so that the next entries need no new shards.
    if (this.#shardedCount === 0 && this.#first.size < maxUnsharded / 2) this.#shards = undefined
  }

  #shardOf(shards: readonly Map<K, V>[], key: K): Map<K, V> {
    return shards[this.#hash(key) & (shardCount - 1)]!
  }
}

/** The hash of a text for a {@link ShardedMap}, by the function FNV-1a. */
export function hashOfText(text: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  // The lowest bits of the product depend on the lowest bits of the text only.
  return hash ^ (hash >>> 16)
}
