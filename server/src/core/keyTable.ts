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
import { KeyState, LinkedList } from './records.js'
import { entryBytes, textBytes } from './weights.js'

/** Idle keys that are kept in any case. */
const leastIdle = 1_024
/** And one more for so many that are in use. */
const inUseForOneIdle = 8

export class KeyTable {
  readonly #entries = new Map<string, KeyState>()
  readonly #inUse = new LinkedList<KeyState>()
  readonly #idle = new LinkedList<KeyState>()
  #bookmarks = 0
  #lastOrder = 0
  /** Of the keys in use. */
  #bytes = 0
  #idleBytes = 0

  /** How many keys are in use. */
  get size(): number {
    return this.#inUse.length - this.#bookmarks
  }

  /** Bytes that the keys in use take, without their locks and requests. */
  get bytes(): number {
    return this.#bytes
  }

  /** Bytes that idle keys take. Not the same on every replica: a snapshot has no idle keys. */
  get idleBytes(): number {
    return this.#idleBytes
  }

  /** The entry of a key that is in use. */
  get(key: string): KeyState | undefined {
    const entry = this.#entries.get(key)
    return entry?.isIdle ? undefined : entry
  }

  /** The entry of a key that somebody is about to hold or wait for, which brings it into use. */
  getOrCreate(key: string): KeyState {
    let entry = this.#entries.get(key)
    if (entry === undefined) {
      entry = new KeyState(key)
      this.#entries.set(key, entry)
      this.#use(entry)
    } else if (entry.isIdle) {
      this.#idle.remove(entry)
      this.#idleBytes -= bytesOf(entry)
      this.#use(entry)
    }
    return entry
  }

  /** Nobody holds or waits for it any more. */
  release(entry: KeyState): void {
    this.#inUse.remove(entry)
    this.#idle.append(entry)
    this.#bytes -= bytesOf(entry)
    this.#idleBytes += bytesOf(entry)
    const most = leastIdle + this.#inUse.length / inUseForOneIdle
    for (let first = this.#idle.first!; this.#idle.length > most; first = this.#idle.first!) {
      this.#idle.remove(first)
      this.#idleBytes -= bytesOf(first)
      this.#entries.delete(first.key)
    }
  }

  /** The entries of all keys in use, as they came into use. */
  *values(): IterableIterator<KeyState> {
    for (let entry = this.#inUse.first; entry !== undefined; entry = entry.next) {
      if (entry.order > 0) yield entry
    }
  }

  /** A walk over the keys that are in use now, which may pause while others come and go. */
  walk(): KeyWalk {
    this.#bookmarks++
    return new KeyWalk(this.#inUse, this.#lastOrder, () => this.#bookmarks--)
  }

  #use(entry: KeyState): void {
    entry.order = ++this.#lastOrder
    this.#inUse.append(entry)
    this.#bytes += bytesOf(entry)
  }
}

function bytesOf({ key }: KeyState): number {
  return entryBytes + textBytes(key)
}

/**
 * Visits the keys that were in use when the walk began, in the order in which they came into use. A
 * bookmark in the chain itself keeps the place, so a key that leaves moves no walk, and a paused
 * walk costs the others nothing. A key that left and came back meanwhile is not visited.
 */
export class KeyWalk {
  readonly #chain: LinkedList<KeyState>
  /** The order of the last key to visit. */
  readonly #end: number
  readonly #onEnd: () => void
  readonly #bookmark = new KeyState('')
  /** The order of the key that was visited last. */
  #reached = 0
  #isOver = false

  constructor(chain: LinkedList<KeyState>, end: number, onEnd: () => void) {
    this.#chain = chain
    this.#end = end
    this.#onEnd = onEnd
    chain.insertAfter(this.#bookmark, undefined)
  }

  /** The next entry; undefined once all were visited, which ends the walk. */
  next(): KeyState | undefined {
    if (this.#isOver) return undefined
    let entry = this.#bookmark.next
    while (entry?.order === 0) entry = entry.next
    if (entry === undefined || entry.order > this.#end) {
      this.end()
      return undefined
    }
    this.#chain.remove(this.#bookmark)
    this.#chain.insertAfter(this.#bookmark, entry)
    this.#reached = entry.order
    return entry
  }

  /** Whether this entry is still to be visited. */
  isToCome({ order }: KeyState): boolean {
    return !this.#isOver && order > this.#reached && order <= this.#end
  }

  /** Gives up the rest of the walk. Every walk has to be ended, or its bookmark stays. */
  end(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#chain.remove(this.#bookmark)
    this.#onEnd()
  }
}
