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
import type { LogStatus } from '../../observability/logStatus.js'
import type { LogEnvironment } from '../../platform/environment.js'
import type { LogLoad, StateMachine } from '../log.js'
import { Batch } from './batch.js'
import { DivergenceCheck } from './divergenceCheck.js'
import type { ClusterConfig, Engine } from './engine.js'
import { decodeEntry, type LogEntry, noticesIn } from './entry.js'
import { Incarnation } from './incarnation.js'
import { logClosed } from './logErrors.js'
import { MemberList } from './memberList.js'
import { FailureDetector } from './selfLease.js'
import { type Loaded, loadSnapshot, type Made, saveState } from './snapshot.js'
import { SnapshotCatchUp } from './snapshotCatchUp.js'
import type { Snapshots } from './snapshots.js'

/** `away`: not one of those that serve, but about to be; `off`: for good. */
type State = 'new' | 'away' | 'serving' | 'leaving' | 'off'

export interface ClusterMemberDeps {
  readonly replica: StateMachine
  readonly engine: Engine
  readonly environment: LogEnvironment
  readonly charter: ClusterConfig
  readonly snapshots: Snapshots
  /** Each time that it begins to serve. */
  readonly onServing: () => void
  /** It has said goodbye, or cannot any more. */
  readonly onLeft: () => void
  /** It cannot go on. */
  readonly onFailed: (error: HoldfastError) => void
}

export class ClusterMember {
  readonly #deps: ClusterMemberDeps
  readonly #batch = new Batch()
  #state: State = 'new'
  #following: { stop(): void } | undefined
  #position = 0
  #members = new MemberList()
  #divergenceCheck = new DivergenceCheck()
  #self: Incarnation | undefined
  /** Its join has come back. */
  #hasJoined = false
  #failureDetector: FailureDetector | undefined
  #lagMs: number | undefined
  #snapshotCatchUp: SnapshotCatchUp | undefined
  #problem: string | undefined

  constructor(deps: ClusterMemberDeps) {
    this.#deps = deps
  }

  /** Its name while it serves; '' while it does not. */
  get name(): string {
    return this.#state === 'serving' || this.#state === 'leaving' ? this.#self!.id : ''
  }

  get load(): LogLoad {
    return this.#batch.load
  }

  get status(): LogStatus {
    const until = this.name === '' ? 0 : this.#self!.selfLease.until
    return {
      position: this.#position,
      lagMs: this.#lagMs,
      members: [...this.#members.live.keys()],
      name: this.name === '' ? undefined : this.name,
      selfLeaseMs: Math.max(0, until - this.#now()),
      waiting: this.#batch.length,
      snapshot: this.#deps.snapshots.newest,
      problem: this.#problem ?? this.#deps.snapshots.problem ?? this.#deps.engine.warning,
    }
  }

  /** Takes up what there is and joins; whoever waits for it hears of `onServing`. */
  async begin(): Promise<void> {
    this.#restore(await loadSnapshot(this.#deps.engine))
    this.#join(undefined)
  }

  submit(command: Command): void {
    if (this.#state !== 'serving') return
    this.#batch.add(command)
    this.#self!.flushSoon()
  }

  /** Whether it still counts; if not, it has resigned before this returns. */
  isLive(): boolean {
    if (this.name !== '' && this.#self!.selfLease.isOver(this.#now())) this.#resign()
    return this.name !== ''
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
    this.#self?.sendNotices({ snapshot })
  }

  /** Takes and says nothing any more. */
  end(): void {
    this.#state = 'off'
    this.#snapshotCatchUp?.stop()
    this.#following?.stop()
    this.#self?.end()
    this.#batch.clear()
  }

  // --------------------------------------------------------------------------- coming and going

  /** Takes up a snapshot, if there is one, and follows the log from there. */
  #restore(loaded: Loaded | undefined): void {
    if (this.#state === 'off') throw logClosed()
    if (loaded !== undefined) {
      this.#position = loaded.position
      this.#members = loaded.roll
      this.#divergenceCheck = new DivergenceCheck()
      this.#deps.snapshots.known(loaded.position, loaded.at)
      this.#deps.replica.restore(loaded.items)
    }
    this.#following = this.#deps.engine.follow(this.#position, {
      entry: (position, text) => this.#onEntry(position, text),
      compacted: () => this.#onCompacted(),
      failed: (error) => this.#fail(error),
    })
  }

  #join(replaces: string | undefined): void {
    this.#state = 'away'
    this.#hasJoined = false
    this.#failureDetector = undefined
    const { engine, environment, charter } = this.#deps
    const { clock, endOfTurn } = environment
    const { deadMs } = charter
    this.#self = new Incarnation({
      ...{ id: environment.newId(), engine, clock, endOfTurn, deadMs, batch: this.#batch },
      onSelfLeaseOver: () => {
        if (this.name !== '') this.#resign()
      },
      onProblem: this.#onProblem,
    })
    this.#self.join(replaces)
  }

  #serve(): void {
    this.#state = 'serving'
    this.#deps.replica.serve()
    this.#deps.onServing()
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
    if (state !== 'away') this.#deps.replica.resign()
    if (state === 'leaving') this.#deps.onLeft()
    return state !== 'leaving'
  }

  /** This broker was left behind so far that the rest is gone: it begins again like a new one. */
  #onCompacted(): void {
    this.#following?.stop()
    if (!this.#stepDown()) return
    const { engine, environment, charter } = this.#deps
    this.#snapshotCatchUp = new SnapshotCatchUp({
      engine,
      environment,
      charter,
      onProblem: this.#onProblem,
    })
    this.#snapshotCatchUp
      .after(this.#position)
      .then((loaded) => {
        this.#restore(loaded)
        this.#join(this.#self!.id)
      })
      .catch((error: HoldfastError) => this.#fail(error))
  }

  readonly #onProblem = (why: string | undefined): void => {
    this.#problem = why
  }

  #fail(error: HoldfastError): void {
    if (this.#state === 'off') return
    this.end()
    this.#deps.onFailed(error)
  }

  // ---------------------------------------------------------------------------------- entries

  #onEntry(position: number, text: string): void {
    if (this.#state === 'off') return
    let entry: LogEntry
    try {
      entry = decodeEntry(text, position)
    } catch (error) {
      this.#fail(error as HoldfastError)
      return
    }
    this.#position = position
    const commands = this.#members.applyEntry(entry)
    const { live: living, oldest } = this.#members
    // Another one took this one for dead, or it has just said goodbye.
    if (this.#hasJoined && !living.has(this.#self!.id)) this.#resign()
    if (commands !== undefined) this.#applyEntry(entry, commands)
    const { snapshots } = this.#deps
    const saveOwn = this.#self?.id === oldest ? this.#saveOwn : undefined
    snapshots.count(position, text.length, saveOwn)
    const { wanted } = noticesIn(entry)
    if (wanted !== undefined) snapshots.wanted(wanted, saveOwn)
  }

  readonly #saveOwn = async (): Promise<Made> => {
    // While it does not serve, or if it has failed, its table is not to be relied on.
    if (this.#state !== 'serving') return undefined
    const { engine, environment, replica } = this.#deps
    const state = { position: this.#position, at: environment.clock.wall(), roll: this.#members }
    return saveState(engine, state, replica.dump())
  }

  #applyEntry(entry: LogEntry, commands: readonly Command[]): void {
    const { broker } = entry
    for (const command of commands) {
      if (command.type === 'restart' && command.formerOwner !== undefined)
        this.#failureDetector?.remove(command.formerOwner)
      if (this.name === '') this.#deps.replica.replay(command)
      else this.#deps.replica.apply(command)
    }
    if (!this.#compare(entry)) return
    if (broker === this.#self?.id) this.#onOwn(entry)
    else if (this.#members.live.has(broker)) this.#failureDetector?.onEntryOf(broker, this.#now())
  }

  /** An entry of this incarnation has come back: it is alive, as far as anybody knows. */
  #onOwn({ n }: LogEntry): void {
    const self = this.#self!
    const now = this.#now()
    this.#lagMs = self.onOwnEntry(n) ?? this.#lagMs
    if (!this.#hasJoined) {
      this.#hasJoined = true
      const others = [...this.#members.live.keys()].filter((broker) => broker !== self.id)
      this.#failureDetector = new FailureDetector(this.#deps.charter.deadMs, others, now)
    }
    if (n === self.leaveNumber) {
      this.#deps.onLeft()
    } else if (this.#state === 'away') {
      // What came back so late that it is over already is followed by something newer.
      if (self.selfLease.isOver(now)) self.sendNotices()
      else this.#serve()
    } else this.#watch(n, now)
  }

  #watch(n: number, now: number): void {
    const [self, vigil] = [this.#self!, this.#failureDetector!]
    const silent = vigil.onOwnEntry(n, self.lastSent, now)
    const dead = silent.map((broker) => ({ broker, last: this.#members.live.get(broker)! }))
    if (dead.length > 0) self.sendNotices({ dead })
    else if (vigil.hasSuspects) self.sendNotices()
  }

  /** Looks whether all tables are the same, as far as anybody says; if not, this is the end. */
  #compare(entry: LogEntry): boolean {
    const { digest, snapshot } = noticesIn(entry)
    if (snapshot !== undefined) this.#deps.snapshots.known(snapshot, entry.at)
    const { count, live: living } = this.#members
    if (this.#divergenceCheck.isDue(count)) {
      const value = this.#deps.replica.digest()
      this.#divergenceCheck.begin(count, value, living.keys())
      if (this.name !== '') this.#self!.sendNotices({ digest: [count, value] })
    }
    if (digest !== undefined) this.#divergenceCheck.addDigest(entry.broker, digest)
    const fault = this.#divergenceCheck.verdict(living)
    if (fault !== undefined) this.#fail(fault)
    return fault === undefined
  }

  #now(): number {
    return this.#deps.environment.clock.monotonic()
  }
}
