/**
 * Shrinks a failing run. Tries the same seed with fewer clients, faults and events, and keeps each
 * change after which the run still breaks the same rule.
 */
import { runWorld } from './runWorld.js'
import type { Result, SimulationOptions } from './simulate.js'

/** The largest number of runs in one search. */
const maxRuns = 300

export class Shrinker {
  readonly #seed: number
  /** The rule that the failed run breaks; '', which is no rule, if the run breaks none. */
  readonly #rule: string
  #options: SimulationOptions
  #best: Result
  #runs = 0

  constructor(failed: Result, options: SimulationOptions) {
    this.#seed = failed.seed
    this.#rule = failed.violation?.rule ?? ''
    this.#options = options
    this.#best = failed
  }

  /** @returns the smallest run that breaks the same rule, and its options */
  async run(): Promise<{ result: Result; options: SimulationOptions }> {
    // Without a change, `#try` only lets later runs end their faults at the event of the violation.
    await this.#try({})
    await this.#tryFewerFaults()
    await this.#tryFewerClients()
    // With fewer clients, more faults may be unnecessary.
    await this.#tryFewerFaults()
    await this.#tryFewerEvents()
    return { result: this.#best, options: this.#options }
  }

  async #tryFewerClients(): Promise<void> {
    const clientCount = this.#best.clients
    const allClients = this.#options.clients ?? Array.from({ length: clientCount }, (_, i) => i)
    for (const client of allClients) {
      const remaining = new Set(this.#options.clients ?? allClients)
      remaining.delete(client)
      if (remaining.size > 0) await this.#try({ clients: remaining })
    }
  }

  /** Removes faults, first many at a time and then fewer. */
  async #tryFewerFaults(): Promise<void> {
    for (let size = this.#best.faults.length; size >= 1; size = Math.floor(size / 2)) {
      for (let start = 0; start < this.#best.faults.length; ) {
        const remaining = this.#best.faults.filter((_, i) => i < start || i >= start + size)
        if (!(await this.#try({ faults: new Set(remaining) }))) start += size
      }
    }
  }

  /** Reduces `events`, the number of events until the faults end. The rule may break later. */
  async #tryFewerEvents(): Promise<void> {
    for (const fraction of [0.5, 0.75, 0.9, 0.97]) {
      await this.#try({ events: Math.floor(this.#options.events * fraction) })
    }
  }

  /** Runs the seed with a change. Returns whether the change was kept. */
  async #try(change: Partial<SimulationOptions>): Promise<boolean> {
    if (this.#runs++ >= maxRuns) return false
    const options = { ...this.#options, ...change }
    const result = await runWorld(this.#seed, options)
    if (result.violation?.rule !== this.#rule) return false
    this.#best = result
    this.#options = { ...options, events: Math.min(options.events, result.violation.event) }
    return true
  }
}
