/**
 * A simulated machine that runs one broker at a time. A broker can be started, killed, drained and
 * started again. The machine gives its broker a simulated clock, network and command log (which
 * orders the commands of the lock table). A world is one simulated run.
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
import { type Cell, cellText } from '@holdfast/shared'
import { SimClock } from './clocks.js'
import type { LogOracle, LogOracleBroker } from './logOracle.js'
import type { Network, Path } from './network.js'
import { type LogObserver, ObservedLog } from './observedLog.js'
import { makeLink } from './pipe.js'
import type { Plan } from './plan.js'
import { Random } from './random.js'
import type { SharedPlan } from './sharedPlan.js'
import type { SharedStore } from './sharedStore.js'
import { noAppendFaults, SimEngineSource } from './simEngine.js'
import { SimProcess } from './simProcess.js'
import { SlowLog } from './slowLog.js'
import type { Trace } from './trace.js'
import type { World } from './world.js'

/**
 * The longest lease that a client may request, in ms. The lease is how long the broker keeps a
 * silent session. A quiet start, in which a new broker grants no locks, lasts as long.
 */
export const longestLeaseMs = 15_000
/** Low limits, with which the broker soon disconnects a client that reads slowly. */
const tightLimits = { slowBytes: 1_000, slowMs: 500, backlogBytes: 16_000 }
/**
 * The size of the kernel's send buffer in worlds with `tightLimits`, in bytes. Without a buffer,
 * the broker itself keeps all bytes that a client has not read.
 */
export const tightKernelBytes = 0
/** The wall clock time at which every world begins, in ms. */
export const worldStart = 1_800_000_000_000
/** The time until a broker that could not start is started again, in ms. */
const restartMs = 1_000

/** The log that several machines share. */
export interface SharedLog {
  readonly plan: SharedPlan
  readonly store: SharedStore
  readonly logOracle: LogOracle
}

/** The oracles that observe the broker of a machine. */
export interface BrokerObserver {
  readonly trace: Trace
  /** A broker's process has started. @returns the observer of its log */
  brokerStarted(machine: BrokerMachine, process: SimProcess): LogObserver
  brokerDrains(machine: BrokerMachine): void
  brokerEnded(machine: BrokerMachine): void
}

export interface BrokerMachineDeps {
  readonly world: World
  readonly network: Network
  readonly seed: string
  readonly plan: Pick<
    Plan,
    | 'brokerRate'
    | 'busyMs'
    | 'hasTightBuffers'
    | 'keptResults'
    | 'logMs'
    | 'maxHoldLimit'
    | 'pausesOften'
    | 'quietStart'
  >
  readonly oracles: BrokerObserver
  /** The index of the machine among the machines of the world. */
  readonly index: number
  /** The shared log; undefined for a broker that has its own log. */
  readonly log: SharedLog | undefined
  /** The cell of the broker; undefined for a broker that serves all keys. */
  readonly cell?: Cell | undefined
}

/** What distinguishes a machine from the other machines of the world. */
interface MachineNames {
  /** The beginning of the names of the machine's processes. The number of the start follows. */
  readonly name: string
  /** The host in the URL of the broker. */
  readonly host: string
  /** A part of the seed of the machine's random numbers. */
  readonly label: string
  /** The beginning of the ids that the broker makes. */
  readonly idPrefix: string
}

function namesOf({ cell, log, index }: BrokerMachineDeps): MachineNames {
  if (cell !== undefined) {
    const { number } = cell
    const host = `cell${number}`
    return { name: `c${number}.`, host, label: `cell ${number}`, idPrefix: `${number}.` }
  }
  if (log === undefined) return { name: 'broker', host: 'broker', label: 'broker', idPrefix: '' }
  const host = `broker${index}`
  return { name: `b${index}.`, host, label: `broker ${index}`, idPrefix: `${index}.` }
}

/**
 * The probability that a broker pauses after the first command that it applies at a time, in a
 * world whose brokers pause often. With 1, a broker could be slower than the log for the whole run.
 */
const pauseChance = 0.5

export class BrokerMachine implements LogOracleBroker {
  readonly url: string
  /** The network path to the shared log. */
  readonly path: Path
  readonly #deps: BrokerMachineDeps
  readonly #names: MachineNames
  #process: SimProcess | undefined
  #broker: Broker | undefined
  #log: Log | undefined
  #source: SimEngineSource | undefined
  #starts = 0
  #isDraining = false
  #isRetired = false

  constructor(deps: BrokerMachineDeps) {
    this.#deps = deps
    const { log } = deps
    this.#names = namesOf(deps)
    this.url = `ws://${this.#names.host}`
    const { latencyMs, jitterMs } = log?.plan ?? { latencyMs: 0, jitterMs: 0 }
    this.path = { up: makeLink({ latencyMs, jitterMs }), down: makeLink({ latencyMs, jitterMs }) }
  }

  get process(): SimProcess | undefined {
    return this.#process
  }

  get broker(): Broker | undefined {
    return this.#broker
  }

  /** The factory of the engines, through which the broker reads and writes the shared log. */
  get source(): SimEngineSource | undefined {
    return this.#source
  }

  /** Whether faults spare this machine and its path to the log. */
  get isSpared(): boolean {
    const { log, index } = this.#deps
    return log !== undefined && log.plan.spared === index
  }

  get isDraining(): boolean {
    return this.#isDraining
  }

  get name(): string {
    return this.#process?.name ?? this.#names.name
  }

  get table(): Omit<LockTable, 'apply'> | undefined {
    return this.#broker?.table
  }

  get nameInLog(): string {
    return this.#broker?.logStatus?.name ?? ''
  }

  /**
   * The name under which the broker owns sessions: '' if it has its own log, undefined while it
   * owns no sessions.
   */
  get ownerBroker(): string | undefined {
    return this.#deps.log === undefined ? '' : this.#broker?.logStatus?.name
  }

  /** For how many ms more the broker regards itself as a member of the cluster. */
  get selfLeaseMs(): number {
    return this.#broker?.logStatus?.selfLeaseMs ?? 0
  }

  get positionInLog(): number {
    return this.#broker?.logStatus?.position ?? 0
  }

  get members(): readonly string[] {
    return this.#broker?.logStatus?.members ?? []
  }

  start(): void {
    const { world, network, seed, plan, oracles, index, log, cell } = this.#deps
    const { name, label, idPrefix } = this.#names
    const startNumber = this.#starts++
    // The random numbers differ at each start, but are the same in every run with this seed.
    const random = new Random(`${seed}/${label} ${startNumber}`)
    const rate = log?.plan.rates[index] ?? plan.brokerRate
    const clock = new SimClock(world, random, rate, worldStart + world.now)
    const process = new SimProcess(`${name}${startNumber}`, world, random, clock)
    process.busyMs = plan.busyMs
    this.#process = process
    if (log !== undefined) {
      log.logOracle.started(this)
      process.afterUnit = () => log.logOracle.checkHandled(this)
    }
    const observer = oracles.brokerStarted(this, process)
    let ids = 0
    const prefix = `${idPrefix}${startNumber}`
    const environment: Environment = {
      clock,
      endOfTurn: process.endOfTurn,
      newId: () => `s${prefix}.${ids++}`,
      newSecret: () => `secret${prefix}.${ids++}`,
      hash: (secret) => `hash of ${secret}`,
      get turnMs() {
        return plan.pausesOften && random.chance(pauseChance) ? 0 : undefined
      },
    }
    this.#log = new ObservedLog(this.#newLog(process, random, environment), observer)
    const broker = new Broker({
      settings: settingsFrom({
        lease: { max: longestLeaseMs },
        limits: {
          keptResults: plan.keptResults,
          ...(plan.hasTightBuffers && tightLimits),
          ...(plan.maxHoldLimit && { maxHoldMs: plan.maxHoldLimit }),
        },
        cell: cell && cellText(cell),
        // A quiet start waits while clients may hold locks of the previous process. The first start
        // has no previous process.
        quietStart: log === undefined && plan.quietStart && startNumber > 0 ? longestLeaseMs : 0,
      }),
      environment,
      log: this.#log,
      fences: clockFences(clock.wall()),
    })
    this.#broker = broker
    network.listeners.set(this.url, { process, accept: (socket) => broker.connect(socket) })
    broker.ready?.catch((error: unknown) => this.#failedToStart(process, error))
  }

  /** Ends the process like SIGKILL or a power cut. */
  kill(): void {
    this.#process?.kill()
    this.#processEnded()
  }

  /** Makes the machine start no further broker. */
  retire(): void {
    this.#isRetired = true
  }

  /** Starts a broker unless a broker runs. */
  restart(): void {
    if (this.#process === undefined && !this.#isRetired) this.start()
  }

  /**
   * Drains the broker within `ms` (its clients leave, and then the broker stops), and calls
   * `onDone` when its process has ended.
   */
  drain(ms: number, onDone: () => void): void {
    const [broker, process, membership] = [this.#broker, this.#process, this.#log?.membership]
    if (broker === undefined || process === undefined || this.#isDraining) return
    this.#isDraining = true
    this.#deps.oracles.brokerDrains(this)
    process.receive(async () => {
      await drain(broker, process.clock, ms, membership)
      await broker.stop()
      if (process !== this.#process) return
      process.kill()
      this.#processEnded()
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
      appendFaults: this.isSpared ? noAppendFaults : log.plan,
      onEntry: (entry, deliver) => log.logOracle.deliver(this, entry, deliver),
      onStoppedReading: () => log.logOracle.stoppedReading(this),
      // The engine may lose `entry` only if `next` shows the broker that an entry was lost.
      drops: {
        mayDrop: (entry, next) => log.logOracle.provesLoss(next, entry),
        onEntryAfterDrop: (entry, deliver) =>
          log.logOracle.deliver(this, entry, deliver, { isAfterLoss: true }),
      },
    })
    const { deadMs, snapshotEntries } = log.plan
    return new ReplicatedLog(this.#source, { deadMs, snapshotEntries }, environment)
  }

  /** Retries the start of a broker that could not reach the log. */
  #failedToStart(process: SimProcess, error: unknown): void {
    if (process !== this.#process || this.#isDraining) return
    this.#deps.oracles.trace.add(process.name, `cannot start: ${String(error)}`)
    this.kill()
    this.#deps.world.after(restartMs, () => this.restart())
  }

  #processEnded(): void {
    this.#deps.network.listeners.delete(this.url)
    this.#broker = undefined
    this.#process = undefined
    this.#isDraining = false
    this.#deps.oracles.brokerEnded(this)
  }
}
