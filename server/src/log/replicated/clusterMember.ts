/**
 * One broker in a shared log. The broker applies all entries (batches of commands) of the log in
 * order, and appends the commands of its own clients. A broker lives in the log as one incarnation
 * after another. Each incarnation has its own id, and numbers its entries.
 *
 * An own entry *returns* when the broker reads the entry back from the log. The self-lease (how
 * long the broker may serve without a new entry of its own) ends if no own entry has returned for
 * too long. The broker then *resigns*: the broker disconnects its clients and joins again as a new
 * incarnation. Therefore, unless an entry is lost, a broker never grants or acknowledges a lock
 * that the other brokers may have granted to another session.
 */
import type { HoldfastError } from '@holdfast/shared'
import type { Command } from '../../core/index.js'
import type { LogStatus } from '../../observability/logStatus.js'
import type { LogEnvironment } from '../../platform/environment.js'
import type { LogLoad, StateMachine } from '../log.js'
import { CommandQueue } from './commandQueue.js'
import { DivergenceCheck } from './divergenceCheck.js'
import type { ClusterConfig, Engine } from './engine.js'
import { decodeEntry, type LogEntry, type MissingEntry, noticesIn } from './entry.js'
import type { EntrySteps } from './entryQueue.js'
import { Incarnation } from './incarnation.js'
import { newIncarnationId } from './incarnationNames.js'
import { entryLost, logClosed } from './logErrors.js'
import { LogReader } from './logReader.js'
import { MemberList } from './memberList.js'
import { MemberStatus } from './memberStatus.js'
import { FailureDetector } from './selfLease.js'
import { emptyLog, type LoadedSnapshot, saveState } from './snapshot.js'
import type { SaveOwnState, SnapshotScheduler } from './snapshotScheduler.js'

/**
 * `new`: the broker has not sent a `join` entry yet. `joining`: the broker does not serve yet, or
 * does not serve any more and joins again. `leaving`: the broker still serves, and has sent or will
 * send its `leave` entry. `ended`: the broker never serves again.
 */
type State = 'new' | 'joining' | 'serving' | 'leaving' | 'ended'

export interface ClusterMemberDeps {
  readonly stateMachine: StateMachine
  readonly engine: Engine
  readonly environment: LogEnvironment
  readonly config: ClusterConfig
  /** The name of this broker for operators. */
  readonly name: string | undefined
  readonly snapshots: SnapshotScheduler
  /** Called each time the broker begins to serve. */
  readonly onServing: () => void
  /** Called when an entry of the current incarnation has returned from the log. */
  readonly onOwnEntry: () => void
  /** Called when the `leave` entry has returned from the log, or can no longer be sent. */
  readonly onLeft: () => void
  /** Called when the member has failed for good. */
  readonly onFailed: (error: HoldfastError) => void
}

export class ClusterMember {
  readonly #deps: ClusterMemberDeps
  readonly #commandQueue = new CommandQueue()
  readonly #logReader: LogReader
  readonly #status: MemberStatus
  #state: State = 'new'
  /** The position of the last entry whose commands this broker has applied. */
  #position = 0
  #members = new MemberList()
  #divergenceCheck = new DivergenceCheck()
  #incarnation: Incarnation | undefined
  /** Whether the `join` of the current incarnation has returned. */
  #hasJoined = false
  #failureDetector: FailureDetector | undefined
  /** The incarnations that have sent an entry since the current incarnation joined. */
  readonly #heardSinceJoin = new Set<string>()
  /**
   * A copy of `#position` for `joinProgress`. The copy is updated only from the append of `join`
   * until `join` has returned.
   */
  #positionOnJoining = 0
  /** The position of the newest entry that proved that this broker missed an earlier entry. */
  #lossPosition: number | undefined

  constructor(deps: ClusterMemberDeps) {
    this.#deps = deps
    const { stateMachine, engine, environment, config, snapshots } = deps
    const { clock } = environment
    this.#status = new MemberStatus({ engine, clock, config, snapshots })
    this.#logReader = new LogReader({
      stateMachine,
      engine,
      environment,
      config,
      onRestored: (snapshot) => this.#onRestored(snapshot),
      handleEntry: (position, text) => this.#handleEntry(position, text),
      onCompacted: () => this.#onCompacted(),
      onFailed: (error) => this.#fail(error),
      onProblem: this.#status.onProblem,
    })
  }

  /** The id of the current incarnation while it serves; '' otherwise. */
  get name(): string {
    return this.#state === 'serving' || this.#state === 'leaving' ? this.#incarnation!.id : ''
  }

  /**
   * How many members have sent an entry since this broker joined. Unlike the member list, this
   * number does not include members that have died unnoticed.
   */
  get heardMemberCount(): number {
    return [...this.#members.live.keys()].filter((id) => this.#heardSinceJoin.has(id)).length
  }

  /**
   * A number that rises while this broker comes nearer to its first join: with each part of the
   * snapshot, and with each step in which the table is restored. After this broker has appended its
   * `join`, the number also rises with each entry before that `join`. Earlier entries are no
   * progress: a broker that cannot write to the log still reads the entries of other brokers.
   */
  get joinProgress(): number {
    if (!this.#hasJoined && this.#incarnation?.isJoinAppended === true) {
      this.#positionOnJoining = this.#position
    }
    return this.#logReader.snapshotProgress + this.#positionOnJoining
  }

  get isMisconfigured(): boolean {
    return this.#status.isMisconfigured
  }

  get load(): LogLoad {
    return this.#commandQueue.load
  }

  get status(): Omit<LogStatus, 'givenName' | 'otherLogs'> {
    return this.#status.report({
      position: this.#position,
      liveIds: [...this.#members.live.keys()],
      servingId: this.name,
      selfLease: this.#incarnation?.selfLease,
      waiting: this.#commandQueue.length,
    })
  }

  /** Loads the newest snapshot and joins. `onServing` is called when the broker serves. */
  async begin(): Promise<void> {
    // This member may have been ended while the engine opened the log.
    if (this.#state === 'ended') throw logClosed()
    const snapshot = await this.#logReader.newestSnapshot()
    this.#status.onProblem(undefined)
    await this.#logReader.readFrom(snapshot)
    this.#join(undefined)
  }

  submit(command: Command): void {
    if (this.#state !== 'serving') return
    this.#commandQueue.add(command)
    this.#incarnation!.flushSoon()
  }

  /**
   * Whether this broker serves, and its self-lease still runs. If the self-lease has ended, the
   * broker resigns before this method returns false.
   */
  isLive(): boolean {
    if (this.name !== '' && this.#incarnation!.selfLease.isOver(this.#now())) this.#resign()
    return this.name !== ''
  }

  /**
   * Sends a `leave` entry after all submitted commands. Returns false, and sends nothing, if the
   * broker does not serve.
   */
  leave(): boolean {
    if (this.#state !== 'serving') return false
    this.#state = 'leaving'
    this.#incarnation!.leave()
    return true
  }

  /** Tells the other brokers the position of a snapshot that this broker has saved. */
  announceSnapshot(snapshot: number): void {
    this.#incarnation?.sendEntrySoon({ snapshot })
  }

  /** Stops for good: applies and appends no more entries. */
  end(): void {
    this.#state = 'ended'
    this.#logReader.end()
    this.#incarnation?.end()
    this.#commandQueue.clear()
  }

  // -------------------------------------------------------------------------- joining and leaving

  /** The table now has the state of this snapshot, and the next entry follows the snapshot. */
  #onRestored({ position, at, members }: LoadedSnapshot): void {
    this.#position = position
    this.#members = members
    this.#divergenceCheck = new DivergenceCheck()
    this.#deps.snapshots.recordSnapshot(position, at)
  }

  /**
   * Begins an incarnation.
   *
   * @param replaces The id of the former incarnation of this broker; undefined for the first
   *   incarnation.
   */
  #join(replaces: string | undefined): void {
    this.#state = 'joining'
    this.#hasJoined = false
    this.#heardSinceJoin.clear()
    this.#failureDetector = undefined
    const { engine, environment, config, name } = this.#deps
    const { clock, endOfTurn } = environment
    const { deadMs } = config
    this.#incarnation = new Incarnation({
      id: newIncarnationId(name, environment.newId()),
      engine,
      clock,
      endOfTurn,
      deadMs,
      commandQueue: this.#commandQueue,
      onSelfLeaseOver: () => {
        if (this.name !== '') this.#resign()
      },
      onProblem: this.#status.onProblem,
    })
    this.#incarnation.join(replaces)
  }

  #beginServing(): void {
    this.#state = 'serving'
    this.#deps.stateMachine.serve()
    this.#deps.onServing()
  }

  /** Ends this incarnation and joins as the next incarnation. */
  #resign(): void {
    if (this.#stepDown()) this.#join(this.#incarnation!.id)
  }

  /** Ends this incarnation. Returns whether another incarnation must follow. */
  #stepDown(): boolean {
    const formerState = this.#state
    if (formerState === 'ended' || formerState === 'new') return false
    this.#status.onIncarnationEnd(this.#incarnation!.selfLease)
    this.#incarnation!.end()
    this.#commandQueue.clear()
    this.#state = 'joining'
    if (formerState !== 'joining') {
      this.#status.countResignation()
      this.#deps.stateMachine.resign()
    }
    if (formerState === 'leaving') this.#deps.onLeft()
    return formerState !== 'leaving'
  }

  /**
   * The log has compacted (dropped) the entries that this broker needs, so the broker begins again
   * from a newer snapshot.
   */
  #onCompacted(): void {
    if (this.#stepDown()) this.#beginAgain(() => this.#logReader.snapshotAfter(this.#position))
  }

  /**
   * The entry at `position` proves that this broker has not received the earlier entry `missing`,
   * so the table of the broker is wrong. The broker disconnects its clients before the broker
   * applies another entry, because the broker may have granted a lock that another client holds.
   * Then the broker reads the log again from the newest snapshot, or from the beginning. The broker
   * serves again only when it has read past the entry at `position`.
   *
   * If the entry at this position proves a loss for the second time, then the log itself, or its
   * snapshot, lacks the missing entry. Another attempt would find this loss again, so the broker
   * stops with a permanent error.
   */
  #onLoss(missing: MissingEntry, position: number): void {
    this.#logReader.stop()
    const { broker, n } = missing
    if (position === this.#lossPosition) {
      this.#fail(entryLost(broker, n, position))
      return
    }
    const entryText = `entry ${n} of broker ${broker}`
    this.#lossPosition = position
    this.#status.onLoss(`this broker did not receive ${entryText}, so it reads the log again`)
    if (!this.#stepDown()) return
    this.#beginAgain(async () => (await this.#logReader.newestSnapshot()) ?? emptyLog())
  }

  /** Restores the snapshot that `findSnapshot` returns, and joins as the next incarnation. */
  #beginAgain(findSnapshot: () => Promise<LoadedSnapshot>): void {
    findSnapshot()
      .then(async (snapshot) => {
        await this.#logReader.readFrom(snapshot)
        this.#join(this.#incarnation!.id)
      })
      .catch((error: HoldfastError) => this.#fail(error))
  }

  /** Stops for good, because of a permanent error. */
  #fail(error: HoldfastError): void {
    if (this.#state === 'ended') return
    this.end()
    this.#deps.onFailed(error)
  }

  // ---------------------------------------------------------------------------------- entries

  *#handleEntry(position: number, text: string): EntrySteps {
    if (this.#state === 'ended') return
    let entry: LogEntry
    try {
      entry = decodeEntry(text, position)
    } catch (error) {
      this.#fail(error as HoldfastError)
      return
    }
    const missingEntry = this.#members.missingBefore(entry)
    if (missingEntry !== undefined) {
      this.#onLoss(missingEntry, position)
      return
    }
    // Undefined if the entry is invalid.
    const commands = this.#members.applyEntry(entry)
    const { live, oldest } = this.#members
    // If this broker is not a member any more, another broker has declared this broker dead, or
    // this broker has just left. The broker resigns before `#applyCommands`, so that it sends no
    // effects of these commands to its clients.
    if (this.#hasJoined && !live.has(this.#incarnation!.id)) this.#resign()
    if (commands !== undefined) yield* this.#applyCommands(commands)
    this.#position = position
    if (commands !== undefined) this.#afterCommandsOf(entry, commands.length)
    const { snapshots } = this.#deps
    // Only the oldest member makes snapshots.
    const saveOwnState = this.#incarnation?.id === oldest ? this.#saveOwnState : undefined
    snapshots.countEntry(position, text.length, saveOwnState)
    const { snapshotWantedAfter } = noticesIn(entry)
    if (snapshotWantedAfter !== undefined)
      snapshots.requestSnapshot(snapshotWantedAfter, saveOwnState)
  }

  /** Saves the current table as a snapshot; undefined if the table may be wrong. */
  readonly #saveOwnState: SaveOwnState = async (onCompactionProblem) => {
    // Wait for the end of an entry, because the table matches a position only between entries.
    while (this.#logReader.isMidEntry) await new Promise<void>(this.#deps.environment.endOfTurn)
    // The table is certainly right only while this broker serves.
    if (this.#state !== 'serving') return undefined
    const { engine, environment, stateMachine } = this.#deps
    const state = { position: this.#position, at: environment.clock.wall(), members: this.#members }
    return saveState(engine, state, stateMachine.beginSnapshot(), onCompactionProblem)
  };

  *#applyCommands(commands: readonly Command[]): EntrySteps {
    for (const command of commands) {
      if (command.type === 'restart') this.#onRestart(command)
      if (this.name === '') this.#deps.stateMachine.replay(command)
      else this.#deps.stateMachine.apply(command)
      yield
    }
  }

  /** Handles the rest of a valid entry, after its commands. */
  #afterCommandsOf(entry: LogEntry, commandCount: number): void {
    const { broker: sender } = entry
    if (!this.#checkDigests(entry, commandCount)) return
    if (this.#hasJoined) this.#heardSinceJoin.add(sender)
    if (sender === this.#incarnation?.id) this.#onOwnEntry(entry)
    else if (this.#members.live.has(sender)) this.#failureDetector?.onEntryOf(sender, this.#now())
  }

  /**
   * Records a takeover, which is a `restart` with a former owner: `ownerBroker` becomes the owner
   * broker of the sessions of `formerOwner`, which has died or left.
   */
  #onRestart({ formerOwner, ownerBroker }: Extract<Command, { type: 'restart' }>): void {
    if (formerOwner === undefined) return
    this.#failureDetector?.remove(formerOwner)
    if (this.#hasJoined && ownerBroker === this.#incarnation?.id) this.#status.countTakeover()
  }

  /**
   * An entry of the current incarnation has returned, so the other brokers consider this broker
   * alive.
   */
  #onOwnEntry({ n }: LogEntry): void {
    const incarnation = this.#incarnation!
    const now = this.#now()
    this.#status.onOwnEntry(incarnation.onOwnEntry(n))
    if (!this.#hasJoined) {
      this.#hasJoined = true
      const otherMembers = [...this.#members.live.keys()].filter(
        (broker) => broker !== incarnation.id,
      )
      this.#failureDetector = new FailureDetector(this.#deps.config.deadMs, otherMembers, now)
    }
    this.#heardSinceJoin.add(incarnation.id)
    this.#deps.onOwnEntry()
    if (n === incarnation.leaveNumber) {
      this.#deps.onLeft()
    } else if (this.#state === 'joining') {
      // If the entry returned so late that the self-lease is over already, send a newer entry.
      if (incarnation.selfLease.isOver(now)) incarnation.sendEntrySoon()
      else this.#beginServing()
    } else this.#detectFailures(n, now)
  }

  /** Declares silent members dead, when this broker's entry with this number has returned. */
  #detectFailures(ownEntryNumber: number, now: number): void {
    const [incarnation, detector] = [this.#incarnation!, this.#failureDetector!]
    const deadMembers = detector.onOwnEntry(ownEntryNumber, incarnation.lastSentNumber, now)
    const deathNotices = deadMembers.map((broker) => ({
      broker,
      last: this.#members.live.get(broker)!,
    }))
    if (deathNotices.length > 0) incarnation.sendEntrySoon({ dead: deathNotices })
    // The next own entry decides whether a suspected member is dead, so send it soon.
    else if (detector.hasSuspects) incarnation.sendEntrySoon()
  }

  /**
   * Passes an entry to the divergence check, which compares digests (checksums) of the tables of
   * all brokers. Also records the snapshot that the entry announces. If the check decides against
   * this broker, stops this broker for good and returns false.
   */
  #checkDigests(entry: LogEntry, commandCount: number): boolean {
    const { digest, digestRound, snapshot } = noticesIn(entry)
    if (snapshot !== undefined) this.#deps.snapshots.recordSnapshot(snapshot, entry.at)
    const { entryCount, live: liveMembers, oldest } = this.#members
    const check = this.#divergenceCheck
    const now = this.#now()
    check.noteEntry(commandCount, now)
    // The oldest member requests a round of the check. Each broker begins the round when it reads
    // the request.
    if (check.isRequestDue(now) && this.name !== '' && this.name === oldest) {
      check.restartInterval(now)
      this.#incarnation!.sendEntrySoon({ digestRound: true })
    }
    if (digestRound === true || check.beginsRoundAfter(entryCount)) {
      // The value includes the number of valid entries, because the check must also notice member
      // lists that have accepted different numbers of entries.
      const value = `${entryCount} ${this.#deps.stateMachine.digest()}`
      check.restartInterval(now)
      check.beginRound(this.#position, value, liveMembers.keys())
      if (this.name !== '') this.#incarnation!.sendEntrySoon({ digest: [this.#position, value] })
    }
    if (digest !== undefined) check.addDigest(entry.broker, digest)
    const divergence = check.decideRound(liveMembers)
    if (divergence !== undefined) this.#fail(divergence)
    return divergence === undefined
  }

  #now(): number {
    return this.#deps.environment.clock.monotonic()
  }
}
