/**
 * Makes the parts of a broker and connects them. Each part says in its `Deps` interface what it
 * needs of the others, and it gets only parts that are made before it. One link goes the other way:
 * the timekeeper learns later which part handles its deadlines.
 */
import type { HoldfastError } from '@holdfast/shared'
import { ConnectionAdmission } from '../access/connectionAdmission.js'
import { SessionQuota } from '../access/sessionQuota.js'
import { TokenExpiry } from '../access/tokenExpiry.js'
import type { BrokerSettings } from '../config/settings.js'
import type { Connection, ConnectionDeps } from '../connection/connection.js'
import { OutputFlusher } from '../connection/outputFlusher.js'
import { WorkScheduler } from '../connection/workScheduler.js'
import type { Fences } from '../log/fences.js'
import type { Log } from '../log/log.js'
import type { Observer } from '../observability/observer.js'
import type { Environment } from '../platform/environment.js'
import { Connections } from './connections.js'
import { type BrokerTime, DeadlineHandler } from './deadlineHandler.js'
import { Handshake, type OwnerBroker } from './handshake.js'
import { Inbound } from './inbound.js'
import { MemoryAccount } from './memoryAccount.js'
import { Outbound } from './outbound.js'
import { BrokerStateMachine, type StateMachineListener } from './stateMachine.js'
import { LiveTable, Statistics } from './statistics.js'
import { Timekeeper } from './timekeeper.js'
import { UnfinishedKeys } from './unfinishedKeys.js'
import { WatchRegistry } from './watchRegistry.js'

export interface BrokerDeps {
  readonly settings: BrokerSettings
  readonly environment: Environment
  readonly log: Log
  readonly fences: Fences
  /** Called when the log or the fences fail: the broker then grants no lock and has no client. */
  readonly onFailure?: ((error: HoldfastError) => void) | undefined
  readonly observer?: Observer | undefined
}

/** What the other parts work on: the lock table, the time, and the accounts. */
function makeState({ settings, environment, log }: BrokerDeps) {
  const { limits } = settings
  const { clock, endOfTurn } = environment
  const all = new Set<Connection>()
  const table = new LiveTable()
  const watches = new WatchRegistry()
  const ownerBroker: OwnerBroker = { name: '' }
  const scheduler = new WorkScheduler({ clock, endOfTurn })
  const time: BrokerTime = new Timekeeper({ clock, endOfTurn, table })
  return {
    /** Every connection until its socket is closed, in order of arrival. */
    all,
    table,
    watches,
    ownerBroker,
    scheduler,
    time,
    statistics: new Statistics(),
    sessionQuota: new SessionQuota(limits, settings.authenticate === undefined),
    memory: new MemoryAccount({ limits, connections: all, watches, table }),
    unfinished: new UnfinishedKeys({ scheduler, log, clock, table }),
  }
}

type State = ReturnType<typeof makeState>

/** What begins, flushes and ends connections. */
function makeConnections({ settings, environment, log, observer }: BrokerDeps, state: State) {
  const { limits } = settings
  const { clock, endOfTurn } = environment
  const { all, table, watches, scheduler, time, memory } = state
  const tokenExpiry = new TokenExpiry({ settings, clock, time })
  const admission = new ConnectionAdmission({ limits, tokenExpiry, time, memory })
  const connections = new Connections({
    all,
    time,
    admission,
    watches,
    memory,
    scheduler,
    table,
    log,
    clock,
    observer,
  })
  const flusher = new OutputFlusher({
    limits,
    memory,
    scheduler,
    endOfTurn,
    time,
    connections,
    observer,
  })
  time.listen(new DeadlineHandler({ time, tokenExpiry, flusher, connections, log, clock }))
  return { tokenExpiry, admission, connections, flusher }
}

type ConnectionParts = ReturnType<typeof makeConnections>

/** What turns messages into commands. */
function makeInput(deps: BrokerDeps, state: State, { tokenExpiry }: ConnectionParts) {
  const { settings, environment, log, observer } = deps
  const { membership } = log
  const { table, watches, ownerBroker, statistics, sessionQuota, memory } = state
  const handshake = new Handshake({
    settings,
    environment,
    log,
    sessionQuota,
    memory,
    ownerBroker,
    membership,
    observer,
  })
  const inbound = new Inbound({
    log,
    clock: environment.clock,
    table,
    statistics,
    watches,
    limits: settings.limits,
    memory,
    membership,
    observer,
    tokenExpiry,
  })
  return { handshake, inbound }
}

/** Makes all parts. */
export function wireBroker(deps: BrokerDeps, listener: StateMachineListener) {
  const { settings, environment, log, fences, observer } = deps
  const state = makeState(deps)
  const connectionParts = makeConnections(deps, state)
  const input = makeInput(deps, state, connectionParts)

  const { table, scheduler, time, watches, ownerBroker, statistics, sessionQuota } = state
  const { admission, connections, flusher } = connectionParts
  const { handshake, inbound } = input
  const outbound = new Outbound({
    time,
    handshake,
    connections,
    admission,
    ownerBroker,
    log,
    clock: environment.clock,
    unfinished: state.unfinished,
  })
  const stateMachine = new BrokerStateMachine({
    table,
    fences,
    statistics,
    sessionQuota,
    outbound,
    watches,
    observer,
    ownerBroker,
    membership: log.membership,
    listener,
  })
  /** What each new connection gets. */
  const connectionDeps: ConnectionDeps = {
    scheduler,
    flusher,
    workPerSecond: settings.limits.workPerSecond,
    time,
    table,
    membership: log.membership,
    handshake,
    inbound,
    listener: connections,
  }
  return { ...state, connections, handshake, inbound, stateMachine, connectionDeps }
}

/** The parts that the broker itself works with. */
export type BrokerParts = ReturnType<typeof wireBroker>
