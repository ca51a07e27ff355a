/**
 * Measures how long ago something happened, on the clock of one process. A process that was stopped
 * cannot measure exactly how long the stop lasted, so a measurement has a lower and an upper bound.
 */
import type { SimProcess } from './simProcess.js'

/**
 * The largest rounding error of a measurement, in ms. Timers fire up to 1 ms early, and times on
 * the wire are whole ms.
 */
const roundingMs = 5
/**
 * The longest part of one stop that the broker may not notice, in ms: most of the interval between
 * two checks, plus the lateness of a timer that the broker regards as ordinary.
 */
const unnoticedStopMs = 400

export interface ProcessTime {
  /**
   * How long the process had run before this moment, in ms of world time (time of the simulation).
   */
  readonly ranFor: number
  /** How often the process had been stopped before this moment. */
  readonly stops: number
}

export class Stopwatch {
  readonly #process: SimProcess

  constructor(process: SimProcess) {
    this.#process = process
  }

  /** How long the process has run so far, and how often it was stopped. */
  now(): ProcessTime {
    const { ranFor, stops } = this.#process
    return { ranFor, stops }
  }

  /** The lower and the upper bound of the time since `start`, in ms. */
  since(start: ProcessTime): { readonly min: number; readonly max: number } {
    const now = this.now()
    const elapsed = (now.ranFor - start.ranFor) * this.#process.clock.rate
    const uncertainMs = roundingMs + unnoticedStopMs * (now.stops - start.stops)
    return { min: elapsed, max: elapsed + uncertainMs }
  }
}
