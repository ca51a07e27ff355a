/**
 * Connections as they come, are let in, and go: how many may be at the door, how long they may
 * stand there, and how long their tokens let them stay.
 */
import { type CloseCode, closeCodes } from '@holdfast/shared'
import type { Connection } from '../connection/connection.js'
import type { RefusalCause } from '../observe/observer.js'
import { type BrokerLimits, type LimitName, limitReason } from './limits.js'
import { Newcomers } from './newcomers.js'
import type { Passes } from './passes.js'

export interface ArrivalsParts {
  readonly limits: BrokerLimits
  readonly passes: Passes
  /** Unless it is let in within this many ms, the connection is cut. */
  readonly expect: (connection: Connection, ms: number) => void
  readonly close: (connection: Connection, row: CloseCode) => void
  readonly refused: (connection: Connection, cause: RefusalCause) => void
  readonly memory: { readonly isOverfull: boolean }
}

export class Arrivals {
  readonly #parts: ArrivalsParts
  readonly #newcomers: Newcomers<Connection>
  /** Without those that are being closed, or a flood of those would keep clients out. */
  readonly #open = new Set<Connection>()

  constructor(parts: ArrivalsParts) {
    this.#parts = parts
    this.#newcomers = new Newcomers(parts.limits)
  }

  /** A connection has come: takes it on, or turns it away, or another one in its place. */
  takeOn(connection: Connection): void {
    const { limits, expect, memory } = this.#parts
    if (memory.isOverfull) {
      this.#turnAway(connection, 'memoryBytes')
      return
    }
    const isFull = this.#open.size >= limits.connections
    const { refused, displaced } = this.#newcomers.enter(connection, isFull)
    if (refused !== undefined) {
      this.#turnAway(connection, refused)
      return
    }
    if (displaced !== undefined) this.#turnAway(displaced, isFull ? 'connections' : 'newcomers')
    this.#open.add(connection)
    expect(connection, limits.helloMs)
  }

  /** A session is on the connection now. */
  letIn(connection: Connection): void {
    this.#newcomers.leave(connection)
    this.#parts.passes.start(connection)
  }

  /** It is gone or going; more than once does no harm. */
  forget(connection: Connection): void {
    this.#open.delete(connection)
    this.#newcomers.leave(connection)
    this.#parts.passes.end(connection)
  }

  #turnAway(connection: Connection, limit: LimitName): void {
    const { limits, close, refused } = this.#parts
    refused(connection, limit)
    close(connection, { ...closeCodes.overloaded, reason: limitReason(limit, limits[limit]) })
  }
}
