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
import type { BrokerTime } from './outbound.js'

/** The time after a start in which nobody is granted anything: a claim for the timekeeper. */
export class QuietStart {
  readonly ms: number

  constructor(ms: number) {
    this.ms = ms
  }
}

/** How long what came during a pause may take to be read, in ms. */
const heardAgainMs = 50

export interface DeadlineHandlerDeps {
  readonly time: BrokerTime
  readonly tokenExpiry: TokenExpiry
  readonly flusher: OutputFlusher
  /** The connection that each session is on. */
  readonly attached: ReadonlyMap<Session, Connection>
  readonly submit: (command: Command) => void
  readonly wall: () => number
  readonly refused: (connection: Connection, cause: RefusalCause) => void
}

export class DeadlineHandler {
  readonly #deps: DeadlineHandlerDeps

  constructor(deps: DeadlineHandlerDeps) {
    this.#deps = deps
  }

  /** A client has not done in time what it owes. */
  onClientDeadline(debtor: Lock | Session | Connection): void {
    const { refused, flusher } = this.#deps
    if (debtor instanceof Lock) this.#proposeExpiry(debtor)
    else if (debtor instanceof Session) this.#endIfSilent(debtor)
    else if (debtor.state === 'open') flusher.cutIfSlow(debtor)
    else {
      refused(debtor, 'helloMs')
      debtor.abort(closeCodes.noHello)
    }
  }

  /** The broker must do what it promised. */
  onBrokerTimer(claim: Request | Connection | TokenDeadline | QuietStart): void {
    const { submit, wall, tokenExpiry, time } = this.#deps
    if (claim instanceof QuietStart) submit({ type: 'quiet', quiet: false, at: wall() })
    else if (claim instanceof Request) {
      submit({ type: 'timeout', session: claim.session.id, request: claim.id, at: wall() })
    } else if (claim instanceof TokenDeadline) tokenExpiry.due(claim)
    else if (claim.state === 'open') {
      claim.ping()
      time.setTimer(claim, claim.session!.lease / 3)
    } else claim.terminate()
  }

  #proposeExpiry(lock: Lock): void {
    const { submit, wall, attached, time } = this.#deps
    const { session, fence, generation } = lock
    const connection = attached.get(session)
    const now = time.now()
    if (connection?.isPaused || now < (connection?.readsSince ?? 0) + heardAgainMs) {
      // A refresh or an unlock may have arrived that the broker has not handled or read.
      time.setClientDeadline(lock, now + heardAgainMs)
      return
    }
    submit({ type: 'expire', session: session.id, fence, generation, at: wall() })
  }

  #endIfSilent(session: Session): void {
    const { submit, wall, attached, time } = this.#deps
    const connection = attached.get(session)
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
    submit({ type: 'end', session: id, attachEpoch, reason: 'expired', at: wall() })
  }
}
