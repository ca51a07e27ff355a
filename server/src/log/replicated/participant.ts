/**
 * A broker's part in a shared log: it takes what comes, in order, and appends what its own clients
 * want, as one incarnation after the other.
 *
 * A broker that has heard nothing of its own entries for too long *resigns*: it sends its clients
 * to the others, and comes back as a new incarnation. So it never grants, or acknowledges, what the
 * others may by then have given to somebody else.
 */
import type { HoldfastError } from '@holdfast/shared'
import type { Command } from '../../core/index.js'
import type { LogLoad, LogStatus, Replica } from '../log.js'
import { Agreement } from './agreement.js'
import { Batch } from './batch.js'
import { Beginning } from './beginning.js'
import type { Charter, Engine } from './engine.js'
import { decodeEntry, type Entry, noticesIn } from './entry.js'
import { logClosed } from './faults.js'
import { Incarnation } from './incarnation.js'
import type { LogMachine } from './machine.js'
import { Roll } from './roll.js'
import { type Loaded, loadSnapshot, type Made, saveState } from './snapshot.js'
import type { Snapshots } from './snapshots.js'
import { Vigil } from './standing.js'

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
  #beginning: Beginning | undefined
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
    this.#takeUp(await loadSnapshot(this.#parts.engine))
    this.#join(undefined)
  }

  submit(command: Command): void {
    if (this.#state !== 'serving') return
    this.#batch.add(command)
    this.#self!.flushSoon()
  }

  /** Whether it still counts; if not, it has resigned before this returns. */
  stands(): boolean {
    if (this.home !== '' && this.#self!.standing.isOver(this.#now())) this.#resign()
    return this.home !== ''
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
    this.#beginning?.stop()
    this.#following?.stop()
    this.#self?.end()
    this.#batch.clear()
  }

  // --------------------------------------------------------------------------- coming and going

  /** Takes up a snapshot, if there is one, and follows the log from there. */
  #takeUp(loaded: Loaded | undefined): void {
    if (this.#state === 'off') throw logClosed()
    if (loaded !== undefined) {
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
      onTrouble: this.#onTrouble,
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
    if (!this.#stepDown()) return
    const { engine, machine, charter } = this.#parts
    this.#beginning = new Beginning({ engine, machine, charter, onTrouble: this.#onTrouble })
    this.#beginning
      .after(this.#position)
      .then((loaded) => {
        this.#takeUp(loaded)
        this.#join(this.#self!.id)
      })
      .catch((error: HoldfastError) => this.#fail(error))
  }

  readonly #onTrouble = (why: string | undefined): void => {
    this.#trouble = why
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
    const { snapshots } = this.#parts
    const saveOwn = this.#self?.id === first ? this.#saveOwn : undefined
    snapshots.count(position, text.length, saveOwn)
    const { wanted } = noticesIn(entry)
    if (wanted !== undefined) snapshots.wanted(wanted, saveOwn)
  }

  readonly #saveOwn = async (): Promise<Made> => {
    // While it does not serve, or if it has failed, its table is not to be relied on.
    if (this.#state !== 'serving') return undefined
    const { engine, machine, replica } = this.#parts
    const state = { position: this.#position, at: machine.clock.wall(), roll: this.#roll }
    return saveState(engine, state, replica.dump())
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
    const { digest, snapshot } = noticesIn(entry)
    if (snapshot !== undefined) this.#parts.snapshots.known(snapshot, entry.at)
    const { count, living } = this.#roll
    if (this.#agreement.isDue(count)) {
      const value = this.#parts.replica.digest()
      this.#agreement.begin(count, value, living.keys())
      if (this.home !== '') this.#self!.speak({ digest: [count, value] })
    }
    if (digest !== undefined) this.#agreement.hear(entry.broker, digest)
    const fault = this.#agreement.verdict(living)
    if (fault !== undefined) this.#fail(fault)
    return fault === undefined
  }

  #now(): number {
    return this.#parts.machine.clock.monotonic()
  }
}
