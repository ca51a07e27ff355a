/**
 * Who lives: the incarnations that are in the log, in the order of their joining, and how far each
 * has come. It is a part of the replicated state, like the table: all brokers that have taken the
 * same entries have the same roll, and so agree on which entries count and on who takes over from
 * whom.
 */
import type { Command } from '../../core/index.js'
import type { CommandsEntry, JoinEntry, LeaveEntry, LogEntry } from './entry.js'

/** Of how many that are gone the names are kept, lest an old entry of theirs count again. */
const deadNamed = 1_000

export interface MemberListState {
  /** How many entries have counted. */
  readonly count: number
  /** Incarnations with the number of their last entry, in order of joining. */
  readonly live: readonly (readonly [broker: string, last: number])[]
  /** Oldest first. */
  readonly dead: readonly string[]
}

export class MemberList {
  #count: number
  readonly #living: Map<string, number>
  readonly #dead: Set<string>

  constructor(state: MemberListState = { count: 0, live: [], dead: [] }) {
    this.#count = state.count
    this.#living = new Map(state.live)
    this.#dead = new Set(state.dead)
  }

  /** How many entries have counted. */
  get count(): number {
    return this.#count
  }

  /** The last entry of each, in order of joining. */
  get live(): ReadonlyMap<string, number> {
    return this.#living
  }

  /** The one that has been here longest. */
  get oldest(): string | undefined {
    return this.#living.keys().next().value
  }

  get state(): MemberListState {
    return { count: this.#count, live: [...this.#living], dead: [...this.#dead] }
  }

  /**
   * Takes the next entry of the log: the commands that it comes to, in order; undefined if it does
   * not count, because it came before, or its sender is dead or was never here.
   */
  applyEntry(entry: LogEntry): readonly Command[] | undefined {
    const commands = 'join' in entry ? this.#join(entry) : this.#acceptEntry(entry)
    if (commands !== undefined) this.#count++
    return commands
  }

  #join({ broker, n, at, join: { replaces } }: JoinEntry): readonly Command[] | undefined {
    if (n !== 1 || this.#living.has(broker) || this.#dead.has(broker)) return undefined
    this.#living.set(broker, n)
    if (replaces === undefined || replaces === broker) return []
    if (this.#living.has(replaces)) return [this.#declareDead(replaces, broker, at)]
    // What it appended may still come in, its join before all.
    this.#addDead(replaces)
    return []
  }

  #acceptEntry(entry: LeaveEntry | CommandsEntry): readonly Command[] | undefined {
    const { broker, n, at } = entry
    if (this.#living.get(broker) !== n - 1) return undefined
    this.#living.set(broker, n)
    if ('leave' in entry) return this.#leave(broker, at)
    const restarts: Command[] = []
    for (const { broker: silent, last } of entry.notices?.dead ?? []) {
      // If it has said anything since, it lives.
      if (silent === broker || this.#living.get(silent) !== last) continue
      restarts.push(this.#declareDead(silent, broker, at))
    }
    return restarts.length === 0 ? entry.commands : [...restarts, ...entry.commands]
  }

  /** Somebody has to keep its sessions: with nobody else here, it is found silent by the next. */
  #leave(broker: string, at: number): readonly Command[] {
    for (const other of this.#living.keys()) {
      if (other !== broker) return [this.#declareDead(broker, other, at)]
    }
    return []
  }

  #declareDead(broker: string, home: string, at: number): Command {
    this.#living.delete(broker)
    this.#addDead(broker)
    return { type: 'restart', formerOwner: broker, ownerBroker: home, at }
  }

  #addDead(broker: string): void {
    this.#dead.add(broker)
    if (this.#dead.size <= deadNamed) return
    const [oldest] = this.#dead
    this.#dead.delete(oldest!)
  }
}
