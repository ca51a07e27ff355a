/**
 * What kind of shared log a seed makes, for worlds with several brokers: beside the plan that the
 * same seed makes for one broker, and without changing its luck.
 */
import type { Plan } from './plan.js'
import type { Random } from './random.js'
import type { Trouble } from './simEngine.js'

/** What can go wrong only where brokers share a log. */
export const logFaultKinds = [
  'blockLog',
  'delayLog',
  'breakLog',
  'blockAllLogs',
  'isolateBroker',
  'compactLog',
] as const

export type LogFaultKind = (typeof logFaultKinds)[number]

/** Where a log is nobody else's. */
export const noLogFaults: Record<LogFaultKind, number> = {
  blockLog: 0,
  delayLog: 0,
  breakLog: 0,
  blockAllLogs: 0,
  isolateBroker: 0,
  compactLog: 0,
}

export interface SharedPlan extends Trouble {
  /** How many brokers there are. */
  readonly brokers: number
  /** Clock rates of their machines, in relation to the world's. */
  readonly rates: readonly number[]
  /** Silence after which a broker is taken for dead, in ms. */
  readonly deadMs: number
  /** Entries between two snapshots. */
  readonly snapshotEntries: number
  /** Least time from a broker to the log, and what chance adds, in ms. */
  readonly latencyMs: number
  readonly jitterMs: number
  readonly faults: Readonly<Record<LogFaultKind, number>>
  /** This broker is spared, with its way to the log and whoever uses it alone. */
  readonly spared: number | undefined
  /** Somebody says everything twice, beside what the seed says of one broker. */
  readonly hasStutterer: boolean
}

export function planShared(random: Random, brokers: number, plan: Plan): SharedPlan {
  const isCalm = Object.values(plan.faults).every((weight) => weight === 0)
  const rare = () => (isCalm ? 0 : random.pick([0, 0, 0.02, 0.2]))
  const likely = isCalm ? 0 : random.pick([0.2, 0.4, 0.6])
  const faults = { ...noLogFaults }
  for (const kind of logFaultKinds) if (random.chance(likely)) faults[kind] = 1
  return {
    brokers,
    rates: Array.from({ length: brokers }, () => plan.brokerRate * random.pick([0.995, 1, 1.005])),
    deadMs: random.pick([1_000, 1_500, 3_000]),
    snapshotEntries: random.pick([20, 60, 200, 2_000]),
    latencyMs: random.pick([0.2, 2, 20]),
    jitterMs: random.pick([0, 1, 20]),
    silent: rare(),
    failing: rare(),
    doubled: rare(),
    faults,
    spared: random.chance(0.4) && !plan.isTight ? random.int(0, brokers - 1) : undefined,
    hasStutterer: random.chance(0.3),
  }
}
