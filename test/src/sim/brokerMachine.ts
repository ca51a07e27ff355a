/**
 * The machine that brokers run on: one at a time, started, stopped short, drained, started again.
 * Everything a broker takes from its machine is the simulation's.
 */
import {
  Broker,
  clockFences,
  drain,
  type Environment,
  MemoryLog,
  settingsFrom,
} from '@holdfast/server/internal'
import { SimClock } from './clocks.js'
import type { Judges } from './judges.js'
import type { Network } from './network.js'
import type { Plan } from './plan.js'
import { SimProcess } from './process.js'
import { Random } from './random.js'
import { SlowLog } from './slowLog.js'
import type { World } from './world.js'

/** Longest lease that a client may have, and so how long a quiet start lasts. */
export const longestLeaseMs = 15_000
/** Little patience with slow readers. */
const tightLimits = { slowBytes: 1_000, slowMs: 500, backlogBytes: 16_000 }
/** Room in the network to go with it, in bytes. */
export const tightKernelBytes = 0
/** Calendar time at which the worlds begin. */
export const epoch = 1_800_000_000_000

export interface BrokerMachineParts {
  readonly world: World
  readonly network: Network
  readonly seed: string
  readonly plan: Plan
  readonly judges: Judges
}

export class BrokerMachine {
  readonly #parts: BrokerMachineParts
  #process: SimProcess | undefined
  #broker: Broker | undefined
  #started = 0
  #isDraining = false

  constructor(parts: BrokerMachineParts) {
    this.#parts = parts
  }

  get process(): SimProcess | undefined {
    return this.#process
  }

  get broker(): Broker | undefined {
    return this.#broker
  }

  get isDraining(): boolean {
    return this.#isDraining
  }

  start(): void {
    const { world, network, seed, plan, judges } = this.#parts
    const number = this.#started++
    const random = new Random(`${seed}/broker ${number}`)
    const clock = new SimClock(world, random, plan.brokerRate, epoch + world.now)
    const process = new SimProcess(`broker${number}`, world, random, clock)
    process.busyMs = plan.busyMs
    this.#process = process
    judges.brokerStarted(process)
    let made = 0
    const environment: Environment = {
      clock,
      endOfTurn: process.endOfTurn,
      newId: () => `s${number}.${made++}`,
      newSecret: () => `secret${number}.${made++}`,
      hash: (secret) => `hash of ${secret}`,
    }
    const broker = new Broker({
      settings: settingsFrom({
        lease: { max: longestLeaseMs },
        limits: plan.isTight ? tightLimits : {},
        quietStart: plan.quietStart && number > 0 ? longestLeaseMs : 0,
      }),
      environment,
      log: plan.logMs > 0 ? new SlowLog(world, process, random, plan.logMs) : new MemoryLog(),
      fences: clockFences(clock.wall()),
    })
    this.#broker = broker
    network.listener = { process, accept: (socket) => broker.connect(socket) }
  }

  /** As SIGKILL or a power cut: nothing more is done or said. */
  kill(): void {
    this.#process?.kill()
    this.#parts.network.listener = undefined
    this.#gone()
  }

  /** In good order, within `ms`; calls back when the process has come to its end. */
  drain(ms: number, onDone: () => void): void {
    const [broker, process] = [this.#broker, this.#process]
    if (broker === undefined || process === undefined || this.#isDraining) return
    this.#isDraining = true
    process.receive(async () => {
      await drain(broker, process.clock, ms)
      await broker.stop()
      if (process !== this.#process) return
      this.#parts.network.listener = undefined
      process.kill()
      this.#gone()
      onDone()
    })
  }

  #gone(): void {
    this.#broker = undefined
    this.#process = undefined
    this.#isDraining = false
    this.#parts.judges.brokerEnded()
  }
}
