/**
 * The open connections of a broker, the session on each of them, and how a connection ends: by the
 * client, by the broker, or because another connection took its session over.
 */
import { type CloseCode, closeCodes } from '@holdfast/shared'
import type { ConnectionAdmission } from '../access/connectionAdmission.js'
import { limitReason } from '../config/limits.js'
import type { Connection } from '../connection/connection.js'
import type { ConnectionListener } from '../connection/connectionDeps.js'
import type { WorkScheduler } from '../connection/workScheduler.js'
import type { Command, Session } from '../core/index.js'
import { type Observer, type RefusalCause, refusalCauseOf } from '../observability/observer.js'
import type { BrokerTime } from './deadlineHandler.js'
import { endsAtOnce } from './inbound.js'
import type { MemoryAccount } from './memoryAccount.js'
import type { LiveTable } from './statistics.js'
import type { WatchRegistry } from './watchRegistry.js'

/** How long a closing handshake may take before the socket is dropped, in ms. */
const closingMs = 1_000

export interface ConnectionsDeps {
  /** Every connection until its socket is closed, in order of arrival. */
  readonly all: Set<Connection>
  readonly time: Pick<BrokerTime, 'clearClientDeadline' | 'setTimer' | 'clearTimer'>
  readonly admission: ConnectionAdmission
  readonly watches: WatchRegistry
  readonly memory: MemoryAccount
  readonly scheduler: WorkScheduler
  readonly table: LiveTable
  readonly log: { submit(command: Command): void }
  readonly clock: { wall(): number }
  readonly observer: Observer | undefined
}

export class Connections implements ConnectionListener<Connection> {
  readonly #deps: ConnectionsDeps
  /** The connection that each session is on. */
  readonly attached = new Map<Session, Connection>()

  constructor(deps: ConnectionsDeps) {
    this.#deps = deps
  }

  /** Takes on a new connection, or closes it or another one if there are too many. */
  admit(connection: Connection): void {
    const rejected = this.#deps.admission.admit(connection)
    if (rejected === undefined) return
    const { limit, limitValue } = rejected
    this.report(rejected.connection, refusalCauseOf(limit))
    const reason = limitReason(limit, limitValue)
    this.close(rejected.connection, { ...closeCodes.overloaded, reason })
  }

  /** Closes a connection, and makes sure that its socket is closed soon. */
  close(connection: Connection, row: CloseCode): void {
    connection.close(row)
    this.#forget(connection)
    if (connection.state === 'closing') this.#deps.time.setTimer(connection, closingMs)
  }

  /** Closes all connections. */
  closeAll(row: CloseCode): void {
    for (const connection of this.#deps.all) this.close(connection, row)
  }

  onAborted(connection: Connection): void {
    this.#leave(connection, true)
    this.#deps.time.setTimer(connection, closingMs)
  }

  onClosed(connection: Connection): void {
    this.#deps.all.delete(connection)
    this.#leave(connection, false)
    this.#deps.time.clearTimer(connection)
  }

  /** Tells the observer that the broker refuses or closes this connection. */
  report(connection: Connection, cause: RefusalCause): void {
    const { remoteAddress, origin, session } = connection
    const { id, principal } = session ?? {}
    this.#deps.observer?.onRefused({ cause, remoteAddress, origin, session: id, principal })
  }

  /**
   * The connection of a session has ended.
   *
   * @param keep The session keeps its whole lease, because its client may not know of the end.
   */
  #leave(connection: Connection, keep: boolean): void {
    this.#forget(connection)
    const { session, attachEpoch } = connection
    if (session === undefined || this.attached.get(session) !== connection) return
    const { log, clock, table, scheduler } = this.#deps
    const suspend = (): number => {
      if (this.attached.get(session) !== connection) return 0
      const before = table.effectCount
      const at = clock.wall()
      log.submit({ type: 'suspend', session: session.id, attachEpoch, keep, at })
      return table.effectCount - before
    }
    // Suspending may release thousands of locks; then other clients have their turn first.
    if (endsAtOnce(session)) suspend()
    else scheduler.add({ work: suspend })
  }

  /** Ends every deadline, watch and count of this connection. */
  #forget(connection: Connection): void {
    const { time, admission, watches, memory } = this.#deps
    time.clearClientDeadline(connection)
    admission.onClosing(connection)
    watches.removeAll(connection)
    memory.forget(connection)
  }
}
