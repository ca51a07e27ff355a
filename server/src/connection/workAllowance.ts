/**
 * The two work budgets of one connection: a budget for the current turn of the event loop, and a
 * budget for a second. Both budgets are in units of work (about half a microsecond of broker time).
 * A connection that has used up a budget is paused, so that the broker handles the messages of the
 * other connections first.
 */
import { turnBudget, unitsPerMs } from '../config/workCosts.js'
import type { WorkScheduler } from './workScheduler.js'

export interface WorkAllowanceDeps {
  readonly scheduler: WorkScheduler
  /** Units of work that one connection may cause in a second; `Infinity` for no limit. */
  readonly workPerSecond: number
}

export class WorkAllowance {
  readonly #deps: WorkAllowanceDeps
  /** Units of work that are left in the turn with the number `#turn`. */
  #unitsLeft = 0
  #turn = -1
  /** When the time for these units has passed, in ms; Infinity if only the units are limited. */
  #endsAt = Number.POSITIVE_INFINITY
  /** The budget of a second; made at the first charge, so that an idle connection has none. */
  #secondBudget: SecondBudget | undefined = undefined

  constructor(deps: WorkAllowanceDeps) {
    this.#deps = deps
  }

  /** Units of work that are left in this turn; 0 or less if the budget is used up. */
  get unitsLeft(): number {
    return this.#unitsLeft
  }

  /** Whether the budget of a second exists, because this connection was charged before. */
  get hasSecondBudget(): boolean {
    return this.#secondBudget !== undefined
  }

  /** Sets the budget of the turn at the first call in a turn. `now` is a monotonic time in ms. */
  beginTurn(now: number): void {
    const { scheduler } = this.#deps
    if (this.#turn === scheduler.turn) return
    this.#turn = scheduler.turn
    const units = this.waitMs(now) > 0 ? 0 : scheduler.allowanceAt(now)
    this.#unitsLeft = units
    // Each connection gets the minimum, also after the time of the turn has passed. So the minimum
    // is limited in time as well, because a hundred connections may each use their minimum.
    this.#endsAt =
      units > turnBudget.minimum ? Number.POSITIVE_INFINITY : now + turnBudget.minimumMs
  }

  /**
   * Gives a paused connection a budget of `units`, and the usual time for this work, for one slice
   * of work in the current turn. `now` is a monotonic time in ms.
   */
  beginSlice(units: number, now: number): void {
    this.#turn = this.#deps.scheduler.turn
    this.#unitsLeft = units
    this.#endsAt = now + units / unitsPerMs
  }

  /** Whether the budget is limited in time too, so that the caller must call {@link endIfLate}. */
  get isTimed(): boolean {
    return this.#endsAt !== Number.POSITIVE_INFINITY
  }

  /**
   * Uses up the units if their time has passed. The same work takes longer than usual on a slow
   * machine, and until V8 has compiled the code. `now` is a monotonic time in ms.
   */
  endIfLate(now: number): void {
    if (now >= this.#endsAt) this.#unitsLeft = Math.min(this.#unitsLeft, 0)
  }

  /** Subtracts units from the budget of the turn. */
  chargeTurn(units: number): void {
    this.#unitsLeft -= units
  }

  /**
   * Subtracts units from the budget of a second. If this overdraws the budget of the second, the
   * budget of the turn becomes 0 as well.
   */
  chargeSecond(units: number, now: number): void {
    const { workPerSecond } = this.#deps
    if (workPerSecond === Number.POSITIVE_INFINITY) return
    this.#secondBudget ??= new SecondBudget(workPerSecond, now)
    this.#secondBudget.spend(units, now)
    if (this.#secondBudget.isOverdrawn) this.#unitsLeft = Math.min(this.#unitsLeft, 0)
  }

  /** How many ms the connection must wait until the budget of a second allows more work. */
  waitMs(now: number): number {
    return this.#secondBudget === undefined ? 0 : this.#secondBudget.waitMs(now)
  }
}

/**
 * The budget of a second (`limits.workPerSecond`), as a token bucket: the budget refills at a
 * steady rate up to the work of one second. A message is never interrupted, so the work for a
 * message may overdraw the budget.
 */
class SecondBudget {
  readonly #unitsPerMs: number
  readonly #maxUnits: number
  #units: number
  #updatedAt: number

  /**
   * @param perSecond Units of work in a second.
   * @param now A monotonic time in ms, of the same clock as for the other methods.
   */
  constructor(perSecond: number, now: number) {
    this.#unitsPerMs = perSecond / 1_000
    this.#maxUnits = perSecond
    this.#units = perSecond
    this.#updatedAt = now
  }

  spend(units: number, now: number): void {
    this.#refill(now)
    this.#units -= units
  }

  /** Whether the last message used more than the budget, which may have refilled since then. */
  get isOverdrawn(): boolean {
    return this.#units < 0
  }

  /** The time until the budget is no longer overdrawn, in ms; 0 for a budget with units left. */
  waitMs(now: number): number {
    // A refill only raises the budget, so it is not needed here. Each message calls this method, so
    // this line saves time.
    if (this.#units >= 0) return 0
    this.#refill(now)
    return this.#units >= 0 ? 0 : -this.#units / this.#unitsPerMs
  }

  #refill(now: number): void {
    this.#units = Math.min(this.#maxUnits, this.#units + (now - this.#updatedAt) * this.#unitsPerMs)
    this.#updatedAt = now
  }
}
