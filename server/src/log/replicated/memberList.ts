/**
 * The live incarnations in order of joining, each with the number of its last entry (batch of
 * commands). An incarnation is one life of a broker in the log, from its join to its death. The
 * list is replicated state, like the lock table. Brokers that have applied the same entries have
 * equal lists. So the brokers agree which entries are valid, and which broker takes over the
 * sessions of a dead broker.
 */
import type { Command } from '../../core/index.js'
import {
  type CommandsEntry,
  type JoinEntry,
  type LeaveEntry,
  type LogEntry,
  type MissingEntry,
  noticesIn,
} from './entry.js'

/**
 * How many dead incarnations are remembered, so that their late entries stay invalid. The number
 * has a bound, because every snapshot has all remembered incarnations.
 */
const maxDeadKept = 1_000

export interface MemberListState {
  /** How many valid entries were applied. */
  readonly count: number
  /** Live incarnations with the number of their last entry, in order of joining. */
  readonly live: readonly (readonly [broker: string, last: number])[]
  /** Dead incarnations, in order of their deaths. */
  readonly dead: readonly string[]
}

export class MemberList {
  #count: number
  readonly #live: Map<string, number>
  readonly #dead: Set<string>

  constructor(state: MemberListState = { count: 0, live: [], dead: [] }) {
    this.#count = state.count
    this.#live = new Map(state.live)
    this.#dead = new Set(state.dead)
  }

  /** How many valid entries were applied. */
  get entryCount(): number {
    return this.#count
  }

  /** The number of each live incarnation's last entry, in order of joining. */
  get live(): ReadonlyMap<string, number> {
    return this.#live
  }

  /** The member that joined first; undefined without members. */
  get oldest(): string | undefined {
    return this.#live.keys().next().value
  }

  get state(): MemberListState {
    return { count: this.#count, live: [...this.#live], dead: [...this.#dead] }
  }

  /**
   * Finds a missing entry: an entry that precedes `entry` in the log, but that this list has not
   * applied. Returns undefined if no entry is missing. The caller must call this method before
   * `applyEntry`, and must not apply `entry` without the missing entry. Otherwise this list would
   * differ from the lists of the other brokers.
   *
   * Two things prove that the log has an earlier entry:
   * - Entry n of a sender proves entry n - 1. A broker sends an entry only when it knows that its
   *   previous entry is in the log.
   * - A death notice with the last entry n of a member proves entry n, because the sender of the
   *   notice has read entry n.
   *
   * The field `n` of an entry proves nothing in these cases, and `applyEntry` ignores the entry:
   * - an entry that is not newer than the last entry of its sender, because the entry was appended
   *   twice
   * - an entry of a dead sender, because all entries after the death are invalid
   * - an entry 1 that is not a `join`. A broker that asks for a snapshot sends such an entry under
   *   an id that never joins.
   */
  missingBefore(entry: LogEntry): MissingEntry | undefined {
    const { broker, n } = entry
    const last = this.#lastKnownNumber(broker)
    if (last < n - 1) return { broker, n: last + 1 }
    // The notices of an ignored entry are checked too, because they name only entries that are
    // earlier in the log.
    for (const { broker: silentBroker, last: lastSeen } of noticesIn(entry).dead ?? []) {
      const lastApplied = this.#lastKnownNumber(silentBroker)
      if (lastApplied < lastSeen) return { broker: silentBroker, n: lastApplied + 1 }
    }
    return undefined
  }

  /** The number of an incarnation's last entry: 0 before its join, infinite after its death. */
  #lastKnownNumber(broker: string): number {
    return this.#dead.has(broker) ? Number.POSITIVE_INFINITY : (this.#live.get(broker) ?? 0)
  }

  /**
   * Applies the next entry of the log. Returns the commands of the entry in order. Returns
   * undefined for an invalid entry: a duplicate, or an entry whose sender is dead or never joined.
   */
  applyEntry(entry: LogEntry): readonly Command[] | undefined {
    const commands = 'join' in entry ? this.#join(entry) : this.#acceptEntry(entry)
    if (commands !== undefined) this.#count++
    return commands
  }

  #join({ broker, n, at, join: { replaces } }: JoinEntry): readonly Command[] | undefined {
    if (n !== 1 || this.#live.has(broker) || this.#dead.has(broker)) return undefined
    this.#live.set(broker, n)
    if (replaces === undefined || replaces === broker) return []
    if (this.#live.has(replaces)) return [this.#declareDead(replaces, broker, at)]
    // Remember the former incarnation as dead, because its late entries may still arrive, even its
    // `join`.
    this.#addDead(replaces)
    return []
  }

  #acceptEntry(entry: LeaveEntry | CommandsEntry): readonly Command[] | undefined {
    const { broker, n, at } = entry
    if (this.#live.get(broker) !== n - 1) return undefined
    this.#live.set(broker, n)
    if ('leave' in entry) return this.#leave(broker, at)
    const takeovers: Command[] = []
    for (const { broker: silentBroker, last } of entry.notices?.dead ?? []) {
      // Skip the sender itself, a member with a newer entry (so it is alive), and a dead member.
      if (silentBroker === broker || this.#live.get(silentBroker) !== last) continue
      takeovers.push(this.#declareDead(silentBroker, broker, at))
    }
    return takeovers.length === 0 ? entry.commands : [...takeovers, ...entry.commands]
  }

  /**
   * Passes the sessions of a leaving broker to the oldest other member. Without another member, the
   * leaving broker stays in the list until the next broker that joins detects its silence.
   */
  #leave(broker: string, at: number): readonly Command[] {
    for (const other of this.#live.keys()) {
      if (other !== broker) return [this.#declareDead(broker, other, at)]
    }
    return []
  }

  /** Removes a member. The returned `restart` moves the member's sessions to the new owner. */
  #declareDead(broker: string, newOwner: string, at: number): Command {
    this.#live.delete(broker)
    this.#addDead(broker)
    return { type: 'restart', formerOwner: broker, ownerBroker: newOwner, at }
  }

  #addDead(broker: string): void {
    this.#dead.add(broker)
    if (this.#dead.size <= maxDeadKept) return
    const [oldest] = this.#dead
    this.#dead.delete(oldest!)
  }
}
