/**
 * Makes the components of a broker and connects the components to each other. The `Deps` interface
 * of a component lists the components that the component needs. These are made earlier, with two
 * exceptions. The timekeeper gets the handler of its deadlines later, by `time.listen`. The
 * scheduler gets the flusher later, by `setFlusher`.
 */

import type { HoldfastError } from '@holdfast/shared'
import { cellText } from '@holdfast/shared'
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
import { type BrokerTimekeeper, DeadlineHandler } from './deadlineHandler.js'
import { DeadlineRestarts } from './deadlineRestarts.js'
import { Handshake, type OwnerBroker } from './handshake.js'
import { HoldDeadlines } from './holdDeadlines.js'
import { Inbound } from './inbound.js'
import { LockTimes } from './lockTimes.js'
import { MemoryAccount } from './memoryAccount.js'
import { Notices } from './notices.js'
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
  /**
   * Called when the log has failed, or when no more fences (numbers that rise with every grant) can
   * be reserved. The broker calls `onFailure` after it has closed all its connections.
   */
  readonly onFailure?: ((error: HoldfastError) => void) | undefined
  readonly observer?: Observer | undefined
}

/**
 * Makes the components that other components share. `time` is the timekeeper, which keeps all
 * deadlines. Components read the lock table from `liveTable`, because a snapshot can replace the
 * table. `liveTable` also counts the work of the broker, so some components get `liveTable` as
 * `workCounter`.
 */
function makeSharedComponents({ settings, environment, log }: BrokerDeps) {
  const { limits } = settings
  const { clock, endOfTurn } = environment
  const allConnections = new Set<Connection>()
  const liveTable = new LiveTable()
  const scheduler = new WorkScheduler({ clock, endOfTurn })
  const watchRegistry = new WatchRegistry({ scheduler, endOfTurn })
  // In a cluster, the state machine sets the name when the broker begins to serve. Without a
  // cluster, the name stays empty.
  const thisBroker: OwnerBroker = { name: '' }
  const time: BrokerTimekeeper = new Timekeeper({
    clock,
    endOfTurn,
    workCounter: liveTable,
    scheduler,
  })
  const holdDeadlines = new HoldDeadlines(time)
  const deadlineRestarts = new DeadlineRestarts({ time, holdDeadlines, scheduler })
  const statistics = new Statistics()
  return {
    /** Every connection until its socket is closed, in order of arrival. */
    allConnections,
    liveTable,
    watchRegistry,
    /** This broker as the owner broker of sessions: it keeps the deadlines of its sessions. */
    thisBroker,
    scheduler,
    time,
    holdDeadlines,
    deadlineRestarts,
    lockTimes: new LockTimes({ time, holdDeadlines, deadlineRestarts }),
    statistics,
    sessionQuota: new SessionQuota(limits, /* isAnonymous */ settings.authenticate === undefined),
    memory: new MemoryAccount({
      limits,
      connections: allConnections,
      watchRegistry,
      liveTable,
      statistics,
    }),
    unfinishedKeys: new UnfinishedKeys({ scheduler, log, clock, workCounter: liveTable }),
  }
}

type SharedComponents = ReturnType<typeof makeSharedComponents>

/** Makes the components that admit and end connections, and that flush their output. */
function makeConnections(
  { settings, environment, log, observer }: BrokerDeps,
  sharedComponents: SharedComponents,
) {
  const { limits } = settings
  const { clock, endOfTurn } = environment
  const { allConnections, liveTable, watchRegistry, scheduler, time, memory } = sharedComponents
  const tokenExpiry = new TokenExpiry({ settings, clock, time, observer })
  const admission = new ConnectionAdmission({ limits, tokenExpiry, time, memory })
  const connections = new Connections({
    allConnections,
    time,
    admission,
    watchRegistry,
    memory,
    scheduler,
    liveTable,
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
  // Makes the scheduler write the output of a turn before paused work continues.
  scheduler.setFlusher(flusher)
  const { attached } = connections
  const notices = new Notices({ time, attached, workCounter: liveTable })
  time.listen(new DeadlineHandler({ time, tokenExpiry, flusher, notices, connections, log, clock }))
  return { tokenExpiry, admission, connections, flusher, notices }
}

type ConnectionComponents = ReturnType<typeof makeConnections>

/** Makes the components that turn messages into commands. */
function makeInput(
  deps: BrokerDeps,
  sharedComponents: SharedComponents,
  { tokenExpiry, connections }: ConnectionComponents,
) {
  const { settings, environment, log, observer } = deps
  const { membership } = log
  const { liveTable, watchRegistry, thisBroker, statistics, sessionQuota, memory, time } =
    sharedComponents
  const handshake = new Handshake({
    scheduler: sharedComponents.scheduler,
    liveTable,
    settings,
    environment,
    log,
    sessionQuota,
    memory,
    thisBroker,
    membership,
    observer,
  })
  const inbound = new Inbound({
    log,
    clock: environment.clock,
    liveTable,
    statistics,
    watchRegistry,
    limits: settings.limits,
    memory,
    cell: settings.cell,
    membership,
    observer,
    tokenExpiry,
    time,
    lockTimes: sharedComponents.lockTimes,
    attached: connections.attached,
  })
  return { handshake, inbound }
}

/** Makes all components of a broker. */
export function wireBroker(deps: BrokerDeps, stateMachineListener: StateMachineListener) {
  const { settings, environment, log, fences, observer } = deps
  const sharedComponents = makeSharedComponents(deps)
  const connectionComponents = makeConnections(deps, sharedComponents)
  const input = makeInput(deps, sharedComponents, connectionComponents)

  const { liveTable, scheduler, time, watchRegistry, thisBroker, statistics, sessionQuota } =
    sharedComponents
  const { admission, connections, flusher, notices } = connectionComponents
  const { handshake, inbound } = input
  const cell = settings.cell && cellText(settings.cell)
  const outbound = new Outbound({
    time,
    holdDeadlines: sharedComponents.holdDeadlines,
    deadlineRestarts: sharedComponents.deadlineRestarts,
    handshake,
    connections,
    admission,
    thisBroker,
    log,
    clock: environment.clock,
    unfinishedKeys: sharedComponents.unfinishedKeys,
    notices,
    cell,
    liveTable,
  })
  const stateMachine = new BrokerStateMachine({
    liveTable,
    fences,
    statistics,
    sessionQuota,
    outbound,
    watchRegistry,
    observer,
    thisBroker,
    membership: log.membership,
    listener: stateMachineListener,
    cell,
  })
  /** The dependencies of each new connection. */
  const connectionDeps: ConnectionDeps = {
    scheduler,
    flusher,
    workPerSecond: settings.limits.workPerSecond,
    time,
    workCounter: liveTable,
    membership: log.membership,
    handshake,
    inbound,
    listener: connections,
  }
  return { ...sharedComponents, connections, handshake, inbound, stateMachine, connectionDeps }
}

/** The components that the `Broker` class uses. */
export type BrokerComponents = ReturnType<typeof wireBroker>
