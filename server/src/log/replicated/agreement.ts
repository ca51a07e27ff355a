/**
 * Whether this broker's table is the others': now and then each says in the log what its table came
 * to at the same place, and the first to say so is right. A broker that finds itself different can
 * trust nothing that it has.
 */
import type { HoldfastError } from '@holdfast/shared'
import { tablesDiffer } from './faults.js'

/** How many entries lie between two comparisons. */
const everyEntries = 1_000

export class Agreement {
  /** What this broker's table came to, by the count of entries. */
  readonly #own = new Map<number, string>()
  /** The newest count for which somebody has said it. */
  #settled = 0

  /** Whether the table is to be looked at after this many entries. */
  isDue(count: number): boolean {
    return count % everyEntries === 0
  }

  note(count: number, value: string): void {
    this.#own.set(count, value)
  }

  /**
   * Somebody, who may be this broker, says it.
   *
   * @returns What is wrong, if anything is.
   */
  compare([count, value]: readonly [number, string]): HoldfastError | undefined {
    if (count <= this.#settled) return undefined
    this.#settled = count
    const own = this.#own.get(count)
    for (const noted of this.#own.keys()) if (noted <= count) this.#own.delete(noted)
    if (own === undefined || own === value) return undefined
    return tablesDiffer(count)
  }
}
