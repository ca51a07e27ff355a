/**
 * Checks that the tables of all brokers are equal. Now and then every broker appends the digest of
 * its table at the same position of the log. The digest of the majority is right. A broker with
 * another digest stops, because it cannot trust its table.
 *
 * Without a majority, as with two brokers that differ, no broker can know which table is right.
 * Then all brokers stop, because going on with different tables would be worse. After a restart
 * they read equal tables from the log.
 */
import type { HoldfastError } from '@holdfast/shared'
import { divergenceUndecided, tablesDiffer } from './logErrors.js'

/** How many entries lie between two comparisons. */
const entriesBetweenRounds = 1_000

/** One comparison, until it is decided or the next one begins. */
interface DigestRound {
  readonly count: number
  /** The digest of this broker's table. */
  readonly own: string
  /** The members at that position, which are the brokers that have a table to compare. */
  readonly members: readonly string[]
  /** The digests so far, by broker. */
  readonly digests: Map<string, string>
}

export class DivergenceCheck {
  #round: DigestRound | undefined

  /** Whether a comparison begins after this number of entries. */
  isDue(count: number): boolean {
    return count % entriesBetweenRounds === 0
  }

  /** Begins a comparison with this broker's digest after this number of entries. */
  beginRound(count: number, own: string, live: Iterable<string>): void {
    this.#round = { count, own, members: [...live], digests: new Map() }
  }

  /** Adds the digest of a broker, which may be this one. */
  addDigest(broker: string, [count, value]: readonly [number, string]): void {
    const { digests } = this.#round?.count === count ? this.#round : {}
    if (digests?.has(broker) === false) digests.set(broker, value)
  }

  /**
   * Decides the comparison as soon as possible, which is at the same entry for all brokers.
   *
   * @returns Why this broker must stop; undefined if it need not, or if the comparison is
   *   undecided.
   */
  verdict(live: ReadonlyMap<string, unknown>): HoldfastError | undefined {
    if (this.#round === undefined) return undefined
    const { count, own, members, digests } = this.#round
    const liveMembers = members.filter((member) => live.has(member))
    const values = liveMembers
      .map((member) => digests.get(member))
      .filter((value) => value !== undefined)
    const majority = values.find((value) => 2 * countOf(values, value) > liveMembers.length)
    if (majority === undefined && values.length < liveMembers.length) return undefined
    this.#round = undefined
    if (majority === own || liveMembers.length === 0) return undefined
    return majority === undefined ? divergenceUndecided(count) : tablesDiffer(count)
  }
}

function countOf(values: readonly string[], value: string): number {
  return values.filter((other) => other === value).length
}
