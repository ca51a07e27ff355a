/**
 * Finds a lock of a key by its fence (the number of the lock) in constant time. A `revoke` names a
 * lock by its fence, and so is fast even among 100,000 shared locks.
 *
 * A key gets its index as soon as it has so many holders that a search would be slow. From then on,
 * the index grows lock by lock. To build it later, for 100,000 holders at once, would block the
 * broker for 70 ms. The index is dropped when the key becomes idle. Other keys have no index.
 */
import { IdTable } from '@holdfast/shared/idTable'
import type { KeyState, Lock } from './records.js'

/** A key with at most this many holders needs no index, because scanning them is fast. */
export const maxScannedHolders = 128

/** The indexes of all keys that have one. The granter keeps them up to date. */
export class FenceIndex {
  readonly #byKeyState = new Map<KeyState, IdTable<Lock>>()

  /** Whether any key has an index that `add` and `remove` must update. */
  get isUsed(): boolean {
    return this.#byKeyState.size > 0
  }

  /**
   * Finds the lock whose present fence is `fence`, among the locks of a key. Returns undefined if
   * there is none. If a snapshot restored a key with many holders, the first call builds the index.
   *
   * The index lists each lock under the fence of its grant, but an upgraded lock has a newer fence.
   * Only the oldest holder can be such a lock, because an upgrade waits until no other lock of the
   * key is left.
   */
  find(keyState: KeyState, fence: number): Lock | undefined {
    // The `first` of a key is its oldest holder.
    if (keyState.first?.presentFence === fence) return keyState.first
    if (keyState.holders.length > maxScannedHolders) {
      const lock = this.#indexOf(keyState).get(fence)
      // No lock is found by the fence that it had before an upgrade.
      return lock?.presentFence === fence ? lock : undefined
    }
    for (const lock of keyState.holders) if (lock.presentFence === fence) return lock
    return undefined
  }

  /** Gives a key its index. Call when the key gets more than {@link maxScannedHolders} holders. */
  build(keyState: KeyState): void {
    this.#indexOf(keyState)
  }

  /** The index of a key. Builds the index if the key has none. */
  #indexOf(keyState: KeyState): IdTable<Lock> {
    let locks = this.#byKeyState.get(keyState)
    if (locks === undefined) {
      locks = new IdTable<Lock>()
      for (const lock of keyState.holders) locks.add(lock)
      this.#byKeyState.set(keyState, locks)
    }
    return locks
  }

  add(lock: Lock): void {
    this.#byKeyState.get(lock.keyState)?.add(lock)
  }

  remove(lock: Lock): void {
    this.#byKeyState.get(lock.keyState)?.remove(lock)
  }

  /** Drops the index of an idle key. */
  forget(keyState: KeyState): void {
    this.#byKeyState.delete(keyState)
  }
}
