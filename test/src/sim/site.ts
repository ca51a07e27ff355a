/**
 * Where one client lives: a machine at the end of a network path, with a clock of its own, on which
 * a program runs; after a kill another one, later.
 */
import type { Environment } from '@holdfast/client/internal'
import { connectIn } from '@holdfast/client/internal'
import { epoch } from './brokerMachine.js'
import { SimClock } from './clocks.js'
import type { Network, Path } from './network.js'
import type { Oracles } from './oracles.js'
import { makeWay } from './pipe.js'
import type { ClientPlan, Plan } from './plan.js'
import { SimProcess } from './process.js'
import { Program } from './program.js'
import { Random } from './random.js'
import type { World } from './world.js'

export interface SiteDeps {
  readonly world: World
  readonly network: Network
  readonly seed: string
  readonly plan: Plan
  readonly client: ClientPlan
  readonly judges: Oracles
  /** Where the brokers are, in the order in which it tries them. */
  readonly urls: readonly string[]
  /** Nothing goes wrong with it, nor with the broker that it uses. */
  readonly isSpared: boolean
}

export class Site {
  readonly name: string
  /** The way to each broker, by its URL. */
  readonly paths: ReadonlyMap<string, Path>
  readonly #deps: SiteDeps
  #started = 0
  #isStopping = false
  #process: SimProcess | undefined
  #program: Program | undefined

  constructor(name: string, deps: SiteDeps) {
    this.name = name
    this.#deps = deps
    const { latencyMs, jitterMs } = deps.plan
    const way = deps.isSpared
      ? () => makeWay(Math.min(latencyMs, 20), Math.min(jitterMs, 10))
      : () => makeWay(latencyMs, jitterMs)
    this.paths = new Map(deps.urls.map((url) => [url, { up: way(), down: way() }]))
  }

  get isSpared(): boolean {
    return this.#deps.isSpared
  }

  get process(): SimProcess | undefined {
    return this.#process
  }

  get program(): Program | undefined {
    return this.#program
  }

  /** Starts the program, unless it runs. */
  start(): void {
    if (this.#process !== undefined || this.#isStopping) return
    const { world, network, seed, plan, client, judges, urls } = this.#deps
    const name = `${this.name}${'abcdefgh'[this.#started % 8]}`
    const random = new Random(`${seed}/${this.name} ${this.#started++}`)
    const clock = new SimClock(world, random, plan.brokerRate * client.rate, epoch + world.now)
    const process = new SimProcess(name, world, random, clock)
    const check = () => judges.holders.judgeProcess(process)
    process.onResume = check
    process.afterUnit = check
    const environment: Environment = {
      clock,
      random: () => random.next(),
      endOfTurn: client.endsTurnsEarly ? queueMicrotask : process.endOfTurn,
      newTask: process.receive,
      WebSocket: network.webSocketOf(process, (url) => this.paths.get(url)!, client.isBrowser),
    }
    const { lease, grace } = client
    const options = { lease, grace, name }
    const program = new Program({
      process,
      random: new Random(`${seed}/${name} program`),
      plan,
      client,
      judges,
      isSpared: this.isSpared,
      connect: () => connectIn(urls, options, environment),
    })
    this.#process = process
    this.#program = program
    process.receive(() => {
      program.run().catch(world.onError)
    })
  }

  /** As SIGKILL. */
  kill(): void {
    const process = this.#process
    if (process === undefined) return
    this.#process = undefined
    this.#program = undefined
    process.kill()
    this.#deps.judges.holders.forget(process)
  }

  /** Asks the program to come to its end; it is not started again. */
  stop(): void {
    this.#isStopping = true
    this.#program?.stop()
  }
}
