/**
 * A ledger records the answers that clients received, and compares the answers with the lock table
 * that a journal restores after a crash. The journal on disk records all changes of locks. An
 * answer that contradicts the table is a lie. A fence is the number of a grant, and each grant has
 * a higher fence than all earlier grants.
 */
import type { Lock } from '@holdfast/client'
import { journalLog } from '@holdfast/server'
import { LockTable, restoreGradually } from '@holdfast/server/core'

interface GrantedLock {
  readonly key: string
  readonly session: string
}

export class Ledger {
  /** The granted locks that no client has tried to unlock, by their fences. */
  readonly #held = new Map<number, GrantedLock>()
  /** The fences of the locks whose unlock was confirmed. */
  readonly #unlocked = new Set<number>()
  #highestFence = 0
  /** How many grants this ledger has recorded. */
  grants = 0

  /** Records that the broker has granted this lock to a client. */
  granted({ key, fence }: Lock, session: string): void {
    this.grants++
    this.#highestFence = Math.max(this.#highestFence, fence)
    this.#held.set(fence, { key, session })
  }

  /**
   * Unlocks a lock. While the unlock is not confirmed, the table may or may not have the lock, so
   * {@link lies} accepts both.
   */
  async unlock(lock: Lock): Promise<void> {
    this.#held.delete(lock.fence)
    await lock.unlock()
    this.#unlocked.add(lock.fence)
  }

  /** Returns the contradictions between the recorded answers and this table, as text. */
  lies(table: LockTable): string[] {
    const lies: string[] = []
    for (const [fence, { key, session }] of this.#held) {
      const holders = [...(table.keys.get(key)?.holders ?? [])]
      const isHeld = holders.some((lock) => lock.fence === fence && lock.session.id === session)
      if (!isHeld) lies.push(`${key} was granted with fence ${fence}, and is not held`)
    }
    for (const { key, holders } of table.keys.values()) {
      const fences = [...holders].map(({ fence }) => fence)
      if (fences.length > 1) lies.push(`${key} is held ${fences.length} times`)
      for (const fence of fences) {
        if (this.#unlocked.has(fence)) lies.push(`${key} was unlocked, and is held: ${fence}`)
      }
    }
    if (table.fence < this.#highestFence)
      lies.push(`fence ${this.#highestFence} can be granted again`)
    return lies
  }
}

/** Reads a journal, and returns the lock table with which a broker would start. */
export async function tableIn(dir: string): Promise<LockTable> {
  let table = new LockTable()
  const log = journalLog({ dir })
  await log.start({
    *restore(items) {
      table = yield* restoreGradually(items)
    },
    replay: (command) => void table.apply(command),
    apply: () => {},
    fail: () => {},
    serve: () => {},
    resign: () => {},
    digest: () => '',
    beginSnapshot: () => {
      throw new Error('a journal does not ask the state machine for a snapshot')
    },
  })
  await log.close()
  return table
}
