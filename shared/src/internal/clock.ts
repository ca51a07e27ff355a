/**
 * The interface through which client and broker read clocks and set timers. Other code must not use
 * the clocks and timers of the platform, so that a test can replace all of them.
 */

/** A timer that was set. Its real type depends on the clock that set the timer. */
export type Timer = unknown

export interface Clock {
  /** Time in ms on a clock that never goes back. It may stand still while the machine sleeps. */
  monotonic(): number
  /** Time in ms since 1970 by the machine's calendar. It may jump forward or back. */
  wall(): number
  /** Calls `callback` once, after at least `ms` milliseconds. */
  setTimer(callback: () => void, ms: number): Timer
  /** Cancels a timer. A timer that has fired or was cancelled is ignored. */
  clearTimer(timer: Timer): void
}
