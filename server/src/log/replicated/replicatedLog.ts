/**
 * A log that several brokers share, over an engine that puts their entries in order. Every broker
 * appends what its own clients want, takes what comes back, its own entries too, in the one order,
 * and acts for its own clients. There is no leader: who lives, and who takes over from whom, is in
 * the log like everything else.
 *
 * A broker that has heard nothing of its own entries for too long *resigns*: it sends its clients to
 * the others, and comes back as a new incarnation. So it never grants, or acknowledges, what the
 * others may by then have given to somebody else.
 */
import { HoldfastError, type Timer } from '@holdfast/shared'
import type { Command } from '../../core/index.js'
import type { Environment } from '../../environment.js'
import type { Log, LogLoad, LogStatus, Replica, Sharing } from '../log.js'
import { Agreement } from './agreement.js'
import { Batch } from './batch.js'
import type { Charter, Engine, EngineSource } from './engine.js'
import { decodeEntry, type Entry, formatVersion } from './entry.js'
import { Incarnation } from './incarnation.js'
import { Roll } from './roll.js'
import { loadSnapshot } from './snapshot.js'
import { Snapshots } from './snapshots.js'
import { Vigil } from './standing.js'

export interface ReplicatedOptions {
  /** Tells this cluster from others; all its brokers have the same. Default ''. */
  readonly cluster?: string | undefined
  /**
   * Silence, in ms, after which a broker is taken for dead; all brokers of a cluster have the same.
   * 1,000 to 60,000, default 6,000.
   */
  readonly deadMs?: number | undefined
  /** Entries after which a snapshot is made. Default 20,000. */
  readonly snapshotEntries?: number | undefined
  /** Characters of entries after which a snapshot is made. Default 67,108,864. */
  readonly snapshotCharacters?: number | undefined
}

/** What it takes from the machine it runs on. */
export type LogMachine = Pick<Environment, 'clock' | 'endOfTurn' | 'newId'>

/** How long joining may take when the broker starts, in ms. */
const startMs = 30_000
/** How long saying goodbye may take, in ms. */
const goodbyeMs = 3_000
/** Between two tries to load a snapshot, in ms. */
const reloadMs = 1_000

/** `away`: not counted among those who serve, but about to be again; `off`: failed or closed. */
type State = 'new' | 'away' | 'serving' | 'leaving' | 'off'

export class ReplicatedLog implements Log, Sharing {
  readonly #machine: LogMachine
  readonly #source: EngineSource
  readonly #charter: Charter
  readonly #batch = new Batch()
  readonly #snapshots: Snapshots
  #engine: Engine | undefined
  #replica: Replica | undefined
  #state: State = 'new'
  #hasServed = false
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
  #onServing: () => void = () => {}
  #onFailed: (error: HoldfastError) => void = () => {}
  #onLeft: () => void = () => {}

  constructor(source: EngineSource, options: ReplicatedOptions, machine: LogMachine) {
    const { cluster = '', deadMs = 6_000 } = options
    const { snapshotEntries: entries = 20_000, snapshotCharacters = 64 * 1024 * 1024 } = options
    for (const [name, value, least, most] of [
      ['deadMs', deadMs, 1_000, 60_000],
      ['snapshotEntries', entries, 1, Number.MAX_SAFE_INTEGER],
      ['snapshotCharacters', snapshotCharacters, 1, Number.MAX_SAFE_INTEGER],
    ] as const) {
      if (Number.isSafeInteger(value) && value >= least && value <= most) continue
      throw new HoldfastError('INVALID_OPTION', `${name} is an integer from ${least} to ${most}.`)
    }
    this.#machine = machine
    this.#source = source
    this.#charter = { format: formatVersion, deadMs, cluster }
    this.#snapshots = new Snapshots({
      source,
      charter: this.#charter,
      every: { entries, characters: snapshotCharacters },
      wall: () => machine.clock.wall(),
      onMade: (snapshot) => this.#self?.speak({ snapshot }),
      onTrouble: (why) => {
        this.#trouble = why
      },
    })
  }

  // --------------------------------------------------------------------------- for the broker

  get sharing(): Sharing {
    return this
  }

  get home(): string {
    return this.#state === 'serving' || this.#state === 'leaving' ? this.#self!.id : ''
  }

  get load(): LogLoad {
    return this.#batch.load
  }

  stands(): boolean {
    if (this.home === '') return false
    if (!this.#self!.standing.isOver(this.#now())) return true
    this.#resign()
    return false
  }

  get status(): LogStatus {
    const standing = this.#self?.standing.until ?? 0
    return {
      position: this.#position,
      lagMs: this.#lagMs,
      living: [...this.#roll.living.keys()],
      home: this.home === '' ? undefined : this.home,
      standingMs: this.home === '' ? 0 : Math.max(0, standing - this.#now()),
      waiting: this.#batch.length,
      snapshot: this.#snapshots.newest,
      trouble: this.#trouble,
    }
  }

  async start(replica: Replica): Promise<void> {
    const { clock } = this.#machine
    this.#replica = replica
    this.#engine = this.#source.create()
    const serving = new Promise<void>((resolve, reject) => {
      this.#onServing = resolve
      this.#onFailed = reject
    })
    const tooLate = clock.setTimer(() => {
      const sentence = 'The log was reached, but this broker could not join the others in 30 s.'
      this.#onFailed(new HoldfastError('UNAVAILABLE', `${sentence} ${this.#trouble ?? ''}`.trim()))
    }, startMs)
    try {
      await this.#engine.open(this.#charter)
      await this.#load()
      this.#join(undefined)
      await serving
    } catch (error) {
      this.#off()
      await this.#engine.close()
      throw error instanceof HoldfastError ? error : unreachable(error)
    } finally {
      clock.clearTimer(tooLate)
    }
  }

  submit(command: Command): void {
    if (this.#state !== 'serving') return
    this.#batch.add(command)
    this.#self!.flushSoon()
  }

  async close(): Promise<void> {
    if (this.#state === 'serving') {
      const { clock } = this.#machine
      const left = new Promise<void>((resolve) => {
        this.#onLeft = resolve
      })
      const tooLate = clock.setTimer(this.#onLeft, goodbyeMs)
      this.#state = 'leaving'
      this.#self!.leave()
      await left
      clock.clearTimer(tooLate)
    }
    this.#off()
    this.#onFailed(closed())
    await this.#engine?.close()
  }

  // --------------------------------------------------------------------------- coming and going

  /** Takes up the newest snapshot and follows the log from there. */
  async #load(): Promise<void> {
    const loaded = await loadSnapshot(this.#engine!)
    if (this.#state === 'off') throw closed()
    if (loaded !== undefined) {
      if (loaded.position < this.#position) throw gone(this.#position)
      this.#position = loaded.position
      this.#roll = loaded.roll
      this.#agreement = new Agreement()
      this.#snapshots.known(loaded.position, loaded.at)
      this.#replica!.restore(loaded.items)
    }
    this.#following = this.#engine!.follow(this.#position, {
      entry: (position, text) => this.#onEntry(position, text),
      compacted: () => this.#onCompacted(),
      failed: (error) => this.#fail(error),
    })
  }

  #join(replaces: string | undefined): void {
    this.#state = 'away'
    this.#hasJoined = false
    this.#vigil = undefined
    const { clock, endOfTurn, newId } = this.#machine
    this.#self = new Incarnation({
      id: newId(),
      engine: this.#engine!,
      clock,
      endOfTurn,
      deadMs: this.#charter.deadMs,
      batch: this.#batch,
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
    this.#hasServed = true
    this.#replica!.serve()
    this.#onServing()
  }

  /** This incarnation counts no more: everything that it promised is given up, the next one begins. */
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
    if (state !== 'away') this.#replica!.resign()
    if (state === 'leaving') this.#onLeft()
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
        else this.#fail(gone(after))
      },
      (error) => {
        if (this.#state === 'off') return
        if (error instanceof HoldfastError) this.#fail(error)
        else this.#again = this.#machine.clock.setTimer(() => this.#reload(), reloadMs)
      },
    )
  }

  #fail(error: HoldfastError): void {
    if (this.#state === 'off') return
    this.#off()
    this.#onLeft()
    if (this.#hasServed) this.#replica!.fail(error)
    else this.#onFailed(error)
  }

  #off(): void {
    this.#state = 'off'
    this.#machine.clock.clearTimer(this.#again)
    this.#following?.stop()
    this.#snapshots.stop()
    this.#self?.end()
    this.#batch.clear()
  }

  // ---------------------------------------------------------------------------------- entries

  #onEntry(position: number, text: string): void {
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
    if (this.#hasJoined && !living.has(this.#self!.id)) this.#resign()
    if (commands !== undefined) this.#take(entry, commands)
    if (this.#state === 'off') return
    this.#snapshots.count(position, text.length, first === this.#self?.id && this.#hasJoined)
  }

  #take(entry: Entry, commands: readonly Command[]): void {
    const { broker } = entry
    for (const command of commands) {
      if (command.type === 'restart' && command.from !== undefined) this.#vigil?.gone(command.from)
      if (this.home === '') this.#replica!.replay(command)
      else this.#replica!.apply(command)
    }
    this.#compare(entry)
    if (this.#state === 'off') return
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
      this.#vigil = new Vigil(this.#charter.deadMs, others, now)
    }
    if (n === self.leaveIs) {
      this.#onLeft()
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

  #compare(entry: Entry): void {
    const digest = 'commands' in entry ? entry.notices?.digest : undefined
    const snapshot = 'commands' in entry ? entry.notices?.snapshot : undefined
    if (snapshot !== undefined) this.#snapshots.known(snapshot, entry.at)
    const { count } = this.#roll
    if (this.#agreement.isDue(count)) {
      const value = this.#replica!.digest()
      this.#agreement.note(count, value)
      if (this.home !== '') this.#self!.speak({ digest: [count, value] })
    }
    const fault = digest === undefined ? undefined : this.#agreement.compare(digest)
    if (fault !== undefined) this.#fail(fault)
  }

  #now(): number {
    return this.#machine.clock.monotonic()
  }
}

function unreachable(cause: unknown): HoldfastError {
  const why = cause instanceof Error ? cause.message : String(cause)
  return new HoldfastError('UNAVAILABLE', `The log cannot be taken up (${why}).`, { cause })
}

function closed(): HoldfastError {
  return new HoldfastError('UNAVAILABLE', 'The log was closed.')
}

function gone(position: number): HoldfastError {
  const sentence = `The entries of the log after position ${position} are gone, and no snapshot has`
  return new HoldfastError('UNAVAILABLE', `${sentence} them.`)
}
