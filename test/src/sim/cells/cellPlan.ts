/**
 * Chooses the properties of a simulated world with cells by chance, from a seed. Each cell is a
 * broker with its own part of the keys. Numbers without a comment are free choices that make
 * the worlds varied.
 */
import { type ClientPlan, planClient } from '../plan.js'
import type { Random } from '../random.js'

export const cellFaultKinds = [
  'cutConnections',
  'delayPath',
  'blockPath',
  'stopBroker',
  'restartBroker',
  'drainBroker',
  'killClient',
] as const

export type CellFaultKind = (typeof cellFaultKinds)[number]

export interface CellClientPlan extends ClientPlan {
  /** Whether the client reconnects after its connection has dropped. */
  readonly reconnects: boolean
}

export interface CellPlan {
  readonly clients: readonly CellClientPlan[]
  /** The number of the one cell that has no faults. */
  readonly sparedCell: number
  /** The clock rates of the brokers, in the order of the cells. */
  readonly brokerRates: readonly number[]
  /** The relative frequency of each kind of fault; 0 for a kind that does not happen. */
  readonly faults: Readonly<Record<CellFaultKind, number>>
  /** The mean time between two faults, in ms. */
  readonly faultGapMs: number
  /** The mean pause between two actions, in ms. */
  readonly thinkMs: number
  /** The mean time for which a client holds a lock, in ms. */
  readonly holdMs: number
  /** The shortest time of a packet on a path to a broker, in ms. */
  readonly latencyMs: number
  /** The largest random addition to `latencyMs`, in ms. */
  readonly jitterMs: number
  /** The longest time for which the process of a broker is busy, in ms. */
  readonly busyMs: number
  /**
   * The longest time that a command of the lock table spends in the broker's command log, in ms; 0
   * for the log in memory.
   */
  readonly logMs: number
  /** The clients use this many keys: the first keys of `cellKeys`. */
  readonly keyCount: number
}

export function planCells(random: Random, cellCount: number): CellPlan {
  // With tight buffers, even the broker of the spared cell would disconnect slow readers.
  const hasTightBuffers = false
  return {
    clients: Array.from({ length: random.int(2, 4) }, () => ({
      ...planClient(random, hasTightBuffers),
      // A grace is how long the broker keeps a session after a drop. Without a grace, the broker
      // may free the locks before the client notices the drop. Then two clients may believe that
      // they hold one key.
      grace: 'lease' as const,
      reconnects: random.chance(0.7),
    })),
    sparedCell: random.int(1, cellCount),
    brokerRates: Array.from({ length: cellCount }, () => random.between(0.99, 1.01)),
    faults: planFaults(random),
    faultGapMs: random.pick([150, 500, 1500, 5000]),
    thinkMs: random.pick([10, 100, 500]),
    holdMs: random.pick([5, 50, 500, 2000]),
    latencyMs: random.pick([0.1, 1, 20, 80]),
    jitterMs: random.pick([0, 1, 10, 150]),
    busyMs: random.pick([3, 90]),
    logMs: random.pick([0, 0, 0, 5, 80]),
    // Either all keys but the last, which are `oddKeys`; or all keys, if there are at most 100.
    keyCount: random.pick([3 * cellCount, 100]),
  }
}

function planFaults(random: Random): Record<CellFaultKind, number> {
  const kindProbability = random.pick([0.2, 0.5, 0.8])
  const weights = cellFaultKinds.map((kind) => {
    // Faults that end sessions are rare, because many of them would leave little else to happen.
    const isRare = kind === 'restartBroker' || kind === 'drainBroker' || kind === 'killClient'
    return [kind, random.chance(kindProbability) ? (isRare ? 0.3 : 1) : 0]
  })
  return Object.fromEntries(weights)
}
