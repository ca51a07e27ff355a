/**
 * How long somebody may stay: a token that ends is honoured to its end and no longer. Its client is
 * told in time to show a new one on the same connection.
 */
import { type AuthRequest, type Clock, closeCodes } from '@holdfast/shared'
import { encodeAuthenticated, encodeExpiring, encodeFailed } from '../broker/encode.js'
import type { Connection } from '../connection/connection.js'
import type { BrokerSettings } from '../options.js'
import { type Identity, identify } from './permissions.js'

/** How long before the end of its token a client is told, in ms. */
const warningMs = 30_000

/** What is said to whoever shows a token that others on the network can read. */
export const tokenInTheOpen = 'a token over plain ws:// is refused; use wss://'

/** One connection's time: a claim for the timekeeper. */
export class Pass {
  readonly connection: Connection
  /** By the wall clock, as tokens say it. */
  readonly endsAt: number
  isWarned = false

  constructor(connection: Connection, endsAt: number) {
    this.connection = connection
    this.endsAt = endsAt
  }
}

export interface PassesParts {
  readonly settings: Pick<BrokerSettings, 'authenticate' | 'allowInsecure'>
  readonly clock: Clock
  /** Calls `due` with the pass in this many ms, unless that is cancelled. */
  readonly time: { promise(pass: Pass, ms: number): void; cancel(pass: Pass): void }
}

export class Passes {
  readonly #parts: PassesParts
  readonly #passes = new Map<Connection, Pass>()
  /** Who is being asked about at the moment. */
  readonly #asking = new Set<Connection>()

  constructor(parts: PassesParts) {
    this.#parts = parts
  }

  /** The connection was let in, or its token was renewed. */
  start(connection: Connection): void {
    this.end(connection)
    const endsAt = connection.gate?.identity.expiresAt
    if (endsAt === undefined) return
    const pass = new Pass(connection, endsAt)
    this.#passes.set(connection, pass)
    this.#parts.time.promise(pass, Math.max(0, this.#leftOf(pass) - warningMs))
  }

  /** The connection is gone. */
  end(connection: Connection): void {
    const pass = this.#passes.get(connection)
    if (pass === undefined) return
    this.#passes.delete(connection)
    this.#parts.time.cancel(pass)
  }

  /** It is time to warn, or to close. */
  due(pass: Pass): void {
    const left = Math.max(0, this.#leftOf(pass))
    if (pass.isWarned && left === 0) {
      pass.connection.cut(closeCodes.unauthorized)
      return
    }
    if (!pass.isWarned) pass.connection.send(encodeExpiring(left))
    pass.isWarned = true
    this.#parts.time.promise(pass, left)
  }

  /** A client shows a new token. */
  renew(connection: Connection, { id, token }: AuthRequest): void {
    const { authenticate, allowInsecure } = this.#parts.settings
    if (authenticate === undefined || connection.gate === undefined) {
      connection.send(encodeAuthenticated(id))
      return
    }
    if (!connection.isSecure && !allowInsecure) {
      connection.send(encodeFailed(id, 'UNAUTHORIZED', tokenInTheOpen))
      return
    }
    if (this.#asking.has(connection)) {
      const message = 'the token before this one is still being looked at'
      connection.send(encodeFailed(id, 'QUOTA_EXCEEDED', message))
      return
    }
    this.#asking.add(connection)
    const { origin, remoteAddress } = connection
    identify(authenticate, { token, origin, remoteAddress })
      .catch(() => 'not now' as const)
      .then((identity) => {
        this.#asking.delete(connection)
        this.#judge(connection, id, identity)
      })
  }

  #judge(connection: Connection, id: number, identity: Identity | 'not now' | undefined): void {
    const { gate } = connection
    if (gate === undefined || connection.state !== 'open') return
    if (identity === 'not now') {
      connection.send(encodeFailed(id, 'UNAVAILABLE', 'tokens cannot be checked just now'))
    } else if (identity?.principal !== gate.identity.principal) {
      connection.send(encodeFailed(id, 'UNAUTHORIZED'))
    } else {
      gate.renew(identity)
      this.start(connection)
      connection.send(encodeAuthenticated(id))
    }
  }

  #leftOf({ endsAt }: Pass): number {
    return endsAt - this.#parts.clock.wall()
  }
}
