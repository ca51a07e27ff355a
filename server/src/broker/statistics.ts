/**
 * The lock table of a broker as it is now, and counters of what the table did since the start.
 * Refused messages are not counted.
 */
import type { LockStats } from '@holdfast/shared'
import { type Effect, LockTable } from '../core/index.js'

/** The current lock table. Only the state machine changes it. */
export class LiveTable {
  /** Another object after each snapshot that the broker loads. */
  current = new LockTable()
  /** Effects that the broker has handled, and the units of work of telling them to watches. */
  effectCount = 0
}

export class Statistics {
  #granted = 0
  #failed = 0
  #expired = 0
  #refreshed = 0
  #unlocked = 0

  get expired(): number {
    return this.#expired
  }

  count(effect: Effect): void {
    switch (effect.kind) {
      case 'granted':
        this.#granted++
        break
      case 'released':
        if (effect.reason === 'unlocked') this.#unlocked++
        else if (effect.reason === 'expired') this.#expired++
        break
      case 'refreshed':
        this.#refreshed++
        break
      case 'withdrawn':
        this.#failed++
        break
      case 'answer':
        if (!effect.repeat && isHeldOff(effect.answer)) this.#failed++
        break
    }
  }

  /** @param activeLocks Locks held at this moment. */
  snapshot(activeLocks: number): LockStats {
    const totalLocks = this.#granted + this.#failed
    return {
      totalLocks,
      activeLocks,
      failedLocks: this.#failed,
      expiredLocks: this.#expired,
      refreshCount: this.#refreshed,
      unlockCount: this.#unlocked,
      successRate: totalLocks === 0 ? 0 : this.#granted / totalLocks,
    }
  }
}

/**
 * A request that waited and failed is counted when it leaves its queue, not when it is answered.
 */
function isHeldOff(answer: Extract<Effect, { kind: 'answer' }>['answer']): boolean {
  return answer.kind === 'failed' && answer.code === 'LOCK_HELD'
}
