/**
 * The keys in use, each with its entry, in the order in which they came into use.
 *
 * A key that falls idle keeps its entry for a while. A `Map` does not fill the place of what was
 * deleted until it is made anew, and until then every search for the same key goes past it: of a
 * key that is taken and given back again and again, a table with a million others would keep
 * hundreds of thousands of such places, all in a row. So an idle key is forgotten only when many
 * others have fallen idle since, which makes those places few, and makes the keys that are used
 * most cost nothing to take again. An idle key is in no count and no list.
 */
import { Chain, Entry } from './records.js'

/** Idle keys that are kept in any case. */
const leastIdle = 1_024
/** And one more for so many that are in use. */
const inUseForOneIdle = 8

export class Keys {
  readonly #entries = new Map<string, Entry>()
  readonly #inUse = new Chain<Entry>()
  readonly #idle = new Chain<Entry>()

  /** How many keys are in use. */
  get size(): number {
    return this.#inUse.length
  }

  /** The entry of a key that is in use. */
  get(key: string): Entry | undefined {
    const entry = this.#entries.get(key)
    return entry?.isIdle ? undefined : entry
  }

  /** The entry of a key that somebody is about to hold or wait for, which brings it into use. */
  take(key: string): Entry {
    let entry = this.#entries.get(key)
    if (entry === undefined) {
      entry = new Entry(key)
      this.#entries.set(key, entry)
      this.#inUse.append(entry)
    } else if (entry.isIdle) {
      this.#idle.remove(entry)
      this.#inUse.append(entry)
    }
    return entry
  }

  /** Nobody holds or waits for it any more. */
  leave(entry: Entry): void {
    this.#inUse.remove(entry)
    this.#idle.append(entry)
    const most = leastIdle + this.#inUse.length / inUseForOneIdle
    for (let first = this.#idle.first!; this.#idle.length > most; first = this.#idle.first!) {
      this.#idle.remove(first)
      this.#entries.delete(first.key)
    }
  }

  /** The entries of all keys in use, as they came into use. */
  values(): IterableIterator<Entry> {
    return this.#inUse[Symbol.iterator]()
  }
}
