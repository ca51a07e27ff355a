/**
 * An oracle (a check of a simulated run) of a shared command log. The command log orders the
 * commands for the lock tables of all brokers. Of the logic of the product, the oracle uses only
 * `LockTable`, with a table of its own. The oracle itself decides which entries are valid, which
 * broker takes over which sessions, and how the table looks after each entry. For each entry, every
 * broker must apply the same commands and then have the same table. No broker may be declared dead
 * before its self-lease is over. The self-lease is how long a broker, by its own clock, regards
 * itself as a member.
 */
import { type Command, dump, type Effect, LockTable } from '@holdfast/server/core'
import type { LogEntry } from '@holdfast/server/internal'
import type { RunReport } from './runReport.js'
import type { StoredEntry } from './sharedStore.js'

/** The state of a broker that the oracle reads. */
export interface LogOracleBroker {
  readonly name: string
  /** The name of the broker in the log while it serves; otherwise ''. */
  readonly nameInLog: string
  /** How long the self-lease of the broker still lasts by the broker's own clock, in ms. */
  readonly selfLeaseMs: number
  readonly members: readonly string[]
  /** The position of the last entry whose commands the broker has applied. */
  readonly positionInLog: number
  readonly table: Omit<LockTable, 'apply'> | undefined
}

/** Whole tables are compared once in this many entries, because a comparison is slow. */
const compareEvery = 8

interface ExpectedEntry {
  /** The broker that wrote the entry; '' if the entry is invalid. */
  readonly writer: string
  /** The commands that the entry results in, as JSON. */
  readonly commands: readonly string[]
  /** The members after the entry, joined by commas. */
  readonly members: string
  /** The whole table after the entry as text; undefined for entries that are not compared. */
  readonly table: string | undefined
}

/** An entry that a broker has received, and that the oracle has not checked yet. */
interface ReceivedEntry {
  readonly position: number
  /** Whether the preceding entry was lost on the way, so that the broker must stop serving. */
  readonly isAfterLoss: boolean
  /** The commands that the broker has applied so far for this entry, as JSON. */
  readonly applied: string[]
}

export class LogOracle {
  readonly table = new LockTable()
  readonly #report: RunReport
  readonly #brokers: () => readonly LogOracleBroker[]
  /** The members in the order of joining, each with the number of its last valid entry. */
  readonly #members = new Map<string, number>()
  /** The names of the brokers that have left, were replaced, or were declared dead. */
  readonly #dead = new Set<string>()
  /** What each entry must result in, by the position of the entry. */
  readonly #expected = new Map<number, ExpectedEntry>()
  /** The broker that wrote the newest entry. */
  #writer = ''
  /** Whether the newest entry is valid. */
  #isValid = true
  /** The unchecked entries of each broker, in the order of the log. */
  readonly #received = new Map<LogOracleBroker, ReceivedEntry[]>()
  /** The brokers that have dropped their received entries since their last `checkHandled`. */
  readonly #stoppedReading = new Set<LogOracleBroker>()

  constructor(report: RunReport, brokers: () => readonly LogOracleBroker[]) {
    this.#report = report
    this.#brokers = brokers
  }

  get members(): readonly string[] {
    return [...this.#members.keys()]
  }

  /** The log has a new entry. */
  appended({ position, text }: StoredEntry): void {
    const entry = JSON.parse(text) as LogEntry
    this.#writer = entry.broker
    this.#isValid = true
    const commands = this.#accept(entry)
    for (const command of commands) this.table.apply(command)
    const isCompared = this.#expected.size % compareEvery === 0
    this.#expected.set(position, {
      writer: this.#isValid ? entry.broker : '',
      commands: commands.map((command) => JSON.stringify(command)),
      members: this.members.join(),
      table: isCompared ? textOf(this.table) : undefined,
    })
  }

  /** The oracle's own table has produced an effect. */
  hadEffect(effect: Effect): void {
    if (effect.kind === 'opened' || effect.kind === 'resumed') {
      const { id, ownerBroker } = effect.session
      if (ownerBroker === this.#writer) return
      const detail = `${this.#writer} ${effect.kind} ${id}, which belongs to ${ownerBroker}`
      this.#report.violated('a session belongs to the broker of its client', detail)
    }
    const session =
      effect.kind === 'released' && effect.reason === 'expired'
        ? effect.lock.session
        : effect.kind === 'ended' && effect.reason === 'expired'
          ? effect.session
          : undefined
    if (session === undefined || session.ownerBroker === this.#writer) return
    const detail = `${this.#writer} ended ${session.id}, which belongs to ${session.ownerBroker}`
    this.#report.violated('only the owner broker ends sessions and locks', detail)
  }

  /** A broker has started, and has received no entry yet. */
  started(broker: LogOracleBroker): void {
    this.#received.set(broker, [])
    this.#stoppedReading.delete(broker)
  }

  /**
   * Delivers an entry to a broker, which may handle the entry later.
   *
   * @param options.isAfterLoss Whether the entry reveals the loss of an earlier entry.
   */
  deliver(
    broker: LogOracleBroker,
    { position }: StoredEntry,
    handOver: () => void,
    { isAfterLoss = false } = {},
  ): void {
    if (isAfterLoss) this.#report.count('broker missed an entry')
    this.#received.get(broker)!.push({ position, isAfterLoss, applied: [] })
    handOver()
    this.checkHandled(broker)
  }

  /** A broker has applied a command of the first entry that it has received and not handled. */
  applied(broker: LogOracleBroker, command: Command): void {
    const { positionInLog } = broker
    const received = this.#received.get(broker)!
    const entry = received.find(({ position }) => position > positionInLog)
    if (entry !== undefined) entry.applied.push(JSON.stringify(command))
    else {
      const detail = `${broker.name} at ${positionInLog}: ${command.type} of no received entry`
      this.#report.violated('all brokers apply the same commands', detail)
    }
  }

  /** A broker has dropped the entries that it has received and not handled. */
  stoppedReading(broker: LogOracleBroker): void {
    // The same unit of work may have handled earlier entries.
    this.checkHandled(broker)
    const received = this.#received.get(broker)!
    // An entry after a loss makes the broker stop, so the check still needs this entry.
    this.#received.set(broker, received[0]?.isAfterLoss === true ? [received[0]] : [])
    this.#stoppedReading.add(broker)
  }

  /** Checks the entries that a broker has handled. Call this method after each unit of its work. */
  checkHandled(broker: LogOracleBroker): void {
    const received = this.#received.get(broker)!
    const hasStopped = this.#stoppedReading.delete(broker)
    while (received.length > 0 && (hasStopped || received[0]!.position <= broker.positionInLog)) {
      const entry = received.shift()!
      if (entry.isAfterLoss) this.#checkAfterLoss(broker, entry)
      else this.#check(broker, entry, received.length === 0)
    }
  }

  /**
   * Checks a broker that has handled an entry.
   *
   * @param isNewest Whether the broker has received no later entry. Otherwise the broker may have
   *   begun to handle the next entry, so its state is not compared.
   */
  #check(broker: LogOracleBroker, { position, applied }: ReceivedEntry, isNewest: boolean): void {
    const expected = this.#expected.get(position)!
    const appliedText = applied.join(' ') || 'nothing'
    const expectedText = expected.commands.join(' ') || 'nothing'
    if (appliedText !== expectedText) {
      const detail = `${broker.name} at ${position}: ${appliedText}, not ${expectedText}`
      this.#report.violated('all brokers apply the same commands', detail)
    }
    if (!isNewest) return
    if (broker.members.join() !== expected.members) {
      const detail = `${broker.name} at ${position}: ${broker.members.join()}, not ${expected.members}`
      this.#report.violated('all brokers agree on the members', detail)
    }
    if (expected.table !== undefined) this.#compare(broker, expected.table, position)
  }

  /** Checks a broker that has just handled an entry that reveals the loss of an earlier entry. */
  #checkAfterLoss(broker: LogOracleBroker, { position, applied }: ReceivedEntry): void {
    if (broker.nameInLog === '' && applied.length === 0) return
    const detail = `${broker.name} at ${position}: serves as ${broker.nameInLog || 'nothing'}, applied ${applied.join(' ') || 'nothing'}`
    this.#report.violated('a broker that missed an entry stops serving', detail)
  }

  /**
   * Whether this entry, which follows the entry `missed`, proves to its reader that `missed` was
   * lost. It does if one broker wrote both, because the reader then sees a gap in their numbers.
   */
  provesLoss({ position }: StoredEntry, missed: StoredEntry): boolean {
    const writer = this.#expected.get(position)!.writer
    return writer !== '' && writer === this.#expected.get(missed.position)!.writer
  }

  #compare({ name, table }: LogOracleBroker, expected: string, position: number): void {
    if (table === undefined || textOf(table) === expected) return
    this.#report.violated('all brokers have the same table', `${name} at ${position}`)
  }

  // ----------------------------------------------------------------------- which entries are valid

  /**
   * Updates the members and `#isValid`. Returns the commands that the entry results in; none for an
   * invalid entry.
   */
  #accept(entry: LogEntry): readonly Command[] {
    const { broker, n, at } = entry
    if ('join' in entry) {
      const { replaces } = entry.join
      // The entries of each broker are numbered (`n`), and the first is the join.
      if (n !== 1 || this.#members.has(broker) || this.#dead.has(broker)) return this.#ignore(entry)
      this.#members.set(broker, 1)
      this.#report.count('broker joined')
      const takeOverCommands = this.#removeMember(replaces, broker, at)
      // A broker that was replaced before it joined must not join later.
      if (replaces !== undefined && replaces !== broker) this.#dead.add(replaces)
      return takeOverCommands
    }
    if (this.#members.get(broker) !== n - 1) return this.#ignore(entry)
    this.#members.set(broker, n)
    if ('leave' in entry) {
      this.#report.count('broker left')
      // The last member stays a member when it leaves, because no broker can take over.
      const successor = this.members.find((other) => other !== broker)
      return successor === undefined ? [] : this.#removeMember(broker, successor, at)
    }
    const takeOverCommands: Command[] = []
    // A notice declares a broker dead. The writer of the notice knew the entries of that broker up
    // to the number `last`. A later entry of that broker makes the notice void. A notice by
    // a broker about itself is always void.
    for (const { broker: deadBroker, last } of entry.notices?.dead ?? []) {
      if (this.#members.get(deadBroker) !== last || deadBroker === broker) {
        this.#report.count('death notice void')
        continue
      }
      this.#report.count('broker declared dead')
      this.#checkDeath(deadBroker)
      takeOverCommands.push(...this.#removeMember(deadBroker, broker, at))
    }
    return [...takeOverCommands, ...entry.commands]
  }

  #ignore({ broker }: LogEntry): readonly Command[] {
    this.#isValid = false
    this.#report.count(this.#dead.has(broker) ? 'entry of a dead broker' : 'entry repeated')
    return []
  }

  /** Removes a member. Returns the command by which `newOwner` takes over its sessions. */
  #removeMember(broker: string | undefined, newOwner: string, at: number): readonly Command[] {
    if (broker === undefined || !this.#members.delete(broker)) return []
    this.#dead.add(broker)
    return [{ type: 'restart', formerOwner: broker, ownerBroker: newOwner, at }]
  }

  #checkDeath(name: string): void {
    const member = this.#brokers().find(({ nameInLog }) => nameInLog === name)
    if (member === undefined || member.selfLeaseMs <= 0) return
    const detail = `${member.name} as ${name} is a member for ${member.selfLeaseMs} ms more`
    this.#report.violated('a self-lease is over before its broker is declared dead', detail)
  }
}

function textOf(table: Omit<LockTable, 'apply'>): string {
  return [...dump(table as LockTable)].map((item) => JSON.stringify(item)).join('\n')
}
