/**
 * Shares the time of the broker between connections. A turn is one round of the event loop. A
 * connection that has used up its work budget is paused. This scheduler lets the paused connections
 * work in later turns, one slice after the other. Between two turns the event loop reads the
 * messages of the other clients. So only the client that causes much work must wait.
 *
 * A message may take much longer than the budget of a turn, because no message is interrupted. For
 * example, a large check for deadlocks takes ten times its usual time until V8 has compiled the
 * code. After such a message the broker recovers for a few ms. Meanwhile large work waits: paused
 * connections, long answers, and messages that may need a whole turn. So a client with small
 * messages waits for one long turn, and its next message does not wait for a second one.
 */
import type { Clock, Timer } from '@holdfast/shared'
import { turnBudget, unitsPerMs } from '../config/workCosts.js'

/**
 * Work that is done in slices in later turns, such as the work of a paused connection, or the end
 * of a session with many locks. Comments call it *paused work*.
 */
export interface PacedWork {
  /**
   * Works for about `units` units of work (see `workCosts.ts`). Returns the units that were used.
   */
  work(units: number): number
}

export interface WorkSchedulerOptions {
  readonly clock: Clock
  /** Calls back after the broker has handled all input that has already arrived in this turn. */
  readonly endOfTurn: (callback: () => void) => void
}

export class WorkScheduler {
  readonly #clock: Clock
  readonly #endOfTurn: (callback: () => void) => void
  /** Work that waits for a slice, in order. */
  readonly #waiting = new Set<PacedWork>()
  /** Work that waits for its timer. */
  readonly #delayed = new Map<PacedWork, Timer>()
  /** Units by which paused work has exceeded its budget; subtracted from its next budgets. */
  #overdrawnByPausedWork = 0
  /** Whether `#run` will be called, at the end of this turn or after a recovery. */
  #isScheduled = false
  /** Schedules `#run` for paused work after the recovery. */
  #recoveryTimer: Timer | undefined
  /** When the broker will have recovered from long work; undefined if it has recovered. */
  #recoversUntil: number | undefined
  #flusher: { flush(): void } | undefined
  /**
   * The budget for paused work in the next `#run`: half of the units that a turn left. If several
   * turns have ended since `#run` was scheduled, the busiest turn counts. Infinity until a turn
   * ends, but never when `#run` reads the budget, because `#run` first ends a turn.
   */
  #unitsForPausedWork = Number.POSITIVE_INFINITY
  #turn = 0
  #unitsLeft: number = turnBudget.all
  /** When the first frame of this turn arrived. */
  #beganAt: number | undefined
  /** Time from `#beganAt` to the newest call of {@link allowanceNow} in this turn, in ms. */
  #elapsedMs = 0

  constructor({ clock, endOfTurn }: WorkSchedulerOptions) {
    this.#clock = clock
    this.#endOfTurn = endOfTurn
  }

  /**
   * Sets the flusher, which writes the output of a turn before paused work continues. So the answer
   * to a small message does not wait for that work.
   */
  setFlusher(flusher: { flush(): void }): void {
    this.#flusher = flusher
  }

  /** Number of the current turn of the event loop; rises with each call of {@link nextTurn}. */
  get turn(): number {
    return this.#turn
  }

  /**
   * The work budget of a connection, in units. Called when its first frame of this turn arrives.
   * Also measures the time of the turn, on which {@link unitsLeft} depends. Reads the clock itself,
   * because the callers have compensated times, which omit the time when the process stood still.
   */
  allowanceNow(): number {
    const now = this.#clock.monotonic()
    this.#beganAt ??= now
    this.#elapsedMs = now - this.#beganAt
    if (this.#recoversUntil !== undefined) this.#endRecoveryIfOver(now)
    return Math.max(turnBudget.minimum, Math.min(turnBudget.connection, this.unitsLeft))
  }

  /**
   * Units of work that all connections together have left in this turn; 0 or less for none. The
   * first message of a client, `hello`, can cost much, so it waits while too few units are left.
   */
  get unitsLeft(): number {
    // The time of the turn bounds the units as well. A unit takes longer than usual on a slow
    // machine, and until V8 has compiled the code.
    return Math.min(this.#unitsLeft, (turnBudget.ms - this.#elapsedMs) * unitsPerMs)
  }

  /**
   * Units of work that this turn has left for large work: for a long answer, and for a message that
   * may need a whole turn. 0 while the broker recovers from a long turn.
   */
  get unitsForLargeWork(): number {
    return this.#recoversUntil === undefined ? this.unitsLeft : 0
  }

  /** Subtracts units from the budget of this turn. */
  spend(units: number): void {
    this.#unitsLeft -= units
  }

  /**
   * Ends a turn and begins the next. Called after the broker has handled the input of the old turn,
   * and before the broker writes the output or continues work that waits. Work beyond the budget of
   * the old turn reduces the budget of the new turn.
   */
  nextTurn(): void {
    const overdrawn = Math.min(turnBudget.all, Math.max(0, -this.#unitsLeft))
    this.#unitsForPausedWork = Math.min(this.#unitsForPausedWork, this.unitsLeft / 2)
    this.#turn++
    this.resetTurnTime()
    this.#unitsLeft = turnBudget.all - overdrawn
  }

  /**
   * Restarts the measurement of the turn's time, which begins at the first frame. Called when a
   * turn begins, and again after the broker has written the output of the previous turn.
   */
  resetTurnTime(): void {
    this.#beganAt = undefined
    this.#elapsedMs = 0
  }

  /**
   * Called after large work that no budget could interrupt, and that took `ms`. Lets the broker
   * recover if this is much longer than the time of a turn.
   */
  endLargeWork(ms: number): void {
    this.#recoverFrom(ms - turnBudget.ms)
  }

  /**
   * Lets the broker recover from work that took `overMs` longer than planned. Work during a
   * recovery does not extend the recovery, so that large work does not wait for ever.
   */
  #recoverFrom(overMs: number): void {
    if (overMs <= turnBudget.toleratedMs) return
    const now = this.#clock.monotonic()
    if (this.#recoversUntil !== undefined) this.#endRecoveryIfOver(now)
    else this.#recoversUntil = now + Math.min(overMs, turnBudget.recoveryMs)
  }

  #endRecoveryIfOver(now: number): void {
    if (now >= this.#recoversUntil!) this.#recoversUntil = undefined
  }

  /** Schedules work for a later turn, after the work that is waiting already. */
  add(work: PacedWork): void {
    this.#waiting.add(work)
    if (this.#isScheduled) return
    this.#isScheduled = true
    this.#unitsForPausedWork = Number.POSITIVE_INFINITY
    this.#endOfTurn(this.#run)
  }

  /** Calls {@link add} after `ms` milliseconds, unless this work is already delayed. */
  addLater(work: PacedWork, ms: number): void {
    if (this.#delayed.has(work)) return
    const wake = (): void => {
      this.#delayed.delete(work)
      this.add(work)
    }
    this.#delayed.set(work, this.#clock.setTimer(wake, Math.ceil(ms)))
  }

  /** Removes work that has ended. */
  remove(work: PacedWork): void {
    this.#waiting.delete(work)
    this.#clock.clearTimer(this.#delayed.get(work))
    this.#delayed.delete(work)
  }

  /** Removes all work and stops all timers. */
  stop(): void {
    for (const timer of this.#delayed.values()) this.#clock.clearTimer(timer)
    this.#delayed.clear()
    this.#waiting.clear()
    this.#clock.clearTimer(this.#recoveryTimer)
  }

  readonly #run = (): void => {
    this.nextTurn()
    // Begins one more turn if there is output to write.
    this.#flusher?.flush()
    const budget = Math.max(turnBudget.minimumForPaused, this.#unitsForPausedWork)
    this.#unitsForPausedWork = Number.POSITIVE_INFINITY
    const now = this.#clock.monotonic()
    if (this.#recoversUntil !== undefined) this.#endRecoveryIfOver(now)
    if (this.#recoversUntil === undefined) this.#runSlices(budget, /* startedAt */ now)
    // During a recovery, paused work leaves its budget unused, and this reduces the overdraft.
    else this.#overdrawnByPausedWork = Math.max(0, this.#overdrawnByPausedWork - budget)
    this.#isScheduled = this.#waiting.size > 0
    if (!this.#isScheduled) return
    if (this.#recoversUntil === undefined) this.#endOfTurn(this.#run)
    else {
      const ms = Math.max(1, Math.ceil(this.#recoversUntil - this.#clock.monotonic()))
      this.#recoveryTimer = this.#clock.setTimer(() => this.#endOfTurn(this.#run), ms)
    }
  }

  #runSlices(budget: number, startedAt: number): void {
    let unitsLeft = budget - this.#overdrawnByPausedWork
    // The time that the budget usually takes.
    const usualMs = budget / unitsPerMs
    let elapsedMs = 0
    // Each work that waits now gets one slice. Work that adds itself again waits for a later turn.
    for (let slicesLeft = this.#waiting.size; slicesLeft > 0 && unitsLeft > 0; slicesLeft--) {
      const [work] = this.#waiting
      if (work === undefined) break
      this.#waiting.delete(work)
      unitsLeft -= work.work(Math.min(turnBudget.slice, unitsLeft))
      elapsedMs = this.#clock.monotonic() - startedAt
      if (elapsedMs >= usualMs) break
    }
    // A slice can exceed the budget by one expensive message. The next budgets for paused work are
    // then smaller, so that other clients get this time.
    this.#overdrawnByPausedWork = Math.max(0, -unitsLeft)
    this.#recoverFrom(elapsedMs - usualMs)
  }
}
