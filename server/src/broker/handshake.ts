/**
 * The handshake, from `hello` to `welcome`: authenticates the client, applies the limits of
 * sessions, and opens or resumes a session. A session is the relationship of a client with the
 * broker, and owns the locks of the client.
 *
 * To resume a session means to continue the session on a new connection. The handshake submits a
 * command that opens or resumes a session. The command log delivers the command to the lock table,
 * which executes the command. The effect of the command makes the broker call `complete` or
 * `onResumeRefused`. After a refused resume the broker opens a new session at once, so that a
 * client whose session has ended needs only one round trip.
 *
 * The checks of a thousand tokens may end in the same turn of the event loop. So the handshakes of
 * authenticated clients have a work budget in each turn. Handshakes beyond the budget wait for
 * later turns.
 */
import { type CloseCode, cellText, closeCodes, type Hello } from '@holdfast/shared'
import { policiesFor } from '../access/requestPolicy.js'
import type { SessionQuota } from '../access/sessionQuota.js'
import { tokenOverPlainText } from '../access/tokenExpiry.js'
import { limitReason, off } from '../config/limits.js'
import { type Identity, identify } from '../config/permissions.js'
import type { BrokerSettings } from '../config/settings.js'
import { costs, turnBudget } from '../config/workCosts.js'
import { AddressPacer, type ArrivalWork } from '../connection/addressPacer.js'
import type { Connection } from '../connection/connection.js'
import type { WorkScheduler } from '../connection/workScheduler.js'
import type { Command } from '../core/index.js'
import type { SessionLimits } from '../core/sessionCommands.js'
import type { Membership } from '../log/log.js'
import { type Observer, type RefusalCause, refusalCauseOf } from '../observability/observer.js'
import type { Environment } from '../platform/environment.js'

/**
 * The name of this broker, which is the `ownerBroker` of each session that this broker owns. The
 * owner broker of a session keeps the deadlines of the session. Without a cluster the name is
 * always ''. In a cluster the name is '' until this broker serves, because the broker owns no
 * session before that time.
 */
export interface OwnerBroker {
  name: string
}

interface PendingHandshake {
  readonly connection: Connection
  readonly hello: Hello
  readonly principal: string
  /**
   * The secret that the client gets in `welcome` and needs to resume. Undefined without a grace
   * (the time in which a client may resume).
   */
  readonly secret: string | undefined
}

/** A handshake that the lock table has accepted: its session can be attached to the connection. */
export interface AcceptedHandshake {
  readonly connection: Connection
  readonly secret: string | undefined
}

/** A handshake whose token has been checked, and which continues now or in a later turn. */
interface CheckedHandshake extends ArrivalWork {
  readonly connection: Connection
  readonly hello: Hello
  /** Undefined if the broker refuses the client. */
  readonly identity: Identity | undefined
}

export interface HandshakeDeps {
  readonly scheduler: WorkScheduler
  /**
   * `workUnits` counts the work of all commands. Its increase during a handshake is the work of the
   * handshake's command.
   */
  readonly liveTable: { readonly workUnits: number }
  readonly settings: BrokerSettings
  readonly environment: Environment
  readonly log: { submit(command: Command): void }
  readonly sessionQuota: SessionQuota
  readonly memory: { readonly isFull: boolean }
  readonly thisBroker: OwnerBroker
  /** Undefined unless other brokers share the log. */
  readonly membership: Membership | undefined
  readonly observer: Observer | undefined
}

export class Handshake {
  readonly #settings: BrokerSettings
  readonly #environment: Environment
  readonly #log: { submit(command: Command): void }
  readonly #sessionQuota: SessionQuota
  readonly #memory: { readonly isFull: boolean }
  readonly #thisBroker: OwnerBroker
  readonly #membership: Membership | undefined
  readonly #observer: Observer | undefined
  readonly #policyFor: ReturnType<typeof policiesFor>
  /** One object for all sessions, because every session keeps a reference to this object. */
  readonly #sessionLimits: SessionLimits
  /** By handshake id. A submitted command and its effect have the same handshake id. */
  readonly #pending = new Map<string, PendingHandshake>()
  readonly #pacer: AddressPacer<CheckedHandshake>

  constructor(deps: HandshakeDeps) {
    const { settings, environment, log, sessionQuota, memory, thisBroker, membership, observer } =
      deps
    const { scheduler, liveTable } = deps
    const { clock, endOfTurn } = environment
    this.#pacer = new AddressPacer({
      scheduler,
      clock,
      endOfTurn,
      unitsPerTurn: turnBudget.identified,
      work: (handshake) => {
        const unitsBefore = liveTable.workUnits
        const units = this.#continue(handshake)
        return units + liveTable.workUnits - unitsBefore
      },
    })
    this.#settings = settings
    this.#environment = environment
    this.#log = log
    this.#sessionQuota = sessionQuota
    this.#memory = memory
    this.#thisBroker = thisBroker
    this.#membership = membership
    this.#observer = observer
    this.#policyFor = policiesFor(settings)
    // Some limits have other names in the lock table than in the settings. `unacknowledged` is the
    // limit of answers that the client has not acknowledged.
    const { locksPerSession: locks, unacknowledged: answers, waitersPerKey } = settings.limits
    const { barriersPerSession: barriers, deadlockVisits, maxHoldMs } = settings.limits
    // JSON, the format of the command log, cannot express `off`, which is Infinity.
    const maxHold = maxHoldMs === off ? undefined : maxHoldMs
    const { keptResults, keptResultBytes } = settings.limits
    const tableLimits = { locks, answers, waitersPerKey, barriers, deadlockVisits, maxHold }
    this.#sessionLimits = { ...tableLimits, keptResults, keptResultBytes }
  }

  /** Begins the handshake of a connection that has sent `hello`. */
  begin(connection: Connection, hello: Hello): void {
    // The cell of a broker is its share of all keys.
    const { authenticate, allowInsecure, cell } = this.#settings
    if (hello.cell !== undefined && hello.cell !== (cell && cellText(cell))) {
      const cellPhrase = cell === undefined ? 'has no cell' : `is cell ${cellText(cell)}`
      const reason = `wrong cell: this broker ${cellPhrase}, but the client expects ${hello.cell}`
      this.#refuse(connection, 'cell', { ...closeCodes.wrongCell, reason })
      return
    }
    if (authenticate === undefined) {
      // All clients of a broker without `authenticate` share one principal.
      this.#onIdentified(connection, hello, { principal: 'anyone' })
      return
    }
    const { origin, remoteAddress } = connection
    const token = tokenOf(connection, hello)
    if (token !== undefined && !connection.isSecure && !allowInsecure) {
      const closeCode = { ...closeCodes.forbidden, reason: tokenOverPlainText }
      this.#refuse(connection, 'insecure', closeCode)
      return
    }
    identify(authenticate, { token, origin, remoteAddress }).then(
      (identity) => {
        const handshake = { connection, hello, identity, remoteAddress }
        // `tryNow` continues the handshake if this turn has enough budget left.
        if (connection.state !== 'opening' || this.#pacer.tryNow(handshake)) return
        this.#pacer.enqueue(handshake)
      },
      // `authenticate` cannot check tokens now. After this close code, the client tries again.
      () => connection.abort(closeCodes.overloaded),
    )
  }

  /**
   * Ends and returns the handshake for which the lock table has opened or resumed a session.
   * Returns undefined if no handshake with this id is pending.
   */
  complete(handshakeId: string): AcceptedHandshake | undefined {
    const pendingHandshake = this.#pending.get(handshakeId)
    this.#pending.delete(handshakeId)
    return pendingHandshake
  }

  /** Opens a new session, because the lock table has refused to resume the former session. */
  onResumeRefused(handshakeId: string): void {
    const pendingHandshake = this.#pending.get(handshakeId)
    if (pendingHandshake === undefined) return
    this.#pending.delete(handshakeId)
    const { connection, hello, principal } = pendingHandshake
    if (connection.state === 'opening') this.#submitOpen(connection, hello, principal)
  }

  /** Forgets all pending handshakes. Call when the broker is no longer a member of its cluster. */
  clear(): void {
    this.#pending.clear()
  }

  /**
   * Refuses or continues a handshake whose token was checked. Returns the units of work, not
   * counting the work of the command.
   */
  #continue({ connection, hello, identity }: CheckedHandshake): number {
    if (connection.state !== 'opening') return 0
    if (identity === undefined) {
      const hasToken = tokenOf(connection, hello) !== undefined
      const detail = hasToken ? 'the token was not accepted' : 'no token was sent'
      const reason = `${closeCodes.unauthorized.reason}: ${detail}`
      this.#refuse(connection, 'unauthorized', { ...closeCodes.unauthorized, reason })
      return costs.disconnect
    }
    this.#onIdentified(connection, hello, identity)
    return costs.hello
  }

  /** Opens or resumes the session of a client whose identity is known. */
  #onIdentified(connection: Connection, hello: Hello, identity: Identity): void {
    if (this.#membership !== undefined && this.#membership.load !== 'ok') {
      // The shared log cannot take the command of the handshake now.
      connection.abort(closeCodes.overloaded)
      return
    }
    // The limit of messages per second applies from the arrival of `hello`.
    connection.policy = this.#policyFor?.(identity, connection.receivedAt)
    this.#openOrResume(connection, hello, identity.principal)
  }

  /** Tells the observer that the broker refuses the handshake, and aborts the connection. */
  #refuse(connection: Connection, cause: RefusalCause, closeCode: CloseCode): void {
    const { remoteAddress, origin } = connection
    this.#observer?.onRefused({ cause, remoteAddress, origin })
    connection.abort(closeCode)
  }

  #openOrResume(connection: Connection, hello: Hello, principal: string): void {
    if (hello.resume === undefined) {
      this.#submitOpen(connection, hello, principal)
      return
    }
    const { newId, newSecret, hash, clock } = this.#environment
    const handshakeId = newId()
    const nextSecret = newSecret()
    this.#pending.set(handshakeId, { connection, hello, principal, secret: nextSecret })
    this.#log.submit({
      type: 'resume',
      handshakeId,
      session: hello.resume.session,
      ownerBroker: this.#thisBroker.name,
      principal,
      // The hash of the secret from an earlier `welcome`, which the lock table has stored.
      proof: hash(hello.resume.secret),
      resumeAttempt: hello.resume.try,
      secret: hash(nextSecret),
      at: clock.wall(),
    })
  }

  /** Submits the command that opens a session, unless a limit refuses the session. */
  #submitOpen(connection: Connection, hello: Hello, principal: string): void {
    const { newId, newSecret, hash, clock } = this.#environment
    const { lease, grace } = this.#leaseAndGraceFor(hello)
    if (this.#memory.isFull) {
      const reason = limitReason('memoryBytes', this.#settings.limits.memoryBytes)
      this.#refuse(connection, 'memory_bytes', { ...closeCodes.overloaded, reason })
      return
    }
    const sessionId = newId()
    const exceededLimit = this.#sessionQuota.reserve(sessionId, principal, connection.remoteAddress)
    if (exceededLimit !== undefined) {
      const reason = limitReason(exceededLimit, this.#settings.limits[exceededLimit])
      this.#refuse(connection, refusalCauseOf(exceededLimit), { ...closeCodes.quota, reason })
      return
    }
    const secret = grace > 0 ? newSecret() : undefined
    // The id of the new session is also the id of the handshake.
    this.#pending.set(sessionId, { connection, hello, principal, secret })
    this.#log.submit({
      type: 'open',
      handshakeId: sessionId,
      session: sessionId,
      ownerBroker: this.#thisBroker.name,
      principal,
      name: hello.name,
      lease,
      grace,
      secret: secret === undefined ? undefined : hash(secret),
      limits: this.#sessionLimits,
      at: clock.wall(),
    })
  }

  /**
   * The lease and the grace of the new session, in ms. A session without messages of its client
   * ends after the lease. A session whose client has closed the connection ends after the grace.
   * The settings bound the lease, and the grace is at most the lease.
   */
  #leaseAndGraceFor(hello: Hello): { lease: number; grace: number } {
    const bounds = this.#settings.lease
    const lease = Math.min(Math.max(hello.lease ?? bounds.default, bounds.min), bounds.max)
    const grace = hello.grace === 'lease' ? lease : Math.min(hello.grace ?? 0, lease)
    return { lease, grace }
  }
}

/** The token from the `hello`, or from the HTTP upgrade request; undefined if none was sent. */
function tokenOf(connection: Connection, hello: Hello): string | undefined {
  return hello.token ?? connection.token
}
