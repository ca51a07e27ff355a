/**
 * Where time comes from. Nothing else in the client or the broker reads a clock or sets a timer, so
 * that a test can be the clock.
 */

/** A timer that was set; opaque. */
export type Timer = unknown

export interface Clock {
  /** Milliseconds on a clock that never goes back and may stand still while the machine sleeps. */
  monotonic(): number
  /** Milliseconds since 1970 by the machine's calendar; may jump either way. */
  wall(): number
  /** Calls back once, not before `ms` milliseconds have passed. */
  setTimer(callback: () => void, ms: number): Timer
  clearTimer(timer: Timer): void
}
