/**
 * How much work one connection may still cause: its share of the present turn of the event loop,
 * and its work in a second. A connection that has used up its allowance is paused, so that the
 * messages of the other connections are handled first.
 */
import type { WorkScheduler } from './workScheduler.js'

export interface WorkAllowanceDeps {
  readonly scheduler: WorkScheduler
  /** Work that one connection may cause in a second, in units; `Infinity` for any. */
  readonly workPerSecond: number
}

export class WorkAllowance {
  readonly #deps: WorkAllowanceDeps
  /** What may still be used in the turn with the number `#turn`, in units of work. */
  #left = 0
  #turn = -1
  /** Made with the first work that counts, so that an idle connection takes no memory for it. */
  #rate: WorkRate | undefined = undefined

  constructor(deps: WorkAllowanceDeps) {
    this.#deps = deps
  }

  /** Units that may still be used in this turn; 0 or less for none. */
  get left(): number {
    return this.#left
  }

  /** Whether the work of a second is counted for this connection by now. */
  get hasRate(): boolean {
    return this.#rate !== undefined
  }

  /** Gives the connection its share of the present turn, once a turn. */
  beginTurn(now: number): void {
    const { scheduler } = this.#deps
    if (this.#turn === scheduler.turn) return
    this.#turn = scheduler.turn
    this.#left = this.waitMs(now) > 0 ? 0 : scheduler.allowanceAt(now)
  }

  /** Gives a paused connection so many units of the present turn. */
  beginSlice(units: number): void {
    this.#turn = this.#deps.scheduler.turn
    this.#left = units
  }

  /** Takes these units from the turn. */
  charge(units: number): void {
    this.#left -= units
  }

  /** Takes these units from the work of a second; ends the share of the turn if that is used up. */
  chargeRate(units: number, now: number): void {
    const { workPerSecond } = this.#deps
    if (workPerSecond === Number.POSITIVE_INFINITY) return
    this.#rate ??= new WorkRate(workPerSecond, now)
    this.#rate.spend(units, now)
    if (this.#rate.waitMs(now) > 0) this.#left = Math.min(this.#left, 0)
  }

  /** In how many ms the work of a second allows more; 0 for now. */
  waitMs(now: number): number {
    return this.#rate === undefined ? 0 : this.#rate.waitMs(now)
  }
}

/**
 * The work of one second (`limits.workPerSecond`): refills at a steady rate up to the work of one
 * second, and may be overdrawn by the work that was under way when it ran out.
 */
class WorkRate {
  readonly #perMs: number
  readonly #most: number
  #units: number
  #at: number

  /**
   * @param perSecond In units of work.
   * @param now As for the other methods, in ms of one clock that does not go back.
   */
  constructor(perSecond: number, now: number) {
    this.#perMs = perSecond / 1_000
    this.#most = perSecond
    this.#units = perSecond
    this.#at = now
  }

  spend(units: number, now: number): void {
    this.#fill(now)
    this.#units -= units
  }

  /** In how many ms work may go on; 0 for now. */
  waitMs(now: number): number {
    this.#fill(now)
    return this.#units >= 0 ? 0 : -this.#units / this.#perMs
  }

  #fill(now: number): void {
    this.#units = Math.min(this.#most, this.#units + (now - this.#at) * this.#perMs)
    this.#at = now
  }
}
