/**
 * The sessions of the model of the lock table: how a session opens, resumes, loses its connection,
 * changes its owner broker and ends. The owner broker runs the timers of the session. A grace is
 * how long a session survives without a connection.
 */
import type {
  EndSession,
  OpenSession,
  ResumeSession,
  SuspendSession,
  TakeOverSessions,
} from '@holdfast/server/core'
import type { ModelBarriers } from './modelBarriers.js'
import type { ModelGranter } from './modelGranter.js'
import type { ModelResults } from './modelResults.js'
import { keysOf, type ModelSession, type ModelState, removeFirst } from './modelState.js'
import type { PlainEffect } from './plainValues.js'

/** The other parts of the model that the sessions need. */
interface SessionDeps {
  readonly barriers: ModelBarriers
  readonly results: ModelResults
  readonly granter: ModelGranter
  effect(effect: PlainEffect): void
}

export class ModelSessions {
  readonly #state: ModelState
  readonly #deps: SessionDeps

  constructor(state: ModelState, deps: SessionDeps) {
    this.#state = state
    this.#deps = deps
  }

  /** Opens a session. `attachEpoch` is the number of the newest connection of the session. */
  open(command: OpenSession): void {
    const { session, handshakeId, principal, name, grace, limits, ownerBroker, secret } = command
    const chosenFields = { principal, name, grace, limits, ownerBroker, secret }
    const initialFields = {
      attachEpoch: 1,
      ownerEpoch: 0,
      suspended: false,
      nextSecret: undefined,
      lastId: 0,
    }
    const emptyFields = { answers: [], acceptedResume: undefined, allRevocations: [] }
    this.#state.sessions.push({ id: session, ...chosenFields, ...initialFields, ...emptyFields })
    this.#deps.effect({ kind: 'opened', session, handshakeId })
  }

  /** Resumes a session on a new connection, or refuses the resume. */
  resume(command: ResumeSession): void {
    const { session: id, ownerBroker, handshakeId, proof, secret: newSecret } = command
    const session = this.#state.findSession(id)
    if (session === undefined || !acceptsResume(session, command)) {
      this.#deps.effect({ kind: 'refused', handshakeId })
      return
    }
    session.acceptedResume = command
    // `proof` is the secret that the client sent: `secret` or `nextSecret` of the session.
    session.secret = proof
    session.nextSecret = newSecret
    session.attachEpoch += 1
    session.suspended = false
    if (session.ownerBroker !== ownerBroker) this.#takeOwnership(session, ownerBroker)
    const { attachEpoch, answers } = session
    this.#deps.effect({
      kind: 'resumed',
      session: id,
      handshakeId,
      attachEpoch,
      answers: answers.map(([request, answer]) => [request, answer] as const),
    })
  }

  /**
   * Suspends a session. A session without a grace is suspended only with `keep`, and ends
   * otherwise. `keep` means that the broker itself closed the connection.
   */
  suspendOrEnd(session: ModelSession, { keep, at }: SuspendSession): void {
    if (session.grace === 0 && !keep) {
      this.#end(session.id, 'dropped', at)
      return
    }
    this.#suspendSession(session, keep, at)
  }

  /**
   * Makes `ownerBroker` the owner of the sessions of `formerOwner`, or of all sessions if
   * `formerOwner` is undefined. The sessions lose their connections, and all their deadlines start
   * again in full.
   */
  restart({ formerOwner, ownerBroker, at }: TakeOverSessions): void {
    const sessions = this.#state.sessions.filter(
      (session) => formerOwner === undefined || formerOwner === session.ownerBroker,
    )
    for (const session of sessions) this.#takeOwnership(session, ownerBroker)
    this.#deps.results.takeOwnership(formerOwner, ownerBroker)
    for (const session of sessions) this.#suspendSession(session, /* keep */ true, at)
  }

  /** Ends a session, unless the command came from an earlier connection of the session. */
  end({ session: id, attachEpoch, reason, at }: EndSession): void {
    if (this.#state.findSession(id)?.attachEpoch === attachEpoch) this.#end(id, reason, at)
  }

  #suspendSession(session: ModelSession, keep: boolean, at: number): void {
    session.suspended = true
    // A session without a grace keeps only its locks. No client can resume the session, so its
    // requests must not delay other waiters.
    const keysOfWithdrawn = session.grace === 0 ? this.#withdrawAll(session.id) : []
    this.#deps.granter.grantWaiters(keysOfWithdrawn, at)
    this.#deps.effect({ kind: 'suspended', session: session.id, keep })
  }

  /** Makes `ownerBroker` the owner of a session, whose deadlines start again in full. */
  #takeOwnership(session: ModelSession, ownerBroker: string): void {
    if (session.ownerBroker !== ownerBroker) session.ownerEpoch += 1
    session.ownerBroker = ownerBroker
    if (this.#state.mayHaveDeadlines(session))
      this.#deps.effect({ kind: 'deadlinesRestarted', session: session.id })
  }

  /** Ends a session with its requests, barrier calls and locks. */
  #end(id: string, reason: string, at: number): void {
    const keys = this.#withdrawAll(id)
    const held = this.#state.locks.filter((lock) => lock.session === id)
    this.#deps.granter.release(held, 'ended')
    this.#deps.granter.grantWaiters([...keys, ...keysOf(held)], at)
    removeFirst(this.#state.sessions, (session) => session.id === id)
    this.#deps.effect({ kind: 'ended', session: id, reason })
  }

  /** Withdraws every request and barrier call of a session. Returns the keys of the requests. */
  #withdrawAll(id: string): string[] {
    const requests = this.#state.requestsOf(id)
    for (const request of requests) {
      for (const list of [this.#state.waitingRequests, this.#state.upgrades])
        removeFirst(list, (waiter) => waiter === request)
      this.#deps.effect({ kind: 'withdrawn', request, reason: 'ended' })
    }
    this.#deps.barriers.leave(id)
    return requests.map((waiter) => waiter.key)
  }
}

/**
 * Returns whether the session accepts a resume. The secret (`proof`) must be valid, and the attempt
 * must not be late. An attempt is late if the same attempt or a later one has resumed the session
 * with this secret.
 */
function acceptsResume(
  session: ModelSession,
  { principal, proof, resumeAttempt }: ResumeSession,
): boolean {
  const { acceptedResume, secret, nextSecret } = session
  const acceptedAttempt = acceptedResume?.proof === proof ? acceptedResume.resumeAttempt : undefined
  const isLate =
    acceptedAttempt !== undefined && resumeAttempt !== undefined && acceptedAttempt >= resumeAttempt
  const isValidSecret = proof === secret || proof === nextSecret
  return session.grace > 0 && session.principal === principal && isValidSecret && !isLate
}
