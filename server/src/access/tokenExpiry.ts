/**
 * How long somebody may stay: a token that ends is honoured to its end and no longer. Its client is
 * told in time to show a new one on the same connection.
 */
import { type AuthRequest, type Clock, closeCodes } from '@holdfast/shared'
import { type Identity, identify } from '../config/permissions.js'
import type { BrokerSettings } from '../config/settings.js'
import type { Connection } from '../connection/connection.js'
import { encodeAuthenticated, encodeExpiring, encodeFailed } from '../protocol/encode.js'

/** How long before the end of its token a client is told, in ms. */
const warningMs = 30_000

/** What is said to whoever shows a token that others on the network can read. */
export const tokenOverPlainText = 'a token over plain ws:// is refused; use wss://'

/** One connection's time: a claim for the timekeeper. */
export class TokenDeadline {
  readonly connection: Connection
  /** By the wall clock, as tokens say it. */
  readonly endsAt: number
  isWarned = false

  constructor(connection: Connection, endsAt: number) {
    this.connection = connection
    this.endsAt = endsAt
  }
}

export interface TokenExpiryDeps {
  readonly settings: Pick<BrokerSettings, 'authenticate' | 'allowInsecure'>
  readonly clock: Clock
  /** Calls `due` with the pass in this many ms, unless that is cancelled. */
  readonly time: {
    setTimer(pass: TokenDeadline, ms: number): void
    clearTimer(pass: TokenDeadline): void
  }
}

export class TokenExpiry {
  readonly #deps: TokenExpiryDeps
  readonly #deadlines = new Map<Connection, TokenDeadline>()
  /** Who is being asked about at the moment. */
  readonly #asking = new Set<Connection>()

  constructor(deps: TokenExpiryDeps) {
    this.#deps = deps
  }

  /** The connection was let in, or its token was renewed. */
  start(connection: Connection): void {
    this.end(connection)
    const endsAt = connection.policy?.identity.expiresAt
    if (endsAt === undefined) return
    const pass = new TokenDeadline(connection, endsAt)
    this.#deadlines.set(connection, pass)
    this.#deps.time.setTimer(pass, Math.max(0, this.#leftOf(pass) - warningMs))
  }

  /** The connection is gone. */
  end(connection: Connection): void {
    const pass = this.#deadlines.get(connection)
    if (pass === undefined) return
    this.#deadlines.delete(connection)
    this.#deps.time.clearTimer(pass)
  }

  /** It is time to warn, or to close. */
  due(pass: TokenDeadline): void {
    const left = Math.max(0, this.#leftOf(pass))
    if (pass.isWarned && left === 0) {
      pass.connection.abort(closeCodes.unauthorized)
      return
    }
    if (!pass.isWarned) pass.connection.send(encodeExpiring(left))
    pass.isWarned = true
    this.#deps.time.setTimer(pass, left)
  }

  /** A client shows a new token. */
  renew(connection: Connection, { id, token }: AuthRequest): void {
    const { authenticate, allowInsecure } = this.#deps.settings
    if (authenticate === undefined || connection.policy === undefined) {
      connection.send(encodeAuthenticated(id))
      return
    }
    if (!connection.isSecure && !allowInsecure) {
      connection.send(encodeFailed(id, 'UNAUTHORIZED', tokenOverPlainText))
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
    const { policy } = connection
    if (policy === undefined || connection.state !== 'open') return
    if (identity === 'not now') {
      connection.send(encodeFailed(id, 'UNAVAILABLE', 'tokens cannot be checked just now'))
    } else if (identity?.principal !== policy.identity.principal) {
      connection.send(encodeFailed(id, 'UNAUTHORIZED'))
    } else {
      policy.renew(identity)
      this.start(connection)
      connection.send(encodeAuthenticated(id))
    }
  }

  #leftOf({ endsAt }: TokenDeadline): number {
    return endsAt - this.#deps.clock.wall()
  }
}
