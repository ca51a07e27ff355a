/**
 * The interface through which client and broker read clocks and set timers. No other code reads a
 * clock or sets a timer, so that a test can replace time as a whole.
 */

/** A timer that was set. Only the clock that made it knows what it is. */
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
