/**
 * Checks that the lock tables of all brokers that share a command log are equal. In each round,
 * every broker takes the digest (checksum) of its table after the same entry (batch of commands),
 * and appends the digest to the log. A round begins every 1,000 entries. The oldest member (the
 * broker that joined the log first) also requests a round when the last round was 5 s ago. The
 * digest of the majority is right. A broker with another digest stops, because the broker cannot
 * trust its table.
 *
 * Without a majority, for example with two brokers whose digests differ, no broker can know which
 * table is right. Then all brokers stop, because with different tables two brokers could grant the
 * same lock. After a restart the tables are equal, because every broker rebuilds its table from the
 * same snapshot and the same entries of the log.
 */
import type { HoldfastError } from '@holdfast/shared'
import { divergenceUndecided, tablesDiffer } from './logErrors.js'

/** A round begins when the count of valid entries is a multiple of this number. */
const entriesBetweenRounds = 1_000
/**
 * The time from one round until the oldest member requests the next round, in ms. The oldest member
 * requests no round if no command was applied in this time.
 */
const msBetweenRounds = 5_000

/** One round, until the round is decided or the next round begins. */
interface DigestRound {
  /**
   * The position in the log of the entry after which the digests are taken. Identifies the round: a
   * broker that missed an entry has a wrong count of entries, but the right positions.
   */
  readonly position: number
  /** The digest of this broker's table. */
  readonly ownDigest: string
  /**
   * The brokers that were members when the log reached the position. Only these brokers have a
   * table to compare.
   */
  readonly members: readonly string[]
  /** The digests that have arrived, by broker. */
  readonly digests: Map<string, string>
}

/** The divergence check of one broker. */
export class DivergenceCheck {
  #round: DigestRound | undefined
  /**
   * When the present interval between two rounds began, in ms of the monotonic clock; undefined
   * before the first entry.
   */
  #intervalStart: number | undefined
  /** Whether a command was applied in this interval. */
  #hasNewCommands = false

  /** Whether a round begins when this many valid entries were applied. */
  beginsRoundAfter(entryCount: number): boolean {
    return entryCount % entriesBetweenRounds === 0
  }

  /**
   * Notes an applied entry.
   *
   * @param now The monotonic time, in ms.
   */
  noteEntry(commandsInEntry: number, now: number): void {
    this.#intervalStart ??= now
    if (commandsInEntry > 0) this.#hasNewCommands = true
  }

  /**
   * Whether the oldest member should request a round, because the last round is long ago and
   * commands were applied since. All brokers begin the round after the entry with the request, so
   * their clocks may differ.
   */
  isRequestDue(now: number): boolean {
    return this.#hasNewCommands && now - (this.#intervalStart ?? now) >= msBetweenRounds
  }

  /**
   * Restarts the interval until the next request of a round. Call this method when a round begins,
   * and when this broker requests a round.
   */
  restartInterval(now: number): void {
    this.#intervalStart = now
    this.#hasNewCommands = false
  }

  /** Begins a round with this broker's digest after the entry at this position. */
  beginRound(position: number, ownDigest: string, liveBrokers: Iterable<string>): void {
    this.#round = { position, ownDigest, members: [...liveBrokers], digests: new Map() }
  }

  /** Adds the digest of a broker, which may be this broker. Ignores a digest of another round. */
  addDigest(broker: string, [position, value]: readonly [number, string]): void {
    if (this.#round?.position !== position) return
    const { digests } = this.#round
    // Only the first digest of a broker counts.
    if (!digests.has(broker)) digests.set(broker, value)
  }

  /**
   * Decides the round as soon as a majority of the live members has sent equal digests, or all live
   * members have sent their digests. The live members are those members of the round that still
   * share the log. All brokers decide at the same entry.
   *
   * @returns The error with which this broker must stop. Undefined if the broker need not stop, or
   *   if the round is undecided.
   */
  decideRound(liveBrokers: ReadonlyMap<string, unknown>): HoldfastError | undefined {
    if (this.#round === undefined) return undefined
    const { position, ownDigest, members, digests } = this.#round
    const liveMembers = members.filter((member) => liveBrokers.has(member))
    const values = liveMembers
      .map((member) => digests.get(member))
      .filter((value) => value !== undefined)
    const majorityDigest = values.find((value) => 2 * countOf(values, value) > liveMembers.length)
    if (majorityDigest === undefined && values.length < liveMembers.length) return undefined
    this.#round = undefined
    if (majorityDigest === ownDigest || liveMembers.length === 0) return undefined
    return majorityDigest === undefined ? divergenceUndecided(position) : tablesDiffer(position)
  }
}

/** How many of the values are equal to this value. */
function countOf(values: readonly string[], value: string): number {
  return values.filter((other) => other === value).length
}
