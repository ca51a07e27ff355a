/**
 * The holders of a key by fence, so that `revoke` finds one of 100,000 shared locks at once. Made
 * for a key when it is asked for first, and kept until the key falls idle: a key where nothing is
 * revoked pays nothing for it.
 */
import { IdTable } from '@holdfast/shared/idTable'
import type { KeyState, Lock } from './records.js'

export class FenceIndex {
  readonly #byEntry = new Map<KeyState, IdTable<Lock>>()

  /** Whether there is a key that has to be kept up to date. */
  get isUsed(): boolean {
    return this.#byEntry.size > 0
  }

  /** All that hold this key. The first time it takes as long as there are holders. */
  holdersOf(entry: KeyState): IdTable<Lock> {
    let roster = this.#byEntry.get(entry)
    if (roster === undefined) {
      roster = new IdTable<Lock>()
      for (const lock of entry.holders) roster.add(lock)
      this.#byEntry.set(entry, roster)
    }
    return roster
  }

  add(lock: Lock): void {
    this.#byEntry.get(lock.keyState)?.add(lock)
  }

  remove(lock: Lock): void {
    this.#byEntry.get(lock.keyState)?.remove(lock)
  }

  /** The key is idle. */
  forget(entry: KeyState): void {
    this.#byEntry.delete(entry)
  }
}
