/**
 * Shares the broker's time between connections. A connection whose messages have used up its share
 * is paused, and goes on here, in turn with the other paused ones, a slice at a time; between two
 * turns the event loop reads what the other clients have sent. So a client that asks for much work
 * waits for it itself, and the others do not.
 */
import type { Clock, Timer } from '@holdfast/shared'
import { turnBudget, unitsPerMs } from '../config/workCosts.js'

/** What has work left: a paused connection, or the end of a session that holds many locks. */
export interface PacedWork {
  /** Works for about so many units. Returns how many it used. */
  work(units: number): number
}

export interface WorkSchedulerOptions {
  readonly clock: Clock
  /** Calls back once the input that has already arrived in this turn has been handled. */
  readonly endOfTurn: (callback: () => void) => void
}

export class WorkScheduler {
  readonly #clock: Clock
  readonly #endOfTurn: (callback: () => void) => void
  /** In the order of their turns. */
  readonly #waiting = new Set<PacedWork>()
  readonly #sleeping = new Map<PacedWork, Timer>()
  #isScheduled = false
  #turn = 0
  #left: number = turnBudget.all
  /** When the first frame of this turn was handled. */
  #beganAt: number | undefined
  /** From then to the newest frame, in ms. */
  #elapsedMs = 0

  constructor({ clock, endOfTurn }: WorkSchedulerOptions) {
    this.#clock = clock
    this.#endOfTurn = endOfTurn
  }

  /** Number of the present turn of the event loop; rises at least whenever output is written. */
  get turn(): number {
    return this.#turn
  }

  /**
   * What a connection may use of this turn when its first frame arrives, in units.
   *
   * @param now In ms, by a clock that does not go back.
   */
  allowanceAt(now: number): number {
    this.#beganAt ??= now
    this.#elapsedMs = now - this.#beganAt
    return Math.max(turnBudget.least, Math.min(turnBudget.connection, this.left))
  }

  /**
   * What all connections together may still use of this turn, in units; 0 or less for nothing.
   * A long answer and a hello wait for this, because each of them can be dear by itself.
   */
  get left(): number {
    // A unit takes longer than a microsecond on a slow machine, and until code is compiled.
    return Math.min(this.#left, (turnBudget.ms - this.#elapsedMs) * unitsPerMs)
  }

  /** So many units of this turn were used. */
  spend(units: number): void {
    this.#left -= units
  }

  /**
   * The input that had arrived in this turn was handled, and its output is written. What was used
   * beyond the budget of this turn is missing in the next one.
   */
  nextTurn(): void {
    const overdrawn = Math.min(turnBudget.all, Math.max(0, -this.#left))
    this.#turn++
    this.#beganAt = undefined
    this.#elapsedMs = 0
    this.#left = turnBudget.all - overdrawn
  }

  /** This work goes on in a later turn, after what waits already. */
  add(work: PacedWork): void {
    this.#waiting.add(work)
    if (this.#isScheduled) return
    this.#isScheduled = true
    this.#endOfTurn(this.#run)
  }

  /** This work goes on in `ms`, and then waits for its turn. */
  addLater(work: PacedWork, ms: number): void {
    if (this.#sleeping.has(work)) return
    const wake = (): void => {
      this.#sleeping.delete(work)
      this.add(work)
    }
    this.#sleeping.set(work, this.#clock.setTimer(wake, Math.ceil(ms)))
  }

  /** This work has ended. */
  remove(work: PacedWork): void {
    this.#waiting.delete(work)
    this.#clock.clearTimer(this.#sleeping.get(work))
    this.#sleeping.delete(work)
  }

  /** Leaves no timer behind. */
  stop(): void {
    for (const timer of this.#sleeping.values()) this.#clock.clearTimer(timer)
    this.#sleeping.clear()
    this.#waiting.clear()
  }

  readonly #run = (): void => {
    this.#isScheduled = false
    let left = Math.max(turnBudget.leastPaused, this.left / 2)
    this.nextTurn()
    const endsAt = this.#clock.monotonic() + left / unitsPerMs
    for (let turns = this.#waiting.size; turns > 0 && left > 0; turns--) {
      const [work] = this.#waiting
      if (work === undefined) break
      this.#waiting.delete(work)
      left -= work.work(Math.min(turnBudget.slice, left))
      if (this.#clock.monotonic() >= endsAt) break
    }
    if (this.#waiting.size === 0 || this.#isScheduled) return
    this.#isScheduled = true
    this.#endOfTurn(this.#run)
  }
}
