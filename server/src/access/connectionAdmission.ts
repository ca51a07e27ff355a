/**
 * Which connections the broker takes on, how many of them may be in their handshake, and how long a
 * handshake may take. Also starts and ends the deadline of each connection's token.
 */
import type { BrokerLimits, LimitName } from '../config/limits.js'
import type { Connection } from '../connection/connection.js'
import { PendingConnections } from './pendingConnections.js'
import type { TokenExpiry } from './tokenExpiry.js'

export interface ConnectionAdmissionDeps {
  readonly limits: BrokerLimits
  readonly tokenExpiry: TokenExpiry
  /** Closes a connection whose handshake is not over at its deadline. */
  readonly time: {
    now(): number
    setClientDeadline(connection: Connection, at: number): void
  }
  readonly memory: { readonly isOverfull: boolean }
}

/** A connection that must be closed, and the limit that it exceeds. */
export interface RejectedConnection {
  readonly connection: Connection
  readonly limit: LimitName
  /** The value of the limit. */
  readonly most: number
}

export class ConnectionAdmission {
  readonly #deps: ConnectionAdmissionDeps
  readonly #pendingConnections: PendingConnections<Connection>
  /** Without connections that are being closed, because a flood of those would keep clients out. */
  readonly #open = new Set<Connection>()

  constructor(deps: ConnectionAdmissionDeps) {
    this.#deps = deps
    this.#pendingConnections = new PendingConnections(deps.limits)
  }

  /**
   * Takes on a new connection.
   *
   * @returns The connection that must be closed: this one, or one that has to leave for it;
   *   undefined if there is room for all.
   */
  admit(connection: Connection): RejectedConnection | undefined {
    const { limits, time, memory } = this.#deps
    if (memory.isOverfull) return this.#rejected(connection, 'memoryBytes')
    const isFull = this.#open.size >= limits.connections
    const { refused, displaced } = this.#pendingConnections.enter(connection, isFull)
    if (refused !== undefined) return this.#rejected(connection, refused)
    this.#open.add(connection)
    time.setClientDeadline(connection, time.now() + limits.helloMs)
    if (displaced === undefined) return undefined
    return this.#rejected(displaced, isFull ? 'connections' : 'pendingConnections')
  }

  /** A session is on the connection now. */
  onAttached(connection: Connection): void {
    this.#pendingConnections.leave(connection)
    this.#deps.tokenExpiry.start(connection)
  }

  /** The connection is closed or closing. A second call does nothing. */
  forget(connection: Connection): void {
    this.#open.delete(connection)
    this.#pendingConnections.leave(connection)
    this.#deps.tokenExpiry.end(connection)
  }

  #rejected(connection: Connection, limit: LimitName): RejectedConnection {
    return { connection, limit, most: this.#deps.limits[limit] }
  }
}
