/**
 * `LiveTable` holds the current lock table. `Statistics` counts grants, failed requests, expiries,
 * refreshes and unlocks since the start of the broker. `Statistics` does not count messages that
 * the broker refuses before they reach the lock table.
 */
import type { LockStats } from '@holdfast/shared'
import { type Effect, LockTable } from '../core/index.js'
import type { LockCounters } from '../observability/observer.js'
import { RefusedDeadlocks } from './refusedDeadlocks.js'

/**
 * Holds the lock table from which the broker serves its clients, in contrast to a table that is
 * being built from a snapshot. Only the state machine changes the table.
 */
export class LiveTable {
  /** The broker replaces this object when it loads a snapshot. */
  current = new LockTable()
  /**
   * The work of all commands so far, in units of work (see `workCosts.ts`). Each effect (a change
   * of the table) counts one unit. Other work, such as the events of watches, adds further units.
   */
  workUnits = 0
}

/** The part of the lock table that {@link Statistics.counters} reads. */
type CountedTable = Pick<LockTable, 'heldCount' | 'barriers' | 'keptResults'>

export class Statistics {
  #granted = 0
  #failed = 0
  #expired = 0
  #refreshed = 0
  #unlocked = 0
  readonly #refusedDeadlocks = new RefusedDeadlocks()

  /** How many locks have ended because their ttl or their `maxHold` was over. */
  get expired(): number {
    return this.#expired
  }

  /** The estimated memory of the refused deadlocks that the broker keeps, in bytes. */
  get bytes(): number {
    return this.#refusedDeadlocks.bytes
  }

  /**
   * Counts an effect.
   *
   * @param at When the command of the effect was made, in ms of the wall clock.
   */
  count(effect: Effect, at: number): void {
    switch (effect.kind) {
      case 'granted':
        // Of a set (a lock on several keys), only the first lock is primary. So a set counts once.
        if (effect.lock.isPrimary) this.#granted++
        break
      case 'upgraded':
        this.#granted++
        break
      case 'released':
        if (!effect.lock.isPrimary) break
        if (effect.reason === 'unlocked') this.#unlocked++
        else if (effect.reason === 'expired' || effect.reason === 'maxHold') this.#expired++
        break
      case 'refreshed':
        this.#refreshed++
        break
      case 'withdrawn':
        // A request withdrawn as `answered` is a `once` that got the value of another call. It
        // counts neither as granted nor as failed.
        if (effect.request.isPrimary && effect.reason !== 'answered') this.#failed++
        break
      case 'answer':
        if (effect.answer.kind !== 'failed') break
        // `repeat: true` marks a repetition of an answer that was counted before, or a refusal that
        // the table does not store. A refused deadlock is such a refusal, so it counts in any case.
        if (effect.answer.cycle !== undefined) {
          this.#refusedDeadlocks.add({ since: at, cycle: effect.answer.cycle })
        }
        // Only a request with the timeout 0 fails with `LOCK_HELD`. The case `withdrawn` counts the
        // requests that failed after a wait.
        if (!effect.repeat && effect.answer.code === 'LOCK_HELD') this.#failed++
        break
    }
  }

  /** Returns the counters, and the newest refused deadlocks with their keys and session names. */
  snapshot(table: CountedTable): LockStats {
    const deadlocks = this.#refusedDeadlocks.newestFirst
    const [newestDeadlock] = deadlocks
    const counters = this.counters(table)
    return newestDeadlock === undefined
      ? counters
      : { ...counters, newestDeadlock, deadlocks: [...deadlocks] }
  }

  /** Returns the counters, and how many locks, barriers and kept results the table has now. */
  counters({ heldCount: activeLocks, barriers, keptResults }: CountedTable): LockCounters {
    // `totalLocks` counts granted and failed requests.
    const totalLocks = this.#granted + this.#failed
    return {
      totalLocks,
      activeLocks,
      failedLocks: this.#failed,
      expiredLocks: this.#expired,
      refreshCount: this.#refreshed,
      unlockCount: this.#unlocked,
      successRate: totalLocks === 0 ? 0 : this.#granted / totalLocks,
      barriers: barriers.size,
      barrierCalls: barriers.callCount,
      keptResults: keptResults.size,
      refusedDeadlocks: this.#refusedDeadlocks.count,
    }
  }
}
