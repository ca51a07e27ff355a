/**
 * Runs one simulated world, which a seed determines. The real client and the real broker handle
 * hundreds or thousands of events, and meanwhile faults happen. Then the faults end, and all client
 * programs close their sessions. At the end no lock, no session and no timer may remain. During the
 * run, oracles (test code that observes the run) report the first rule that the product breaks.
 */
import {
  type BrokerMachine,
  longestLeaseMs,
  tightKernelBytes,
  worldStart,
} from './brokerMachine.js'
import { ClientMachine } from './clientMachine.js'
import { SimClock } from './clocks.js'
import { Cluster } from './cluster.js'
import { DuplicatingClient } from './duplicatingClient.js'
import { Faults } from './faults.js'
import { Hijacker } from './hijacker.js'
import { Hostile, hostileKinds } from './hostile.js'
import { Network } from './network.js'
import { Oracles } from './oracles.js'
import { block, makeLink, unblock } from './pipe.js'
import { type Plan, planFor, type WorldNeeds } from './plan.js'
import { Random } from './random.js'
import { Revoker } from './revoker.js'
import type { Violation } from './runReport.js'
import { planShared, type SharedPlan } from './sharedPlan.js'
import { SimProcess } from './simProcess.js'
import { World } from './world.js'
import { runWithOracle } from './worldOracle.js'

export interface SimulationOptions {
  /** The number of events until the faults end. */
  readonly events: number
  /**
   * The number of brokers. Several brokers share one command log, which orders the commands of
   * their lock tables. Default 1.
   */
  readonly brokers?: number | undefined
  /**
   * The number of cells; undefined for a world without cells. A cell is a broker that serves a part
   * of the keys. `runWorld` passes a world with cells to `simulateCells`; `simulate` ignores this
   * option. A world with cells has its own clients, faults and oracles, and ignores `brokers` and
   * `needs`.
   */
  readonly cells?: number | undefined
  /** Properties that the world gets even if its seed does not draw them. Default: none. */
  readonly needs?: WorldNeeds | undefined
  /** The indexes of the seed's clients that take part; undefined for all. */
  readonly clients?: ReadonlySet<number> | undefined
  /** The indexes of the seed's faults that happen; undefined for all. */
  readonly faults?: ReadonlySet<number> | undefined
  /** How many of the last lines of the trace to keep. Default 200. */
  readonly lines?: number | undefined
}

export interface Result {
  readonly seed: number
  readonly violation: Violation | undefined
  /** How often each kind of event happened. */
  readonly counts: ReadonlyMap<string, number>
  /** The number of all events, also of those after the faults. */
  readonly events: number
  /** The world time at the end, in ms. */
  readonly time: number
  /** The number of the seed's clients, whether or not they take part. */
  readonly clients: number
  /** The indexes of the faults that happened. */
  readonly faults: readonly number[]
  /** Equal for two runs if and only if their traces are equal. */
  readonly hash: string
  /** The last lines of the trace. */
  readonly lines: readonly string[]
}

/** The longest time until every call settles after the end of the faults, in ms. */
const settleMs = 180_000
/**
 * The longest time until the table is empty, in ms. The broker keeps a silent session for its
 * lease, and a slow clock makes the lease 5% longer. The lease may begin up to 10 s after the
 * faults, when a broker has caught up.
 */
const emptyMs = longestLeaseMs * 1.05 + 10_000
/**
 * The longest time until no session is left, in ms. A session without locks may have the idle
 * lease, which is twice its lease.
 */
const noSessionMs = 2 * longestLeaseMs * 1.05 + 10_000

/** The probability that a world has hostile clients. */
const hostileChance = 0.2
/**
 * If the turns (runs of the event loop) of a broker may last longer than this, in ms, hostile
 * clients put fewer messages into a frame. Such a broker needs long to answer, because it answers
 * only one query a turn.
 */
const slowTurnMs = 10

/** The longest time from the empty table until the watches report no lock, in ms. */
const watchMs = longestLeaseMs * 2

/** The longest time until a broker has stopped, in ms. */
const stopMs = 10_000

/** Runs the world of a seed to its end. */
export async function simulate(seed: number, options: SimulationOptions): Promise<Result> {
  const simulation = new Simulation(seed, options)
  return simulation.run()
}

class Simulation {
  readonly #seed: number
  readonly #options: SimulationOptions
  readonly #plan: Plan
  readonly #world = new World()
  readonly #oracles: Oracles
  readonly #cluster: Cluster
  readonly #clientMachines: ClientMachine[]
  readonly #faults: Faults
  /** The clients that write protocol messages themselves, without the client library. */
  readonly #rawClients: (Hijacker | DuplicatingClient | Revoker | Hostile)[] = []

  constructor(seed: number, options: SimulationOptions) {
    this.#seed = seed
    this.#options = options
    const label = `seed ${seed}`
    const world = this.#world
    const plan = planFor(new Random(`${label}/plan`), options.needs)
    this.#plan = plan
    const { brokers = 1 } = options
    const shared =
      brokers > 1 ? planShared(new Random(`${label}/shared`), brokers, plan) : undefined
    const oracles = new Oracles(world, plan, shared, options.lines ?? 200)
    this.#oracles = oracles
    const kernelBytes = plan.hasTightBuffers ? tightKernelBytes : undefined
    const random = new Random(`${label}/network`)
    const network = new Network(world, random, oracles.network, kernelBytes)
    this.#cluster = new Cluster({ world, network, seed: label, plan, shared, oracles })
    oracles.cluster = this.#cluster
    this.#clientMachines = this.#makeClientMachines(network, shared)
    this.#faults = new Faults({
      world,
      network,
      cluster: this.#cluster,
      clientMachines: this.#clientMachines,
      plan,
      seed: label,
      oracles,
      only: options.faults,
    })
    const { keys } = plan
    // `thief`, `warden` and `stutterer` are labels, which select the random numbers of a machine.
    if (plan.hasHijacker) {
      this.#rawClients.push(
        new Hijacker({ ...this.#machineFor('hijacker', network, 'thief'), oracles }),
      )
    }
    if (plan.hasRevoker) {
      this.#rawClients.push(
        new Revoker({ ...this.#machineFor('revoker', network, 'warden'), oracles }),
      )
    }
    if (plan.hasDuplicatingClient || shared?.hasDuplicatingClient === true) {
      const machine = this.#machineFor('duplicator', network, 'stutterer')
      // Immediate requests are requests that the broker answers without its command log. In a world
      // with one broker, such requests of this client would change the worlds of old seeds.
      const usesImmediateRequests = shared !== undefined
      this.#rawClients.push(
        new DuplicatingClient({
          ...machine,
          oracles,
          keys,
          usesImmediateRequests,
          completesLocks: plan.actions.once > 0,
        }),
      )
    }
    this.#addHostile(network)
  }

  /**
   * Adds hostile clients, which use separate random numbers, so that the rest of the world does not
   * change.
   */
  #addHostile(network: Network): void {
    const random = new Random(`seed ${this.#seed}/hostile`)
    // Hostile clients expect that their locks stay held. `maxHoldLimit` would end the locks.
    if (!random.chance(hostileChance) || this.#plan.maxHoldLimit !== undefined) return
    const oracles = this.#oracles
    const { keys, hasRevoker, hasTightBuffers, busyMs } = this.#plan
    const isSlow = hasTightBuffers || busyMs > slowTurnMs
    for (let count = random.int(1, 3); count > 0; count--) {
      const kind = random.pick(hostileKinds)
      const name = `hostile ${kind} ${count}`
      const { path, ...machine } = this.#machineFor(name, network)
      const setReading = (isReading: boolean) => (isReading ? unblock : block)(path.down)
      this.#rawClients.push(
        new Hostile({
          ...machine,
          oracles,
          keys,
          kind,
          name,
          hasRevoker,
          isSlow,
          setReading,
        }),
      )
    }
  }

  /**
   * Client 0 first tries broker 0, client 1 first tries broker 1, and so on, round robin. If faults
   * spare a broker, they also spare the clients that first try this broker. These clients know no
   * other broker. All other clients know all brokers.
   */
  #makeClientMachines(network: Network, shared: SharedPlan | undefined): ClientMachine[] {
    const { clients } = this.#options
    const { urls } = this.#cluster
    return this.#plan.clients
      .map((client, number) => {
        const firstIndex = number % urls.length
        const isSpared = shared?.spared === firstIndex
        return new ClientMachine(`client${number}`, {
          world: this.#world,
          network,
          seed: `seed ${this.#seed}`,
          plan: this.#plan,
          client,
          oracles: this.#oracles,
          urls: isSpared
            ? [urls[firstIndex]!]
            : [...urls.slice(firstIndex), ...urls.slice(0, firstIndex)],
          isSpared,
        })
      })
      .filter((_, number) => clients === undefined || clients.has(number))
  }

  async run(): Promise<Result> {
    const world = this.#world
    const oracles = this.#oracles
    world.afterEvent = () => oracles.afterEvent()
    await runWithOracle(world, oracles, () => this.#runPhases())
    return {
      seed: this.#seed,
      violation: oracles.report.violation,
      counts: oracles.report.counts,
      events: world.events,
      time: world.now,
      clients: this.#plan.clients.length,
      faults: this.#faults.happened,
      hash: oracles.trace.hash,
      lines: oracles.trace.lastLines(),
    }
  }

  /** Runs the world with faults, then without faults, and then closes the world. */
  async #runPhases(): Promise<void> {
    const world = this.#world
    this.#cluster.start()
    for (const machine of this.#clientMachines) machine.start()
    this.#faults.start()
    for (const rawClient of this.#rawClients) rawClient.start()
    await world.run(() => this.#oracles.hasViolation || world.events >= this.#options.events)
    this.#oracles.trace.add('world', 'has no more faults')
    this.#faults.stop()
    await this.#settle()
    await this.#closeEverything()
  }

  /** Waits until every call of a client has settled and the table is empty. */
  async #settle(): Promise<void> {
    for (const machine of this.#clientMachines) machine.stop()
    for (const rawClient of this.#rawClients) rawClient.stop()
    // Every client has a program: the end of the faults has restarted all killed clients.
    await this.#runUntil(settleMs, () =>
      this.#clientMachines.every(({ program }) => program?.isIdle === true),
    )
    if (this.#oracles.hasViolation) return
    const stuck = this.#clientMachines.filter(({ program }) => program?.isIdle === false)
    if (stuck.length > 0) {
      const detail = stuck.map(({ name, program }) => `${name}: ${program?.unsettled}`).join('; ')
      this.#oracles.violated('every call settles', detail)
      return
    }
    await this.#runUntil(emptyMs, () => this.#isTableEmpty())
    if (this.#oracles.hasViolation) return
    if (this.#isTableEmpty()) await this.#checkWatchViews()
    else this.#reportTableContent()
  }

  /** Waits until the watches report that no lock is held. */
  async #checkWatchViews(): Promise<void> {
    const isClear = () =>
      this.#clientMachines.every(({ program }) => {
        const { heldCount = 0, waitingCount = 0 } = program?.watchViews ?? {}
        return heldCount === 0 && waitingCount === 0
      })
    await this.#runUntil(watchMs, isClear)
    if (!isClear())
      this.#oracles.violated('a watch reports every change once', 'a watch still reports a lock')
  }

  #reportTableContent(): void {
    const remaining = [...(this.#cluster.table?.keys.values() ?? [])].map(
      ({ key, holders, queue }) =>
        `${key} ${[...holders].map((lock) => `${lock.fence} ${lock.metadata}`)} ${queue.length}`,
    )
    const kept = [...(this.#cluster.table?.keptResults.keys() ?? [])].map((key) => `kept ${key}`)
    this.#oracles.violated(
      'no lock and no kept result is left in the table',
      [...remaining, ...kept].join('; '),
    )
  }

  /**
   * Closes all sessions, then stops the brokers, and checks that no timer and no session remains.
   */
  async #closeEverything(): Promise<void> {
    if (this.#oracles.hasViolation) return
    for (const { program } of this.#clientMachines) program?.finish()
    // Each program checks by itself that `close` takes 1 s at most while its process runs. These
    // 10 s also allow for the late timers of the process.
    await this.#runUntil(10_000, () =>
      this.#clientMachines.every(({ program }) => program?.isDone === true),
    )
    if (!this.#clientMachines.every(({ program }) => program?.isDone)) {
      this.#oracles.violated('close settles within 1 s', 'a close has not settled')
    }
    for (const { name, process } of this.#clientMachines) {
      const remaining = process?.clock.timerCount ?? 0
      if (remaining > 0) this.#oracles.violated('no timer is left', `${remaining} at ${name}`)
    }
    await this.#runUntil(noSessionMs, () => this.#sessionCount === 0)
    if (this.#sessionCount > 0)
      this.#oracles.violated('no session is left', `${this.#sessionCount} sessions`)
    const bytes = this.#cluster.table?.bytes ?? 0
    if (this.#sessionCount === 0 && bytes !== 0) {
      this.#oracles.violated('an empty table counts no memory', `${bytes} bytes`)
    }
    const { machines } = this.#cluster
    // A drain that began as a fault may still run, but not for as long as `emptyMs`.
    await this.#runUntil(emptyMs, () => !machines.some(({ isDraining }) => isDraining))
    if (this.#oracles.hasViolation) return
    // After `retire`, a machine starts no new broker.
    for (const machine of machines) machine.retire()
    for (const machine of machines) await this.#stopBroker(machine)
    for (const { name, process } of machines) {
      const remaining = process?.clock.timerCount ?? 0
      if (remaining > 0) this.#oracles.violated('no timer is left', `${remaining} at ${name}`)
    }
  }

  /** Stops a broker. The broker first applies the commands that are in its log. */
  async #stopBroker({ broker, name }: BrokerMachine): Promise<void> {
    if (broker === undefined) return
    let isStopped = false
    broker.stop().then(() => {
      isStopped = true
    })
    await this.#runUntil(stopMs, () => isStopped)
    if (!isStopped) this.#oracles.violated('every call settles', `${name} has not stopped`)
  }

  async #runUntil(ms: number, isDone: () => boolean): Promise<void> {
    const end = this.#world.now + ms
    await this.#world.run(() => this.#oracles.hasViolation || this.#world.now >= end || isDone())
  }

  get #sessionCount(): number {
    return this.#cluster.table?.sessions.size ?? 0
  }

  #isTableEmpty(): boolean {
    const { table } = this.#cluster
    if (table === undefined) return false
    return table.heldCount === 0 && table.waitingCount === 0 && table.keptResults.size === 0
  }

  /**
   * Makes the machine of a client that writes protocol messages itself.
   *
   * @param label Selects the random numbers of the machine. A former name of the client remains its
   *   label, so that every seed keeps its world.
   */
  #machineFor(name: string, network: Network, label = name) {
    const random = new Random(`seed ${this.#seed}/${label}`)
    const rate = 1
    const clock = new SimClock(this.#world, random, rate, worldStart)
    const process = new SimProcess(name, this.#world, random, clock)
    // A fast path: 1 ms of latency, and up to 1 ms of jitter.
    const path = {
      up: makeLink({ latencyMs: 1, jitterMs: 1 }),
      down: makeLink({ latencyMs: 1, jitterMs: 1 }),
    }
    const { urls } = this.#cluster
    // With one broker, no random number is drawn, so that old seeds keep their worlds.
    const anyUrl = () => (urls.length === 1 ? urls[0]! : random.pick(urls))
    // Raw clients never call `terminate`, which browsers lack.
    const isBrowser = true
    const WebSocket = network.webSocketOf(process, () => path, isBrowser)
    return { process, random, WebSocket, anyUrl, path }
  }
}
