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
}

export class Arrivals {
  readonly #parts: ArrivalsParts
  readonly #newcomers: Newcomers<Connection>

  constructor(parts: ArrivalsParts) {
    this.#parts = parts
    this.#newcomers = new Newcomers(parts.limits)
  }

  /** @param open How many connections are open with this one. */
  takeOn(connection: Connection, open: number): void {
    const { limits, expect } = this.#parts
    if (open > limits.connections) {
      this.#turnAway(connection, 'connections')
      return
    }
    const { refused, displaced } = this.#newcomers.enter(connection)
    if (displaced !== undefined) this.#turnAway(displaced, 'newcomers')
    if (refused === undefined) expect(connection, limits.helloMs)
    else this.#turnAway(connection, refused)
  }

  /** A session is on the connection now. */
  letIn(connection: Connection): void {
    this.#newcomers.leave(connection)
    this.#parts.passes.start(connection)
  }

  /** It is gone or going; more than once does no harm. */
  forget(connection: Connection): void {
    this.#newcomers.leave(connection)
    this.#parts.passes.end(connection)
  }

  #turnAway(connection: Connection, limit: LimitName): void {
    const { limits, close, refused } = this.#parts
    refused(connection, limit)
    close(connection, { ...closeCodes.overloaded, reason: limitReason(limit, limits[limit]) })
  }
}
