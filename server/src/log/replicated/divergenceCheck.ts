/**
 * Whether this broker's table is the others': now and then each says in the log what its table came
 * to at the same place, and what most of them say is right. Whoever has something else can trust
 * nothing that it has, and stops.
 *
 * Where no most of them say the same, as with two that differ, nobody can tell who is right, and to
 * go on with two tables is worse than to stop: all of them do. What they take up from the log, when
 * they start again, is the same.
 */
import type { HoldfastError } from '@holdfast/shared'
import { divergenceUndecided, tablesDiffer } from './logErrors.js'

/** How many entries lie between two comparisons. */
const everyEntries = 1_000

/** One comparison, until it is settled or the next one begins. */
interface DigestRound {
  readonly count: number
  /** What this broker's table came to. */
  readonly own: string
  /** Who lived at that place, and so has a table to speak of. */
  readonly voters: readonly string[]
  /** What they have said. */
  readonly said: Map<string, string>
}

export class DivergenceCheck {
  #ballot: DigestRound | undefined

  /** Whether the table is to be looked at after this many entries. */
  isDue(count: number): boolean {
    return count % everyEntries === 0
  }

  /** This broker has looked at its own, after this many entries. */
  begin(count: number, own: string, living: Iterable<string>): void {
    this.#ballot = { count, own, voters: [...living], said: new Map() }
  }

  /** Somebody, who may be this broker, says it. */
  addDigest(broker: string, [count, value]: readonly [number, string]): void {
    const { said } = this.#ballot?.count === count ? this.#ballot : {}
    if (said?.has(broker) === false) said.set(broker, value)
  }

  /**
   * Settles it, as soon as that can be done; all brokers can at the same entry.
   *
   * @returns Why this broker has to stop, if it has to.
   */
  verdict(living: ReadonlyMap<string, unknown>): HoldfastError | undefined {
    if (this.#ballot === undefined) return undefined
    const { count, own, voters, said } = this.#ballot
    const here = voters.filter((voter) => living.has(voter))
    const values = here.map((voter) => said.get(voter)).filter((value) => value !== undefined)
    const right = values.find((value) => 2 * timesIn(values, value) > here.length)
    if (right === undefined && values.length < here.length) return undefined
    this.#ballot = undefined
    if (right === own || here.length === 0) return undefined
    return right === undefined ? divergenceUndecided(count) : tablesDiffer(count)
  }
}

function timesIn(values: readonly string[], value: string): number {
  return values.filter((other) => other === value).length
}
