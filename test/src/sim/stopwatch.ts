/**
 * Measures how long ago something happened, on the clock of one process. The process cannot notice
 * all of the time for which it was stopped, so a measurement has a lower and an upper bound.
 */
import type { SimProcess } from './simProcess.js'

/**
 * Timers come up to 1 ms early and times on the wire are whole ms, so a measurement may be wrong by
 * this much.
 */
const roundingMs = 5
/**
 * How much of one stop the broker may fail to notice, in ms: most of a tick, and lateness that it
 * regards as ordinary.
 */
const perStopMs = 400

export interface ProcessTime {
  /** World time that the process ran before this moment, in ms. */
  readonly ranFor: number
  readonly stops: number
}

export class Stopwatch {
  readonly #process: SimProcess

  constructor(process: SimProcess) {
    this.#process = process
  }

  now(): ProcessTime {
    const { ranFor, stops } = this.#process
    return { ranFor, stops }
  }

  /** The lower and the upper bound of the time since `then`, in ms. */
  since(then: ProcessTime): { readonly min: number; readonly max: number } {
    const now = this.now()
    const elapsed = (now.ranFor - then.ranFor) * this.#process.clock.rate
    const hidden = roundingMs + perStopMs * (now.stops - then.stops)
    return { min: elapsed, max: elapsed + hidden }
  }
}
