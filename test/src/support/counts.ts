/**
 * How much a test does, and from which seed. The same tests run in seconds at a desk and for
 * minutes in CI: `HOLDFAST_FULL=1` asks for the full counts. Every random test can be run again
 * exactly as it was: it prints its seed when it fails and takes it from `HOLDFAST_SEED` (and, for a
 * fast-check property, the path to its counterexample from `HOLDFAST_PATH`).
 */

const { HOLDFAST_FULL, HOLDFAST_SEED, HOLDFAST_PATH } = process.env

/** Whether the full counts are wanted. */
export const full = HOLDFAST_FULL === '1'

/** The small number at a desk, the full one in CI. */
export function count(small: number, large: number): number {
  return full ? large : small
}

/** Seed of this process: the one asked for, or one of its own. A 32-bit integer. */
export const seed: number =
  HOLDFAST_SEED === undefined ? (Math.random() * 0x7fff_ffff) | 0 : Number(HOLDFAST_SEED) | 0

/** Parameters of a fast-check property: its number of runs, and the replay that was asked for. */
export function runs(
  small: number,
  large: number,
): { numRuns: number; seed: number; path?: string } {
  const path = HOLDFAST_PATH
  return { numRuns: count(small, large), seed, ...(path === undefined ? {} : { path }) }
}

/** Random numbers from a seed: small, fast, the same everywhere, of no use for secrets. */
export class Random {
  #state: number

  constructor(from: number = seed) {
    this.#state = from | 0
  }

  /** From 0 up to 1, exclusive. (The mixing steps are those of the public-domain splitmix32.) */
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

  /** Whether something with this probability happens. */
  chance(probability: number): boolean {
    return this.next() < probability
  }

  /** One of these, which must not be none. */
  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)] as T
  }
}

/** Runs a test that draws from the seed, and names the seed if it fails, at once or later. */
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
