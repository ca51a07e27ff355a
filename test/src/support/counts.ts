/**
 * How many cases a random test tries, and from which seed. A *quick run* tries few cases and takes
 * seconds. A *full run*, with `HOLDFAST_FULL=1`, tries many cases and takes minutes. A failing
 * random test prints its seed, and `HOLDFAST_SEED` repeats the run. A fast-check property also
 * prints the path to its counterexample, for `HOLDFAST_PATH`.
 */

const { HOLDFAST_FULL, HOLDFAST_SEED, HOLDFAST_PATH } = process.env

/** Whether this is a full run, which tries the large number of cases. */
export const isFullRun = HOLDFAST_FULL === '1'

/** Chooses between two numbers: `quick` in a quick run, `full` in a full run. */
export function quickOrFull(quick: number, full: number): number {
  return isFullRun ? full : quick
}

/**
 * The seed of this process: `HOLDFAST_SEED`, or a random number. The operation `| 0` makes the seed
 * a 32-bit integer.
 */
export const seed: number =
  HOLDFAST_SEED === undefined ? (Math.random() * 0x7fff_ffff) | 0 : Number(HOLDFAST_SEED) | 0

/**
 * Returns the parameters of a fast-check property: the number of runs (`quick` in a quick run,
 * `full` in a full run), the seed, and `HOLDFAST_PATH` if it is set.
 */
export function quickOrFullRuns(
  quick: number,
  full: number,
): { numRuns: number; seed: number; path?: string } {
  const path = HOLDFAST_PATH
  return { numRuns: quickOrFull(quick, full), seed, ...(path === undefined ? {} : { path }) }
}

/**
 * Generates random numbers from a seed. The generator is small and fast and gives the same numbers
 * on every machine. The numbers are not for secrets.
 */
export class Random {
  #state: number

  constructor(startSeed: number = seed) {
    this.#state = startSeed | 0
  }

  /**
   * Returns a number of at least 0 and below 1. The mixing steps are copied from splitmix32, which
   * is in the public domain.
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

  /** Returns an integer of at least 0 and below `end`. */
  below(end: number): number {
    return Math.floor(this.next() * end)
  }

  /** Returns true with this probability. */
  chance(probability: number): boolean {
    return this.next() < probability
  }

  /** Returns one of these items; the list must not be empty. */
  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)] as T
  }
}

/** Runs a random test. If the test throws or rejects, adds the seed to the error message. */
export function runRandomTest<T>(
  test: (random: Random, seed: number) => T,
  testSeed: number = seed,
): T {
  const fail = (error: unknown): never => {
    if (error instanceof Error) error.message = `HOLDFAST_SEED=${testSeed}\n${error.message}`
    throw error
  }
  try {
    const outcome = test(new Random(testSeed), testSeed)
    return outcome instanceof Promise ? (outcome.catch(fail) as T) : outcome
  } catch (error) {
    return fail(error)
  }
}
