/**
 * Measures how long a broker process has run since an event, on the clock of the process. The
 * simulation stops processes for a time, as SIGSTOP does. The lower bound of a measurement is the
 * time that the process really ran. A broker can fail to notice a part of a stop, and then counts
 * this part as time in which the process ran. The upper bound includes such parts.
 */
import type { SimProcess } from './simProcess.js'

/**
 * The largest sum of the rounding errors in one measurement, in ms. Each error is at most 1 ms:
 * timers fire up to 1 ms early, and times on the wire are whole ms.
 */
const roundingMs = 5
/**
 * The longest part of one stop that can escape the broker, in ms. The broker looks for stops at an
 * interval, and regards a small lateness of its timer as ordinary.
 */
const unnoticedStopMs = 400

export interface ProcessTime {
  /** How long the process had run at the call of `read`, in ms of world (simulated) time. */
  readonly ranFor: number
  /** How often the process had been stopped at the call of `read`. */
  readonly stops: number
}

export class Stopwatch {
  readonly #process: SimProcess

  constructor(process: SimProcess) {
    this.#process = process
  }

  /** How long the process has run so far, and how often it was stopped. */
  read(): ProcessTime {
    const { ranFor, stops } = this.#process
    return { ranFor, stops }
  }

  /** The bounds of the time that the process has run since `start`, in ms of the process clock. */
  since(start: ProcessTime): { readonly min: number; readonly max: number } {
    const now = this.read()
    const elapsed = (now.ranFor - start.ranFor) * this.#process.clock.rate
    const uncertainMs = roundingMs + unnoticedStopMs * (now.stops - start.stops)
    return { min: elapsed, max: elapsed + uncertainMs }
  }
}
