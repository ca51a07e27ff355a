/**
 * An oracle (a check of a simulated run) of `maxHold`, the longest time for which a lock is held.
 * The broker ends a lock after its `maxHold`, and not before. In a run without faults, the broker
 * is hardly late. In other runs a broker may be late, because it was stopped or because another
 * broker took over.
 */
import type { Effect } from '@holdfast/server/core'
import type { RunReport } from './runReport.js'

/**
 * The factor by which a hold may be longer or shorter. The clock of a broker may be wrong by 1 %,
 * or by 1.5 % if there are several brokers. The last 0.1 % allows for times in whole ms.
 */
const clockTolerance = 1.016
/** A hold may be shorter by this many ms, because timers may fire early. */
const earlyMs = 2

interface Hold {
  readonly grantedAt: number
  readonly maxHold: number
}

export class HoldOracle {
  readonly #report: RunReport
  readonly #now: () => number
  /** The holds of the locks with a `maxHold`, by fence (number of the grant). */
  readonly #holds = new Map<number, Hold>()

  constructor(report: RunReport, now: () => number) {
    this.#report = report
    this.#now = now
  }

  /** The former broker has ended, and a broker has started with an empty table. */
  brokerStarted(): void {
    this.#holds.clear()
  }

  /** Checks the effects of a command. */
  check(effects: readonly Effect[]): void {
    for (const effect of effects) {
      if (effect.kind === 'granted') {
        const { lock } = effect
        const maxHold = lock.extras?.maxHold
        // Of a set (one lock of several keys), the oracle follows only the first key.
        if (maxHold === undefined || !lock.isPrimary) continue
        this.#holds.set(lock.fence, { grantedAt: this.#now(), maxHold })
      } else if (effect.kind === 'released') {
        const { lock, reason } = effect
        if (reason === 'maxHold' && lock.isPrimary) this.#checkNotEarly(lock.fence)
        if (lock.isPrimary) this.#holds.delete(lock.fence)
      }
    }
  }

  /**
   * Checks that no lock is held for longer than its `maxHold`. Call only in a world without faults.
   *
   * @param lateMs How late a broker may be.
   */
  checkOverdue(lateMs: number): void {
    for (const [fence, { grantedAt, maxHold }] of this.#holds) {
      const heldMs = this.#now() - grantedAt
      if (heldMs > maxHold * clockTolerance + lateMs)
        this.#report.violated('a lock ends after its maxHold', `${fence} is held for ${heldMs} ms`)
    }
  }

  /** Checks that a lock was not ended before its `maxHold`. */
  #checkNotEarly(fence: number): void {
    // Without an entry in `#holds`, the lock had no `maxHold`. The broker must not end such a lock.
    const hold = this.#holds.get(fence)
    const heldMs = this.#now() - (hold?.grantedAt ?? Number.POSITIVE_INFINITY)
    if (hold !== undefined && heldMs >= hold.maxHold / clockTolerance - earlyMs) return
    const detail = `${fence} was held for ${heldMs} ms of ${hold?.maxHold}`
    this.#report.violated('a lock is held for its maxHold', detail)
  }
}
