/**
 * A clock that moves only when the test moves it. The test can also move the wall time alone.
 * Timers fire in order while time passes, except while the test simulates a suspended process.
 */
import type { Clock, Timer } from '@holdfast/shared'

interface FakeTimer {
  /** The monotonic time at which the timer fires, in ms. */
  readonly due: number
  readonly callback: () => void
}

export class FakeClock implements Clock {
  /**
   * The monotonic time does not begin at 0, so that a test notices code that uses a time as a
   * duration.
   */
  #monotonic = 1_000
  /** A time in November 2023. */
  #wall = 1_700_000_000_000
  #setTimerCalls = 0
  readonly #timers = new Set<FakeTimer>()
  readonly #minTimerMs: number

  /** @param minTimerMs A shorter timer fires only after this time, in ms. Node has 1. Default 0. */
  constructor(minTimerMs = 0) {
    this.#minTimerMs = minTimerMs
  }

  monotonic(): number {
    return this.#monotonic
  }

  wall(): number {
    return this.#wall
  }

  setTimer(callback: () => void, ms: number): Timer {
    const due = this.#monotonic + Math.max(this.#minTimerMs, ms)
    const timer = { due, callback }
    this.#setTimerCalls++
    this.#timers.add(timer)
    return timer
  }

  clearTimer(timer: Timer): void {
    this.#timers.delete(timer as FakeTimer)
  }

  /** The number of timers that are set and have not fired. */
  get timerCount(): number {
    return this.#timers.size
  }

  /** The number of timers that were ever set. */
  get setTimerCalls(): number {
    return this.#setTimerCalls
  }

  /**
   * Lets time pass, and fires each due timer at its own time.
   *
   * @param endTurn Ends a turn of the event loop. Called once before any timer fires, and then each
   * time that all timers with the same due time have fired.
   */
  advance(ms: number, endTurn: () => void = () => {}): void {
    const end = this.#monotonic + ms
    endTurn()
    for (
      let timer = this.#nextTimer;
      timer !== undefined && timer.due <= end;
      timer = this.#nextTimer
    ) {
      // A timer can be overdue, because `advanceWithoutTimers` fires none.
      this.advanceWithoutTimers(Math.max(timer.due - this.#monotonic, 0))
      this.fireDue()
      endTurn()
    }
    this.advanceWithoutTimers(end - this.#monotonic)
  }

  /** Fires the timers that are due now, in the order of their times. */
  fireDue(): void {
    for (
      let timer = this.#nextTimer;
      timer !== undefined && timer.due <= this.#monotonic;
      timer = this.#nextTimer
    ) {
      this.#timers.delete(timer)
      timer.callback()
    }
  }

  /** Lets time pass without firing timers, as while the process is suspended. */
  advanceWithoutTimers(ms: number): void {
    this.#monotonic += ms
    this.#wall += ms
  }

  /** Moves only the wall clock, forward or back, as when the clock is set or the machine sleeps. */
  moveWallClock(ms: number): void {
    this.#wall += ms
  }

  /** The timer that fires next. Timers for the same time fire in the order of their creation. */
  get #nextTimer(): FakeTimer | undefined {
    let next: FakeTimer | undefined
    for (const timer of this.#timers) {
      if (next === undefined || timer.due < next.due) next = timer
    }
    return next
  }
}
