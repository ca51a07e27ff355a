/**
 * Draws from a seed what only worlds with several brokers have: the brokers, their shared command
 * log and its faults. These random numbers are independent of those of `Plan`, so a seed has the
 * same clients for any number of brokers.
 */
import type { Plan } from './plan.js'
import type { Random } from './random.js'
import type { AppendFaults } from './simEngine.js'

/** The faults that need brokers with a shared log. */
export const logFaultKinds = [
  'blockLog',
  'delayLog',
  'breakLog',
  'blockAllLogs',
  'blockClients',
  'compactLog',
] as const

/**
 * `dropFromLog`: an entry does not reach one broker. `planShared` draws this newer fault last, so
 * that a seed without it still gives the same world as before.
 */
export type LogFaultKind = (typeof logFaultKinds)[number] | 'dropFromLog'

/** The weights of the log faults in a world without a shared log. */
export const zeroLogFaultWeights: Record<LogFaultKind, number> = {
  blockLog: 0,
  delayLog: 0,
  breakLog: 0,
  blockAllLogs: 0,
  blockClients: 0,
  compactLog: 0,
  dropFromLog: 0,
}

export interface SharedPlan extends AppendFaults {
  /** The number of brokers. */
  readonly brokers: number
  /** The clock rates of the brokers' machines, relative to world time. */
  readonly rates: readonly number[]
  /** The silence after which a broker is declared dead, in ms. */
  readonly deadMs: number
  /** The number of entries between two snapshots. */
  readonly snapshotEntries: number
  /** The shortest latency from a broker to the log, in ms. */
  readonly latencyMs: number
  /** The longest random addition to `latencyMs`, in ms. */
  readonly jitterMs: number
  /** The weight of each kind of fault: its relative frequency. */
  readonly faults: Readonly<Record<LogFaultKind, number>>
  /**
   * The index of the broker that faults spare; undefined for none. Faults also spare its path to
   * the log and the clients that use only this broker.
   */
  readonly spared: number | undefined
  /**
   * Whether the world has a client that sends many messages twice, even if
   * `Plan.hasDuplicatingClient` is false.
   */
  readonly hasDuplicatingClient: boolean
}

/** Draws the log and the faults of a world with several brokers. */
export function planShared(random: Random, brokers: number, plan: Plan): SharedPlan {
  const isFaultless = Object.values(plan.faults).every((weight) => weight === 0)
  // Draws the probability of one kind of append fault: 0 in half of the worlds.
  const drawProbability = () => (isFaultless ? 0 : random.pick([0, 0, 0.02, 0.2]))
  // The probability that the world has a given kind of fault.
  const faultKindChance = isFaultless ? 0 : random.pick([0.2, 0.4, 0.6])
  const faults = { ...zeroLogFaultWeights }
  for (const kind of logFaultKinds) if (random.chance(faultKindChance)) faults[kind] = 1
  const shared = {
    brokers,
    rates: Array.from({ length: brokers }, () => plan.brokerRate * random.pick([0.995, 1, 1.005])),
    deadMs: random.pick([1_000, 1_500, 3_000]),
    snapshotEntries: random.pick([20, 60, 200, 2_000]),
    latencyMs: random.pick([0.2, 2, 20]),
    jitterMs: random.pick([0, 1, 20]),
    silent: drawProbability(),
    failing: drawProbability(),
    doubled: drawProbability(),
    faults,
    // A client of a spared broker must never be disconnected. With tight buffers, a broker may
    // disconnect a client without a fault, so no broker is spared.
    spared: random.chance(0.4) && !plan.hasTightBuffers ? random.int(0, brokers - 1) : undefined,
    hasDuplicatingClient: random.chance(0.3),
  }
  // Changes the `faults` of `shared`. This draw must be the last (see `LogFaultKind`).
  if (!isFaultless && random.chance(0.2)) faults.dropFromLog = 1
  return shared
}
