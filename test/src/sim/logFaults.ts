/**
 * What goes wrong between a broker and the log that it shares with others.
 */
import type { BrokerMachine } from './brokerMachine.js'
import type { Cluster } from './cluster.js'
import type { Path } from './network.js'
import { block, unblock } from './pipe.js'
import type { FaultKind } from './plan.js'
import type { Random } from './random.js'
import { type LogFaultKind, logFaultKinds } from './sharedPlan.js'
import type { Site } from './site.js'

export interface LogFaultsDeps {
  readonly cluster: Cluster
  readonly sites: readonly Site[]
  /** Ends a fault after a while, or when all faults end. */
  readonly later: (ms: number, undo: () => void) => void
}

export function isLogFault(kind: FaultKind | LogFaultKind): kind is LogFaultKind {
  return (logFaultKinds as readonly string[]).includes(kind)
}

export class LogFaults {
  readonly #deps: LogFaultsDeps

  constructor(deps: LogFaultsDeps) {
    this.#deps = deps
  }

  strike(kind: LogFaultKind, machine: BrokerMachine, random: Random): void {
    const { cluster, later } = this.#deps
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
        const way = random.pick([machine.path.up, machine.path.down])
        const more = random.between(50, 4_000)
        way.latency += more
        later(duration(random), () => {
          way.latency -= more
        })
        break
      }
      case 'breakLog':
        machine.source?.main?.break(random.int(0, 3), random.int(0, 3))
        break
      case 'compactLog':
        // The second one lets go of what the first one has.
        cluster.compact()
        later(random.between(1, 1_000), () => cluster.compact())
        break
    }
  }

  /** One direction or both. */
  #block(paths: readonly Path[], random: Random): void {
    const direction = random.pick(['up', 'down', 'both'])
    const ways = paths.flatMap(({ up, down }) =>
      direction === 'both' ? [up, down] : direction === 'up' ? [up] : [down],
    )
    for (const way of ways) block(way)
    this.#deps.later(duration(random), () => {
      for (const way of ways) unblock(way)
    })
  }

  #pathsOfClients({ url }: BrokerMachine): Path[] {
    return this.#deps.sites.flatMap(({ paths }) => paths.get(url) ?? [])
  }
}

/** From a moment to more than the longest lease. */
export function duration(random: Random): number {
  return random.pick([
    random.between(0, 120),
    random.between(0, 500),
    random.between(200, 2_000),
    random.between(1_000, 5_000),
    random.between(4_000, 20_000),
  ])
}
