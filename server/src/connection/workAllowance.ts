/**
 * The two work budgets of one connection: a budget for the current turn of the event loop, and a
 * rate budget (work per second). Both budgets are in units of work; a unit is about half a
 * microsecond of broker time. A connection that has used up a budget is paused, so that the broker
 * handles the messages of the other connections first.
 *
 * All times are in ms of compensated time, which never goes back (see `connectionDeps.ts`). Most
 * callers know the present time already, and pass it as the parameter `now`.
 */
import { costs, turnBudget } from '../config/workCosts.js'
import type { WorkScheduler } from './workScheduler.js'

export interface WorkAllowanceDeps {
  readonly scheduler: WorkScheduler
  /** Units of work that one connection may cause in a second; `Infinity` for no limit. */
  readonly workPerSecond: number
  readonly time: { now(): number }
}

export class WorkAllowance {
  readonly #deps: WorkAllowanceDeps
  /** Units of work that are left in the turn `#turn`. */
  #unitsLeft = 0
  /** The turn for which a budget was last set, by its number; -1 before the first budget. */
  #turn = -1
  /** Until when the connection may use `#unitsLeft`. */
  #endsAt = 0
  /**
   * When the units left have fallen to this number, {@link isUsedUp} looks at the clock. With
   * Infinity, each call of `isUsedUp` looks at the clock.
   */
  #unitsAtNextLook = Number.POSITIVE_INFINITY
  /** Undefined for a full budget, so that an idle connection keeps no budget in memory. */
  #rateBudget: RateBudget | undefined = undefined

  constructor(deps: WorkAllowanceDeps) {
    this.#deps = deps
  }

  /** Units of work that are left in this turn; 0 or less if the budget is used up. */
  get unitsLeft(): number {
    return this.#unitsLeft
  }

  /** Sets the budget of the turn. Further calls in the same turn do nothing. */
  beginTurn(now: number): void {
    const { scheduler } = this.#deps
    if (this.#turn === scheduler.turn) return
    this.#turn = scheduler.turn
    const units = this.waitMs(now) > 0 ? 0 : scheduler.allowanceNow()
    this.#unitsLeft = units
    if (units > turnBudget.minimum) {
      this.#endsAt = now + turnBudget.connectionMs
      this.#unitsAtNextLook = units - turnBudget.minimum
    } else {
      // A connection that must wait for its rate budget has 0 units. Every other connection has at
      // least the minimum, even if the turn has taken too long already. A hundred connections may
      // each use the minimum. So its time is short, and each `isUsedUp` looks at the clock.
      this.#endsAt = now + turnBudget.minimumMs
      this.#unitsAtNextLook = Number.POSITIVE_INFINITY
    }
  }

  /**
   * Begins one slice of work of a paused connection in the current turn. The budget of the slice is
   * `units`, and its time is `turnBudget.sliceMs`.
   */
  beginSlice(units: number, now: number): void {
    this.#turn = this.#deps.scheduler.turn
    this.#unitsLeft = units
    this.#endsAt = now + turnBudget.sliceMs
    this.#unitsAtNextLook = Number.POSITIVE_INFINITY
  }

  /**
   * Whether the connection must stop because the units of this turn, or their time, are used up.
   * Call before each message. A connection with more units than the minimum first uses the minimum
   * without a look at the clock. Most frames cost less than the minimum, so most frames need no
   * look.
   */
  isUsedUp(): boolean {
    if (this.#unitsLeft <= this.#unitsAtNextLook) this.#lookAtClock()
    return this.#unitsLeft <= 0
  }

  /** Whether the time for the units has passed. Always looks at the clock. */
  isLate(): boolean {
    return this.#deps.time.now() >= this.#endsAt
  }

  /** Subtracts units from the budget of the turn. */
  chargeTurn(units: number): void {
    this.#unitsLeft -= units
  }

  /**
   * Subtracts units from the rate budget (work per second). If this overdraws the rate budget, the
   * connection has no units left in this turn.
   */
  chargeRate(units: number, now: number): void {
    const { workPerSecond } = this.#deps
    if (workPerSecond === Number.POSITIVE_INFINITY) return
    this.#rateBudget ??= new RateBudget(workPerSecond, now)
    this.#rateBudget.spend(units, now)
    if (this.#rateBudget.isOverdrawn) this.#unitsLeft = Math.min(this.#unitsLeft, 0)
  }

  /**
   * Charges the rate budget for a frame that has used `units`. A single `pong` is free while the
   * rate budget is full, so that an idle connection keeps no rate budget in memory. A `pong` costs
   * `costs.message`, and less than one unit for the `ack` with which the broker answers.
   */
  chargeFrame(units: number, now: number): void {
    const isMoreThanPong = units > costs.message + 1
    if (!isMoreThanPong && this.#rateBudget?.isFull(now)) this.#rateBudget = undefined
    if (isMoreThanPong || this.#rateBudget !== undefined) this.chargeRate(units, now)
  }

  /** Subtracts units from both budgets, and from the units that all connections share. */
  chargeAll(units: number, now: number): void {
    this.chargeTurn(units)
    this.#deps.scheduler.spend(units)
    this.chargeRate(units, now)
  }

  /** How many ms the connection must wait until the rate budget allows more work. */
  waitMs(now: number): number {
    return this.#rateBudget === undefined ? 0 : this.#rateBudget.waitMs(now)
  }

  /**
   * Sets the units left to 0 if their time has passed. The units alone do not bound the time,
   * because a unit takes longer on a slow machine, and until V8 has compiled the code.
   */
  #lookAtClock(): void {
    if (this.isLate()) this.#unitsLeft = Math.min(this.#unitsLeft, 0)
    else if (this.#unitsAtNextLook !== Number.POSITIVE_INFINITY) {
      this.#unitsAtNextLook = this.#unitsLeft - turnBudget.lookAtClock
    }
  }
}

/**
 * The budget of `limits.workPerSecond`, as a token bucket: the budget refills at a steady rate up
 * to the work of one second. A message is never interrupted, so the work for a message may overdraw
 * the budget.
 */
class RateBudget {
  readonly #unitsPerMs: number
  readonly #maxUnits: number
  #units: number
  #updatedAt: number

  /** @param perSecond Units of work in a second. */
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

  /** Whether the budget has refilled to the work of one second. */
  isFull(now: number): boolean {
    this.#refill(now)
    return this.#units === this.#maxUnits
  }

  /** Whether the budget was overdrawn at its last refill or `spend`. Does not refill the budget. */
  get isOverdrawn(): boolean {
    return this.#units < 0
  }

  /** The time until the budget is no longer overdrawn, in ms; 0 for a budget with units left. */
  waitMs(now: number): number {
    // A refill only raises the budget, so a budget that is not overdrawn needs no refill. Each
    // connection calls this method in every turn with input, so this line saves time.
    if (this.#units >= 0) return 0
    this.#refill(now)
    return this.#units >= 0 ? 0 : -this.#units / this.#unitsPerMs
  }

  #refill(now: number): void {
    this.#units = Math.min(this.#maxUnits, this.#units + (now - this.#updatedAt) * this.#unitsPerMs)
    this.#updatedAt = now
  }
}
