/**
 * Causes faults in a world (a simulated system) with cells, at random times. A cell is a broker
 * that serves a part of the keys. Each fault affects one cell, one client or the path between them,
 * but never the cell that the plan spares. Each fault uses separate random numbers, so that a run
 * can be repeated without some of its faults. All times are in ms.
 */
import type { BrokerMachine } from '../brokerMachine.js'
import { killBroker, randomCut } from '../faults.js'
import { randomFaultMs } from '../logFaults.js'
import type { Network } from '../network.js'
import { block, type Link, unblock } from '../pipe.js'
import { Random } from '../random.js'
import type { World } from '../world.js'
import type { CellClientMachine } from './cellClientMachine.js'
import type { CellOracle } from './cellOracle.js'
import type { CellFaultKind, CellPlan } from './cellPlan.js'

export interface CellFaultsDeps {
  readonly world: World
  readonly network: Network
  /** The machines of the cells, in the order of their numbers. */
  readonly machines: readonly BrokerMachine[]
  readonly clients: readonly CellClientMachine[]
  readonly plan: CellPlan
  readonly seed: string
  readonly oracle: CellOracle
  /** The indexes of the faults that may happen; undefined for all. */
  readonly only: ReadonlySet<number> | undefined
}

export class CellFaults {
  readonly #deps: CellFaultsDeps
  readonly #pendingUndos = new Set<() => void>()
  /** The indexes of the faults that have happened. */
  readonly happened: number[] = []
  #nextIndex = 0
  #isOver = false

  constructor(deps: CellFaultsDeps) {
    this.#deps = deps
  }

  start(): void {
    if (Object.values(this.#deps.plan.faults).some((weight) => weight > 0)) this.#scheduleNext()
  }

  /** Ends all faults, starts each client and cell that does not run, and causes no more faults. */
  stop(): void {
    this.#isOver = true
    for (const undo of this.#pendingUndos) undo()
    this.#pendingUndos.clear()
    for (const client of this.#deps.clients) client.start()
    for (const machine of this.#deps.machines) machine.restart()
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
    const { machines, clients, plan, oracle } = this.#deps
    const kind = random.pickWeighted(plan.faults)
    const client = random.pick(clients)
    // Cells are numbered from 1.
    const machine = random.pick(machines.filter((_, i) => i + 1 !== plan.sparedCell))
    oracle.report.count(`fault ${kind}`)
    const target = kind === 'killClient' ? client.name : `${machine.name} ${client.name}`
    oracle.trace.add('fault', `${kind} ${target}`)
    this.#cause(kind, client, machine, random)
  }

  #cause(
    kind: CellFaultKind,
    client: CellClientMachine,
    machine: BrokerMachine,
    random: Random,
  ): void {
    const { network } = this.#deps
    const restart = () => machine.restart()
    switch (kind) {
      case 'cutConnections':
        for (const connection of network.connections) {
          if (connection.url === machine.url) connection.cut(randomCut(random, connection))
        }
        break
      case 'delayPath':
        this.#delay(random.pick(linksTo(machine, client)), random)
        break
      case 'blockPath':
        // Blocks one direction, both or none.
        this.#block(
          linksTo(machine, client).filter(() => random.chance(0.7)),
          random,
        )
        break
      case 'stopBroker': {
        const { process } = machine
        // Stops the process as SIGSTOP does: now, or after a few more units of work.
        process?.stop({ afterUnits: random.pick([0, random.int(1, 8)]) })
        this.#undoAfter(randomFaultMs(random), () => process?.resume())
        break
      }
      case 'restartBroker':
        if (machine.process === undefined) break
        killBroker(machine, network, random)
        this.#undoAfter(random.between(2, 3_000), restart)
        break
      case 'drainBroker': {
        const drainMs = random.int(1, 5_000)
        const restartLater = () => this.#undoAfter(random.between(2, 3_000), restart)
        machine.drain(drainMs, restartLater)
        break
      }
      case 'killClient':
        this.#killClient(client, random)
        break
    }
  }

  #delay(link: Link, random: Random): void {
    const extraMs = random.between(50, 4_000)
    link.latency += extraMs
    this.#undoAfter(randomFaultMs(random), () => {
      link.latency -= extraMs
    })
  }

  #block(links: readonly Link[], random: Random): void {
    for (const link of links) block(link)
    this.#undoAfter(randomFaultMs(random), () => {
      for (const link of links) unblock(link)
    })
  }

  #killClient(client: CellClientMachine, random: Random): void {
    const { process } = client
    if (process === undefined) return
    client.kill()
    for (const connection of this.#deps.network.connections) {
      if (connection.clientProcess !== process) continue
      // A killed client learns nothing.
      connection.cut({ ...randomCut(random, connection), clientLearnsAfterMs: undefined })
    }
    this.#undoAfter(randomFaultMs(random), () => client.start())
  }

  /** Ends a fault after `ms`, or when all faults end. */
  #undoAfter(ms: number, undo: () => void): void {
    this.#pendingUndos.add(undo)
    this.#deps.world.after(ms, () => {
      if (this.#pendingUndos.delete(undo)) undo()
    })
  }
}

/** Both directions of the path between a client and a broker. */
function linksTo({ url }: BrokerMachine, { paths }: CellClientMachine): Link[] {
  const { up, down } = paths.get(url)!
  return [up, down]
}
