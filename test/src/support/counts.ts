/**
 * How much a random test does, and from which seed. The same tests run in seconds with small
 * counts, and in minutes with `HOLDFAST_FULL=1`. A failing random test prints its seed, and
 * `HOLDFAST_SEED` repeats the run. A fast-check property also prints the path to its
 * counterexample, for `HOLDFAST_PATH`.
 */

const { HOLDFAST_FULL, HOLDFAST_SEED, HOLDFAST_PATH } = process.env

/** Whether the run has full counts. */
export const full = HOLDFAST_FULL === '1'

/** The small count, or the large one in a run with full counts. */
export function count(small: number, large: number): number {
  return full ? large : small
}

/** The seed of this process, a 32-bit integer: `HOLDFAST_SEED`, or a random one. */
export const seed: number =
  HOLDFAST_SEED === undefined ? (Math.random() * 0x7fff_ffff) | 0 : Number(HOLDFAST_SEED) | 0

/** Parameters of a fast-check property: its number of runs, and the seed and path to repeat. */
export function runs(
  small: number,
  large: number,
): { numRuns: number; seed: number; path?: string } {
  const path = HOLDFAST_PATH
  return { numRuns: count(small, large), seed, ...(path === undefined ? {} : { path }) }
}

/** Random numbers from a seed: small, fast, the same on every machine; not for secrets. */
export class Random {
  #state: number

  constructor(from: number = seed) {
    this.#state = from | 0
  }

  /**
   * A number from 0 up to 1, exclusive. (The mixing steps are those of the public-domain
   * splitmix32.)
   */
  next(): number {
    this.#state = (this.#state + 0x9e3779b9) | 0
    let mixed = this.#state ^ (this.#state >>> 16)
    mixed = Math.imul(mixed, 0x21f0aaad)
    mixed ^= mixed >>> 15
    mixed = Math.imul(mixed, 0x735a2d97)
    mixed ^= mixed >>> 15
    return (mixed >>> 0) / 0x1_0000_0000
  }

  /** An integer from 0 up to `end`, exclusive. */
  below(end: number): number {
    return Math.floor(this.next() * end)
  }

  /** Returns true with this probability. */
  chance(probability: number): boolean {
    return this.next() < probability
  }

  /** One of these items; the list must not be empty. */
  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)] as T
  }
}

/** Runs a random test, and adds the seed to the message if the test fails, at once or later. */
export function seeded<T>(test: (random: Random, seed: number) => T, from: number = seed): T {
  const fail = (error: unknown): never => {
    if (error instanceof Error) error.message = `HOLDFAST_SEED=${from}\n${error.message}`
    throw error
  }
  try {
    const outcome = test(new Random(from), from)
    return outcome instanceof Promise ? (outcome.catch(fail) as T) : outcome
  } catch (error) {
    return fail(error)
  }
}
