/**
 * Causes faults in a world (a simulated system), one after another. Each fault uses separate random
 * numbers. Therefore, when a failing run is repeated without one fault, the other faults do not
 * change. How long a fault lasts is random. The product hardly notices the shortest faults, and the
 * longest faults end sessions.
 */
import type { BrokerMachine } from './brokerMachine.js'
import type { ClientMachine } from './clientMachine.js'
import type { Cluster } from './cluster.js'
import { isLogFault, LogFaults, randomFaultMs } from './logFaults.js'
import type { Connection, Cut, Network, Path } from './network.js'
import type { Oracles } from './oracles.js'
import { block, unblock } from './pipe.js'
import type { FaultKind, Plan } from './plan.js'
import { Random } from './random.js'
import { type LogFaultKind, zeroLogFaultWeights } from './sharedPlan.js'
import type { World } from './world.js'

export interface FaultsDeps {
  readonly world: World
  readonly network: Network
  readonly cluster: Cluster
  readonly clientMachines: readonly ClientMachine[]
  readonly plan: Plan
  readonly seed: string
  readonly oracles: Oracles
  /**
   * The indexes of the faults that may happen; undefined for all. Every fault of the run has an
   * index, even if this set leaves out the fault.
   */
  readonly only: ReadonlySet<number> | undefined
}

export class Faults {
  readonly #deps: FaultsDeps
  readonly #weights: Readonly<Record<FaultKind | LogFaultKind, number>>
  readonly #logFaults: LogFaults
  readonly #pendingUndos = new Set<() => void>()
  /** The indexes of the faults that have happened. */
  readonly happened: number[] = []
  #nextIndex = 0
  #isOver = false

  constructor(deps: FaultsDeps) {
    this.#deps = deps
    const logFaultWeights = deps.cluster.shared?.faults ?? zeroLogFaultWeights
    this.#weights = { ...logFaultWeights, ...deps.plan.faults }
    this.#logFaults = new LogFaults({ ...deps, undoAfter: (ms, undo) => this.#undoAfter(ms, undo) })
  }

  start(): void {
    if (Object.values(this.#weights).some((weight) => weight > 0)) this.#scheduleNext()
  }

  /** Ends all faults and causes no further faults. */
  stop(): void {
    this.#isOver = true
    for (const undo of this.#pendingUndos) undo()
    this.#pendingUndos.clear()
    const { cluster, clientMachines } = this.#deps
    for (const client of clientMachines) client.start()
    cluster.start()
    if (cluster.store !== undefined) cluster.store.areFaultsOver = true
  }

  #scheduleNext(): void {
    const { world, plan, seed, only } = this.#deps
    const index = this.#nextIndex++
    const random = new Random(`${seed}/fault ${index}`)
    world.after(random.between(0, 2 * plan.faultGapMs), () => {
      if (this.#isOver) return
      if (only === undefined || only.has(index)) {
        this.happened.push(index)
        this.#causeRandomFault(random)
      }
      this.#scheduleNext()
    })
  }

  #causeRandomFault(random: Random): void {
    const { cluster, clientMachines, oracles } = this.#deps
    const kind = random.pickWeighted(this.#weights)
    const client = random.pick(clientMachines.filter(({ isSpared }) => !isSpared))
    // A single machine is chosen without a random number, so that old seeds keep their worlds.
    const machines = cluster.machines.filter(({ isSpared }) => !isSpared)
    const machine = machines.length > 1 ? random.pick(machines) : machines[0]
    if (client === undefined || machine === undefined) return
    oracles.report.count(`fault ${kind}`)
    // A kind that ends in `Broker`, `Log` or `Logs` affects a broker or its log. `blockClients`
    // also affects a broker, but the trace names a client that has no part in this fault.
    const target = /Broker$|Logs?$/.test(kind) ? machine : client
    oracles.trace.add('fault', `${kind} ${target.name}`)
    if (isLogFault(kind)) this.#logFaults.cause(kind, machine, random)
    else this.#cause(kind, client, machine, random)
  }

  #cause(kind: FaultKind, client: ClientMachine, machine: BrokerMachine, random: Random): void {
    switch (kind) {
      case 'cutConnection':
        this.#connectionOf(client)?.cut(randomCut(random, this.#connectionOf(client)))
        break
      case 'cutConnectionAtFrame': {
        const connection = this.#connectionOf(client)
        if (connection === undefined) break
        // The connection is cut when one of the next eight frames is sent.
        const framesLeft = random.int(1, 8)
        connection.plannedCut = { framesLeft, cut: randomCut(random, connection) }
        break
      }
      case 'delayPath':
        this.#delay(client, random)
        break
      case 'blockPath':
        this.#block(client, random)
        break
      case 'stopClient':
        this.#stopClient(client, random)
        break
      case 'sleepClient':
        this.#sleepClient(client, random)
        break
      case 'stopBroker':
        this.#stopBroker(machine, random)
        break
      case 'jumpClient':
        client.process?.clock.jump(this.#clientClockJump(random))
        break
      case 'jumpBroker':
        machine.process?.clock.jump(clockJump(random))
        break
      case 'restartBroker':
        this.#restartBroker(machine, random)
        break
      case 'drainBroker': {
        const restart = () => this.#startBroker(machine, random.between(2, 3_000))
        const drainMs = random.int(1, 5_000)
        machine.drain(drainMs, restart)
        break
      }
      case 'killClient':
        this.#killClient(client, random)
        break
      case 'throttleClient':
        this.#throttle(client, random)
        break
    }
  }

  #delay(client: ClientMachine, random: Random): void {
    const path = this.#pathOf(client, random)
    const link = random.pick([path.up, path.down])
    const extraMs = random.between(50, 4_000)
    link.latency += extraMs
    this.#undoAfter(randomFaultMs(random), () => {
      link.latency -= extraMs
    })
  }

  /** Blocks one direction or both; the connection may be cut when the block ends. */
  #block(client: ClientMachine, random: Random): void {
    const { up, down } = this.#pathOf(client, random)
    const links = random.pick([[up], [down], [up, down]])
    const connection = this.#connectionOf(client)
    const cut = random.chance(0.5) ? randomCut(random, connection) : undefined
    for (const link of links) block(link)
    this.#undoAfter(randomFaultMs(random), () => {
      if (cut !== undefined) connection?.cut(cut)
      for (const link of links) unblock(link)
    })
  }

  #stopClient({ process }: ClientMachine, random: Random): void {
    if (process === undefined) return
    // Suspends the process at once or after a few further units of work.
    process.stop({ afterUnits: random.pick([0, 0, random.int(1, 8)]) })
    this.#undoAfter(randomFaultMs(random), () => process.resume())
  }

  #sleepClient({ process }: ClientMachine, random: Random): void {
    if (process === undefined) return
    process.sleep()
    this.#undoAfter(randomFaultMs(random), () => process.resume())
  }

  #stopBroker({ process }: BrokerMachine, random: Random): void {
    if (process === undefined) return
    process.stop({ afterUnits: random.pick([0, 0, random.int(1, 8)]) })
    this.#undoAfter(randomFaultMs(random), () => process.resume())
  }

  #restartBroker(machine: BrokerMachine, random: Random): void {
    if (machine.process === undefined) return
    killBroker(machine, this.#deps.network, random)
    this.#startBroker(machine, random.between(2, 3_000))
  }

  #startBroker(machine: BrokerMachine, afterMs: number): void {
    this.#undoAfter(afterMs, () => machine.restart())
  }

  #killClient(client: ClientMachine, random: Random): void {
    if (client.process === undefined) return
    const connection = this.#connectionOf(client)
    client.kill()
    connection?.cut({ ...randomCut(random, connection), clientLearnsAfterMs: undefined })
    this.#undoAfter(randomFaultMs(random), () => client.start())
  }

  /**
   * Returns by how much the wall clock of a client jumps, in ms. A client cannot know how long its
   * machine slept if the wall clock jumps back as well. The product promises nothing for this case.
   * Therefore, in worlds where clients sleep, the wall clocks of clients jump only forward.
   */
  #clientClockJump(random: Random): number {
    const ms = clockJump(random)
    return this.#deps.plan.faults.sleepClient > 0 ? Math.abs(ms) : ms
  }

  /** Delays the timers of the client, as a browser does in a hidden tab. */
  #throttle({ process }: ClientMachine, random: Random): void {
    if (process === undefined) return
    process.clock.maxExtraDelayMs = 1_000
    this.#undoAfter(randomFaultMs(random), () => {
      process.clock.maxExtraDelayMs = 0
    })
  }

  /** Picks the path to the broker that the client uses, or the path to a random broker. */
  #pathOf(client: ClientMachine, random: Random): Path {
    const paths = [...client.paths.values()]
    if (paths.length === 1) return paths[0]!
    const randomPath = random.pick(paths)
    return random.chance(0.7) ? (this.#connectionOf(client)?.path ?? randomPath) : randomPath
  }

  /** The newest connection of this client. */
  #connectionOf(client: ClientMachine): Connection | undefined {
    let newest: Connection | undefined
    for (const connection of this.#deps.network.connections) {
      if (connection.path === client.paths.get(connection.url)) newest = connection
    }
    return newest
  }

  /** Ends a fault after `ms`, or when all faults end. */
  #undoAfter(ms: number, undo: () => void): void {
    this.#pendingUndos.add(undo)
    this.#deps.world.after(ms, () => {
      if (this.#pendingUndos.delete(undo)) undo()
    })
  }
}

/** Kills the broker of a machine, and cuts its connections. */
export function killBroker(machine: BrokerMachine, { connections }: Network, random: Random): void {
  machine.kill()
  for (const connection of connections) {
    if (connection.url !== machine.url) continue
    connections.delete(connection)
    // Both delays of the random cut are replaced: a killed broker learns nothing.
    const clientLearnsAfterMs = random.chance(0.85) ? random.between(0, 200) : undefined
    const cut = {
      ...randomCut(random, connection),
      clientLearnsAfterMs,
      serverLearnsAfterMs: undefined,
    }
    connection.cut(cut)
  }
}

/** By how much a wall clock jumps, in ms; negative for a jump back. */
function clockJump(random: Random): number {
  return random.pick([-1, 1]) * random.pick([500, 5_000, 30_000, 3_600_000])
}

/** A random cut: how many packets still arrive, and when each end learns of the cut. */
export function randomCut(random: Random, connection: Connection | undefined): Cut {
  // With a probability of 0.2, an end never learns of the cut. `soon` and `late` mean the same.
  const learnDelay = () =>
    random.pickWeighted({ soon: 6, late: 2, never: 2 }) === 'never'
      ? undefined
      : random.between(0, random.pick([0, 20, 200, 5_000]))
  return {
    keepUp: random.int(0, connection?.up.packetsUnderWay ?? 0),
    keepDown: random.int(0, connection?.down.packetsUnderWay ?? 0),
    clientLearnsAfterMs: learnDelay(),
    serverLearnsAfterMs: learnDelay(),
  }
}
