/**
 * What is overdue: the judgement on clients that have not done in time what they owe, and the doing
 * of what the broker has promised. Whatever touches the table is a proposal, which the table may
 * find void.
 */
import { closeCodes } from '@holdfast/shared'
import { TokenDeadline, type TokenExpiry } from '../access/tokenExpiry.js'
import type { Connection } from '../connection/connection.js'
import type { OutputFlusher } from '../connection/outputFlusher.js'
import { type Command, Lock, Request, Session } from '../core/index.js'
import type { RefusalCause } from '../observability/observer.js'
import type { DeadlineListener, Timekeeper } from './timekeeper.js'

/** The time after a start in which the broker grants no lock: a timer of the broker. */
export class QuietStart {
  readonly ms: number

  constructor(ms: number) {
    this.ms = ms
  }
}

/** The deadlines of clients, and the timers of the broker itself. */
export type BrokerTime = Timekeeper<ClientDeadline, BrokerTimer>

/** A client must in time: refresh a lock, be heard, finish its handshake, read its output. */
type ClientDeadline = Lock | Session | Connection

/** The broker must in time: end a wait, ping, close a connection, warn of the end of a token. */
type BrokerTimer = Request | Connection | TokenDeadline | QuietStart

/** How long what came during a pause may take to be read, in ms. */
const heardAgainMs = 50

export interface DeadlineHandlerDeps {
  readonly time: BrokerTime
  readonly tokenExpiry: TokenExpiry
  readonly flusher: OutputFlusher
  readonly connections: {
    /** The connection that each session is on. */
    readonly attached: ReadonlyMap<Session, Connection>
    /** Tells the observer why a connection is closed. */
    report(connection: Connection, cause: RefusalCause): void
  }
  readonly log: { submit(command: Command): void }
  readonly clock: { wall(): number }
}

export class DeadlineHandler implements DeadlineListener<ClientDeadline, BrokerTimer> {
  readonly #deps: DeadlineHandlerDeps

  constructor(deps: DeadlineHandlerDeps) {
    this.#deps = deps
  }

  /** A client has not done in time what it owes. */
  onClientDeadline(debtor: ClientDeadline): void {
    const { connections, flusher } = this.#deps
    if (debtor instanceof Lock) this.#proposeExpiry(debtor)
    else if (debtor instanceof Session) this.#endIfSilent(debtor)
    else if (debtor.state === 'open') flusher.cutIfSlow(debtor)
    else {
      connections.report(debtor, 'hello_ms')
      debtor.abort(closeCodes.noHello)
    }
  }

  /** The broker must do what it promised. */
  onBrokerTimer(claim: BrokerTimer): void {
    const { log, clock, tokenExpiry, time } = this.#deps
    if (claim instanceof QuietStart) log.submit({ type: 'quiet', quiet: false, at: clock.wall() })
    else if (claim instanceof Request) {
      log.submit({
        type: 'timeout',
        session: claim.session.id,
        request: claim.id,
        at: clock.wall(),
      })
    } else if (claim instanceof TokenDeadline) tokenExpiry.onTimer(claim)
    else if (claim.state === 'open') {
      claim.ping()
      time.setTimer(claim, claim.session!.lease / 3)
    } else claim.terminate()
  }

  #proposeExpiry(lock: Lock): void {
    const { log, clock, connections, time } = this.#deps
    const { session, fence, generation } = lock
    const connection = connections.attached.get(session)
    const now = time.now()
    if (connection?.isPaused || now < (connection?.readsSince ?? 0) + heardAgainMs) {
      // A refresh or an unlock may have arrived that the broker has not handled or read.
      time.setClientDeadline(lock, now + heardAgainMs)
      return
    }
    log.submit({ type: 'expire', session: session.id, fence, generation, at: clock.wall() })
  }

  #endIfSilent(session: Session): void {
    const { log, clock, connections, time } = this.#deps
    const connection = connections.attached.get(session)
    if (connection !== undefined) {
      if (connection.isPaused) {
        // The broker does not read its socket, so a silence is not the client's.
        time.setClientDeadline(session, time.now() + session.lease / 3)
        return
      }
      // What came during a pause waits on the client's side too, and takes its time to arrive.
      const { receivedAt, readsSince } = connection
      const endsAt = Math.max(receivedAt + session.lease, readsSince + session.lease / 3)
      if (endsAt > time.now()) {
        time.setClientDeadline(session, endsAt)
        return
      }
      connection.stopAcking()
    }
    const { id, attachEpoch } = session
    log.submit({ type: 'end', session: id, attachEpoch, reason: 'expired', at: clock.wall() })
  }
}
