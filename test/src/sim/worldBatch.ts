/**
 * Runs a batch of worlds (simulated runs, each made from a seed), one world after another. The
 * batch ends after the requested number of worlds or seconds, or when a world breaks a rule. The
 * batch adds up the counts of the worlds, which say how often each kind of event happened.
 */
import { runWorld } from './runWorld.js'
import type { Result, SimulationOptions } from './simulate.js'

export interface BatchTask {
  /** The seed of the first world. */
  readonly from: number
  /** The number of worlds. If undefined: as many as `seconds` allow, or 100 without `seconds`. */
  readonly seeds?: number | undefined
  /** The real time after which no further world begins, in s. */
  readonly seconds?: number | undefined
  readonly onProgress?: ((line: string) => void) | undefined
}

/** The time between two lines of progress, in s. */
const progressSeconds = 10

export class WorldBatch {
  readonly #options: SimulationOptions
  readonly #counts = new Map<string, number>()
  /** The number of worlds so far, which is also the number of seeds. */
  seeds = 0
  /** The number of events in all worlds so far. */
  events = 0
  /** The sum of the simulated times of all worlds, in ms. */
  time = 0
  /** The world that took the longest real time, and this time in ms. */
  slowest = { seed: 0, ms: 0 }

  constructor(options: SimulationOptions) {
    this.#options = options
  }

  get counts(): ReadonlyMap<string, number> {
    return this.#counts
  }

  /**
   * Runs the worlds.
   *
   * @returns the first world that broke a rule; undefined if no world broke a rule
   */
  async run({ from, seeds, seconds, onProgress }: BatchTask): Promise<Result | undefined> {
    const start = performance.now()
    const end = seconds === undefined ? Number.POSITIVE_INFINITY : start + seconds * 1000
    const endSeed = from + (seeds ?? (seconds === undefined ? 100 : Number.POSITIVE_INFINITY))
    let lastProgressAt = start
    for (let seed = from; seed < endSeed; seed++) {
      const worldStartedAt = performance.now()
      if (worldStartedAt >= end) break
      const result = await runWorld(seed, this.#options)
      const now = performance.now()
      this.#add(result, now - worldStartedAt)
      if (result.violation !== undefined) return result
      if (now - lastProgressAt > progressSeconds * 1000) {
        lastProgressAt = now
        onProgress?.(this.summary((now - start) / 1000))
      }
    }
    onProgress?.(this.summary((performance.now() - start) / 1000))
    return undefined
  }

  /** One line about the worlds so far. @param seconds The real time that they took. */
  summary(seconds: number): string {
    const hours = (this.time / 3_600_000).toFixed(1)
    const { seed, ms } = this.slowest
    return (
      `${this.seeds} seeds, ${this.events} events, ${hours} h of simulated time in ` +
      `${seconds.toFixed(0)} s; slowest seed ${seed}: ${ms.toFixed(0)} ms`
    )
  }

  /** The counts of all worlds, as lines of text. */
  countLines(): string[] {
    const rows = [...this.#counts].sort(([a], [b]) => (a < b ? -1 : 1))
    return rows.map(([name, count]) => `${String(count).padStart(10)}  ${name}`)
  }

  #add(result: Result, ms: number): void {
    this.seeds++
    this.events += result.events
    this.time += result.time
    for (const [name, count] of result.counts) {
      this.#counts.set(name, (this.#counts.get(name) ?? 0) + count)
    }
    if (ms > this.slowest.ms) this.slowest = { seed: result.seed, ms }
  }
}
