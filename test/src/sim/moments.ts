/**
 * Points in the life of one process, and how long ago each is on its own clock: a stop that it
 * cannot have noticed is nobody's fault.
 */
import type { SimProcess } from './process.js'

/**
 * Timers come up to 1 ms early and times on the wire are whole ms, so this much is nobody's fault.
 */
const roundingMs = 5
/**
 * What one stop of the broker may hide from it: most of a tick, and lateness it thinks ordinary.
 */
const perStopMs = 400

export interface Moment {
  /** World time that the process was able to run for until then. */
  readonly ranFor: number
  readonly stops: number
}

export class Moments {
  readonly #process: SimProcess

  constructor(process: SimProcess) {
    this.#process = process
  }

  now(): Moment {
    const { ranFor, stops } = this.#process
    return { ranFor, stops }
  }

  /** How long ago that was, in ms: at least, and at most. */
  since(then: Moment): { readonly least: number; readonly most: number } {
    const now = this.now()
    const elapsed = (now.ranFor - then.ranFor) * this.#process.clock.rate
    const hidden = roundingMs + perStopMs * (now.stops - then.stops)
    return { least: elapsed, most: elapsed + hidden }
  }
}
