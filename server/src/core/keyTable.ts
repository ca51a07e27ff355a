/**
 * The keys in use, each with its state, in the order in which they came into use.
 *
 * A key without holders and waiters is idle. The table keeps the state of an idle key for a while,
 * because a deleted key leaves a tombstone in its `Map` until the `Map` is rebuilt. A lookup must
 * pass all tombstones in the same hash bucket. A client that locks and unlocks one key again and
 * again would leave hundreds of thousands of them, all in the bucket of this key.
 *
 * So the table drops an idle key only after many other keys have become idle. A key that is soon
 * locked again then needs no new state either. Idle keys are neither counted nor listed.
 */
import { LinkedList } from './linkedList.js'
import { Walk } from './orderedList.js'
import { KeyState, type Session } from './records.js'
import { hashOfText, ShardedMap } from './shardedMap.js'
import { keyStateBytes, textBytes } from './weights.js'

/** While at most this many keys are idle, the table drops none of them. */
const minIdleKeys = 1_024
/** In addition to {@link minIdleKeys}, the table keeps one idle key for every 8 keys in use. */
const keysInUsePerIdleKey = 8

/**
 * Visits the keys that were in use when the walk began, in the order in which they came into use.
 * The walk does not visit a key that became idle meanwhile, even if the key came into use again.
 */
export type KeyWalk = Walk<KeyState>

export class KeyTable {
  readonly #keyStates = new ShardedMap<string, KeyState>(hashOfText)
  readonly #inUse = new LinkedList<KeyState>()
  readonly #idle = new LinkedList<KeyState>()
  /**
   * How many members of `#inUse` are bookmarks. A bookmark is no key: its `order` is 0, and it
   * marks how far a walk has come (see `orderedList.ts`).
   */
  #bookmarkCount = 0
  #lastOrder = 0
  /** Bytes of the keys in use. */
  #bytes = 0
  #idleBytes = 0

  /** How many keys are in use. */
  get size(): number {
    return this.#inUse.length - this.#bookmarkCount
  }

  /** Bytes of the keys in use, without their locks and requests. */
  get bytes(): number {
    return this.#bytes
  }

  /** Bytes of idle keys. May differ between brokers: a restored table begins without idle keys. */
  get idleBytes(): number {
    return this.#idleBytes
  }

  /** The state of a key; undefined if the key is not in use. */
  get(key: string): KeyState | undefined {
    const keyState = this.#keyStates.get(key)
    return keyState?.isIdle ? undefined : keyState
  }

  /**
   * The state of a key. A key that was not in use comes into use, so the caller must add a holder
   * or a waiter, or call {@link markIdle}.
   */
  getOrCreate(key: string): KeyState {
    let keyState = this.#keyStates.get(key)
    if (keyState === undefined) {
      keyState = new KeyState(key)
      this.#keyStates.add(key, keyState)
      this.#addInUse(keyState)
    } else if (keyState.isIdle) {
      this.#idle.remove(keyState)
      // The bytes of the key move from the idle keys to the keys in use.
      const bytes = this.#addInUse(keyState)
      this.#idleBytes -= bytes
    }
    return keyState
  }

  /** Marks a key as idle, because it has neither holders nor waiters any more. */
  markIdle(keyState: KeyState): void {
    this.#inUse.remove(keyState)
    this.#idle.append(keyState)
    const bytes = bytesOf(keyState)
    this.#bytes -= bytes
    this.#idleBytes += bytes
    // Drops the keys that have been idle for the longest time. `first!` is undefined only if the
    // list is empty, and then the loop ends before it uses `oldest`.
    const maxIdle = minIdleKeys + this.#inUse.length / keysInUsePerIdleKey
    for (let oldest = this.#idle.first!; this.#idle.length > maxIdle; oldest = this.#idle.first!) {
      this.#idle.remove(oldest)
      this.#idleBytes -= bytesOf(oldest)
      this.#keyStates.delete(oldest.key)
    }
  }

  /** The states of all keys in use, in the order in which they came into use. */
  *values(): IterableIterator<KeyState> {
    for (let keyState = this.#inUse.first; keyState !== undefined; keyState = keyState.next) {
      // A bookmark has the order 0.
      if (keyState.order > 0) yield keyState
    }
  }

  /** Starts a walk over the keys in use. The walk may pause while the keys in use change. */
  walk(): KeyWalk {
    this.#bookmarkCount++
    // The new `KeyState` is the bookmark of the walk. Its key `''` has no meaning.
    return new Walk(this.#inUse, this.#lastOrder, new KeyState(''), () => this.#bookmarkCount--)
  }

  /** Brings a key into use. Returns the bytes of the key. */
  #addInUse(keyState: KeyState): number {
    const bytes = bytesOf(keyState)
    keyState.order = ++this.#lastOrder
    this.#inUse.append(keyState)
    this.#bytes += bytes
    return bytes
  }
}

function bytesOf({ key }: KeyState): number {
  return keyStateBytes + textBytes(key)
}

/**
 * The keys for which requests of these sessions wait, in the order in which the keys came into use.
 * This order is equal at every broker.
 */
export function keysWithWaiters(sessions: Iterable<Session>): KeyState[] {
  const keyStates = new Set<KeyState>()
  for (const { waiting } of sessions) {
    if (waiting.size === 0) continue
    for (const request of waiting.values()) {
      for (const member of request.extras?.set?.requests ?? [request])
        keyStates.add(member.keyState)
    }
  }
  return [...keyStates].sort((a, b) => a.order - b.order)
}
