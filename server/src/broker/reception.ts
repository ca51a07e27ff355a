/**
 * What happens between a hello and its welcome: who is it, which session, on which terms.
 *
 * Opening and resuming are commands, judged by the table at their place in the log; this only asks
 * and passes on the outcome. A resume that is refused becomes an opening in the same breath, so
 * that a client whose session is gone is back after one round trip.
 */
import { type CloseCode, closeCodes, type Hello } from '@holdfast/shared'
import type { Census } from '../access/census.js'
import { gatesFor } from '../access/gate.js'
import { limitReason } from '../access/limits.js'
import { tokenInTheOpen } from '../access/passes.js'
import { type Identity, identify } from '../access/permissions.js'
import type { Connection } from '../connection/connection.js'
import type { SessionLimits } from '../core/commands.js'
import type { Command } from '../core/index.js'
import type { Environment } from '../environment.js'
import type { Sharing } from '../log/log.js'
import type { Observer, RefusalCause } from '../observe/observer.js'
import type { BrokerSettings } from '../options.js'
import type { Home } from './outbound.js'

interface Guest {
  readonly connection: Connection
  readonly hello: Hello
  readonly principal: string
  /** The resume secret it will be given. */
  readonly secret: string | undefined
}

/** A hello that came to its end, for the broker to seat. */
export interface Admission {
  readonly connection: Connection
  readonly secret: string | undefined
}

export interface ReceptionParts {
  readonly settings: BrokerSettings
  readonly environment: Environment
  readonly submit: (command: Command) => void
  readonly census: Census
  readonly memory: { readonly isFull: boolean }
  readonly home: Home
  /** If the log is shared. */
  readonly sharing: Sharing | undefined
  readonly observer: Observer | undefined
}

export class Reception {
  readonly #settings: BrokerSettings
  readonly #environment: Environment
  readonly #submit: (command: Command) => void
  readonly #census: Census
  readonly #memory: { readonly isFull: boolean }
  readonly #home: Home
  readonly #sharing: Sharing | undefined
  readonly #observer: Observer | undefined
  readonly #gateFor: ReturnType<typeof gatesFor>
  /** One object, since every session keeps it. */
  readonly #limits: SessionLimits
  /** By the attempt that the table's answer will name. */
  readonly #guests = new Map<string, Guest>()

  constructor(parts: ReceptionParts) {
    const { settings, environment, submit, census, memory, home, sharing, observer } = parts
    this.#settings = settings
    this.#environment = environment
    this.#submit = submit
    this.#census = census
    this.#memory = memory
    this.#home = home
    this.#sharing = sharing
    this.#observer = observer
    this.#gateFor = gatesFor(settings)
    const { locksPerSession: locks, unacknowledged: answers, waitersPerKey } = settings.limits
    this.#limits = { locks, answers, waitersPerKey }
  }

  /** A connection has said hello. */
  receive(connection: Connection, hello: Hello): void {
    const { authenticate, allowInsecure } = this.#settings
    if (authenticate === undefined) {
      this.#identified(connection, hello, { principal: 'anyone' })
      return
    }
    const { origin, remoteAddress } = connection
    const token = hello.token ?? connection.token
    if (token !== undefined && !connection.isSecure && !allowInsecure) {
      const row = { ...closeCodes.forbidden, reason: tokenInTheOpen }
      this.#turnAway(connection, 'insecure', row)
      return
    }
    identify(authenticate, { token, origin, remoteAddress }).then(
      (identity) => {
        if (connection.state !== 'opening') return
        if (identity !== undefined) this.#identified(connection, hello, identity)
        else this.#turnAway(connection, 'unauthorized', closeCodes.unauthorized)
      },
      () => connection.cut(closeCodes.overloaded),
    )
  }

  /**
   * The table has opened or resumed a session: whose hello was it? Undefined if it was not ours.
   */
  admitted(attempt: string): Admission | undefined {
    const guest = this.#guests.get(attempt)
    this.#guests.delete(attempt)
    return guest
  }

  /** The table has refused a resume: open a new session instead. */
  refused(attempt: string): void {
    const guest = this.#guests.get(attempt)
    if (guest === undefined) return
    this.#guests.delete(attempt)
    if (guest.connection.state === 'opening')
      this.#open(guest.connection, guest.hello, guest.principal)
  }

  /** Nothing that was asked of the table will have an outcome. */
  forgetAll(): void {
    this.#guests.clear()
  }

  #identified(connection: Connection, hello: Hello, identity: Identity): void {
    if (this.#sharing !== undefined && this.#sharing.load !== 'room') {
      connection.cut(closeCodes.overloaded)
      return
    }
    connection.gate = this.#gateFor?.(identity, connection.receivedAt)
    this.#admit(connection, hello, identity.principal)
  }

  #turnAway(connection: Connection, cause: RefusalCause, row: CloseCode): void {
    const { remoteAddress, origin } = connection
    this.#observer?.refused({ cause, remoteAddress, origin })
    connection.cut(row)
  }

  #admit(connection: Connection, hello: Hello, principal: string): void {
    if (hello.resume === undefined) {
      this.#open(connection, hello, principal)
      return
    }
    const { newId, newSecret, hash, clock } = this.#environment
    const attempt = newId()
    const secret = newSecret()
    this.#guests.set(attempt, { connection, hello, principal, secret })
    this.#submit({
      type: 'resume',
      attempt,
      session: hello.resume.session,
      home: this.#home.name,
      principal,
      proof: hash(hello.resume.secret),
      try: hello.resume.try,
      secret: hash(secret),
      at: clock.wall(),
    })
  }

  #open(connection: Connection, hello: Hello, principal: string): void {
    const { newId, newSecret, hash, clock } = this.#environment
    const { lease, grace } = this.#termsFor(hello)
    if (this.#memory.isFull) {
      const reason = limitReason('memoryBytes', this.#settings.limits.memoryBytes)
      this.#turnAway(connection, 'memoryBytes', { ...closeCodes.overloaded, reason })
      return
    }
    const session = newId()
    const limit = this.#census.enter(session, principal, connection.remoteAddress)
    if (limit !== undefined) {
      const reason = limitReason(limit, this.#settings.limits[limit])
      this.#turnAway(connection, limit, { ...closeCodes.quota, reason })
      return
    }
    const secret = grace > 0 ? newSecret() : undefined
    this.#guests.set(session, { connection, hello, principal, secret })
    this.#submit({
      type: 'open',
      attempt: session,
      session,
      home: this.#home.name,
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
