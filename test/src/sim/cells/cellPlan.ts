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
  /** Whether the sessions of the client reconnect after a drop. */
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
  /** The longest time that a command log takes for a command, in ms; 0 for no time. */
  readonly logMs: number
  /** The clients use this many keys: the first keys of `cellKeys`. */
  readonly keyCount: number
}

/** @param count The number of cells. */
export function planCells(random: Random, count: number): CellPlan {
  // With tight buffers, brokers disconnect slow readers, even the broker of the spared cell.
  const hasTightBuffers = false
  return {
    clients: Array.from({ length: random.int(2, 4) }, () => ({
      ...planClient(random, hasTightBuffers),
      // Without a grace a broker frees the locks when it notices a drop, which may be before the
      // client notices the drop. Then two clients may believe that they hold one key.
      grace: 'lease' as const,
      reconnects: random.chance(0.7),
    })),
    sparedCell: random.int(1, count),
    brokerRates: Array.from({ length: count }, () => random.between(0.99, 1.01)),
    faults: planFaults(random),
    faultGapMs: random.pick([150, 500, 1500, 5000]),
    thinkMs: random.pick([10, 100, 500]),
    holdMs: random.pick([5, 50, 500, 2000]),
    latencyMs: random.pick([0.1, 1, 20, 80]),
    jitterMs: random.pick([0, 1, 10, 150]),
    busyMs: random.pick([3, 90]),
    logMs: random.pick([0, 0, 0, 5, 80]),
    // Either three keys for each cell, which excludes `oddKeys` at the end of `cellKeys`; or all
    // keys, which are fewer than 100.
    keyCount: random.pick([3 * count, 100]),
  }
}

function planFaults(random: Random): Record<CellFaultKind, number> {
  const probability = random.pick([0.2, 0.5, 0.8])
  const weights = cellFaultKinds.map((kind) => {
    // These faults end sessions, so too many of them would leave little else to happen.
    const isRare = kind === 'restartBroker' || kind === 'drainBroker' || kind === 'killClient'
    return [kind, random.chance(probability) ? (isRare ? 0.3 : 1) : 0]
  })
  return Object.fromEntries(weights)
}
