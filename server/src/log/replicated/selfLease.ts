/**
 * How brokers that share a command log find out whether they are alive. Each broker appends entries
 * (batches of commands) to the log. The dead time is the silence after which the other brokers
 * declare a broker dead. A broker appends at least one entry in a sixth of this time. The
 * self-lease tells a broker that the other brokers still consider this broker alive. The failure
 * detector decides that another broker is dead.
 *
 * Self-lease and failure detector are safe without synchronized clocks. A broker counts its
 * self-lease from the time when it *sent* an entry. The other brokers count the silence of this
 * broker from the time when they *received* the entry, and wait longer than the self-lease. Thus
 * the self-lease of a dead broker ends before another broker takes over the sessions of the dead
 * broker.
 *
 * All times are of the monotonic clock of this broker, in ms.
 */
import { safeDuration } from '@holdfast/shared'

/** The longest time between two entries of a broker, in ms; a sixth of the dead time. */
export function heartbeatMsFor(deadMs: number): number {
  return deadMs / 6
}

/**
 * How long a broker may serve without a new entry of its own. An own entry has returned when the
 * log has delivered the entry to this broker. Until the first own entry has returned, the broker
 * has no self-lease.
 */
export class SelfLease {
  readonly #leaseMs: number
  /** Own entries that have not returned, oldest first, with the time of their first sending. */
  readonly #unreturned: { readonly entryNumber: number; readonly at: number }[] = []
  #until = Number.NEGATIVE_INFINITY

  /** @param deadMs The silence after which other brokers declare a broker dead. */
  constructor(deadMs: number) {
    // The lease is shorter than the dead time, because the clocks of two machines may run at
    // different rates.
    this.#leaseMs = safeDuration(deadMs)
  }

  /** The end of the lease; minus infinity before an own entry has returned. */
  get until(): number {
    return this.#until
  }

  /** When the oldest own entry that has not returned was sent; undefined if all have returned. */
  get oldestUnreturnedAt(): number | undefined {
    return this.#unreturned[0]?.at
  }

  isOver(now: number): boolean {
    return now >= this.#until
  }

  /** Records the first sending of an entry. Later attempts do not extend the lease. */
  onSent(entryNumber: number, now: number): void {
    this.#unreturned.push({ entryNumber, at: now })
  }

  /**
   * Must be called when an own entry has returned. Extends the lease.
   *
   * @returns The time at which the entry was first sent; undefined if the entry is unknown.
   */
  onOwnEntry(entryNumber: number): number | undefined {
    let sentAt: number | undefined
    // Entries return in order, so the entries before this entry have returned too.
    while (this.#unreturned.length > 0 && this.#unreturned[0]!.entryNumber <= entryNumber) {
      sentAt = this.#unreturned.shift()!.at
    }
    if (sentAt !== undefined) this.#until = sentAt + this.#leaseMs
    return sentAt
  }
}

/**
 * Detects silent members. The detector counts the silence of a member only while this broker's own
 * entries return, because an unreachable log delays the entries of all members.
 */
export class FailureDetector {
  readonly #deadMs: number
  /**
   * The longest normal gap between the returns of two own entries, in ms: two heartbeat intervals,
   * because an entry may return late. A longer gap is a stall of the log.
   */
  readonly #ordinaryGapMs: number
  /** When the last entry of each member arrived, on a clock that excludes stalls of the log. */
  readonly #lastEntryAt = new Map<string, number>()
  /**
   * Members that have been silent for too long, each with the number of this broker's newest sent
   * entry at that time. {@link onOwnEntry} returns the member as dead when an own entry with a
   * higher number has returned. The dead member then gets a new number, and stays in this map until
   * {@link remove} is called.
   */
  readonly #suspects = new Map<string, number>()
  /** How long the log has stalled in total, in ms. */
  #stalledMs = 0
  /** When the last own entry returned. */
  #returnedAt: number

  /** @param others The other members. Their silence begins now. */
  constructor(deadMs: number, others: Iterable<string>, now: number) {
    this.#deadMs = deadMs
    this.#ordinaryGapMs = 2 * heartbeatMsFor(deadMs)
    this.#returnedAt = now
    for (const other of others) this.onEntryOf(other, now)
  }

  /** Must be called for each entry of another member. The member is not suspected any more. */
  onEntryOf(other: string, now: number): void {
    this.#lastEntryAt.set(other, now - this.#stalledMs)
    this.#suspects.delete(other)
  }

  /** Must be called when another member has died or left. */
  remove(other: string): void {
    this.#lastEntryAt.delete(other)
    this.#suspects.delete(other)
  }

  /** Whether a member is suspected, or was found dead and is not removed yet. */
  get hasSuspects(): boolean {
    return this.#suspects.size > 0
  }

  /**
   * Must be called when an entry of this broker has returned.
   *
   * @param entryNumber The number of the entry.
   * @param lastSentNumber The number of the newest entry that this broker has sent.
   * @returns The dead members: the members that were suspected before this entry was sent and are
   *   still silent. An entry that such a member appended before this entry would have arrived by
   *   now, because the log delivers entries in order.
   */
  onOwnEntry(entryNumber: number, lastSentNumber: number, now: number): string[] {
    this.#compensateStall(now)
    const deadMembers: string[] = []
    const compensatedNow = now - this.#stalledMs
    for (const [other, lastEntryAt] of this.#lastEntryAt) {
      if (compensatedNow - lastEntryAt <= this.#deadMs) continue
      const numberAtSuspicion = this.#suspects.get(other)
      if (numberAtSuspicion !== undefined && entryNumber <= numberAtSuspicion) continue
      if (numberAtSuspicion !== undefined) deadMembers.push(other)
      // Dead members get the newest number too. Otherwise this method would return them again for
      // the entries that are already sent.
      this.#suspects.set(other, lastSentNumber)
    }
    return deadMembers
  }

  /**
   * Excludes a stall of the log from the silence of every member, because the stall may have
   * delayed the entries of other members too.
   */
  #compensateStall(now: number): void {
    this.#stalledMs += Math.max(0, now - this.#returnedAt - this.#ordinaryGapMs)
    this.#returnedAt = now
    const compensatedNow = now - this.#stalledMs
    // The time of an entry that arrived during the stall does not exclude the stall, and so may be
    // in the future now. Such an entry counts as if it arrived now.
    for (const [other, lastEntryAt] of this.#lastEntryAt) {
      if (lastEntryAt > compensatedNow) this.#lastEntryAt.set(other, compensatedNow)
    }
  }
}
