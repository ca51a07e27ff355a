/**
 * The sessions of the table: how a session begins, resumes, is suspended, moves to another broker
 * and ends. A session owns the locks of one client, and can outlive a connection. This file also
 * finds the session of a command. A command from a replaced connection belongs to no session, and
 * changes nothing.
 */
import type { BarrierTable } from './barriers.js'
import type { TakeOverSessions } from './commands.js'
import type { Granter } from './granter.js'
import { mayHaveDeadlines, takeOwnership } from './ownership.js'
import { Session } from './records.js'
import type { AnsweredCommand, Responder } from './responder.js'
import type { ResultTable } from './results.js'
import { confirmNextSecret, isSupersededAttempt, matchSecret } from './secrets.js'
import type {
  ConnectionCommand,
  EndReason,
  EndSession,
  OpenSession,
  ResumeSession,
  SuspendSession,
} from './sessionCommands.js'
import { bytesOfAnswers, releaseResults } from './storedAnswers.js'
import { bytesOfSession, bytesOfSessions } from './weights.js'

/** The parts of the table that change when a session ends or moves to another broker. */
interface SessionTableDeps {
  readonly responder: Responder
  readonly granter: Granter
  readonly barriers: BarrierTable
  readonly results: ResultTable
}

export class SessionTable {
  readonly #responder: Responder
  readonly #granter: Granter
  readonly #barriers: BarrierTable
  readonly #results: ResultTable
  readonly byId: Map<string, Session>
  /** Bytes of the sessions, without their locks, requests and answers. */
  bytes: number

  constructor(deps: SessionTableDeps, byId: Map<string, Session>) {
    this.#responder = deps.responder
    this.#granter = deps.granter
    this.#barriers = deps.barriers
    this.#results = deps.results
    this.byId = byId
    this.bytes = bytesOfSessions(byId.values())
    // The responder counts the answers that it stores itself, but not those of a snapshot.
    for (const session of byId.values()) this.#responder.bytes += bytesOfAnswers(session)
  }

  /**
   * The session of a request that is new and may change the table. For any other request, returns
   * undefined. The responder has then handled the request, unless its connection was replaced.
   */
  sessionOfNewRequest(command: ConnectionCommand & AnsweredCommand): Session | undefined {
    const session = this.currentSession(command)
    return session !== undefined && this.#responder.accepts(session, command) ? session : undefined
  }

  /** Begins a session. */
  open(command: OpenSession): void {
    const session = new Session(command)
    this.byId.set(session.id, session)
    this.bytes += bytesOfSession(session)
    this.#responder.effects.push({ kind: 'opened', session, handshakeId: command.handshakeId })
  }

  /** Attaches a session to another connection, if the client presents a valid secret. */
  resume(command: ResumeSession): void {
    // `welcome` gives the client `newSecret`. `command.proof` is the hash of the presented secret.
    const { session: id, ownerBroker, handshakeId, principal, secret: newSecret } = command
    const session = this.byId.get(id)
    const matchingField = session && matchSecret(session, command)
    // Only a session that can be resumed has `answers`. A late `hello` must not take the session
    // from a newer `hello` with the same secret.
    if (
      session?.answers === undefined ||
      matchingField === undefined ||
      session.principal !== principal ||
      (matchingField === 'secret' && isSupersededAttempt(session, command))
    ) {
      this.#responder.effects.push({ kind: 'refused', handshakeId })
      return
    }
    // The presented secret, which may be `nextSecret`, becomes `secret`. This secret stays valid
    // until the client proves that it has received `newSecret`.
    session.secret = session[matchingField]
    session.lastResumeAttempt = command.resumeAttempt
    session.nextSecret = newSecret
    session.attachEpoch++
    session.suspended = false
    if (session.ownerBroker !== ownerBroker) this.#takeOwnership(session, ownerBroker)
    this.#responder.effects.push({
      kind: 'resumed',
      session,
      handshakeId,
      answers: session.answers,
    })
  }

  /**
   * Suspends a session whose connection has dropped. Ends a session without a grace (the time in
   * which a client may resume the session), unless the command keeps the session for its lease.
   */
  suspend(command: SuspendSession): void {
    // Does not call `currentSession`, because a dropped connection does not prove that the client
    // has read the newest `welcome`.
    const session = this.#attachedSession(command)
    if (session === undefined) return
    if (session.grace === 0 && !command.keep) {
      this.#endSession(session, 'dropped', command.at)
      return
    }
    this.#suspendSession(session, command.keep, command.at)
  }

  /** @param keep Whether the session lives on for its lease, even if its grace is shorter. */
  #suspendSession(session: Session, keep: boolean, at: number): void {
    session.suspended = true
    // If no client can resume the session, its requests must not delay other waiters.
    if (session.answers === undefined) {
      this.#withdrawAll(session)
      this.#granter.grantWorklist(at)
    }
    this.#responder.effects.push({ kind: 'suspended', session, keep })
  }

  /**
   * Moves the sessions of `formerOwner`, which has ended, to `ownerBroker`, and suspends them.
   * Without a `formerOwner`, moves all sessions.
   */
  takeOver({ formerOwner, ownerBroker, at }: TakeOverSessions): void {
    const movedSessions = [...this.byId.values()].filter(
      (session) => formerOwner === undefined || session.ownerBroker === formerOwner,
    )
    for (const session of movedSessions) this.#takeOwnership(session, ownerBroker)
    this.#results.takeOwnership(this.#responder, formerOwner, ownerBroker)
    // All sessions must have their new owner before the first session is suspended, because the
    // suspension can grant a lock to another session. The owner of that session starts the ttl.
    for (const session of movedSessions) this.#suspendSession(session, /* keep */ true, at)
    // The former owner may have ended before it submitted `grantUnfinishedKeys`.
    this.#granter.findUnfinishedKeys(this.byId.values())
  }

  #takeOwnership(session: Session, ownerBroker: string): void {
    const { changeListener, effects } = this.#responder
    takeOwnership(session, ownerBroker, changeListener)
    if (mayHaveDeadlines(session)) effects.push({ kind: 'deadlinesRestarted', session })
  }

  /**
   * Ends a session. The command may name a suspended session, because a timer ends a suspended
   * session when its lease or its grace is over.
   */
  end(command: EndSession): void {
    const session = this.byId.get(command.session)
    if (session?.attachEpoch === command.attachEpoch)
      this.#endSession(session, command.reason, command.at)
  }

  /**
   * Ends a session. Removes its locks and requests first and grants waiters afterwards. In the
   * other order, the session's own next request could get a lock that the session releases.
   */
  #endSession(session: Session, reason: EndReason, at: number): void {
    this.byId.delete(session.id)
    this.bytes -= bytesOfSession(session) + session.bytesOfRevocations
    this.#responder.bytes -= releaseResults(session)
    this.#withdrawAll(session)
    for (const lock of session.held.values()) {
      this.#granter.addToWorklist(lock.keyState)
      this.#granter.removeLock(lock, 'ended')
    }
    this.#granter.grantWorklist(at)
    this.#responder.effects.push({ kind: 'ended', session, reason })
  }

  /**
   * Withdraws every waiting request of the session. Puts their keys onto the worklist, the list of
   * keys with waiters to grant. Ends every call of the session at a barrier.
   */
  #withdrawAll(session: Session): void {
    for (const request of session.waiting.values()) {
      this.#granter.addToWorklist(request.keyState)
      this.#granter.removeRequest(request, 'ended')
    }
    this.#barriers.endCallsOf(this.#responder, session)
  }

  /**
   * The session whose client sent this command; undefined if the connection of the command was
   * replaced or dropped. Also makes the former resume secret of the session invalid.
   */
  currentSession(command: ConnectionCommand): Session | undefined {
    const session = this.#attachedSession(command)
    // A client that sends on this connection has read the new secret in `welcome`.
    if (session?.nextSecret !== undefined) confirmNextSecret(session)
    return session
  }

  /**
   * The session of the command, if the connection of the command is the present connection of the
   * session. Unlike {@link currentSession}, confirms no secret, because the command need not come
   * from the client.
   */
  #attachedSession(command: ConnectionCommand): Session | undefined {
    const session = this.byId.get(command.session)
    return session?.attachEpoch === command.attachEpoch && !session.suspended ? session : undefined
  }
}
