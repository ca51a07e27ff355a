/**
 * Decides which new connections the broker accepts, and sets the deadline of each handshake. The
 * handshake of a connection begins with the HTTP upgrade and ends with the message `welcome`. After
 * the handshake, {@link TokenExpiry} closes the connection when its token expires.
 */
import type { BrokerLimits, LimitName } from '../config/limits.js'
import type { Connection } from '../connection/connection.js'
import { PendingConnections } from './pendingConnections.js'
import type { TokenExpiry } from './tokenExpiry.js'

export interface ConnectionAdmissionDeps {
  readonly limits: BrokerLimits
  readonly tokenExpiry: TokenExpiry
  readonly time: {
    now(): number
    /** Makes the broker close the connection if its handshake is not over at the time `at`. */
    setClientDeadline(connection: Connection, at: number): void
  }
  /** `isOverfull`: whether the memory of the broker is so full that it refuses new connections. */
  readonly memory: { readonly isOverfull: boolean }
}

/** A connection that the caller must close, and the limit that is the reason. */
export interface RejectedConnection {
  readonly connection: Connection
  readonly limit: LimitName
  readonly limitValue: number
}

export class ConnectionAdmission {
  readonly #deps: ConnectionAdmissionDeps
  readonly #pendingConnections: PendingConnections<Connection>
  /**
   * The connections that count for the limit `connections`. Closing connections do not count,
   * because a flood of closing connections could otherwise keep clients out.
   */
  readonly #open = new Set<Connection>()

  constructor(deps: ConnectionAdmissionDeps) {
    this.#deps = deps
    this.#pendingConnections = new PendingConnections(deps.limits)
  }

  /**
   * Accepts or rejects a new connection.
   *
   * @returns The connection that the caller must close: the new connection, or an older pending
   *   connection that the new connection displaces. Undefined if no connection must be closed.
   */
  admit(connection: Connection): RejectedConnection | undefined {
    const { limits, time, memory } = this.#deps
    if (memory.isOverfull) return this.#rejected(connection, 'memoryBytes')
    // At the limit `connections`, a new connection may still displace a pending connection.
    const isFull = this.#open.size >= limits.connections
    const { exceededLimit, displacedConnection } = this.#pendingConnections.add(connection, isFull)
    if (exceededLimit !== undefined) return this.#rejected(connection, exceededLimit)
    // If a connection is displaced, `#open` has one too many until the caller closes it.
    this.#open.add(connection)
    time.setClientDeadline(connection, time.now() + limits.helloMs)
    if (displacedConnection === undefined) return undefined
    return this.#rejected(displacedConnection, isFull ? 'connections' : 'pendingConnections')
  }

  /** Must be called when the connection gets its session, which ends the handshake. */
  onAttached(connection: Connection): void {
    this.#pendingConnections.remove(connection)
    this.#deps.tokenExpiry.start(connection)
  }

  /** Must be called when the connection closes. Further calls change nothing. */
  onClosing(connection: Connection): void {
    this.#open.delete(connection)
    this.#pendingConnections.remove(connection)
    this.#deps.tokenExpiry.end(connection)
  }

  #rejected(connection: Connection, limit: LimitName): RejectedConnection {
    return { connection, limit, limitValue: this.#deps.limits[limit] }
  }
}
