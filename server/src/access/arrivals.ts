/**
 * Connections as they come, are let in, and go: how many may be at the door, how long they may
 * stand there, and how long their tokens let them stay.
 */
import { type CloseCode, closeCodes } from '@holdfast/shared'
import type { Connection } from '../connection/connection.js'
import type { RefusalCause } from '../observe/observer.js'
import { Newcomers } from './census.js'
import { type BrokerLimits, limitReason } from './limits.js'
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
  readonly #newcomers: Newcomers

  constructor(parts: ArrivalsParts) {
    this.#parts = parts
    this.#newcomers = new Newcomers(parts.limits)
  }

  /** @param open How many connections are open with this one. */
  takeOn(connection: Connection, open: number): void {
    const { limits, expect, close, refused } = this.#parts
    const limit = open > limits.connections ? 'connections' : this.#newcomers.enter(connection)
    if (limit === undefined) {
      expect(connection, limits.helloMs)
      return
    }
    refused(connection, limit)
    close(connection, { ...closeCodes.overloaded, reason: limitReason(limit, limits[limit]) })
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
}
