/**
 * The machine of one client that uses all cells. A cell is a broker that serves a part of the keys.
 * The machine has a network path to each broker and its own clock. The machine runs one program at
 * a time; after a kill, `start` starts another program.
 */
import type { Environment } from '@holdfast/client/internal'
import { worldStart } from '../brokerMachine.js'
import { environmentOf } from '../clientMachine.js'
import { SimClock } from '../clocks.js'
import type { Network, Path } from '../network.js'
import { makeLink } from '../pipe.js'
import type { ClientPlan } from '../plan.js'
import { Random } from '../random.js'
import { SimProcess } from '../simProcess.js'
import type { World } from '../world.js'
import type { CellPlan } from './cellPlan.js'

/** A program that runs in a process until `stop` and then `finish` are called. */
export interface ClientProgram {
  /** Whether `stop` was called and all calls have settled since then. */
  readonly isIdle: boolean
  /** Whether the program has closed its session after `finish`. */
  readonly isDone: boolean
  /** The calls that have not settled, for an error message. */
  readonly unsettled: string
  run(): Promise<void>
  /** Makes the program start no further actions. */
  stop(): void
  /** Lets an idle program close its session. */
  finish(): void
}

export interface CellClientMachineDeps {
  readonly world: World
  readonly network: Network
  readonly seed: string
  readonly plan: CellPlan
  readonly client: ClientPlan
  /** The URLs of all brokers, in the order of their cells. */
  readonly urls: readonly string[]
  /** Makes the program of a process. `random` is for the program alone. */
  makeProgram(process: SimProcess, environment: Environment, random: Random): ClientProgram
}

export class CellClientMachine {
  readonly name: string
  /** The path to each broker, by its URL. */
  readonly paths: ReadonlyMap<string, Path>
  readonly #deps: CellClientMachineDeps
  #starts = 0
  #isStopping = false
  #process: SimProcess | undefined
  #program: ClientProgram | undefined

  constructor(name: string, deps: CellClientMachineDeps) {
    this.name = name
    this.#deps = deps
    const { latencyMs, jitterMs } = deps.plan
    const { sparedCell } = deps.plan
    this.paths = new Map(
      deps.urls.map((url, i) => {
        const cell = i + 1
        // A drop in the spared cell is a violation. On a slow path a connection with a short lease
        // may drop without a fault. So the path to this cell is fast.
        const newLink = () =>
          cell === sparedCell
            ? makeLink({ latencyMs: Math.min(latencyMs, 20), jitterMs: Math.min(jitterMs, 10) })
            : makeLink({ latencyMs, jitterMs })
        return [url, { up: newLink(), down: newLink() }]
      }),
    )
  }

  get process(): SimProcess | undefined {
    return this.#process
  }

  get program(): ClientProgram | undefined {
    return this.#program
  }

  /** Starts a process with a program, unless one runs or `stop` was called. */
  start(): void {
    if (this.#process !== undefined || this.#isStopping) return
    const { world, network, seed, client, makeProgram } = this.#deps
    // The letter tells the processes of the machine apart in the trace of the run.
    const name = `${this.name}${'abcdefgh'[this.#starts % 8]}`
    const random = new Random(`${seed}/${this.name} ${this.#starts++}`)
    const clock = new SimClock(world, random, client.rate, worldStart + world.now)
    const process = new SimProcess(name, world, random, clock)
    const pathTo = (url: string) => this.paths.get(url)!
    const WebSocket = network.webSocketOf(process, pathTo, client.isBrowser)
    const environment = environmentOf(process, random, WebSocket, client.endsTurnsEarly)
    const program = makeProgram(process, environment, new Random(`${seed}/${name} program`))
    this.#process = process
    this.#program = program
    // The process runs code only in its simulated turns, and `receive` queues code for a turn.
    process.receive(() => {
      program.run().catch(world.onError)
    })
  }

  /** Ends the process like SIGKILL. */
  kill(): void {
    this.#process?.kill()
    this.#process = undefined
    this.#program = undefined
  }

  /** Tells the program to end, and makes the machine start no other program. */
  stop(): void {
    this.#isStopping = true
    this.#program?.stop()
  }
}
