/**
 * What is in the shared log, by a book of its own: which entries count, whose sessions pass to
 * whom, and what the one true table is after each of them. Whatever a broker makes of the log is
 * held against it: the same commands at the same place, the same table, and nobody who still counts
 * by its own clock is taken for dead.
 */
import { type Command, dump, type Effect, LockTable } from '@holdfast/server/core'
import type { LogEntry } from '@holdfast/server/internal'
import type { Kept } from './sharedStore.js'
import type { Verdict } from './verdict.js'

/** A broker, as far as the book is concerned. */
export interface Taker {
  readonly name: string
  /** Its name in the log while it serves, else ''. */
  readonly home: string
  /** How much longer it counts by its own clock, in ms. */
  readonly standingMs: number
  readonly living: readonly string[]
  readonly table: Omit<LockTable, 'apply'> | undefined
}

/** Entries between two comparisons of whole tables. */
const compareEvery = 8

interface Page {
  /** Commands that the entry comes to, as text. */
  readonly commands: readonly string[]
  /** Who lives after it. */
  readonly living: string
  /** The whole table after it, now and then. */
  readonly table: string | undefined
}

export class LogBook {
  readonly table = new LockTable()
  readonly #verdict: Verdict
  readonly #takers: () => readonly Taker[]
  /** Last entry of each that lives, in order of joining. */
  readonly #living = new Map<string, number>()
  readonly #dead = new Set<string>()
  readonly #pages = new Map<number, Page>()
  /** Who has said what is entered now. */
  #author = ''
  /** What the broker that takes an entry now has applied so far. */
  #taken: string[] = []

  constructor(verdict: Verdict, takers: () => readonly Taker[]) {
    this.#verdict = verdict
    this.#takers = takers
  }

  get living(): readonly string[] {
    return [...this.#living.keys()]
  }

  /** An entry has come in. */
  entered({ position, text }: Kept): void {
    const entry = JSON.parse(text) as LogEntry
    this.#author = entry.broker
    const commands = this.#accept(entry)
    for (const command of commands) this.table.apply(command)
    const isCompared = this.#pages.size % compareEvery === 0
    this.#pages.set(position, {
      commands: commands.map((command) => JSON.stringify(command)),
      living: this.living.join(),
      table: isCompared ? textOf(this.table) : undefined,
    })
  }

  /** The true table has done this. */
  did(effect: Effect): void {
    if (effect.kind === 'opened' || effect.kind === 'resumed') {
      const { id, ownerBroker } = effect.session
      if (ownerBroker === this.#author) return
      const why = `${this.#author} ${effect.kind} ${id}, which is at home with ${ownerBroker}`
      this.#verdict.broken('a session is at home where its client is', why)
    }
    const session =
      effect.kind === 'released' && effect.reason === 'expired'
        ? effect.lock.session
        : effect.kind === 'ended' && effect.reason === 'expired'
          ? effect.session
          : undefined
    if (session === undefined || session.ownerBroker === this.#author) return
    const why = `${this.#author} judged ${session.id}, which is at home with ${session.ownerBroker}`
    this.#verdict.broken('only the home keeps deadlines', why)
  }

  /** A broker takes this entry. */
  taking(taker: Taker, { position }: Kept, take: () => void): void {
    const page = this.#pages.get(position)!
    this.#taken = []
    take()
    const [taken, entered] = [this.#taken.join(' '), page.commands.join(' ')]
    if (taken !== entered) {
      const why = `${taker.name} at ${position}: ${taken || 'nothing'}, not ${entered || 'nothing'}`
      this.#verdict.broken('all brokers apply the same commands', why)
    }
    if (taker.living.join() !== page.living) {
      const why = `${taker.name} at ${position}: ${taker.living.join()}, not ${page.living}`
      this.#verdict.broken('all brokers agree on who lives', why)
    }
    if (page.table !== undefined) this.#compare(taker, page.table, position)
  }

  /** A broker has applied this. */
  applied(command: Command): void {
    this.#taken.push(JSON.stringify(command))
  }

  #compare({ name, table }: Taker, expected: string, position: number): void {
    if (table === undefined || textOf(table) === expected) return
    this.#verdict.broken('all brokers have the same table', `${name} at ${position}`)
  }

  // -------------------------------------------------------------------------- who counts

  #accept(entry: LogEntry): readonly Command[] {
    const { broker, n, at } = entry
    if ('join' in entry) {
      const { replaces } = entry.join
      if (n !== 1 || this.#living.has(broker) || this.#dead.has(broker)) return this.#ignore(entry)
      this.#living.set(broker, 1)
      this.#verdict.count('broker joined')
      const restarts = this.#bury(replaces, broker, at)
      // Whoever was given up before it was heard of does not come to life by being late.
      if (replaces !== undefined && replaces !== broker) this.#dead.add(replaces)
      return restarts
    }
    if (this.#living.get(broker) !== n - 1) return this.#ignore(entry)
    this.#living.set(broker, n)
    if ('leave' in entry) {
      this.#verdict.count('broker left')
      const heir = this.living.find((other) => other !== broker)
      return heir === undefined ? [] : this.#bury(broker, heir, at)
    }
    const restarts: Command[] = []
    for (const { broker: silent, last } of entry.notices?.dead ?? []) {
      if (this.#living.get(silent) !== last || silent === broker) {
        this.#verdict.count('obituary of somebody who lives')
        continue
      }
      this.#verdict.count('broker taken for dead')
      this.#judgeDeath(silent)
      restarts.push(...this.#bury(silent, broker, at))
    }
    return [...restarts, ...entry.commands]
  }

  #ignore({ broker }: LogEntry): readonly Command[] {
    this.#verdict.count(this.#dead.has(broker) ? 'entry of the dead' : 'entry come before')
    return []
  }

  #bury(broker: string | undefined, home: string, at: number): readonly Command[] {
    if (broker === undefined || !this.#living.delete(broker)) return []
    this.#dead.add(broker)
    return [{ type: 'restart', formerOwner: broker, ownerBroker: home, at }]
  }

  #judgeDeath(name: string): void {
    const alive = this.#takers().find(({ home }) => home === name)
    if (alive === undefined || alive.standingMs <= 0) return
    const why = `${alive.name} as ${name} counts for ${alive.standingMs} ms more`
    this.#verdict.broken('the dead know first', why)
  }
}

function textOf(table: Omit<LockTable, 'apply'>): string {
  return [...dump(table as LockTable)].map((item) => JSON.stringify(item)).join('\n')
}
