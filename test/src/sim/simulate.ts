/**
 * One run: a world made from a seed, in which the real client and the real broker live through some
 * thousand events with faults among them; then the faults end, everybody finishes and goes home,
 * and nothing may be left.
 */
import { type BrokerMachine, epoch, longestLeaseMs, tightKernelBytes } from './brokerMachine.js'
import { SimClock } from './clocks.js'
import { Cluster } from './cluster.js'
import { DuplicatingClient } from './duplicatingClient.js'
import { Faults } from './faults.js'
import { Hijacker } from './hijacker.js'
import { Hostile, hostileKinds } from './hostile.js'
import { Network } from './network.js'
import { Oracles } from './oracles.js'
import { block, makeWay, unblock } from './pipe.js'
import { type Plan, planFor } from './plan.js'
import { SimProcess } from './process.js'
import { Random } from './random.js'
import { Revoker } from './revoker.js'
import { planShared, type SharedPlan } from './sharedPlan.js'
import { Site } from './site.js'
import { observeTables } from './tap.js'
import type { Violation } from './verdict.js'
import { World } from './world.js'

export interface SimulationOptions {
  /** How many events until the faults end. */
  readonly events: number
  /** How many brokers there are; several share a log. Default 1. */
  readonly brokers?: number | undefined
  /** Which of the seed's clients take part, by number; undefined for all. */
  readonly clients?: ReadonlySet<number> | undefined
  /** Which of the seed's faults happen, by number; undefined for all. */
  readonly faults?: ReadonlySet<number> | undefined
  /** How many of the last lines to keep. Default 200. */
  readonly lines?: number | undefined
}

export interface Result {
  readonly seed: number
  readonly violation: Violation | undefined
  /** How often each thing of interest happened. */
  readonly counts: ReadonlyMap<string, number>
  readonly events: number
  /** World time at the end, in ms. */
  readonly time: number
  readonly clients: number
  /** The faults that happened, by number. */
  readonly faults: readonly number[]
  /** The same for two runs if and only if the same happened in them. */
  readonly hash: string
  readonly lines: readonly string[]
}

/** Time for everything to settle once nothing goes wrong any more, in ms. */
const settleMs = 180_000
/**
 * Time for what nobody wants any more to be gone from the table, in ms: a lease, which may begin
 * when a broker that the faults have left far behind is back.
 */
const forgetMs = longestLeaseMs * 1.05 + 10_000

/** How likely a world has hostile clients. */
const hostileChance = 0.2
/** Beyond this a broker that answers one query a turn is slow, in ms. */
const slowTurnMs = 10

/** Time for watchers to hear of what is over, in ms. */
const pictureMs = longestLeaseMs * 2

export async function simulate(seed: number, options: SimulationOptions): Promise<Result> {
  const simulation = new Simulation(seed, options)
  return simulation.run()
}

class Simulation {
  readonly #seed: number
  readonly #options: SimulationOptions
  readonly #plan: Plan
  readonly #world = new World()
  readonly #judges: Oracles
  readonly #cluster: Cluster
  readonly #sites: Site[]
  readonly #faults: Faults
  /** Clients of somebody else's making. */
  readonly #strangers: (Hijacker | DuplicatingClient | Revoker | Hostile)[] = []

  constructor(seed: number, options: SimulationOptions) {
    this.#seed = seed
    this.#options = options
    const label = `seed ${seed}`
    const world = this.#world
    const plan = planFor(new Random(`${label}/plan`))
    this.#plan = plan
    const { brokers = 1 } = options
    const shared =
      brokers > 1 ? planShared(new Random(`${label}/shared`), brokers, plan) : undefined
    const judges = new Oracles(world, plan, shared, options.lines ?? 200)
    this.#judges = judges
    const kernelBytes = plan.isTight ? tightKernelBytes : undefined
    const luck = new Random(`${label}/network`)
    const network = new Network(world, luck, judges.network, kernelBytes)
    this.#cluster = new Cluster({ world, network, seed: label, plan, shared, judges })
    judges.cluster = this.#cluster
    this.#sites = this.#makeSites(network, shared)
    this.#faults = new Faults({
      world,
      network,
      cluster: this.#cluster,
      sites: this.#sites,
      plan,
      seed: label,
      judges,
      only: options.faults,
    })
    const { keys } = plan
    if (plan.hasHijacker) {
      this.#strangers.push(new Hijacker({ ...this.#machineFor('thief', network), judges }))
    }
    if (plan.hasRevoker) {
      this.#strangers.push(new Revoker({ ...this.#machineFor('warden', network), judges }))
    }
    if (plan.hasDuplicatingClient || shared?.hasStutterer === true) {
      const machine = this.#machineFor('stutterer', network)
      const isCurious = shared !== undefined
      this.#strangers.push(new DuplicatingClient({ ...machine, judges, keys, isCurious }))
    }
    this.#addHostile(network)
  }

  /** In every fifth world, by luck of their own, so that the others are as they were. */
  #addHostile(network: Network): void {
    const random = new Random(`seed ${this.#seed}/hostile`)
    if (!random.chance(hostileChance)) return
    const judges = this.#judges
    const { keys, hasRevoker, isTight, busyMs } = this.#plan
    const isSlow = isTight || busyMs > slowTurnMs
    for (let count = random.int(1, 3); count > 0; count--) {
      const kind = random.pick(hostileKinds)
      const name = `hostile ${kind} ${count}`
      const { path, ...machine } = this.#machineFor(name, network)
      const setHearing = (hears: boolean) => (hears ? unblock : block)(path.down)
      this.#strangers.push(
        new Hostile({
          ...machine,
          judges,
          keys,
          kind,
          name,
          hasWarden: hasRevoker,
          isSlow,
          setHearing,
        }),
      )
    }
  }

  /** Each knows all brokers and begins with another one; who is to be spared knows one. */
  #makeSites(network: Network, shared: SharedPlan | undefined): Site[] {
    const { clients } = this.#options
    const { urls } = this.#cluster
    return this.#plan.clients
      .map((client, number) => {
        const first = number % urls.length
        const isSpared = shared?.spared === first
        return new Site(`client${number}`, {
          world: this.#world,
          network,
          seed: `seed ${this.#seed}`,
          plan: this.#plan,
          client,
          judges: this.#judges,
          urls: isSpared ? [urls[first]!] : [...urls.slice(first), ...urls.slice(0, first)],
          isSpared,
        })
      })
      .filter((_, number) => clients === undefined || clients.has(number))
  }

  async run(): Promise<Result> {
    const world = this.#world
    const judges = this.#judges
    world.onError = (error) => judges.broken('nothing is thrown', textOf(error))
    world.afterEvent = () => judges.afterEvent()
    observeTables((table, command, effects) => judges.applied(table, command, effects))
    const others = process.listeners('unhandledRejection')
    process.removeAllListeners('unhandledRejection')
    const onRejection = (reason: unknown) => judges.broken('no rejection is left', textOf(reason))
    process.on('unhandledRejection', onRejection)
    try {
      await this.#live()
    } finally {
      process.off('unhandledRejection', onRejection)
      for (const listener of others) process.on('unhandledRejection', listener)
      observeTables(undefined)
    }
    return {
      seed: this.#seed,
      violation: judges.verdict.violation,
      counts: judges.verdict.counts,
      events: world.events,
      time: world.now,
      clients: this.#plan.clients.length,
      faults: this.#faults.happened,
      hash: judges.trace.hash,
      lines: judges.trace.lastLines(),
    }
  }

  async #live(): Promise<void> {
    const world = this.#world
    this.#cluster.start()
    for (const site of this.#sites) site.start()
    this.#faults.start()
    for (const stranger of this.#strangers) stranger.start()
    await world.run(() => this.#judges.hasVerdict || world.events >= this.#options.events)
    this.#judges.trace.add('world', 'is well again')
    this.#faults.stop()
    await this.#settle()
    await this.#goHome()
  }

  /** Everything asked for is settled, and what nobody wants any more is gone from the table. */
  async #settle(): Promise<void> {
    for (const site of this.#sites) site.stop()
    for (const stranger of this.#strangers) stranger.stop()
    await this.#until(settleMs, () => this.#sites.every(({ program }) => program?.isIdle === true))
    if (this.#judges.hasVerdict) return
    const stuck = this.#sites.filter(({ program }) => program?.isIdle === false)
    if (stuck.length > 0) {
      const why = stuck.map(({ name, program }) => `${name}: ${program?.unsettled}`).join('; ')
      this.#judges.broken('everything settles', why)
      return
    }
    await this.#until(forgetMs, () => this.#isTableEmpty())
    if (this.#judges.hasVerdict) return
    if (this.#isTableEmpty()) await this.#judgePictures()
    else this.#tellWhatIsLeft()
  }

  /** Who watches has been told that nothing is held. */
  async #judgePictures(): Promise<void> {
    const isClear = () =>
      this.#sites.every(({ program }) => (program?.picture?.heldCount ?? 0) === 0)
    await this.#until(pictureMs, isClear)
    if (!isClear()) this.#judges.broken('a watch sees everything once', 'something is left in one')
  }

  #tellWhatIsLeft(): void {
    const left = [...(this.#cluster.truth?.keys.values() ?? [])].map(
      ({ key, holders, queue }) =>
        `${key} ${[...holders].map((lock) => `${lock.fence} ${lock.metadata}`)} ${queue.length}`,
    )
    this.#judges.broken('no lock that nobody knows of', left.join('; '))
  }

  /** All sessions are closed, then the broker; no timer and no session is left. */
  async #goHome(): Promise<void> {
    if (this.#judges.hasVerdict) return
    for (const { program } of this.#sites) program?.finish()
    await this.#until(10_000, () => this.#sites.every(({ program }) => program?.isDone === true))
    if (!this.#sites.every(({ program }) => program?.isDone)) {
      this.#judges.broken('close settles within 1 s', 'somebody is still closing')
    }
    for (const { name, process } of this.#sites) {
      const left = process?.clock.timerCount ?? 0
      if (left > 0) this.#judges.broken('no timer is left', `${left} at ${name}`)
    }
    await this.#until(forgetMs, () => this.#sessionCount === 0)
    if (this.#sessionCount > 0)
      this.#judges.broken('no session is left', `${this.#sessionCount} are`)
    const bytes = this.#cluster.truth?.bytes ?? 0
    if (this.#sessionCount === 0 && bytes !== 0) {
      this.#judges.broken('no memory is counted for nothing', `${bytes} bytes are`)
    }
    const { machines } = this.#cluster
    await this.#until(forgetMs, () => !machines.some(({ isDraining }) => isDraining))
    if (this.#judges.hasVerdict) return
    for (const machine of machines) machine.retire()
    for (const machine of machines) await this.#stopBroker(machine)
    for (const { name, process } of machines) {
      const left = process?.clock.timerCount ?? 0
      if (left > 0) this.#judges.broken('no timer is left', `${left} at ${name}`)
    }
  }

  /** What is still in its log is applied first, and that takes its time. */
  async #stopBroker({ broker, name }: BrokerMachine): Promise<void> {
    if (broker === undefined) return
    let isStopped = false
    broker.stop().then(() => {
      isStopped = true
    })
    await this.#until(10_000, () => isStopped)
    if (!isStopped) this.#judges.broken('everything settles', `${name} does not stop`)
  }

  async #until(ms: number, isDone: () => boolean): Promise<void> {
    const end = this.#world.now + ms
    await this.#world.run(() => this.#judges.hasVerdict || this.#world.now >= end || isDone())
  }

  get #sessionCount(): number {
    return this.#cluster.truth?.sessions.size ?? 0
  }

  #isTableEmpty(): boolean {
    const { truth } = this.#cluster
    return truth !== undefined && truth.heldCount === 0 && truth.waitingCount === 0
  }

  #machineFor(name: string, network: Network) {
    const random = new Random(`seed ${this.#seed}/${name}`)
    const clock = new SimClock(this.#world, random, 1, epoch)
    const process = new SimProcess(name, this.#world, random, clock)
    const path = { up: makeWay(1, 1), down: makeWay(1, 1) }
    const { urls } = this.#cluster
    const anyUrl = () => (urls.length === 1 ? urls[0]! : random.pick(urls))
    const WebSocket = network.webSocketOf(process, () => path, true)
    return { process, random, WebSocket, anyUrl, path }
  }
}

function textOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}
