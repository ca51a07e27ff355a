/**
 * What is overdue: the judgement on clients that have not done in time what they owe, and the doing
 * of what the broker has promised. Whatever touches the table is a proposal, which the table may
 * find void.
 */
import { closeCodes } from '@holdfast/shared'
import { Pass, type Passes } from '../access/passes.js'
import type { Connection } from '../connection/connection.js'
import { type Command, Lock, Request, Session } from '../core/index.js'
import type { RefusalCause } from '../observe/observer.js'
import type { BrokerTime } from './outbound.js'
import type { Writer } from './writer.js'

/** The time after a start in which nobody is granted anything: a claim for the timekeeper. */
export class QuietTime {
  readonly ms: number

  constructor(ms: number) {
    this.ms = ms
  }
}

/** How long what came during a pause may take to be read, in ms. */
const heardAgainMs = 50

export interface JudgeParts {
  readonly time: BrokerTime
  readonly passes: Passes
  readonly writer: Writer
  /** The connection that each session is on. */
  readonly attached: ReadonlyMap<Session, Connection>
  readonly submit: (command: Command) => void
  readonly wall: () => number
  readonly refused: (connection: Connection, cause: RefusalCause) => void
}

export class Judge {
  readonly #parts: JudgeParts

  constructor(parts: JudgeParts) {
    this.#parts = parts
  }

  /** A client has not done in time what it owes. */
  onOverdue(debtor: Lock | Session | Connection): void {
    const { refused, writer } = this.#parts
    if (debtor instanceof Lock) this.#proposeExpiry(debtor)
    else if (debtor instanceof Session) this.#judgeSession(debtor)
    else if (debtor.state === 'open') writer.cutIfSlow(debtor)
    else {
      refused(debtor, 'helloMs')
      debtor.cut(closeCodes.noHello)
    }
  }

  /** The broker must do what it promised. */
  onDue(claim: Request | Connection | Pass | QuietTime): void {
    const { submit, wall, passes, time } = this.#parts
    if (claim instanceof QuietTime) submit({ type: 'quiet', quiet: false, at: wall() })
    else if (claim instanceof Request) {
      submit({ type: 'timeout', session: claim.session.id, request: claim.id, at: wall() })
    } else if (claim instanceof Pass) passes.due(claim)
    else if (claim.state === 'open') {
      claim.ping()
      time.promise(claim, claim.session!.lease / 3)
    } else claim.terminate()
  }

  #proposeExpiry(lock: Lock): void {
    const { submit, wall, attached, time } = this.#parts
    const { session, fence, generation } = lock
    const connection = attached.get(session)
    const now = time.now()
    if (connection?.isPaused || now < (connection?.readsSince ?? 0) + heardAgainMs) {
      // A refresh or an unlock may have arrived that the broker has not handled or read.
      time.expect(lock, now + heardAgainMs)
      return
    }
    submit({ type: 'expire', session: session.id, fence, generation, at: wall() })
  }

  #judgeSession(session: Session): void {
    const { submit, wall, attached, time } = this.#parts
    const connection = attached.get(session)
    if (connection !== undefined) {
      if (connection.isPaused) {
        // The broker does not read its socket, so a silence is not the client's.
        time.expect(session, time.now() + session.lease / 3)
        return
      }
      // What came during a pause waits on the client's side too, and takes its time to arrive.
      const { receivedAt, readsSince } = connection
      const endsAt = Math.max(receivedAt + session.lease, readsSince + session.lease / 3)
      if (endsAt > time.now()) {
        time.expect(session, endsAt)
        return
      }
      connection.fallSilent()
    }
    const { id, attach } = session
    submit({ type: 'end', session: id, attach, reason: 'expired', at: wall() })
  }
}
