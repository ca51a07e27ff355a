/**
 * A log that several brokers share, over an engine that puts their entries in order. Every broker
 * appends what its own clients want, takes what comes back, its own entries too, in the one order,
 * and acts for its own clients. There is no leader: who lives, and who takes over from whom, is in
 * the log like everything else.
 */
import { HoldfastError } from '@holdfast/shared'
import type { Command } from '../../core/index.js'
import type { LogStatus } from '../../observability/logStatus.js'
import type { LogEnvironment } from '../../platform/environment.js'
import type { Log, LogLoad, Membership, StateMachine } from '../log.js'
import { ClusterMember } from './clusterMember.js'
import type { ClusterConfig, Engine, EngineSource } from './engine.js'
import { formatVersion, logClosed, unusable } from './logErrors.js'
import { Snapshots } from './snapshots.js'

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

/** How long joining may take when the broker starts, in ms. */
const startMs = 30_000
/** How long saying goodbye may take, in ms. */
const goodbyeMs = 3_000

const notBegun: LogStatus = {
  ...{ position: 0, lagMs: undefined, members: [], name: undefined, selfLeaseMs: 0, waiting: 0 },
  ...{ snapshot: undefined, problem: undefined },
}

export class ReplicatedLog implements Log, Membership {
  readonly #machine: LogEnvironment
  readonly #source: EngineSource
  readonly #charter: ClusterConfig
  readonly #snapshots: Snapshots
  #engine: Engine | undefined
  #part: ClusterMember | undefined
  /** A start that is under way comes to nothing. */
  #giveUp: (error: HoldfastError) => void = () => {}
  #onLeft: () => void = () => {}
  #closed: Promise<void> | undefined

  /** @throws {HoldfastError} `INVALID_OPTION` */
  constructor(source: EngineSource, options: ReplicatedOptions, machine: LogEnvironment) {
    const { cluster = '', deadMs = 6_000 } = options
    const { snapshotEntries: entries = 20_000 } = options
    const { snapshotCharacters: characters = 64 * 1024 * 1024 } = options
    checkRange('deadMs', deadMs, 1_000, 60_000)
    checkRange('snapshotEntries', entries, 1, Number.MAX_SAFE_INTEGER)
    checkRange('snapshotCharacters', characters, 1, Number.MAX_SAFE_INTEGER)
    this.#machine = machine
    this.#source = source
    this.#charter = { format: formatVersion, deadMs, cluster }
    this.#snapshots = new Snapshots({
      source,
      charter: this.#charter,
      every: { entries, characters },
      wall: () => machine.clock.wall(),
      monotonic: () => machine.clock.monotonic(),
      canReplayFrom: (position) => this.#engine!.canReplayFrom(position),
      onMade: (position) => this.#part?.announce(position),
    })
  }

  get membership(): Membership {
    return this
  }

  get name(): string {
    return this.#part?.name ?? ''
  }

  get load(): LogLoad {
    return this.#part?.load ?? 'room'
  }

  isLive(): boolean {
    return this.#part?.isLive() ?? false
  }

  get status(): LogStatus {
    return this.#part?.status ?? notBegun
  }

  async start(replica: StateMachine): Promise<void> {
    const { clock } = this.#machine
    this.#engine = this.#source.create()
    let isStarting = true
    const joined = new Promise<void>((resolve, reject) => {
      this.#giveUp = reject
      // Not later: the very next entry may be one that it cannot go on after.
      const onServing = (): void => {
        isStarting = false
        resolve()
      }
      this.#part = this.#participant(replica, onServing, (error) => {
        this.#snapshots.stop()
        this.#onLeft()
        if (isStarting) reject(error)
        else replica.fail(error)
      })
    })
    const tooLate = clock.setTimer(() => {
      const why = this.status.problem ?? 'nothing comes back'
      this.#giveUp(unusable(`this broker could not join within ${startMs / 1_000} s: ${why}`))
    }, startMs)
    try {
      // A start that is given up does not wait for an engine that has no answer.
      await Promise.race([this.#begin(this.#engine, this.#part!), joined])
      await joined
    } catch (error) {
      await this.#stop()
      throw error instanceof HoldfastError ? error : unusable(messageOf(error), error)
    } finally {
      clock.clearTimer(tooLate)
    }
  }

  submit(command: Command): void {
    this.#part?.submit(command)
  }

  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    this.#giveUp(logClosed())
    if (this.#part?.leave() === true) {
      const { clock } = this.#machine
      await new Promise<void>((resolve) => {
        const tooLate = clock.setTimer(resolve, goodbyeMs)
        this.#onLeft = () => {
          clock.clearTimer(tooLate)
          resolve()
        }
      })
    }
    await this.#stop()
  }

  #participant(
    replica: StateMachine,
    onServing: () => void,
    onFailed: (error: HoldfastError) => void,
  ): ClusterMember {
    return new ClusterMember({
      replica,
      engine: this.#engine!,
      environment: this.#machine,
      charter: this.#charter,
      snapshots: this.#snapshots,
      onServing,
      onLeft: () => this.#onLeft(),
      onFailed,
    })
  }

  async #begin(engine: Engine, part: ClusterMember): Promise<void> {
    await engine.open(this.#charter)
    await part.begin()
  }

  async #stop(): Promise<void> {
    this.#part?.end()
    this.#snapshots.stop()
    await this.#engine?.close()
  }
}

function checkRange(name: string, value: number, least: number, most: number): void {
  if (Number.isSafeInteger(value) && value >= least && value <= most) return
  throw new HoldfastError('INVALID_OPTION', `${name} is an integer from ${least} to ${most}.`)
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
