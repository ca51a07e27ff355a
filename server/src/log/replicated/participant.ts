/**
 * A broker's part in a shared log: it takes what comes, in order, and appends what its own clients
 * want, as one incarnation after the other.
 *
 * A broker that has heard nothing of its own entries for too long *resigns*: it sends its clients
 * to the others, and comes back as a new incarnation. So it never grants, or acknowledges, what the
 * others may by then have given to somebody else.
 */
import { HoldfastError, type Timer } from '@holdfast/shared'
import type { Command } from '../../core/index.js'
import type { Environment } from '../../environment.js'
import type { LogLoad, LogStatus, Replica } from '../log.js'
import { Agreement } from './agreement.js'
import { Batch } from './batch.js'
import type { Charter, Engine } from './engine.js'
import { decodeEntry, type Entry } from './entry.js'
import { entriesGone, logClosed } from './faults.js'
import { Incarnation } from './incarnation.js'
import { Roll } from './roll.js'
import { loadSnapshot } from './snapshot.js'
import type { Snapshots } from './snapshots.js'
import { Vigil } from './standing.js'

/** What a log takes from the machine that it runs on. */
export type LogMachine = Pick<Environment, 'clock' | 'endOfTurn' | 'newId'>

/** Between two tries to load a snapshot, in ms. */
const reloadMs = 1_000

/** `away`: not one of those that serve, but about to be; `off`: for good. */
type State = 'new' | 'away' | 'serving' | 'leaving' | 'off'

export interface ParticipantParts {
  readonly replica: Replica
  readonly engine: Engine
  readonly machine: LogMachine
  readonly charter: Charter
  readonly snapshots: Snapshots
  /** Each time that it begins to serve. */
  readonly onServing: () => void
  /** It has said goodbye, or cannot any more. */
  readonly onLeft: () => void
  /** It cannot go on. */
  readonly onFailed: (error: HoldfastError) => void
}

export class Participant {
  readonly #parts: ParticipantParts
  readonly #batch = new Batch()
  #state: State = 'new'
  #following: { stop(): void } | undefined
  #position = 0
  #roll = new Roll()
  #agreement = new Agreement()
  #self: Incarnation | undefined
  /** Its join has come back. */
  #hasJoined = false
  #vigil: Vigil | undefined
  #lagMs: number | undefined
  #again: Timer | undefined
  #trouble: string | undefined

  constructor(parts: ParticipantParts) {
    this.#parts = parts
  }

  /** Its name while it serves; '' while it does not. */
  get home(): string {
    return this.#state === 'serving' || this.#state === 'leaving' ? this.#self!.id : ''
  }

  get load(): LogLoad {
    return this.#batch.load
  }

  get status(): LogStatus {
    const until = this.home === '' ? 0 : this.#self!.standing.until
    return {
      position: this.#position,
      lagMs: this.#lagMs,
      living: [...this.#roll.living.keys()],
      home: this.home === '' ? undefined : this.home,
      standingMs: Math.max(0, until - this.#now()),
      waiting: this.#batch.length,
      snapshot: this.#parts.snapshots.newest,
      trouble: this.#trouble ?? this.#parts.snapshots.trouble ?? this.#parts.engine.warning,
    }
  }

  /** Takes up what there is and joins; whoever waits for it hears of `onServing`. */
  async begin(): Promise<void> {
    await this.#load()
    this.#join(undefined)
  }

  submit(command: Command): void {
    if (this.#state !== 'serving') return
    this.#batch.add(command)
    this.#self!.flushSoon()
  }

  /** Whether it still counts; if not, it has resigned before this returns. */
  stands(): boolean {
    if (this.home === '') return false
    if (!this.#self!.standing.isOver(this.#now())) return true
    this.#resign()
    return false
  }

  /** Says goodbye after everything that was submitted; false if there is nobody to say it. */
  leave(): boolean {
    if (this.#state !== 'serving') return false
    this.#state = 'leaving'
    this.#self!.leave()
    return true
  }

  /** Speaks of a snapshot that it has made. */
  announce(snapshot: number): void {
    this.#self?.speak({ snapshot })
  }

  /** Takes and says nothing any more. */
  end(): void {
    this.#state = 'off'
    this.#parts.machine.clock.clearTimer(this.#again)
    this.#following?.stop()
    this.#self?.end()
    this.#batch.clear()
  }

  // --------------------------------------------------------------------------- coming and going

  /** Takes up the newest snapshot and follows the log from there. */
  async #load(): Promise<void> {
    const loaded = await loadSnapshot(this.#parts.engine)
    if (this.#state === 'off') throw logClosed()
    if (loaded !== undefined) {
      if (loaded.position < this.#position) throw entriesGone(this.#position)
      this.#position = loaded.position
      this.#roll = loaded.roll
      this.#agreement = new Agreement()
      this.#parts.snapshots.known(loaded.position, loaded.at)
      this.#parts.replica.restore(loaded.items)
    }
    this.#following = this.#parts.engine.follow(this.#position, {
      entry: (position, text) => this.#onEntry(position, text),
      compacted: () => this.#onCompacted(),
      failed: (error) => this.#fail(error),
    })
  }

  #join(replaces: string | undefined): void {
    this.#state = 'away'
    this.#hasJoined = false
    this.#vigil = undefined
    const { engine, machine, charter } = this.#parts
    const { clock, endOfTurn } = machine
    const { deadMs } = charter
    this.#self = new Incarnation({
      ...{ id: machine.newId(), engine, clock, endOfTurn, deadMs, batch: this.#batch },
      onLapse: () => {
        if (this.home !== '') this.#resign()
      },
      onTrouble: (why) => {
        this.#trouble = why
      },
    })
    this.#self.join(replaces)
  }

  #serve(): void {
    this.#state = 'serving'
    this.#parts.replica.serve()
    this.#parts.onServing()
  }

  /** This incarnation counts no more: its promises are given up, and the next one begins. */
  #resign(): void {
    if (this.#stepDown()) this.#join(this.#self!.id)
  }

  /** Whether there is to be a next incarnation. */
  #stepDown(): boolean {
    const state = this.#state
    if (state === 'off' || state === 'new') return false
    this.#self!.end()
    this.#batch.clear()
    this.#state = 'away'
    if (state !== 'away') this.#parts.replica.resign()
    if (state === 'leaving') this.#parts.onLeft()
    return state !== 'leaving'
  }

  /** This broker was left behind so far that the rest is gone: it begins again like a new one. */
  #onCompacted(): void {
    this.#following?.stop()
    if (this.#stepDown()) this.#reload()
  }

  #reload(): void {
    const after = this.#position
    this.#load().then(
      () => {
        if (this.#position > after) this.#join(this.#self!.id)
        else this.#fail(entriesGone(after))
      },
      (error) => {
        if (this.#state === 'off') return
        if (error instanceof HoldfastError) this.#fail(error)
        else this.#again = this.#parts.machine.clock.setTimer(() => this.#reload(), reloadMs)
      },
    )
  }

  #fail(error: HoldfastError): void {
    if (this.#state === 'off') return
    this.end()
    this.#parts.onFailed(error)
  }

  // ---------------------------------------------------------------------------------- entries

  #onEntry(position: number, text: string): void {
    if (this.#state === 'off') return
    let entry: Entry
    try {
      entry = decodeEntry(text, position)
    } catch (error) {
      this.#fail(error as HoldfastError)
      return
    }
    this.#position = position
    const commands = this.#roll.take(entry)
    const { living, first } = this.#roll
    // Another one took this one for dead, or it has just said goodbye.
    if (this.#hasJoined && !living.has(this.#self!.id)) this.#resign()
    if (commands !== undefined) this.#take(entry, commands)
    const isOurTurn = this.home !== '' && this.home === first
    this.#parts.snapshots.count(position, text.length, isOurTurn)
  }

  #take(entry: Entry, commands: readonly Command[]): void {
    const { broker } = entry
    for (const command of commands) {
      if (command.type === 'restart' && command.from !== undefined) this.#vigil?.gone(command.from)
      if (this.home === '') this.#parts.replica.replay(command)
      else this.#parts.replica.apply(command)
    }
    if (!this.#compare(entry)) return
    if (broker === this.#self?.id) this.#onOwn(entry)
    else if (this.#roll.living.has(broker)) this.#vigil?.heard(broker, this.#now())
  }

  /** An entry of this incarnation has come back: it is alive, as far as anybody knows. */
  #onOwn({ n }: Entry): void {
    const self = this.#self!
    const now = this.#now()
    this.#lagMs = self.returned(n) ?? this.#lagMs
    if (!this.#hasJoined) {
      this.#hasJoined = true
      const others = [...this.#roll.living.keys()].filter((broker) => broker !== self.id)
      this.#vigil = new Vigil(this.#parts.charter.deadMs, others, now)
    }
    if (n === self.leaveIs) {
      this.#parts.onLeft()
    } else if (this.#state === 'away') {
      // What came back so late that it is over already is followed by something newer.
      if (self.standing.isOver(now)) self.speak()
      else this.#serve()
    } else this.#watch(n, now)
  }

  #watch(n: number, now: number): void {
    const [self, vigil] = [this.#self!, this.#vigil!]
    const silent = vigil.returned(n, self.lastSent, now)
    const dead = silent.map((broker) => ({ broker, last: this.#roll.living.get(broker)! }))
    if (dead.length > 0) self.speak({ dead })
    else if (vigil.hasSuspects) self.speak()
  }

  /** Looks whether all tables are the same, as far as anybody says; if not, this is the end. */
  #compare(entry: Entry): boolean {
    const { digest, snapshot } = ('commands' in entry && entry.notices) || {}
    if (snapshot !== undefined) this.#parts.snapshots.known(snapshot, entry.at)
    const { count } = this.#roll
    if (this.#agreement.isDue(count)) {
      const value = this.#parts.replica.digest()
      this.#agreement.note(count, value)
      if (this.home !== '') this.#self!.speak({ digest: [count, value] })
    }
    const fault = digest && this.#agreement.compare(digest)
    if (fault !== undefined) this.#fail(fault)
    return fault === undefined
  }

  #now(): number {
    return this.#parts.machine.clock.monotonic()
  }
}
