/**
 * Causes the faults that only worlds with a shared command log have. The log orders the commands of
 * several brokers. Nearly all of these faults are between a broker and the log.
 */
import type { BrokerMachine } from './brokerMachine.js'
import type { ClientMachine } from './clientMachine.js'
import type { Cluster } from './cluster.js'
import type { Path } from './network.js'
import { block, unblock } from './pipe.js'
import type { FaultKind } from './plan.js'
import type { Random } from './random.js'
import { type LogFaultKind, zeroLogFaultWeights } from './sharedPlan.js'

export interface LogFaultsDeps {
  readonly cluster: Cluster
  readonly clientMachines: readonly ClientMachine[]
  /** Ends a fault after `ms`, or when all faults end. */
  readonly undoAfter: (ms: number, undo: () => void) => void
}

/** Whether only worlds with a shared command log have this kind of fault. */
export function isLogFault(kind: FaultKind | LogFaultKind): kind is LogFaultKind {
  return kind in zeroLogFaultWeights
}

export class LogFaults {
  readonly #deps: LogFaultsDeps

  constructor(deps: LogFaultsDeps) {
    this.#deps = deps
  }

  /**
   * Causes a fault of this kind, at this broker if the kind affects only one. A fault that lasts is
   * undone after a random time.
   */
  cause(kind: LogFaultKind, machine: BrokerMachine, random: Random): void {
    const { cluster, undoAfter } = this.#deps
    switch (kind) {
      case 'blockLog':
        this.#block([machine.path], random)
        break
      case 'blockAllLogs': {
        // In some worlds, faults spare one machine.
        const machines = cluster.machines.filter(({ isSpared }) => !isSpared)
        const paths = machines.map(({ path }) => path)
        this.#block(paths, random)
        break
      }
      case 'blockClients':
        // Blocks the paths from all clients to the broker. Its path to the log stays open.
        this.#block(this.#pathsOfClients(machine), random)
        break
      case 'delayLog': {
        const link = random.pick([machine.path.up, machine.path.down])
        const extraMs = random.between(50, 4_000)
        link.latency += extraMs
        undoAfter(randomFaultMs(random), () => {
          link.latency -= extraMs
        })
        break
      }
      case 'breakLog':
        // Breaks the connection to the log. Up to three packets a direction still arrive.
        machine.source?.logEngine?.break({ keepUp: random.int(0, 3), keepDown: random.int(0, 3) })
        break
      case 'dropFromLog':
        // One entry of the log does not reach this broker.
        machine.source?.logEngine?.dropSoon()
        break
      case 'compactLog':
        // Each call makes a snapshot, and removes the entries before the previous snapshot. So the
        // second call removes the entries before the snapshot of the first call.
        cluster.compact()
        undoAfter(random.between(1, 1_000), () => cluster.compact())
        break
    }
  }

  /** Blocks one direction or both. */
  #block(paths: readonly Path[], random: Random): void {
    const direction = random.pick(['up', 'down', 'both'])
    const links = paths.flatMap(({ up, down }) =>
      direction === 'both' ? [up, down] : direction === 'up' ? [up] : [down],
    )
    for (const link of links) block(link)
    this.#deps.undoAfter(randomFaultMs(random), () => {
      for (const link of links) unblock(link)
    })
  }

  #pathsOfClients({ url }: BrokerMachine): Path[] {
    return this.#deps.clientMachines.flatMap(({ paths }) => paths.get(url) ?? [])
  }
}

/**
 * Returns the length of a fault in ms: from 0 to more than the longest lease. A lease is how long a
 * broker keeps a silent session. The five ranges are equally likely, so short faults are frequent.
 */
export function randomFaultMs(random: Random): number {
  return random.pick([
    random.between(0, 120),
    random.between(0, 500),
    random.between(200, 2_000),
    random.between(1_000, 5_000),
    random.between(4_000, 20_000),
  ])
}
