/**
 * The open connections of a broker, and the session that is attached to each connection. This file
 * ends connections: when the client closes, when the broker closes, or when the session resumes on
 * another connection.
 */
import { type CloseCode, closeCodes } from '@holdfast/shared'
import type { ConnectionAdmission } from '../access/connectionAdmission.js'
import { limitReason } from '../config/limits.js'
import { costs } from '../config/workCosts.js'
import type { Connection } from '../connection/connection.js'
import type { ConnectionListener } from '../connection/connectionDeps.js'
import type { WorkScheduler } from '../connection/workScheduler.js'
import type { Command, Session } from '../core/index.js'
import { type Observer, type RefusalCause, refusalCauseOf } from '../observability/observer.js'
import type { BrokerTimekeeper } from './deadlineHandler.js'
import type { MemoryAccount } from './memoryAccount.js'
import type { LiveTable } from './statistics.js'
import type { WatchRegistry } from './watchRegistry.js'
import { canEndInOneTurn } from './wholeTurns.js'

/** How long the broker waits for the closing handshake before it drops the socket, in ms. */
const maxClosingMs = 1_000

export interface ConnectionsDeps {
  /** All connections whose sockets are not closed yet, in order of arrival. */
  readonly allConnections: Set<Connection>
  readonly time: Pick<BrokerTimekeeper, 'clearClientDeadline' | 'setTimer' | 'clearTimer'>
  readonly admission: ConnectionAdmission
  readonly watchRegistry: WatchRegistry
  readonly memory: MemoryAccount
  readonly scheduler: WorkScheduler
  /** `liveTable.workUnits` is the work of all commands so far (see `workCosts.ts`). */
  readonly liveTable: LiveTable
  readonly log: { submit(command: Command): void }
  readonly clock: { wall(): number }
  readonly observer: Observer | undefined
}

export class Connections implements ConnectionListener<Connection> {
  readonly #deps: ConnectionsDeps
  /** The connection of each attached session. */
  readonly attached = new Map<Session, Connection>()
  /** Ended connections whose sessions the broker will suspend in a later turn. */
  readonly #awaitingSuspension = new Set<Connection>()

  constructor(deps: ConnectionsDeps) {
    this.#deps = deps
  }

  /**
   * Admits a new connection. If a limit is exceeded, closes the new connection or an older
   * connection; `ConnectionAdmission` chooses which.
   */
  admit(connection: Connection): void {
    const rejected = this.#deps.admission.admit(connection)
    if (rejected === undefined) return
    const { limit, limitValue } = rejected
    this.report(rejected.connection, refusalCauseOf(limit))
    const reason = limitReason(limit, limitValue)
    this.close(rejected.connection, { ...closeCodes.overloaded, reason })
  }

  /**
   * Closes a connection. Sets a timer that drops the socket if the client does not finish the
   * closing handshake.
   */
  close(connection: Connection, closeCode: CloseCode): void {
    connection.close(closeCode)
    this.#releaseResources(connection)
    if (connection.state === 'closing') this.#deps.time.setTimer(connection, maxClosingMs)
  }

  /** Closes all connections. */
  closeAll(closeCode: CloseCode): void {
    for (const connection of this.#deps.allConnections) this.close(connection, closeCode)
  }

  onAborted(connection: Connection): void {
    // `true`, because the client may not know of the abort.
    this.#suspendSession(connection, true)
    this.#deps.time.setTimer(connection, maxClosingMs)
  }

  onClosed(connection: Connection): void {
    this.#deps.allConnections.delete(connection)
    // `false`: the session lives on only for its grace (see `#suspendSession`).
    this.#suspendSession(connection, false)
    this.#deps.time.clearTimer(connection)
  }

  /** Tells the observer that the broker refuses or closes this connection. */
  report(connection: Connection, cause: RefusalCause): void {
    const { remoteAddress, origin, session } = connection
    const { id, principal } = session ?? {}
    this.#deps.observer?.onRefused({ cause, remoteAddress, origin, session: id, principal })
  }

  /**
   * Suspends the session of a connection that has ended. The session then lives on without a
   * connection. The lease is how long a session lives without messages of its client. The grace is
   * how long a session lives after its client has closed the connection. The grace is never longer
   * than the lease.
   *
   * @param keepsLease True if the session lives on for its whole lease, because its client may not
   *   know that the connection has ended. False if the session lives on only for its grace.
   */
  #suspendSession(connection: Connection, keepsLease: boolean): void {
    this.#releaseResources(connection)
    const { session, attachEpoch } = connection
    if (session === undefined || this.attached.get(session) !== connection) return
    if (this.#awaitingSuspension.has(connection)) return
    const { log, clock, liveTable, scheduler } = this.#deps
    const suspend = (): number => {
      this.#awaitingSuspension.delete(connection)
      // The session may have ended or resumed meanwhile.
      if (this.attached.get(session) !== connection) return 0
      const unitsBefore = liveTable.workUnits
      const at = clock.wall()
      log.submit({ type: 'suspend', session: session.id, attachEpoch, keep: keepsLease, at })
      return costs.disconnect + liveTable.workUnits - unitsBefore
    }
    // Makes the scheduler read the clock, because `unitsLeft` depends on the time.
    scheduler.allowanceNow()
    // A session without a grace ends when it is suspended, and may then release thousands of locks.
    // Thousands of connections may also end in the same turn. In these cases the scheduler suspends
    // the session later, after messages of other clients.
    if (canEndInOneTurn(session) && scheduler.unitsLeft > 0) scheduler.spend(suspend())
    else {
      this.#awaitingSuspension.add(connection)
      scheduler.add({ work: suspend })
    }
  }

  /** Ends the deadline and the watches of a connection, and stops counting the connection. */
  #releaseResources(connection: Connection): void {
    const { time, admission, watchRegistry, memory } = this.#deps
    time.clearClientDeadline(connection)
    admission.onClosing(connection)
    watchRegistry.removeAll(connection)
    memory.removeConnection(connection)
  }
}
