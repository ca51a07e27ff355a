/**
 * A command log that several brokers share. An entry is a batch of the commands of one broker. An
 * engine (the storage, such as etcd) puts the entries of all brokers into one order. Each broker
 * appends the commands of its own clients, applies all entries in that order, and acts for its own
 * clients. No leader is needed, because all brokers learn from the entries which brokers are
 * members, and which broker takes over the sessions of a dead broker.
 */
import { HoldfastError } from '@holdfast/shared'
import type { Command } from '../../core/index.js'
import type { LogStatus } from '../../observability/logStatus.js'
import type { LogEnvironment } from '../../platform/environment.js'
import type { Log, LogLoad, Membership, StateMachine } from '../log.js'
import { ClusterMember } from './clusterMember.js'
import type { ClusterConfig, Engine, EngineSource } from './engine.js'
import { formatVersion, joinStalled, logClosed, startError } from './logErrors.js'
import { SnapshotScheduler } from './snapshotScheduler.js'

export interface ReplicatedOptions {
  /** The name of this cluster, equal for all its brokers. Default ''. */
  readonly cluster?: string | undefined
  /**
   * Silence, in ms, after which a broker is declared dead; equal for all brokers of a cluster.
   * 1,000 to 60,000, default 6,000.
   */
  readonly deadMs?: number | undefined
  /**
   * How many brokers the log is for, 1 to 100. The brokers of a new log refuse clients until a
   * majority of the brokers has joined. Default 1: the first broker accepts clients immediately.
   */
  readonly brokers?: number | undefined
  /** The name of this broker for operators: 1 to 32 letters, digits and `. _ -`. */
  readonly name?: string | undefined
  /** After how many entries a snapshot is made. Default 20,000. */
  readonly snapshotEntries?: number | undefined
  /** After how many characters of entries a snapshot is made. Default 67,108,864. */
  readonly snapshotCharacters?: number | undefined
  /** The longest time between two snapshots, in ms. 10,000 to 86,400,000, default 600,000. */
  readonly snapshotMs?: number | undefined
}

/** `start` fails when the join of the broker has made no progress for this time, in ms. */
const maxStallMs = 30_000
/** How long `close` waits until the broker has read its own `leave` entry in the log, in ms. */
const maxLeaveMs = 3_000

const initialStatus: LogStatus = {
  position: 0,
  lagMs: undefined,
  members: [],
  name: undefined,
  selfLeaseMs: 0,
  waiting: 0,
  snapshot: undefined,
  problem: undefined,
  givenName: undefined,
  otherLogs: [],
  takeovers: 0,
  resignations: 0,
  failedSnapshots: 0,
}

export class ReplicatedLog implements Log, Membership {
  readonly #environment: LogEnvironment
  readonly #source: EngineSource
  /**
   * The settings of the log. `start` adds the cell of the broker (its share of all keys) to the
   * name of the cluster.
   */
  #config: ClusterConfig
  readonly #snapshots: SnapshotScheduler
  /** How many brokers the log is for. */
  readonly #brokerCount: number
  /** The name of this broker for operators; `name` is the id of its present incarnation. */
  readonly #givenName: string | undefined
  /** The addresses of other logs in the same storage, for a warning to the operator. */
  #otherLogs: readonly string[] = []
  /** Whether this broker waits for a majority of the brokers, because the log is new. */
  #isFounding = false
  #engine: Engine | undefined
  #member: ClusterMember | undefined
  /** Rejects the `start` that is under way. Set by `start`. */
  #abortStart: (error: HoldfastError) => void = () => {}
  /** Ends the wait of `close` when the cluster member has left or failed. */
  #onLeft: () => void = () => {}
  #closed: Promise<void> | undefined

  /** @throws {HoldfastError} `INVALID_OPTION` for an option outside its range. */
  constructor(source: EngineSource, options: ReplicatedOptions, environment: LogEnvironment) {
    const { cluster = '', deadMs = 6_000 } = options
    const { snapshotEntries: entries = 20_000 } = options
    const { snapshotCharacters: characters = 64 * 1024 * 1024 } = options
    const { snapshotMs = 600_000, brokers, name } = options
    checkRange('deadMs', deadMs, 1_000, 60_000)
    checkRange('snapshotEntries', entries, 1, Number.MAX_SAFE_INTEGER)
    checkRange('snapshotCharacters', characters, 1, Number.MAX_SAFE_INTEGER)
    if (brokers !== undefined) checkRange('brokers', brokers, 1, 100)
    if (name !== undefined) checkName(name)
    this.#brokerCount = brokers ?? 1
    this.#givenName = name
    checkRange('snapshotMs', snapshotMs, 10_000, 86_400_000)
    this.#environment = environment
    this.#source = source
    this.#config = { format: formatVersion, deadMs, cluster }
    this.#snapshots = new SnapshotScheduler({
      source,
      config: () => this.#config,
      interval: { entries, characters, ms: snapshotMs },
      wall: () => environment.clock.wall(),
      monotonic: () => environment.clock.monotonic(),
      canReplayFrom: (position) => this.#engine!.canReplayFrom(position),
      onMade: (position) => this.#member?.announceSnapshot(position),
    })
  }

  get membership(): Membership {
    return this
  }

  get name(): string {
    return this.#member?.name ?? ''
  }

  get load(): LogLoad {
    return this.#member?.load ?? 'ok'
  }

  isLive(): boolean {
    return this.#member?.isLive() ?? false
  }

  get isFounding(): boolean {
    return this.#isFounding
  }

  get status(): LogStatus {
    const status = this.#member?.status ?? initialStatus
    const ownFields = { givenName: this.#givenName, otherLogs: this.#otherLogs }
    if (!this.#isFounding) return { ...status, ...ownFields }
    const joinedText = `${this.#member?.heardMemberCount ?? 0} of ${this.#brokerCount}`
    const problem =
      `the log is new, and only ${joinedText} brokers have joined, so this broker refuses clients: ` +
      'start the other brokers, or check the address of the log'
    return { ...status, ...ownFields, problem: status.problem ?? problem }
  }

  async start(stateMachine: StateMachine): Promise<void> {
    const { cluster } = this.#config
    this.#config = { ...this.#config, cluster: clusterOfCell(cluster, stateMachine.cell) }
    this.#engine = this.#source.create()
    let isStarting = true
    const joined = new Promise<void>((resolve, reject) => {
      this.#abortStart = reject
      // Set `isStarting` here and not after `await joined`, because the cluster member may fail at
      // the next entry, before the code after `await` runs.
      const onServing = (): void => {
        isStarting = false
        resolve()
      }
      this.#member = this.#createMember(stateMachine, onServing, (error) => {
        this.#snapshots.stop()
        this.#onLeft()
        if (isStarting) reject(error)
        else stateMachine.fail(error)
      })
    })
    const stopProgressChecks = this.#startProgressChecks()
    try {
      // An aborted start rejects `joined`, which ends the race. So `start` does not wait for an
      // engine that never answers.
      await Promise.race([this.#begin(this.#engine, this.#member!), joined])
      await joined
    } catch (error) {
      await this.#stop()
      throw startError(error)
    } finally {
      stopProgressChecks()
    }
  }

  /** Aborts the start when a check finds no progress. Returns a function that ends the checks. */
  #startProgressChecks(): () => void {
    const { clock } = this.#environment
    let progress = 0
    const check = (): void => {
      const newProgress = this.#member!.joinProgress
      if (newProgress > progress) {
        progress = newProgress
        timer = clock.setTimer(check, maxStallMs)
        return
      }
      this.#abortStart(
        joinStalled(
          maxStallMs / 1_000,
          this.status.problem ?? 'none of its entries returned',
          this.#member!.isMisconfigured,
        ),
      )
    }
    let timer = clock.setTimer(check, maxStallMs)
    return () => clock.clearTimer(timer)
  }

  submit(command: Command): void {
    this.#member?.submit(command)
  }

  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    // Has no effect after the start, because the promise of the start is settled then.
    this.#abortStart(logClosed())
    if (this.#member?.leave() === true) {
      const { clock } = this.#environment
      await new Promise<void>((resolve) => {
        const timer = clock.setTimer(resolve, maxLeaveMs)
        this.#onLeft = () => {
          clock.clearTimer(timer)
          resolve()
        }
      })
    }
    await this.#stop()
  }

  #createMember(
    stateMachine: StateMachine,
    onServing: () => void,
    onFailed: (error: HoldfastError) => void,
  ): ClusterMember {
    return new ClusterMember({
      stateMachine,
      engine: this.#engine!,
      environment: this.#environment,
      config: this.#config,
      name: this.#givenName,
      snapshots: this.#snapshots,
      onServing,
      onOwnEntry: () => this.#checkFounding(),
      onLeft: () => this.#onLeft(),
      onFailed,
    })
  }

  /**
   * Ends the founding of the log if this broker has heard from a majority of the brokers. Called
   * after each own entry.
   */
  #checkFounding(): void {
    if (!this.#isFounding || this.#member!.heardMemberCount <= this.#brokerCount / 2) return
    this.#isFounding = false
    this.#engine?.endFounding?.().catch(() => {
      // Ignore the error. The mark of the founding stays in the log, so the next broker that starts
      // waits for a majority once more.
    })
  }

  /** Opens the log and joins. */
  async #begin(engine: Engine, member: ClusterMember): Promise<void> {
    await engine.open(this.#config)
    this.#isFounding = engine.isFounding === true
    engine.findOtherLogs?.().then(
      (found) => {
        this.#otherLogs = found
      },
      () => {
        // Ignore the error. The cluster member reports a log that does not answer.
      },
    )
    await member.begin()
  }

  /** Stops the member, a snapshot that is under way, and the engine. */
  async #stop(): Promise<void> {
    this.#member?.end()
    this.#snapshots.stop()
    await this.#engine?.close()
  }
}

/**
 * The name of a cluster whose brokers serve one cell (a share of all keys). The name has the cell,
 * such as `1/4`, so that brokers with another cell or number of cells cannot join the log. If they
 * could join, the same key could be locked in two logs.
 */
function clusterOfCell(cluster: string, cell: string | undefined): string {
  if (cell === undefined) return cluster
  return cluster === '' ? `cell ${cell}` : `${cluster}, cell ${cell}`
}

function checkRange(name: string, value: number, least: number, most: number): void {
  if (Number.isSafeInteger(value) && value >= least && value <= most) return
  throw new HoldfastError(
    'INVALID_OPTION',
    `${name} must be an integer from ${least} to ${most}, not ${value}`,
  )
}

function checkName(name: string): void {
  if (typeof name === 'string' && /^[\w.-]{1,32}$/.test(name)) return
  throw new HoldfastError(
    'INVALID_OPTION',
    `name must be 1 to 32 letters, digits and . _ -, not ${JSON.stringify(name)}`,
  )
}
