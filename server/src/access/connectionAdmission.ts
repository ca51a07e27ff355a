/**
 * Connections as they come, are let in, and go: how many may be at the door, how long they may
 * stand there, and how long their tokens let them stay.
 */
import { type CloseCode, closeCodes } from '@holdfast/shared'
import { type BrokerLimits, type LimitName, limitReason } from '../config/limits.js'
import type { Connection } from '../connection/connection.js'
import type { RefusalCause } from '../observability/observer.js'
import { PendingConnections } from './pendingConnections.js'
import type { TokenExpiry } from './tokenExpiry.js'

export interface ConnectionAdmissionDeps {
  readonly limits: BrokerLimits
  readonly tokenExpiry: TokenExpiry
  /** Unless it is let in within this many ms, the connection is cut. */
  readonly setClientDeadline: (connection: Connection, ms: number) => void
  readonly close: (connection: Connection, row: CloseCode) => void
  readonly refused: (connection: Connection, cause: RefusalCause) => void
  readonly memory: { readonly isOverfull: boolean }
}

export class ConnectionAdmission {
  readonly #deps: ConnectionAdmissionDeps
  readonly #pendingConnections: PendingConnections<Connection>
  /** Without those that are being closed, or a flood of those would keep clients out. */
  readonly #open = new Set<Connection>()

  constructor(deps: ConnectionAdmissionDeps) {
    this.#deps = deps
    this.#pendingConnections = new PendingConnections(deps.limits)
  }

  /** A connection has come: takes it on, or turns it away, or another one in its place. */
  admit(connection: Connection): void {
    const { limits, setClientDeadline, memory } = this.#deps
    if (memory.isOverfull) {
      this.#reject(connection, 'memoryBytes')
      return
    }
    const isFull = this.#open.size >= limits.connections
    const { refused, displaced } = this.#pendingConnections.enter(connection, isFull)
    if (refused !== undefined) {
      this.#reject(connection, refused)
      return
    }
    if (displaced !== undefined)
      this.#reject(displaced, isFull ? 'connections' : 'pendingConnections')
    this.#open.add(connection)
    setClientDeadline(connection, limits.helloMs)
  }

  /** A session is on the connection now. */
  onAttached(connection: Connection): void {
    this.#pendingConnections.leave(connection)
    this.#deps.tokenExpiry.start(connection)
  }

  /** It is gone or going; more than once does no harm. */
  forget(connection: Connection): void {
    this.#open.delete(connection)
    this.#pendingConnections.leave(connection)
    this.#deps.tokenExpiry.end(connection)
  }

  #reject(connection: Connection, limit: LimitName): void {
    const { limits, close, refused } = this.#deps
    refused(connection, limit)
    close(connection, { ...closeCodes.overloaded, reason: limitReason(limit, limits[limit]) })
  }
}
