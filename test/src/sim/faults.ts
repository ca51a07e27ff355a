/**
 * What goes wrong, and when. Faults come one after another, each with luck of its own, so that a
 * failing run can be tried again without some of them and the others stay as they were.
 */
import type { BrokerMachine } from './brokerMachine.js'
import type { Cluster } from './cluster.js'
import { duration, isLogFault, LogFaults } from './logFaults.js'
import type { Connection, Cut, Network, Path } from './network.js'
import type { Oracles } from './oracles.js'
import { block, unblock } from './pipe.js'
import type { FaultKind, Plan } from './plan.js'
import { Random } from './random.js'
import { type LogFaultKind, noLogFaults } from './sharedPlan.js'
import type { Site } from './site.js'
import type { World } from './world.js'

export interface FaultsDeps {
  readonly world: World
  readonly network: Network
  readonly cluster: Cluster
  readonly sites: readonly Site[]
  readonly plan: Plan
  readonly seed: string
  readonly judges: Oracles
  /** Which faults may happen, by number; undefined for all. */
  readonly only: ReadonlySet<number> | undefined
}

export class Faults {
  readonly #deps: FaultsDeps
  readonly #weights: Readonly<Record<FaultKind | LogFaultKind, number>>
  readonly #logFaults: LogFaults
  readonly #undo = new Set<() => void>()
  /** The numbers of those that happened. */
  readonly happened: number[] = []
  #count = 0
  #isOver = false

  constructor(deps: FaultsDeps) {
    this.#deps = deps
    this.#weights = { ...(deps.cluster.shared?.faults ?? noLogFaults), ...deps.plan.faults }
    this.#logFaults = new LogFaults({ ...deps, later: (ms, undo) => this.#later(ms, undo) })
  }

  start(): void {
    if (Object.values(this.#weights).some((weight) => weight > 0)) this.#next()
  }

  /** Nothing goes wrong any more, and what is wrong is put right. */
  stop(): void {
    this.#isOver = true
    for (const undo of this.#undo) undo()
    this.#undo.clear()
    const { cluster, sites } = this.#deps
    for (const site of sites) site.start()
    cluster.start()
    if (cluster.store !== undefined) cluster.store.isWell = true
  }

  #next(): void {
    const { world, plan, seed, only } = this.#deps
    const number = this.#count++
    const random = new Random(`${seed}/fault ${number}`)
    world.in(random.between(0, 2 * plan.faultGapMs), () => {
      if (this.#isOver) return
      if (only === undefined || only.has(number)) {
        this.happened.push(number)
        this.#strike(random)
      }
      this.#next()
    })
  }

  #strike(random: Random): void {
    const { cluster, sites, judges } = this.#deps
    const kind = random.weighted(this.#weights)
    const site = random.pick(sites.filter(({ isSpared }) => !isSpared))
    const [first, ...others] = cluster.machines.filter(({ isSpared }) => !isSpared)
    const machine = others.length === 0 ? first : random.pick([first!, ...others])
    if (site === undefined || machine === undefined) return
    judges.verdict.count(`fault ${kind}`)
    const isOfClient = !/Broker$|Logs?$/.test(kind)
    judges.trace.add('fault', `${kind} ${isOfClient ? site.name : machine.name}`)
    if (isLogFault(kind)) this.#logFaults.strike(kind, machine, random)
    else this.#do(kind, site, machine, random)
  }

  #do(kind: FaultKind, site: Site, machine: BrokerMachine, random: Random): void {
    switch (kind) {
      case 'cut':
        this.#connectionOf(site)?.cut(cutBy(random, this.#connectionOf(site)))
        break
      case 'cutAtFrame': {
        const connection = this.#connectionOf(site)
        if (connection === undefined) break
        const frames = random.int(1, 8)
        connection.framesUntilCut = { frames, cut: cutBy(random, connection) }
        break
      }
      case 'delay':
        this.#delay(site, random)
        break
      case 'block':
        this.#block(site, random)
        break
      case 'stopClient':
        this.#stopClient(site, random)
        break
      case 'sleepClient':
        this.#sleepClient(site, random)
        break
      case 'stopBroker':
        this.#stopBroker(machine, random)
        break
      case 'jumpClient':
        site.process?.clock.jump(this.#clientJump(random))
        break
      case 'jumpBroker':
        machine.process?.clock.jump(jump(random))
        break
      case 'restartBroker':
        this.#restartBroker(machine, random)
        break
      case 'drainBroker': {
        const startAgain = () => this.#startBroker(machine, random.between(2, 3_000))
        machine.drain(random.int(1, 5_000), startAgain)
        break
      }
      case 'killClient':
        this.#killClient(site, random)
        break
      case 'throttleClient':
        this.#throttle(site, random)
        break
    }
  }

  #delay(site: Site, random: Random): void {
    const path = this.#pathOf(site, random)
    const way = random.pick([path.up, path.down])
    const more = random.between(50, 4_000)
    way.latency += more
    this.#later(duration(random), () => {
      way.latency -= more
    })
  }

  /** One way or both; the connection may not outlive it. */
  #block(site: Site, random: Random): void {
    const { up, down } = this.#pathOf(site, random)
    const ways = random.pick([[up], [down], [up, down]])
    const connection = this.#connectionOf(site)
    const cut = random.chance(0.5) ? cutBy(random, connection) : undefined
    for (const way of ways) block(way)
    this.#later(duration(random), () => {
      if (cut !== undefined) connection?.cut(cut)
      for (const way of ways) unblock(way)
    })
  }

  #stopClient({ process }: Site, random: Random): void {
    if (process === undefined) return
    process.stop(random.pick([0, 0, random.int(1, 8)]))
    this.#later(duration(random), () => process.resume())
  }

  #sleepClient({ process }: Site, random: Random): void {
    if (process === undefined) return
    process.sleep()
    this.#later(duration(random), () => process.resume())
  }

  #stopBroker({ process }: BrokerMachine, random: Random): void {
    if (process === undefined) return
    process.stop(random.pick([0, 0, random.int(1, 8)]))
    this.#later(duration(random), () => process.resume())
  }

  #restartBroker(machine: BrokerMachine, random: Random): void {
    const { connections } = this.#deps.network
    if (machine.process === undefined) return
    machine.kill()
    for (const connection of connections) {
      if (connection.url !== machine.url) continue
      connections.delete(connection)
      const clientLearns = random.chance(0.85) ? random.between(0, 200) : undefined
      const cut = { ...cutBy(random, connection), clientLearns, serverLearns: undefined }
      connection.cut(cut)
    }
    this.#startBroker(machine, random.between(2, 3_000))
  }

  #startBroker(machine: BrokerMachine, afterMs: number): void {
    this.#later(afterMs, () => machine.startAgain())
  }

  #killClient(site: Site, random: Random): void {
    if (site.process === undefined) return
    const connection = this.#connectionOf(site)
    site.kill()
    connection?.cut({ ...cutBy(random, connection), clientLearns: undefined })
    this.#later(duration(random), () => site.start())
  }

  /**
   * A client cannot know how long it slept if its calendar is set back as well; that is no promise
   * that can be kept, so where machines sleep calendars only go forward.
   */
  #clientJump(random: Random): number {
    const ms = jump(random)
    return this.#deps.plan.faults.sleepClient > 0 ? Math.abs(ms) : ms
  }

  #throttle({ process }: Site, random: Random): void {
    if (process === undefined) return
    process.clock.slack = 1_000
    this.#later(duration(random), () => {
      process.clock.slack = 0
    })
  }

  /** The way to the broker that it uses, or to another one. */
  #pathOf(site: Site, random: Random): Path {
    const paths = [...site.paths.values()]
    if (paths.length === 1) return paths[0]!
    const other = random.pick(paths)
    return random.chance(0.7) ? (this.#connectionOf(site)?.path ?? other) : other
  }

  /** The newest connection that this client has. */
  #connectionOf(site: Site): Connection | undefined {
    let newest: Connection | undefined
    for (const connection of this.#deps.network.connections) {
      if (connection.path === site.paths.get(connection.url)) newest = connection
    }
    return newest
  }

  /** Ends a fault after a while, or when all faults end. */
  #later(ms: number, undo: () => void): void {
    this.#undo.add(undo)
    this.#deps.world.in(ms, () => {
      if (this.#undo.delete(undo)) undo()
    })
  }
}

function jump(random: Random): number {
  return random.pick([-1, 1]) * random.pick([500, 5_000, 30_000, 3_600_000])
}

function cutBy(random: Random, connection: Connection | undefined): Cut {
  const learns = () =>
    random.weighted({ soon: 6, late: 2, never: 2 }) === 'never'
      ? undefined
      : random.between(0, random.pick([0, 20, 200, 5_000]))
  return {
    keepUp: random.int(0, connection?.up.packetsUnderWay ?? 0),
    keepDown: random.int(0, connection?.down.packetsUnderWay ?? 0),
    clientLearns: learns(),
    serverLearns: learns(),
  }
}
