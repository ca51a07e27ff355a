/**
 * Chooses the properties of a world (a simulated system of brokers, clients and network) by chance,
 * from a seed. Each seed leaves out most kinds of faults and actions, because a world in which
 * everything always goes wrong never reaches the rare states. For example, a world in which no
 * connection is cut has long quiet stretches, and other bugs show there. Probabilities without a
 * comment only set how many worlds have a property.
 */
import type { Random } from './random.js'

/** The kinds of faults in a world with one broker. */
const faultKinds = [
  'cutConnection',
  'cutConnectionAtFrame',
  'delayPath',
  'blockPath',
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

/** The kinds of actions of a client program. */
export const actions = [
  'lock',
  'tryLock',
  'withLock',
  'singleflight',
  'steal',
  'query',
  'barrier',
  'permits',
  'lockAll',
  'campaign',
  'once',
  'reconnect',
  'upgrade',
  'scope',
] as const

/** The actions whose weights are drawn last, because these actions are newer (see `planFor`). */
type LateAction = 'once' | 'upgrade' | 'scope'

export type Action = (typeof actions)[number]

export interface ClientPlan {
  /** The requested lease, in ms. A lease is how long the broker keeps a silent session. */
  readonly lease: number
  /** How long the broker keeps the session after its connection dropped, in ms, or the lease. */
  readonly grace: number | 'lease'
  /** How many actions the program of the client runs concurrently. */
  readonly concurrency: number
  /** Whether the client has a WebSocket as in a browser, without `terminate`. */
  readonly isBrowser: boolean
  /**
   * Whether the client regards a turn of the event loop as over when the promises have settled, as
   * the real client does. If false, the turn ends after all waiting input, so events have another
   * order.
   */
  readonly endsTurnsEarly: boolean
  /** Whether the program watches keys and follows which locks are held. */
  readonly watches: boolean
  /** The clock rate, relative to the clock of the broker. */
  readonly rate: number
}

export interface Plan {
  readonly clients: readonly ClientPlan[]
  readonly keys: readonly string[]
  /** The weight of each action: its relative frequency. */
  readonly actions: Readonly<Record<Action, number>>
  /** The mean pause between two actions, in ms. */
  readonly thinkMs: number
  /** The mean time for which a program holds a lock, in ms. */
  readonly holdMs: number
  /** The probability that a request is for a shared lock. */
  readonly shared: number
  /** The probability that a request has a timeout. */
  readonly timeout: number
  /** The probability that a request is aborted. */
  readonly abort: number
  /** The probability that a request limits how long its lock lasts without a refresh. */
  readonly ttl: number
  /** The probability that a request limits how long its lock is held. */
  readonly maxHold: number
  /** The operator's limit of the longest hold, in ms; undefined for no limit. */
  readonly maxHoldLimit: number | undefined
  /** The probability that a request asks for notices. */
  readonly notices: number
  /** The weight of each kind of fault: its relative frequency. */
  readonly faults: Readonly<Record<FaultKind, number>>
  /** The mean time between two faults, in ms. */
  readonly faultGapMs: number
  /** The least latency of a network path, in ms. */
  readonly latencyMs: number
  /** The longest time by which chance lengthens the latency, in ms. */
  readonly jitterMs: number
  /** The clock rate of the broker, relative to world time (time of the simulation). */
  readonly brokerRate: number
  /** Whether a restarted broker first grants only steals, for the time of the longest lease. */
  readonly quietStart: boolean
  /**
   * The longest time by which other work sometimes delays the broker's event loop, in ms. Too short
   * for the broker to regard as a pause.
   */
  readonly busyMs: number
  /**
   * The longest time that a command spends in the broker's command log before the table applies it,
   * in ms; 0 for the log in memory.
   */
  readonly logMs: number
  /** Whether the broker disconnects slow readers early, and the network has small send buffers. */
  readonly hasTightBuffers: boolean
  /**
   * Whether the oracles (the checks of the simulation) read `lock.held` only directly after the
   * client has read its clock. At any other moment, this read would make the client notice a loss
   * that the client must notice by itself.
   */
  readonly hasPassiveOracles: boolean
  /** Whether a client tries retired resume secrets. */
  readonly hasHijacker: boolean
  /** Whether a client sends many messages twice. */
  readonly hasDuplicatingClient: boolean
  /** Whether a client revokes locks. */
  readonly hasRevoker: boolean
  /** The operator's limit for the number of kept results of `once`. */
  readonly keptResults: number
  /**
   * Whether the brokers of a cluster often pause after a single command of the log, as if the
   * command had taken long.
   */
  readonly pausesOften: boolean
}

/** The least weight of an action in {@link WorldNeeds}. */
const minNeededWeight = 6

/** The properties that the caller of `planFor` demands, whatever the seed of a world draws. */
export interface WorldNeeds
  extends Partial<Pick<Plan, 'ttl' | 'maxHold' | 'abort' | 'notices' | 'logMs'>> {
  readonly actions?: readonly Action[] | undefined
}

/**
 * Draws the plan of a world.
 *
 * @param needs What the world must have. The needs use no random numbers, so they do not change the
 *   other properties that the seed gives.
 */
export function planFor(random: Random, needs: WorldNeeds = {}): Plan {
  // The usual probabilities. Half of the worlds draw 0, so they lack the property.
  const chances = [0, 0, 0.2, 0.5]
  const hasTightBuffers = random.chance(0.25)
  const plan = {
    clients: Array.from({ length: random.int(2, 5) }, () => planClient(random, hasTightBuffers)),
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
    hasTightBuffers,
    hasPassiveOracles: random.chance(0.5),
    hasHijacker: random.chance(0.2),
    hasDuplicatingClient: random.chance(0.2),
    hasRevoker: random.chance(0.1),
    maxHold: random.pick(chances),
    maxHoldLimit: random.chance(0.1) ? random.int(500, 4_000) : undefined,
    notices: random.pick(chances),
  }
  // Newer properties are drawn last, so that each seed still gives the older properties as before.
  const once = random.chance(0.3) ? 3 : 0
  const keptResults = random.pick([1, 2, 1_000])
  const upgrade = random.chance(0.3) ? 4 : 0
  const scope = random.chance(0.35) ? 6 : 0
  const weights: Record<Action, number> = { ...plan.actions, once, upgrade, scope }
  const { actions: neededActions = [], ...needed } = needs
  for (const action of neededActions) weights[action] = Math.max(weights[action], minNeededWeight)
  const pausesOften = random.chance(0.3)
  return { ...plan, ...needed, actions: weights, keptResults, pausesOften }
}

export function planClient(random: Random, hasTightBuffers: boolean): ClientPlan {
  const lease = random.chance(0.6) ? random.int(2_000, 4_000) : random.int(2_000, 15_000)
  return {
    lease,
    grace: random.pick([0, 'lease', 'lease', random.int(100, lease)] as const),
    concurrency: random.int(1, 3),
    isBrowser: random.chance(0.5),
    endsTurnsEarly: random.chance(0.7),
    // The events of watches fill small buffers.
    watches: random.chance(hasTightBuffers ? 0.7 : 0.2),
    // The lease allows for clock rates that differ by up to 1 %. Often draws the limits.
    rate: random.pick([0.99, 1, 1.01, random.between(0.99, 1.01)]),
  }
}

function planActions(random: Random): Record<Exclude<Action, LateAction>, number> {
  const sometimes = (weight: number, probability: number) =>
    random.chance(probability) ? weight : 0
  return {
    lock: 10,
    tryLock: sometimes(4, 0.4),
    withLock: sometimes(4, 0.4),
    singleflight: sometimes(4, 0.3),
    steal: sometimes(1, 0.2),
    query: sometimes(1, 0.3),
    barrier: sometimes(3, 0.3),
    permits: sometimes(6, 0.4),
    lockAll: sometimes(6, 0.4),
    reconnect: sometimes(0.5, 0.3),
    campaign: sometimes(4, 0.4),
  }
}

function planFaults(random: Random): Record<FaultKind, number> {
  const faults = Object.fromEntries(faultKinds.map((kind) => [kind, 0])) as Record<
    FaultKind,
    number
  >
  // Some worlds have no faults, because some oracles check more there.
  if (random.chance(0.08)) return faults
  const probability = random.pick([0.15, 0.3, 0.5])
  for (const kind of faultKinds) {
    // These faults end sessions. If they were frequent, little else would happen.
    const isRare = kind === 'restartBroker' || kind === 'drainBroker' || kind === 'killClient'
    if (random.chance(isRare ? probability / 2 : probability)) faults[kind] = isRare ? 0.3 : 1
  }
  return faults
}
