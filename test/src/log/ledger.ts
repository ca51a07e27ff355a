/**
 * Records what clients were told, and compares it with the table that a journal restores after a
 * crash. Every answer that a client received must be true of the table.
 */
import type { Lock } from '@holdfast/client'
import { journalLog } from '@holdfast/server'
import { LockTable, restore } from '@holdfast/server/core'

interface GrantedLock {
  readonly key: string
  readonly session: string
}

export class Ledger {
  /** Granted locks that the client has not tried to unlock. */
  readonly #held = new Map<number, GrantedLock>()
  /** Locks whose unlock was confirmed. */
  readonly #returned = new Set<number>()
  #highest = 0
  grants = 0

  granted({ key, fence }: Lock, session: string): void {
    this.grants++
    this.#highest = Math.max(this.#highest, fence)
    this.#held.set(fence, { key, session })
  }

  /** Until the unlock is confirmed, the lock may or may not be held. */
  async unlock(lock: Lock): Promise<void> {
    this.#held.delete(lock.fence)
    await lock.unlock()
    this.#returned.add(lock.fence)
  }

  /** What clients were told, but is not true. Empty if all is well. */
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
        if (this.#returned.has(fence)) lies.push(`${key} was given back, and is held: ${fence}`)
      }
    }
    if (table.fence < this.#highest) lies.push(`fence ${this.#highest} can be given again`)
    return lies
  }
}

/** The table that a broker would start with. */
export async function tableIn(dir: string): Promise<LockTable> {
  let table = new LockTable()
  const log = journalLog({ dir })
  await log.start({
    restore: (items) => {
      table = restore(items)
    },
    replay: (command) => void table.apply(command),
    apply: () => {},
    fail: () => {},
    serve: () => {},
    resign: () => {},
    digest: () => '',
    dump: () => [],
  })
  await log.close()
  return table
}
