/**
 * Closes connections whose token has expired. The broker sends the message `expiring` before the
 * token expires, so that the client can send a new token (the message `auth`) on this connection.
 */
import { type AuthRequest, type Clock, closeCodes } from '@holdfast/shared'
import { type Identity, identify } from '../config/permissions.js'
import type { BrokerSettings } from '../config/settings.js'
import { costs } from '../config/workCosts.js'
import type { Connection } from '../connection/connection.js'
import type { Observer } from '../observability/observer.js'
import { encodeAuthenticated, encodeFailed } from '../protocol/encodeAnswers.js'
import { encodeExpiring } from '../protocol/encodeSessionMessages.js'

/** The broker warns the client this long before the token expires, in ms. */
const warningMs = 30_000

/** The error message for a token on a connection that is not encrypted. */
export const tokenOverPlainText = 'a token over plain ws:// is refused; use wss://'

/** When the token of a connection expires. The timekeeper keeps the timer for this object. */
export class TokenDeadline {
  readonly connection: Connection
  /** In ms of the wall clock (since 1970), like the time in a token. */
  readonly expiresAt: number
  /** Whether the broker has sent `expiring` to the client. */
  isWarned = false

  constructor(connection: Connection, expiresAt: number) {
    this.connection = connection
    this.expiresAt = expiresAt
  }
}

export interface TokenExpiryDeps {
  readonly observer?: Pick<Observer, 'onTokenChecked'> | undefined
  readonly settings: Pick<BrokerSettings, 'authenticate' | 'allowInsecure'>
  readonly clock: Clock
  readonly time: {
    /** After `ms`, the timer calls {@link TokenExpiry.onTimer} with this deadline. */
    setTimer(deadline: TokenDeadline, ms: number): void
    clearTimer(deadline: TokenDeadline): void
  }
}

export class TokenExpiry {
  readonly #deps: TokenExpiryDeps
  readonly #deadlines = new Map<Connection, TokenDeadline>()
  /** Connections whose new token is being authenticated. */
  readonly #authenticating = new Set<Connection>()

  constructor(deps: TokenExpiryDeps) {
    this.#deps = deps
  }

  /** Sets the deadline of a connection's token, in place of the deadline of an earlier token. */
  start(connection: Connection): void {
    this.end(connection)
    const expiresAt = connection.policy?.identity.expiresAt
    if (expiresAt === undefined) return
    const deadline = new TokenDeadline(connection, expiresAt)
    this.#deadlines.set(connection, deadline)
    this.#deps.time.setTimer(deadline, Math.max(0, this.#msLeft(deadline) - warningMs))
  }

  /** Cancels the deadline of a connection, if the connection has a deadline. */
  end(connection: Connection): void {
    const deadline = this.#deadlines.get(connection)
    if (deadline === undefined) return
    this.#deadlines.delete(connection)
    this.#deps.time.clearTimer(deadline)
  }

  /**
   * The first call warns the client. A later call closes the connection when the token has expired.
   * Returns the cost in units of work (see `config/workCosts.ts`).
   */
  onTimer(deadline: TokenDeadline): number {
    const msLeft = Math.max(0, this.#msLeft(deadline))
    if (deadline.isWarned && msLeft === 0) {
      const reason = `${closeCodes.unauthorized.reason}: the token has expired`
      deadline.connection.abort({ ...closeCodes.unauthorized, reason })
      return costs.disconnect
    }
    if (!deadline.isWarned) deadline.connection.send(encodeExpiring(msLeft))
    deadline.isWarned = true
    // Also starts the timer again if the wall clock was set back since the warning.
    this.#deps.time.setTimer(deadline, msLeft)
    return costs.message
  }

  /** Authenticates the new token of a client, and answers the request. */
  renew(connection: Connection, { id, token }: AuthRequest): void {
    const { authenticate, allowInsecure } = this.#deps.settings
    // Without `authenticate`, the broker accepts every token. The check of `policy` is only for the
    // compiler, because with `authenticate` every connection has a policy.
    if (authenticate === undefined || connection.policy === undefined) {
      connection.send(encodeAuthenticated(id))
      return
    }
    if (!connection.isSecure && !allowInsecure) {
      connection.send(encodeFailed(id, 'UNAUTHORIZED', tokenOverPlainText))
      return
    }
    if (this.#authenticating.has(connection)) {
      const message = 'another new token is still being checked: wait for the answer'
      connection.send(encodeFailed(id, 'QUOTA_EXCEEDED', message))
      return
    }
    this.#authenticating.add(connection)
    const { origin, remoteAddress } = connection
    identify(authenticate, { token, origin, remoteAddress })
      .catch(() => 'unavailable' as const)
      .then((identity) => {
        this.#authenticating.delete(connection)
        this.#answer(connection, id, identity)
      })
  }

  /**
   * Answers the request with which the client sent the new token. `newIdentity` is undefined if the
   * token is not valid.
   */
  #answer(connection: Connection, id: number, newIdentity: Identity | 'unavailable' | undefined) {
    const { policy, session, remoteAddress } = connection
    if (policy === undefined || connection.state !== 'open') return
    const { principal } = policy.identity
    if (session !== undefined && newIdentity !== 'unavailable') {
      const isAccepted = newIdentity?.principal === principal
      const notice = { isAccepted, session: session.id, principal, remoteAddress }
      this.#deps.observer?.onTokenChecked?.(notice)
    }
    if (newIdentity === 'unavailable') {
      connection.send(encodeFailed(id, 'UNAVAILABLE', 'the token could not be checked: try again'))
    } else if (newIdentity?.principal !== principal) {
      // A session belongs to one principal, so a new token must name the same principal.
      connection.send(encodeFailed(id, 'UNAUTHORIZED'))
    } else {
      policy.replaceIdentity(newIdentity)
      this.start(connection)
      connection.send(encodeAuthenticated(id))
    }
  }

  #msLeft({ expiresAt }: TokenDeadline): number {
    return expiresAt - this.#deps.clock.wall()
  }
}
