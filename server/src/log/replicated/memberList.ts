/**
 * The live incarnations in order of joining, with the number of each one's last entry. The list is
 * replicated state, like the table. Brokers that have applied the same entries have equal lists,
 * and so agree on which entries are valid and which broker takes over from which.
 */
import type { Command } from '../../core/index.js'
import type { CommandsEntry, JoinEntry, LeaveEntry, LogEntry } from './entry.js'

/** How many dead incarnations are remembered, so that their late entries stay invalid. */
const maxDeadKept = 1_000

export interface MemberListState {
  /** How many valid entries were applied. */
  readonly count: number
  /** Live incarnations with the number of their last entry, in order of joining. */
  readonly live: readonly (readonly [broker: string, last: number])[]
  /** Oldest first. */
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
  get count(): number {
    return this.#count
  }

  /** The number of each live incarnation's last entry, in order of joining. */
  get live(): ReadonlyMap<string, number> {
    return this.#live
  }

  /** The oldest member; undefined if there is none. */
  get oldest(): string | undefined {
    return this.#live.keys().next().value
  }

  get state(): MemberListState {
    return { count: this.#count, live: [...this.#live], dead: [...this.#dead] }
  }

  /**
   * Applies the next entry of the log. Returns its commands in order. Returns undefined for an
   * invalid entry: a duplicate, or one whose sender is dead or never joined.
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
    // Late entries of the former incarnation may still arrive, even its `join`.
    this.#addDead(replaces)
    return []
  }

  #acceptEntry(entry: LeaveEntry | CommandsEntry): readonly Command[] | undefined {
    const { broker, n, at } = entry
    if (this.#live.get(broker) !== n - 1) return undefined
    this.#live.set(broker, n)
    if ('leave' in entry) return this.#leave(broker, at)
    const restarts: Command[] = []
    for (const { broker: silent, last } of entry.notices?.dead ?? []) {
      // A newer entry of the member has arrived, so it is alive.
      if (silent === broker || this.#live.get(silent) !== last) continue
      restarts.push(this.#declareDead(silent, broker, at))
    }
    return restarts.length === 0 ? entry.commands : [...restarts, ...entry.commands]
  }

  /**
   * Passes the sessions of a leaving broker to the oldest other member. If there is none, the next
   * member that joins detects the silence.
   */
  #leave(broker: string, at: number): readonly Command[] {
    for (const other of this.#live.keys()) {
      if (other !== broker) return [this.#declareDead(broker, other, at)]
    }
    return []
  }

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
