/**
 * What kind of world a seed makes. Each seed leaves out a good part of what could happen: a world
 * in which everything goes wrong all the time never gets as far as the interesting mistakes, and
 * one without cuts, say, has the long quiet stretches in which others show.
 */
import type { Random } from './random.js'

const faultKinds = [
  'cut',
  'cutAtFrame',
  'delay',
  'block',
  'stopClient',
  'sleepClient',
  'stopBroker',
  'jumpClient',
  'jumpBroker',
  'restartBroker',
  'drainBroker',
  'killClient',
  'throttleClient',
] as const

export type FaultKind = (typeof faultKinds)[number]

export const actions = [
  'lock',
  'tryLock',
  'withLock',
  'singleflight',
  'steal',
  'query',
  'reconnect',
] as const

export type Action = (typeof actions)[number]

export interface ClientPlan {
  /** Wanted lease, in ms. */
  readonly lease: number
  readonly grace: number | 'lease'
  /** How much its program does at the same time. */
  readonly fibers: number
  readonly isBrowser: boolean
  /** Its turns end with their promises, as the real client's do, and not with all that waits. */
  readonly endsTurnsEarly: boolean
  /** Watches all keys, and keeps a picture of what is held. */
  readonly watches: boolean
  /** Clock rate in relation to the broker's. */
  readonly rate: number
}

export interface Plan {
  readonly clients: readonly ClientPlan[]
  readonly keys: readonly string[]
  readonly actions: Readonly<Record<Action, number>>
  /** Mean pause between two actions, and mean time that a lock is held, in ms. */
  readonly thinkMs: number
  readonly holdMs: number
  /** How likely a request has each of these. */
  readonly shared: number
  readonly timeout: number
  readonly abort: number
  readonly ttl: number
  readonly faults: Readonly<Record<FaultKind, number>>
  /** Mean time between two faults, in ms. */
  readonly faultGapMs: number
  /** Least latency of a network path and what chance adds, in ms. */
  readonly latencyMs: number
  readonly jitterMs: number
  readonly brokerRate: number
  readonly quietStart: boolean
  /** How long the broker's loop may be held up now and then: less than it would notice. In ms. */
  readonly busyMs: number
  /** Most that a command may spend in the broker's log, in ms; 0 for the log in memory. */
  readonly logMs: number
  /** The broker has little patience with slow readers, and the network little room. */
  readonly isTight: boolean
  /**
   * The judges read `held` only where the client has just looked at its clock itself. Elsewhere
   * reading it would remind the client of what it must remember.
   */
  readonly isBlind: boolean
  /** Somebody tries former resume secrets. */
  readonly hasHijacker: boolean
  /** Somebody says everything twice. */
  readonly hasDuplicatingClient: boolean
  /** Somebody revokes locks. */
  readonly hasRevoker: boolean
}

export function planFor(random: Random): Plan {
  const chances = [0, 0, 0.2, 0.5]
  const isTight = random.chance(0.25)
  return {
    clients: Array.from({ length: random.int(2, 5) }, () => planClient(random, isTight)),
    keys: ['a', 'b', 'c'].slice(0, random.int(1, 3)),
    actions: planActions(random),
    thinkMs: random.pick([10, 100, 500, 1000]),
    holdMs: random.pick([5, 50, 500, 2000]),
    shared: random.pick([...chances, 0.8]),
    timeout: random.pick(chances),
    abort: random.pick(chances),
    ttl: random.pick(chances),
    faults: planFaults(random),
    faultGapMs: random.pick([150, 500, 1500, 5000]),
    latencyMs: random.pick([0.1, 1, 20, 80]),
    jitterMs: random.pick([0, 1, 10, 150]),
    brokerRate: random.between(0.99, 1.01),
    quietStart: random.chance(0.3),
    busyMs: random.pick([3, 90]),
    logMs: random.pick([0, 0, 0, 5, 80]),
    isTight,
    isBlind: random.chance(0.5),
    hasHijacker: random.chance(0.2),
    hasDuplicatingClient: random.chance(0.2),
    hasRevoker: random.chance(0.1),
  }
}

function planClient(random: Random, isTight: boolean): ClientPlan {
  const lease = random.chance(0.6) ? random.int(2_000, 4_000) : random.int(2_000, 15_000)
  return {
    lease,
    grace: random.pick([0, 'lease', 'lease', random.int(100, lease)] as const),
    fibers: random.int(1, 3),
    isBrowser: random.chance(0.5),
    endsTurnsEarly: random.chance(0.7),
    watches: random.chance(isTight ? 0.7 : 0.2),
    // The slowest and the fastest that the lease allows for, or anything between.
    rate: random.pick([0.99, 1, 1.01, random.between(0.99, 1.01)]),
  }
}

function planActions(random: Random): Record<Action, number> {
  const some = (weight: number, likely: number) => (random.chance(likely) ? weight : 0)
  return {
    lock: 10,
    tryLock: some(4, 0.4),
    withLock: some(4, 0.4),
    singleflight: some(4, 0.3),
    steal: some(1, 0.2),
    query: some(1, 0.3),
    reconnect: some(0.5, 0.3),
  }
}

function planFaults(random: Random): Record<FaultKind, number> {
  const faults = Object.fromEntries(faultKinds.map((kind) => [kind, 0])) as Record<
    FaultKind,
    number
  >
  if (random.chance(0.08)) return faults
  const likely = random.pick([0.15, 0.3, 0.5])
  for (const kind of faultKinds) {
    const rare = kind === 'restartBroker' || kind === 'drainBroker' || kind === 'killClient'
    if (random.chance(rare ? likely / 2 : likely)) faults[kind] = rare ? 0.3 : 1
  }
  return faults
}
