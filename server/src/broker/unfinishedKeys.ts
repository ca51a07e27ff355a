/**
 * Keys with more waiters to grant to than one command grants at once. The broker goes on with them
 * in later turns, so that the clients of other keys have their turn in between.
 */
import type { PacedWork, WorkScheduler } from '../connection/workScheduler.js'
import type { Command } from '../core/index.js'

/** Most keys that one command goes on with. */
const keysAtOnce = 100

export interface UnfinishedKeysDeps {
  readonly scheduler: WorkScheduler
  readonly log: { submit(command: Command): void }
  readonly clock: { wall(): number }
  /** How many effects of the table the broker has handled so far. */
  readonly table: { readonly effectCount: number }
}

export class UnfinishedKeys implements PacedWork {
  readonly #deps: UnfinishedKeysDeps
  readonly #keys = new Set<string>()

  constructor(deps: UnfinishedKeysDeps) {
    this.#deps = deps
  }

  /** The table has more to grant of this key. */
  add(key: string): void {
    this.#keys.add(key)
    this.#deps.scheduler.add(this)
  }

  /** This broker does not count any more; the one that takes over goes on. */
  clear(): void {
    this.#keys.clear()
    this.#deps.scheduler.remove(this)
  }

  work(): number {
    const keys = [...this.#keys].slice(0, keysAtOnce)
    if (keys.length === 0) return 0
    for (const key of keys) this.#keys.delete(key)
    if (this.#keys.size > 0) this.#deps.scheduler.add(this)
    const { log, clock, table } = this.#deps
    const before = table.effectCount
    log.submit({ type: 'grantUnfinishedKeys', keys, at: clock.wall() })
    return table.effectCount - before
  }
}
