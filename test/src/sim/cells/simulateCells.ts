/**
 * Runs one simulated world with cells. Each cell is a broker with its own part of the keys; the
 * brokers have no common log. Clients with the code of the product lock keys of all cells, while
 * faults happen in all cells but one, the spared cell. Then the faults end, and all clients close
 * their sessions. At the end no lock, no session and no timer may remain.
 */
import { connectCellsIn, connectIn, type Environment } from '@holdfast/client/internal'
import type { ErrorCode } from '@holdfast/shared'
import { BrokerMachine, longestLeaseMs } from '../brokerMachine.js'
import { Network } from '../network.js'
import { Random } from '../random.js'
import type { Result, SimulationOptions } from '../simulate.js'
import { World } from '../world.js'
import { runWithOracle } from '../worldOracle.js'
import { CellClientMachine, type CellClientMachineDeps } from './cellClientMachine.js'
import { CellFaults } from './cellFaults.js'
import { cellKeys, expectedCell } from './cellKeys.js'
import { CellOracle } from './cellOracle.js'
import { type CellClientPlan, type CellPlan, planCells } from './cellPlan.js'
import { CellProgram, type CellProgramDeps, WrongProgram } from './cellProgram.js'

/** The longest time until every call settles after the end of the faults, in ms. */
const settleMs = 180_000
/**
 * The longest time until the tables are empty, in ms: a lease, a grace (at most as long), and 10 s
 * in reserve.
 */
const emptyMs = 2 * longestLeaseMs + 10_000
/** The probability of each of the two clients with a wrong list of cells. */
const wrongChance = 0.6

export function simulateCells(seed: number, options: SimulationOptions): Promise<Result> {
  return new CellSimulation(seed, options).run()
}

class CellSimulation {
  readonly #seed: number
  readonly #label: string
  readonly #options: SimulationOptions
  readonly #cellCount: number
  readonly #plan: CellPlan
  readonly #world = new World()
  readonly #machines: BrokerMachine[] = []
  readonly #oracle: CellOracle
  readonly #network: Network
  readonly #clients: CellClientMachine[]
  readonly #faults: CellFaults

  constructor(seed: number, options: SimulationOptions) {
    const { cells: count = 1, lines: maxTraceLines = 200, faults: only } = options
    const label = `seed ${seed}/cells`
    this.#seed = seed
    this.#label = label
    this.#options = options
    this.#cellCount = count
    this.#plan = planCells(new Random(`${label}/plan`), count)
    const world = this.#world
    const plan = this.#plan
    const oracle = new CellOracle(world, count, this.#machines, maxTraceLines)
    this.#oracle = oracle
    const network = new Network(world, new Random(`${label}/network`), oracle.network)
    this.#network = network
    this.#addMachines()
    this.#clients = [...this.#makeClients(), ...this.#makeWrongClients()]
    const machines = this.#machines
    const clients = this.#clients
    const deps = { world, network, machines, clients, plan, seed: label, oracle, only }
    this.#faults = new CellFaults(deps)
  }

  #addMachines(): void {
    const { busyMs, logMs, brokerRates } = this.#plan
    for (const [index, brokerRate] of brokerRates.entries()) {
      this.#machines.push(
        new BrokerMachine({
          world: this.#world,
          network: this.#network,
          seed: this.#label,
          plan: {
            busyMs,
            logMs,
            brokerRate,
            keptResults: 1_000,
            hasTightBuffers: false,
            maxHoldLimit: undefined,
            pausesOften: false,
            // A broker that starts again grants no lock until the former leases are over. Otherwise
            // the broker may grant a key that a client still believes it holds.
            quietStart: true,
          },
          oracles: this.#oracle,
          index,
          log: undefined,
          cell: { number: index + 1, count: this.#cellCount },
        }),
      )
    }
  }

  get #urls(): string[] {
    return this.#machines.map(({ url }) => url)
  }

  #makeClients(): CellClientMachine[] {
    const { clients: only } = this.#options
    return this.#plan.clients
      .map((client, number) => {
        const cells = this.#urls.map((url) => [url])
        const { sparedCell } = this.#plan
        return this.#machineOf(`client${number}`, client, (deps, environment) => {
          const connect = () =>
            connectCellsIn({ cells, ...optionsOf(client, deps.process.name) }, environment)
          return new CellProgram(deps, sparedCell, connect)
        })
      })
      .filter((_, number) => only === undefined || only.has(number))
  }

  /**
   * Makes none, one or both of two clients with a wrong list of cells: `single` lists only one
   * cell; `rotated` lists all cells in a wrong order.
   */
  #makeWrongClients(): CellClientMachine[] {
    const random = new Random(`${this.#label}/wrong clients`)
    const urls = this.#urls
    const [clientPlan] = this.#plan.clients as [CellClientPlan]
    const machines: CellClientMachine[] = []
    const singleCell = random.int(1, this.#cellCount)
    // Each broker has a wrong number in this list, so the client may lock no key.
    const rotated = [...urls.slice(1), urls[0]!].map((url) => [url])
    if (random.chance(wrongChance)) {
      const machine = this.#machineOf('single', clientPlan, (deps, environment) => {
        const connect = () =>
          connectIn(urls[singleCell - 1]!, optionsOf(clientPlan, deps.process.name), environment)
        const mayLock = (key: string) => expectedCell(key, this.#cellCount) === singleCell
        return new WrongProgram(deps, 'INVALID_KEY', mayLock, connect)
      })
      machines.push(machine)
    }
    if (random.chance(wrongChance)) {
      const machine = this.#machineOf('rotated', clientPlan, (deps, environment) => {
        const options = optionsOf(clientPlan, deps.process.name)
        const connect = () => connectCellsIn({ cells: rotated, ...options }, environment)
        return new WrongProgram(deps, 'INVALID_OPTION', () => false, connect)
      })
      machines.push(machine)
    }
    return machines
  }

  #machineOf(
    name: string,
    client: CellClientPlan,
    makeProgram: (deps: CellProgramDeps, environment: Environment) => CellProgram | WrongProgram,
  ): CellClientMachine {
    const { thinkMs, holdMs, keyCount } = this.#plan
    const { all, tags } = cellKeys(this.#cellCount)
    const keys = { all: all.slice(0, keyCount), tags }
    const { concurrency } = client
    // After some silence, a client sends `pong` and expects an `ack` within a tenth of the lease.
    // Without the `ack` the client drops the connection. On a slow path, this happens without a
    // fault. Then the calls of a client that does not reconnect fail.
    const { latencyMs, jitterMs } = this.#plan
    const mayDrop = !client.reconnects && 2 * (latencyMs + jitterMs) > client.lease / 10
    const finalCodes: readonly ErrorCode[] = mayDrop ? ['UNAVAILABLE'] : []
    const deps: CellClientMachineDeps = {
      world: this.#world,
      network: this.#network,
      seed: this.#label,
      plan: this.#plan,
      client,
      urls: this.#urls,
      makeProgram: (process, environment, random) => {
        const oracle = this.#oracle
        const common = { oracle, keys, thinkMs, holdMs, concurrency, finalCodes }
        return makeProgram({ process, random, ...common }, environment)
      },
    }
    return new CellClientMachine(name, deps)
  }

  async run(): Promise<Result> {
    const world = this.#world
    const oracle = this.#oracle
    await runWithOracle(world, oracle, () => this.#runWorld())
    return {
      seed: this.#seed,
      violation: oracle.report.violation,
      counts: oracle.report.counts,
      events: world.events,
      time: world.now,
      clients: this.#plan.clients.length,
      faults: this.#faults.happened,
      hash: oracle.trace.hash,
      lines: oracle.trace.lastLines(),
    }
  }

  async #runWorld(): Promise<void> {
    const world = this.#world
    for (const machine of this.#machines) machine.start()
    for (const client of this.#clients) client.start()
    this.#faults.start()
    const isOver = () => this.#oracle.hasViolation || world.events >= this.#options.events
    await world.run(isOver)
    this.#oracle.trace.add('world', 'has no more faults')
    this.#faults.stop()
    for (const client of this.#clients) client.stop()
    await this.#expect('every call settles', settleMs, () => this.#unsettledCalls())
    await this.#expect('no lock is left', emptyMs, () => this.#remaining('locks'))
    for (const { program } of this.#clients) program?.finish()
    // `close` waits for 1 s at most, but a slow process may notice the end of this time late.
    await this.#expect('close settles within 1 s', 10_000, () =>
      this.#clients.filter(({ program }) => !program?.isDone).map(({ name }) => name),
    )
    await this.#expect('no session is left', emptyMs, () => this.#remaining('sessions'))
    await this.#stopBrokers()
    await this.#expect('no timer is left', 0, () =>
      [...this.#clients, ...this.#machines].flatMap(({ name, process }) => {
        const timers = process?.clock.timerCount ?? 0
        return timers > 0 ? [`${timers} at ${name}`] : []
      }),
    )
  }

  #unsettledCalls(): string[] {
    return this.#clients.flatMap(({ name, program }) =>
      program?.isIdle === false ? [`${name}: ${program.unsettled}`] : [],
    )
  }

  /**
   * The cells whose tables still have entries of this kind, or whose brokers do not run. Waiting
   * requests count as locks.
   */
  #remaining(kind: 'locks' | 'sessions'): string[] {
    return this.#machines.flatMap(({ name, table }) => {
      if (table === undefined) return [`${name} does not run`]
      const count = kind === 'sessions' ? table.sessions.size : table.heldCount + table.waitingCount
      return count > 0 ? [`${count} at ${name}`] : []
    })
  }

  async #stopBrokers(): Promise<void> {
    const draining = () => this.#machines.filter(({ isDraining }) => isDraining)
    await this.#expect('a drain ends', emptyMs, () => draining().map(({ name }) => name))
    const running = new Set<string>()
    for (const machine of this.#machines) {
      // A retired machine starts no further broker.
      machine.retire()
      if (machine.broker === undefined) continue
      running.add(machine.url)
      machine.broker.stop().then(() => running.delete(machine.url))
    }
    await this.#expect('every broker stops', 10_000, () => [...running])
  }

  /**
   * Runs the world until `leftovers` returns an empty list, but at most for `ms`. Reports a
   * violation of `rule` if the list is not empty then. Does nothing after a violation.
   */
  async #expect(rule: string, ms: number, leftovers: () => readonly string[]): Promise<void> {
    const oracle = this.#oracle
    const end = this.#world.now + ms
    const isOver = () => oracle.hasViolation || this.#world.now >= end || leftovers().length === 0
    await this.#world.run(isOver)
    if (!oracle.hasViolation && leftovers().length > 0)
      oracle.violated(rule, leftovers().join('; '))
  }
}

/** The options of `connect` for a client. */
function optionsOf({ lease, grace, reconnects }: CellClientPlan, name: string) {
  return { lease, grace, name, ...(reconnects ? {} : { reconnect: false as const }) }
}
