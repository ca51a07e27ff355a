/**
 * What happens between a hello and its welcome: who is it, which session, on which terms.
 *
 * Opening and resuming are commands, judged by the table at their place in the log; this only asks
 * and passes on the outcome. A resume that is refused becomes an opening in the same breath, so
 * that a client whose session is gone is back after one round trip.
 */
import { type CloseCode, closeCodes, type Hello } from '@holdfast/shared'
import { policiesFor } from '../access/requestPolicy.js'
import type { SessionQuota } from '../access/sessionQuota.js'
import { tokenOverPlainText } from '../access/tokenExpiry.js'
import { limitReason } from '../config/limits.js'
import { type Identity, identify } from '../config/permissions.js'
import type { BrokerSettings } from '../config/settings.js'
import type { Connection } from '../connection/connection.js'
import type { SessionLimits } from '../core/commands.js'
import type { Command } from '../core/index.js'
import type { Membership } from '../log/log.js'
import { type Observer, type RefusalCause, refusalCauseOf } from '../observability/observer.js'
import type { Environment } from '../platform/environment.js'

/**
 * The name of this broker among the brokers that share its log. The broker keeps the deadlines of
 * the sessions that have this owner, and of no others. With a log of its own the name is '', and
 * every session has that owner; with a shared log no session has it.
 */
export interface OwnerBroker {
  name: string
}

interface PendingHandshake {
  readonly connection: Connection
  readonly hello: Hello
  readonly principal: string
  /** The resume secret it will be given. */
  readonly secret: string | undefined
}

/** A hello that came to its end, for the broker to seat. */
export interface AcceptedHandshake {
  readonly connection: Connection
  readonly secret: string | undefined
}

export interface HandshakeDeps {
  readonly settings: BrokerSettings
  readonly environment: Environment
  readonly log: { submit(command: Command): void }
  readonly sessionQuota: SessionQuota
  readonly memory: { readonly isFull: boolean }
  readonly ownerBroker: OwnerBroker
  /** If the log is shared. */
  readonly membership: Membership | undefined
  readonly observer: Observer | undefined
}

export class Handshake {
  readonly #settings: BrokerSettings
  readonly #environment: Environment
  readonly #log: { submit(command: Command): void }
  readonly #sessionQuota: SessionQuota
  readonly #memory: { readonly isFull: boolean }
  readonly #ownerBroker: OwnerBroker
  readonly #membership: Membership | undefined
  readonly #observer: Observer | undefined
  readonly #policyFor: ReturnType<typeof policiesFor>
  /** One object, since every session keeps it. */
  readonly #limits: SessionLimits
  /** By the attempt that the table's answer will name. */
  readonly #pending = new Map<string, PendingHandshake>()

  constructor(deps: HandshakeDeps) {
    const { settings, environment, log, sessionQuota, memory, ownerBroker, membership, observer } =
      deps
    this.#settings = settings
    this.#environment = environment
    this.#log = log
    this.#sessionQuota = sessionQuota
    this.#memory = memory
    this.#ownerBroker = ownerBroker
    this.#membership = membership
    this.#observer = observer
    this.#policyFor = policiesFor(settings)
    const { locksPerSession: locks, unacknowledged: answers, waitersPerKey } = settings.limits
    this.#limits = { locks, answers, waitersPerKey }
  }

  /** A connection has said hello. */
  begin(connection: Connection, hello: Hello): void {
    const { authenticate, allowInsecure } = this.#settings
    if (authenticate === undefined) {
      this.#identified(connection, hello, { principal: 'anyone' })
      return
    }
    const { origin, remoteAddress } = connection
    const token = hello.token ?? connection.token
    if (token !== undefined && !connection.isSecure && !allowInsecure) {
      const row = { ...closeCodes.forbidden, reason: tokenOverPlainText }
      this.#turnAway(connection, 'insecure', row)
      return
    }
    identify(authenticate, { token, origin, remoteAddress }).then(
      (identity) => {
        if (connection.state !== 'opening') return
        if (identity !== undefined) this.#identified(connection, hello, identity)
        else this.#turnAway(connection, 'unauthorized', closeCodes.unauthorized)
      },
      () => connection.abort(closeCodes.overloaded),
    )
  }

  /**
   * The table has opened or resumed a session: whose hello was it? Undefined if it was not ours.
   */
  admitted(attempt: string): AcceptedHandshake | undefined {
    const guest = this.#pending.get(attempt)
    this.#pending.delete(attempt)
    return guest
  }

  /** The table has refused a resume: open a new session instead. */
  refused(attempt: string): void {
    const guest = this.#pending.get(attempt)
    if (guest === undefined) return
    this.#pending.delete(attempt)
    if (guest.connection.state === 'opening')
      this.#open(guest.connection, guest.hello, guest.principal)
  }

  /** Nothing that was asked of the table will have an outcome. */
  forgetAll(): void {
    this.#pending.clear()
  }

  #identified(connection: Connection, hello: Hello, identity: Identity): void {
    if (this.#membership !== undefined && this.#membership.load !== 'ok') {
      connection.abort(closeCodes.overloaded)
      return
    }
    connection.policy = this.#policyFor?.(identity, connection.receivedAt)
    this.#admit(connection, hello, identity.principal)
  }

  #turnAway(connection: Connection, cause: RefusalCause, row: CloseCode): void {
    const { remoteAddress, origin } = connection
    this.#observer?.onRefused({ cause, remoteAddress, origin })
    connection.abort(row)
  }

  #admit(connection: Connection, hello: Hello, principal: string): void {
    if (hello.resume === undefined) {
      this.#open(connection, hello, principal)
      return
    }
    const { newId, newSecret, hash, clock } = this.#environment
    const attempt = newId()
    const secret = newSecret()
    this.#pending.set(attempt, { connection, hello, principal, secret })
    this.#log.submit({
      type: 'resume',
      handshakeId: attempt,
      session: hello.resume.session,
      ownerBroker: this.#ownerBroker.name,
      principal,
      proof: hash(hello.resume.secret),
      resumeAttempt: hello.resume.try,
      secret: hash(secret),
      at: clock.wall(),
    })
  }

  #open(connection: Connection, hello: Hello, principal: string): void {
    const { newId, newSecret, hash, clock } = this.#environment
    const { lease, grace } = this.#termsFor(hello)
    if (this.#memory.isFull) {
      const reason = limitReason('memoryBytes', this.#settings.limits.memoryBytes)
      this.#turnAway(connection, 'memory_bytes', { ...closeCodes.overloaded, reason })
      return
    }
    const session = newId()
    const limit = this.#sessionQuota.reserve(session, principal, connection.remoteAddress)
    if (limit !== undefined) {
      const reason = limitReason(limit, this.#settings.limits[limit])
      this.#turnAway(connection, refusalCauseOf(limit), { ...closeCodes.quota, reason })
      return
    }
    const secret = grace > 0 ? newSecret() : undefined
    this.#pending.set(session, { connection, hello, principal, secret })
    this.#log.submit({
      type: 'open',
      handshakeId: session,
      session,
      ownerBroker: this.#ownerBroker.name,
      principal,
      name: hello.name,
      lease,
      grace,
      secret: secret === undefined ? undefined : hash(secret),
      limits: this.#limits,
      at: clock.wall(),
    })
  }

  #termsFor(hello: Hello): { lease: number; grace: number } {
    const bounds = this.#settings.lease
    const lease = Math.min(Math.max(hello.lease ?? bounds.default, bounds.min), bounds.max)
    const grace = hello.grace === 'lease' ? lease : Math.min(hello.grace ?? 0, lease)
    return { lease, grace }
  }
}
