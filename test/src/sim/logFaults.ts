/**
 * Causes the faults between a broker and the shared command log, which orders the commands of
 * several brokers.
 */
import type { BrokerMachine } from './brokerMachine.js'
import type { ClientMachine } from './clientMachine.js'
import type { Cluster } from './cluster.js'
import type { Path } from './network.js'
import { block, unblock } from './pipe.js'
import type { FaultKind } from './plan.js'
import type { Random } from './random.js'
import { type LogFaultKind, noLogFaults } from './sharedPlan.js'

export interface LogFaultsDeps {
  readonly cluster: Cluster
  readonly clientMachines: readonly ClientMachine[]
  /** Ends a fault after `ms`, or when all faults end. */
  readonly undoAfter: (ms: number, undo: () => void) => void
}

/** Whether this kind of fault affects the command log. */
export function isLogFault(kind: FaultKind | LogFaultKind): kind is LogFaultKind {
  return kind in noLogFaults
}

export class LogFaults {
  readonly #deps: LogFaultsDeps

  constructor(deps: LogFaultsDeps) {
    this.#deps = deps
  }

  /** Causes a fault of the log at this broker. A fault that lasts ends after a random time. */
  cause(kind: LogFaultKind, machine: BrokerMachine, random: Random): void {
    const { cluster, undoAfter } = this.#deps
    switch (kind) {
      case 'blockLog':
        this.#block([machine.path], random)
        break
      case 'blockAllLogs': {
        const machines = cluster.machines.filter(({ isSpared }) => !isSpared)
        const paths = machines.map(({ path }) => path)
        this.#block(paths, random)
        break
      }
      case 'isolateBroker':
        this.#block(this.#pathsOfClients(machine), random)
        break
      case 'delayLog': {
        const link = random.pick([machine.path.up, machine.path.down])
        const extraMs = random.between(50, 4_000)
        link.latency += extraMs
        undoAfter(duration(random), () => {
          link.latency -= extraMs
        })
        break
      }
      case 'breakLog':
        machine.source?.main?.break(random.int(0, 3), random.int(0, 3))
        break
      case 'dropFromLog':
        machine.source?.main?.dropSoon()
        break
      case 'compactLog':
        // The second compaction removes the entries before the first snapshot.
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
    this.#deps.undoAfter(duration(random), () => {
      for (const link of links) unblock(link)
    })
  }

  #pathsOfClients({ url }: BrokerMachine): Path[] {
    return this.#deps.clientMachines.flatMap(({ paths }) => paths.get(url) ?? [])
  }
}

/**
 * Returns the length of a fault in ms: from 0 to more than the longest lease, for which a broker
 * keeps a silent session.
 */
export function duration(random: Random): number {
  return random.pick([
    random.between(0, 120),
    random.between(0, 500),
    random.between(200, 2_000),
    random.between(1_000, 5_000),
    random.between(4_000, 20_000),
  ])
}
