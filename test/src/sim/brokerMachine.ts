/**
 * A machine that brokers run on: one at a time, started, stopped short, drained, started again.
 * Everything a broker takes from its machine is the simulation's.
 */
import type { LockTable } from '@holdfast/server/core'
import {
  Broker,
  clockFences,
  drain,
  type Environment,
  type Log,
  MemoryLog,
  ReplicatedLog,
  settingsFrom,
} from '@holdfast/server/internal'
import { SimClock } from './clocks.js'
import type { LogBook, Taker } from './logBook.js'
import type { Network, Path } from './network.js'
import type { Oracles } from './oracles.js'
import { makeWay } from './pipe.js'
import type { Plan } from './plan.js'
import { SimProcess } from './process.js'
import { Random } from './random.js'
import type { SharedPlan } from './sharedPlan.js'
import type { SharedStore } from './sharedStore.js'
import { noTrouble, SimEngineSource } from './simEngine.js'
import { SlowLog } from './slowLog.js'
import { TappedLog } from './tappedLog.js'
import type { World } from './world.js'

/** Longest lease that a client may have, and so how long a quiet start lasts. */
export const longestLeaseMs = 15_000
/** Little patience with slow readers. */
const tightLimits = { slowBytes: 1_000, slowMs: 500, backlogBytes: 16_000 }
/** Room in the network to go with it, in bytes. */
export const tightKernelBytes = 0
/** Calendar time at which the worlds begin. */
export const epoch = 1_800_000_000_000
/** Before a broker is started again that could not begin, in ms. */
const startAgainMs = 1_000

/** The log that several machines share. */
export interface SharedLog {
  readonly plan: SharedPlan
  readonly store: SharedStore
  readonly book: LogBook
}

export interface BrokerMachineDeps {
  readonly world: World
  readonly network: Network
  readonly seed: string
  readonly plan: Plan
  readonly judges: Oracles
  readonly index: number
  /** Undefined for a broker with a log of its own. */
  readonly log: SharedLog | undefined
}

export class BrokerMachine implements Taker {
  readonly url: string
  /** The way to the shared log. */
  readonly path: Path
  readonly #deps: BrokerMachineDeps
  readonly #name: string
  #process: SimProcess | undefined
  #broker: Broker | undefined
  #log: Log | undefined
  #source: SimEngineSource | undefined
  #started = 0
  #isDraining = false
  #isRetired = false

  constructor(deps: BrokerMachineDeps) {
    this.#deps = deps
    const { log, index } = deps
    this.#name = log === undefined ? 'broker' : `b${index}.`
    this.url = log === undefined ? 'ws://broker' : `ws://broker${index}`
    const { latencyMs, jitterMs } = log?.plan ?? { latencyMs: 0, jitterMs: 0 }
    this.path = { up: makeWay(latencyMs, jitterMs), down: makeWay(latencyMs, jitterMs) }
  }

  get process(): SimProcess | undefined {
    return this.#process
  }

  get broker(): Broker | undefined {
    return this.#broker
  }

  /** The line to the shared log. */
  get source(): SimEngineSource | undefined {
    return this.#source
  }

  /** Nothing goes wrong with it, nor with its way to the log. */
  get isSpared(): boolean {
    const { log, index } = this.#deps
    return log !== undefined && log.plan.spared === index
  }

  get isDraining(): boolean {
    return this.#isDraining
  }

  get name(): string {
    return this.#process?.name ?? this.#name
  }

  get table(): Omit<LockTable, 'apply'> | undefined {
    return this.#broker?.table
  }

  get home(): string {
    return this.#broker?.logStatus?.name ?? ''
  }

  /** Whose sessions it keeps: a log of its own has no names. Undefined while it keeps none. */
  get keeps(): string | undefined {
    return this.#deps.log === undefined ? '' : this.#broker?.logStatus?.name
  }

  get standingMs(): number {
    return this.#broker?.logStatus?.selfLeaseMs ?? 0
  }

  get living(): readonly string[] {
    return this.#broker?.logStatus?.members ?? []
  }

  start(): void {
    const { world, network, seed, plan, judges, index, log } = this.#deps
    const number = this.#started++
    const label = log === undefined ? `broker ${number}` : `broker ${index} ${number}`
    const random = new Random(`${seed}/${label}`)
    const rate = log?.plan.rates[index] ?? plan.brokerRate
    const clock = new SimClock(world, random, rate, epoch + world.now)
    const process = new SimProcess(`${this.#name}${number}`, world, random, clock)
    process.busyMs = plan.busyMs
    this.#process = process
    const tap = judges.brokerStarted(this, process)
    let made = 0
    const prefix = log === undefined ? `${number}` : `${index}.${number}`
    const environment: Environment = {
      clock,
      endOfTurn: process.endOfTurn,
      newId: () => `s${prefix}.${made++}`,
      newSecret: () => `secret${prefix}.${made++}`,
      hash: (secret) => `hash of ${secret}`,
    }
    this.#log = new TappedLog(this.#newLog(process, random, environment), tap)
    const broker = new Broker({
      settings: settingsFrom({
        lease: { max: longestLeaseMs },
        limits: plan.isTight ? tightLimits : {},
        quietStart: log === undefined && plan.quietStart && number > 0 ? longestLeaseMs : 0,
      }),
      environment,
      log: this.#log,
      fences: clockFences(clock.wall()),
    })
    this.#broker = broker
    network.listeners.set(this.url, { process, accept: (socket) => broker.connect(socket) })
    broker.ready?.catch((error: unknown) => this.#failedToStart(process, error))
  }

  /** As SIGKILL or a power cut: nothing more is done or said. */
  kill(): void {
    this.#process?.kill()
    this.#gone()
  }

  /** What does not run now is not started again, whoever was going to. */
  retire(): void {
    this.#isRetired = true
  }

  /** After it has ended. */
  startAgain(): void {
    if (this.#process === undefined && !this.#isRetired) this.start()
  }

  /** In good order, within `ms`; calls back when the process has come to its end. */
  drain(ms: number, onDone: () => void): void {
    const [broker, process, sharing] = [this.#broker, this.#process, this.#log?.membership]
    if (broker === undefined || process === undefined || this.#isDraining) return
    this.#isDraining = true
    this.#deps.judges.brokerDrains(this)
    process.receive(async () => {
      await drain(broker, process.clock, ms, sharing)
      await broker.stop()
      if (process !== this.#process) return
      process.kill()
      this.#gone()
      onDone()
    })
  }

  #newLog(process: SimProcess, random: Random, environment: Environment): Log {
    const { world, plan, log, seed } = this.#deps
    if (log === undefined) {
      return plan.logMs > 0 ? new SlowLog(world, process, random, plan.logMs) : new MemoryLog()
    }
    this.#source = new SimEngineSource({
      world,
      process,
      random: new Random(`${seed}/engine of ${process.name}`),
      store: log.store,
      path: this.path,
      luck: this.isSpared ? noTrouble : log.plan,
      onEntry: (kept, take) => log.book.taking(this, kept, take),
    })
    const { deadMs, snapshotEntries } = log.plan
    return new ReplicatedLog(this.#source, { deadMs, snapshotEntries }, environment)
  }

  /** A broker that could not begin, because the log was out of reach, is started again. */
  #failedToStart(process: SimProcess, error: unknown): void {
    if (process !== this.#process || this.#isDraining) return
    this.#deps.judges.trace.add(process.name, `cannot start: ${String(error)}`)
    this.kill()
    this.#deps.world.in(startAgainMs, () => this.startAgain())
  }

  #gone(): void {
    this.#deps.network.listeners.delete(this.url)
    this.#broker = undefined
    this.#process = undefined
    this.#isDraining = false
    this.#deps.judges.brokerEnded(this)
  }
}
