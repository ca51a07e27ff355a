/**
 * The unfinished keys: keys with so many waiters (requests that wait for a lock) that one command
 * could not grant all of them. The broker grants the remaining waiters in later turns of the event
 * loop, and handles the requests for other keys between these turns.
 */
import type { PacedWork, WorkScheduler } from '../connection/workScheduler.js'
import type { Command } from '../core/index.js'

/** How many keys one command `grantUnfinishedKeys` may have. */
const keysPerCommand = 100

export interface UnfinishedKeysDeps {
  readonly scheduler: WorkScheduler
  readonly log: { submit(command: Command): void }
  readonly clock: { wall(): number }
  /** Counts the work of all commands, in units of work (see `workCosts.ts`). */
  readonly workCounter: { readonly workUnits: number }
}

export class UnfinishedKeys implements PacedWork {
  readonly #deps: UnfinishedKeysDeps
  readonly #keys = new Set<string>()

  constructor(deps: UnfinishedKeysDeps) {
    this.#deps = deps
  }

  /** Schedules a command for a key that has more waiters to grant. */
  add(key: string): void {
    this.#keys.add(key)
    this.#deps.scheduler.add(this)
  }

  /**
   * Forgets all keys when this broker is no longer a member of its cluster. The broker that takes
   * over the sessions finds the keys in its lock table, and grants the waiters.
   */
  clear(): void {
    this.#keys.clear()
    this.#deps.scheduler.remove(this)
  }

  /** Submits a command for some of the keys. Returns the units of work of the command. */
  work(): number {
    const keys = [...this.#keys].slice(0, keysPerCommand)
    if (keys.length === 0) return 0
    for (const key of keys) this.#keys.delete(key)
    if (this.#keys.size > 0) this.#deps.scheduler.add(this)
    const { log, clock, workCounter } = this.#deps
    const unitsBefore = workCounter.workUnits
    log.submit({ type: 'grantUnfinishedKeys', keys, at: clock.wall() })
    return workCounter.workUnits - unitsBefore
  }
}
