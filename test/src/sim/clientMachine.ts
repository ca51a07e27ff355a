/**
 * The machine of one client. The machine has a network path to each broker and its own clock. The
 * machine runs one program at a time; after a kill, `start` starts another program.
 */
import type { Environment } from '@holdfast/client/internal'
import { connectIn } from '@holdfast/client/internal'
import { worldStart } from './brokerMachine.js'
import { SimClock } from './clocks.js'
import type { Network, Path } from './network.js'
import type { Oracles } from './oracles.js'
import { makeLink } from './pipe.js'
import type { ClientPlan, Plan } from './plan.js'
import { Program } from './program.js'
import { Random } from './random.js'
import { SimProcess } from './simProcess.js'
import type { World } from './world.js'

/**
 * The environment of a client that runs in a simulated process. With `endsTurnsEarly`, the end of a
 * turn of the event loop is a microtask, as in the real client. Otherwise a turn ends when all
 * waiting input is handled.
 */
export function environmentOf(
  process: SimProcess,
  random: Random,
  WebSocket: Environment['WebSocket'],
  endsTurnsEarly: boolean,
): Environment {
  return {
    clock: process.clock,
    random: () => random.next(),
    endOfTurn: endsTurnsEarly ? queueMicrotask : process.endOfTurn,
    newTask: process.receive,
    WebSocket,
  }
}

export interface ClientMachineDeps {
  readonly world: World
  readonly network: Network
  readonly seed: string
  readonly plan: Plan
  readonly client: ClientPlan
  readonly oracles: Oracles
  /** The URLs of the brokers, in the order in which the client tries them. */
  readonly urls: readonly string[]
  /** Whether this client knows only one broker, and faults spare the client and this broker. */
  readonly isSpared: boolean
}

export class ClientMachine {
  readonly name: string
  /** The path to each broker, by its URL. */
  readonly paths: ReadonlyMap<string, Path>
  readonly #deps: ClientMachineDeps
  #starts = 0
  #isStopping = false
  #process: SimProcess | undefined
  #program: Program | undefined

  constructor(name: string, deps: ClientMachineDeps) {
    this.name = name
    this.#deps = deps
    const { latencyMs, jitterMs } = deps.plan
    // A drop at a spared client is a violation. On a slow path a connection with a short lease may
    // drop without a fault. So the paths of a spared client are fast.
    const newLink = deps.isSpared
      ? () => makeLink({ latencyMs: Math.min(latencyMs, 20), jitterMs: Math.min(jitterMs, 10) })
      : () => makeLink({ latencyMs, jitterMs })
    this.paths = new Map(deps.urls.map((url) => [url, { up: newLink(), down: newLink() }]))
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

  /** Starts a process with a program, unless one runs or `stop` was called. */
  start(): void {
    if (this.#process !== undefined || this.#isStopping) return
    const { world, network, seed, plan, client, oracles, urls } = this.#deps
    // The letter tells the processes of the machine apart in the trace of the run.
    const name = `${this.name}${'abcdefgh'[this.#starts % 8]}`
    const random = new Random(`${seed}/${this.name} ${this.#starts++}`)
    // `client.rate` is relative to the clock of the broker.
    const clock = new SimClock(world, random, plan.brokerRate * client.rate, worldStart + world.now)
    const process = new SimProcess(name, world, random, clock)
    const checkHolders = () => oracles.holderOracle.checkProcess(process)
    process.onResume = checkHolders
    process.afterUnit = checkHolders
    const pathTo = (url: string) => this.paths.get(url)!
    const WebSocket = network.webSocketOf(process, pathTo, client.isBrowser)
    const environment = environmentOf(process, random, WebSocket, client.endsTurnsEarly)
    const { lease, grace } = client
    const options = { lease, grace, name }
    const program = new Program({
      process,
      random: new Random(`${seed}/${name} program`),
      plan,
      client,
      oracles,
      isSpared: this.isSpared,
      connect: () => connectIn(urls, options, environment),
    })
    this.#process = process
    this.#program = program
    process.receive(() => {
      program.run().catch(world.onError)
    })
  }

  /** Ends the process like SIGKILL. */
  kill(): void {
    const process = this.#process
    if (process === undefined) return
    this.#process = undefined
    this.#program = undefined
    process.kill()
    this.#deps.oracles.holderOracle.forget(process)
  }

  /** Tells the program to end, and makes the machine start no other program. */
  stop(): void {
    this.#isStopping = true
    this.#program?.stop()
  }
}
