/**
 * Handles the deadlines that have passed. There are two kinds. A *client deadline* is the time by
 * which a client must act. Otherwise the broker ends the client's lock, session or connection. A
 * *broker timer* is the time at which the broker itself must act, for example send a ping.
 *
 * To change the lock table, the broker submits a command to the command log. The table ignores a
 * command whose lock, session or request has changed meanwhile. For this check, commands carry
 * numbers:
 *
 * - `generation`, when a lock expires: rises with each refresh of the lock.
 * - `ownerEpoch`, when a lock ends: rises when another broker becomes the owner of the session.
 * - `attachEpoch`, when a session ends: rises when the session resumes on a new connection.
 */
import { closeCodes } from '@holdfast/shared'
import { TokenDeadline, type TokenExpiry } from '../access/tokenExpiry.js'
import { costs } from '../config/workCosts.js'
import type { Connection } from '../connection/connection.js'
import type { OutputFlusher } from '../connection/outputFlusher.js'
import { BarrierCall, type Command, KeptResult, Lock, Request, Session } from '../core/index.js'
import type { RefusalCause } from '../observability/observer.js'
import { leaseOf, sendPing } from './heartbeat.js'
import { HoldDeadline } from './holdDeadlines.js'
import { ContendedKey, type Notices } from './notices.js'
import type { DeadlineListener, Timekeeper } from './timekeeper.js'

/**
 * The first time after the start of a broker. The broker then grants only requests that steal a
 * lock, because holders from before the start may still use their locks. A broker timer ends the
 * quiet start.
 */
export class QuietStart {
  /** How long the quiet start lasts, in ms. */
  readonly ms: number

  constructor(ms: number) {
    this.ms = ms
  }
}

/** Keeps the client deadlines and the broker timers. */
export type BrokerTimekeeper = Timekeeper<ClientDeadlineSubject, BrokerTimerSubject>

/**
 * The object for which a client deadline is set:
 * - `Lock`: the client must refresh the lock.
 * - `HoldDeadline`: the client must unlock the lock within `maxHold`, the longest hold.
 * - `Session`: the client must send a message within each lease.
 * - `Connection`: the client must finish its handshake, or must read what the broker has sent.
 */
type ClientDeadlineSubject = Lock | HoldDeadline | Session | Connection

/**
 * The object for which a broker timer is set:
 * - `Request`, `BarrierCall`: its timeout ends.
 * - `KeptResult`: the table must drop the result of a `once` call.
 * - `Connection`: the broker must ping an open connection, or drop a closing connection.
 * - `TokenDeadline`: a token expires soon, or has expired.
 * - `QuietStart`: the quiet start ends.
 * - `ContendedKey`: the broker may again notify the holders of a key that requests wait.
 */
type BrokerTimerSubject =
  | Request
  | BarrierCall<Session>
  | KeptResult
  | Connection
  | TokenDeadline
  | QuietStart
  | ContendedKey

/**
 * The broker does not read a paused connection. After the pause, the broker needs at most this time
 * to read the input that arrived during the pause, in ms.
 */
const maxInputDelayMs = 50

export interface DeadlineHandlerDeps {
  readonly time: BrokerTimekeeper
  readonly tokenExpiry: TokenExpiry
  readonly flusher: OutputFlusher
  readonly notices: Notices
  readonly connections: {
    /** The connection of each attached session. */
    readonly attached: ReadonlyMap<Session, Connection>
    /** Tells the observer why a connection is closed. */
    report(connection: Connection, cause: RefusalCause): void
  }
  readonly log: { submit(command: Command): void }
  readonly clock: { wall(): number }
}

export class DeadlineHandler
  implements DeadlineListener<ClientDeadlineSubject, BrokerTimerSubject>
{
  readonly #deps: DeadlineHandlerDeps

  constructor(deps: DeadlineHandlerDeps) {
    this.#deps = deps
  }

  onClientDeadline(subject: ClientDeadlineSubject): number {
    const { connections, flusher } = this.#deps
    if (subject instanceof Lock) this.#expireLock(subject)
    else if (subject instanceof HoldDeadline) this.#endHold(subject.lock)
    else if (subject instanceof Session) return this.#endIfSilent(subject)
    else if (subject.state === 'open') return flusher.disconnectIfSlow(subject)
    else {
      // The handshake of this connection takes too long.
      connections.report(subject, 'hello_ms')
      subject.abort(closeCodes.noHello)
      return costs.disconnect
    }
    return 0
  }

  onBrokerTimer(subject: BrokerTimerSubject): number {
    const { log, clock, tokenExpiry, time } = this.#deps
    if (subject instanceof QuietStart) log.submit({ type: 'quiet', quiet: false, at: clock.wall() })
    else if (subject instanceof Request || subject instanceof BarrierCall) {
      log.submit({
        type: 'timeout',
        session: subject.session.id,
        request: subject.id,
        at: clock.wall(),
      })
    } else if (subject instanceof KeptResult) {
      const { key, result } = subject
      log.submit({ type: 'forgetResult', key, fence: result.fence, at: clock.wall() })
    } else if (subject instanceof TokenDeadline) return tokenExpiry.onTimer(subject)
    else if (subject instanceof ContendedKey) this.#deps.notices.onTimer(subject)
    else if (subject.state === 'open') {
      sendPing(time, subject)
      return costs.message
    } else {
      subject.terminate()
      return costs.disconnect
    }
    return 0
  }

  /**
   * Submits the expiry of a lock. If unread input may refresh or unlock the lock, checks the
   * deadline again later.
   */
  #expireLock(lock: Lock): void {
    const { log, clock, connections, time } = this.#deps
    const { session, fence, generation } = lock
    const connection = connections.attached.get(session)
    const inputHandledBy = (connection?.readingResumedAt ?? 0) + maxInputDelayMs
    if (connection?.isPaused || !time.hasPassed(inputHandledBy)) {
      time.setClientDeadline(lock, time.now() + maxInputDelayMs)
      return
    }
    const { id, ownerEpoch } = session
    log.submit({ type: 'expire', session: id, fence, generation, ownerEpoch, at: clock.wall() })
  }

  /**
   * Submits the end of a lock that was held for its `maxHold`. Does not wait for unread input,
   * because no message of the client can prolong the hold. The table ignores the command if another
   * broker owns the session by then.
   */
  #endHold({ session, fence }: Lock): void {
    const { log, clock } = this.#deps
    const { id, ownerEpoch } = session
    log.submit({ type: 'endHold', session: id, fence, ownerEpoch, at: clock.wall() })
  }

  /**
   * Submits the end of a session, unless its client has sent messages within the lease, or may have
   * sent messages that are unread. Returns the units of work besides the effects on the lock table.
   */
  #endIfSilent(session: Session): number {
    const { log, clock, connections, time } = this.#deps
    const connection = connections.attached.get(session)
    if (connection !== undefined) {
      if (connection.isPaused) {
        // The broker does not read this socket, so the client may have sent messages. The broker
        // looks again after a third of the lease, the time that an idle client has to answer a
        // `ping` (see `heartbeat.ts`).
        time.setClientDeadline(session, time.now() + session.lease / 3)
        return 0
      }
      // After a pause, the client gets a third of the lease, because messages that it sent in the
      // pause need time to arrive. `leaseOf` is twice `session.lease` if an idle client asked for
      // the idle lease.
      const { receivedAt, readingResumedAt } = connection
      const endsAt = Math.max(
        receivedAt + leaseOf(connection),
        readingResumedAt + session.lease / 3,
      )
      if (!time.hasPassed(endsAt)) {
        time.setClientDeadline(session, endsAt)
        return 0
      }
      // The table will ignore later messages of this session, so they must get no `ack`.
      connection.acks.stop()
    }
    const { id, attachEpoch } = session
    log.submit({ type: 'end', session: id, attachEpoch, reason: 'expired', at: clock.wall() })
    return connection === undefined ? 0 : costs.disconnect
  }
}
