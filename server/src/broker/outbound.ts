/**
 * From effects to messages: what the table did becomes what clients are told, and which deadlines
 * are kept.
 */
import { type CloseCode, closeCodes } from '@holdfast/shared'
import { costOfGathering } from '../config/workCosts.js'
import type { Connection } from '../connection/connection.js'
import {
  type Answer,
  type Command,
  type Effect,
  type EndReason,
  Lock,
  type ReleaseReason,
  type Request,
  type Session,
} from '../core/index.js'
import { messageFrames, snapshotChunks } from '../protocol/chunkedResponses.js'
import {
  encodeAnswer,
  encodeGranted,
  encodeLost,
  encodeWelcome,
  type HeldItem,
} from '../protocol/encode.js'
import type { BrokerTime } from './deadlineHandler.js'
import type { AcceptedHandshake, Handshake, OwnerBroker } from './handshake.js'
import type { UnfinishedKeys } from './unfinishedKeys.js'

export interface OutboundDeps {
  readonly time: BrokerTime
  readonly handshake: Pick<Handshake, 'admitted' | 'refused'>
  readonly connections: {
    /** The connection that each session is on. */
    readonly attached: Map<Session, Connection>
    /** Closes a connection, and makes sure that its socket is closed soon. */
    close(connection: Connection, row: CloseCode): void
  }
  /** Is told that the handshake of a connection is over. */
  readonly admission: { onAttached(connection: Connection): void }
  readonly ownerBroker: OwnerBroker
  readonly log: { submit(command: Command): void }
  readonly clock: { wall(): number }
  readonly unfinished: UnfinishedKeys
}

const closeFor: Record<EndReason, CloseCode> = {
  goodbye: closeCodes.goodbye,
  expired: closeCodes.expired,
  dropped: closeCodes.restart,
}

/** Bytes that a lock takes in a snapshot that is not sent yet; its key is mostly the table's. */
const heldItemBytes = 128

export class Outbound {
  readonly #deps: OutboundDeps
  /** The connection that each session is on. */
  readonly #attached: Map<Session, Connection>

  constructor(deps: OutboundDeps) {
    this.#deps = deps
    this.#attached = deps.connections.attached
  }

  handleEffects(effect: Effect): void {
    const { time } = this.#deps
    const attached = this.#attached
    switch (effect.kind) {
      case 'granted':
        this.#onGranted(effect.lock, effect.request)
        break
      case 'revoked':
        // Here rather than at its release, which does not know what the operator said.
        attached
          .get(effect.lock.session)
          ?.send(encodeLost(effect.lock.fence, 'revoked', effect.note))
        break
      case 'released':
        this.#onReleased(effect.lock, effect.reason)
        break
      case 'answer': {
        const { session, id, answer } = effect
        const text = encodeAnswer(id, answer, this.#ttlBeganFor(answer), session.limits)
        attached.get(session)?.send(text)
        break
      }
      case 'acknowledged':
        attached.get(effect.session)?.sendDeferredAck()
        break
      case 'queued':
        this.#startTimeout(effect.request)
        break
      case 'withdrawn':
        if (effect.request.timeout !== undefined) time.clearTimer(effect.request)
        break
      case 'deadlineRestarted':
        if (effect.lockOrRequest instanceof Lock) this.#startTtl(effect.lockOrRequest)
        else this.#startTimeout(effect.lockOrRequest)
        break
      case 'unfinished':
        if (this.#isHere(effect.request.session)) this.#deps.unfinished.add(effect.request.key)
        break
      case 'refreshed':
        this.#startTtl(effect.lock)
        break
      case 'opened':
        if (this.#isHere(effect.session))
          this.#attach(effect.session, effect.handshakeId, undefined)
        break
      case 'resumed':
        if (this.#isHere(effect.session)) {
          this.#attach(effect.session, effect.handshakeId, effect.answers)
        } else this.#detachMoved(effect.session)
        break
      case 'refused':
        this.#deps.handshake.refused(effect.handshakeId)
        break
      case 'suspended':
        this.#onSuspended(effect.session, effect.keep)
        break
      case 'ended':
        this.#onEnded(effect.session, effect.reason)
        break
    }
  }

  /** From now on every deadline of these sessions that is kept here begins, in full. */
  takeUp(sessions: Iterable<Session>): void {
    const { time } = this.#deps
    for (const session of sessions) {
      if (!this.#isHere(session)) continue
      time.setClientDeadline(session, time.now() + session.lease)
      for (const lock of session.held.values()) this.#startTtl(lock)
      for (const request of session.waiting.values()) this.#startTimeout(request)
    }
  }

  /** From now on no deadline of these sessions is kept here. */
  giveUp(sessions: Iterable<Session>): void {
    for (const session of sessions) if (this.#isHere(session)) this.#forget(session)
    this.#attached.clear()
  }

  #isHere(session: Session): boolean {
    return session.ownerBroker === this.#deps.ownerBroker.name
  }

  #forget(session: Session): void {
    const { time } = this.#deps
    time.clearClientDeadline(session)
    for (const lock of session.held.values()) time.clearClientDeadline(lock)
    for (const request of session.waiting.values()) time.clearTimer(request)
  }

  /** The session lives on at another broker. */
  #detachMoved(session: Session): void {
    this.#forget(session)
    const connection = this.#attached.get(session)
    this.#attached.delete(session)
    if (connection !== undefined) this.#deps.connections.close(connection, closeCodes.replaced)
  }

  #onGranted(lock: Lock, request: Request | undefined): void {
    if (request?.timeout !== undefined) this.#deps.time.clearTimer(request)
    const beganAt = lock.ttl === undefined ? undefined : this.#startTtl(lock)
    this.#attached.get(lock.session)?.send(encodeGranted(lock.id, lock.fence, beganAt))
  }

  #onReleased(lock: Lock, reason: ReleaseReason): void {
    if (lock.ttl !== undefined) this.#deps.time.clearClientDeadline(lock)
    if (reason === 'expired' || reason === 'stolen') {
      this.#attached.get(lock.session)?.send(encodeLost(lock.fence, reason))
    }
  }

  /** A hello has become a session on a connection; if that is still there. */
  #attach(
    session: Session,
    attempt: string,
    answers: ReadonlyMap<number, Answer> | undefined,
  ): void {
    const { time, handshake, connections, admission } = this.#deps
    const attached = this.#attached
    const former = attached.get(session)
    const accepted = handshake.admitted(attempt)
    if (former !== undefined) {
      attached.delete(session)
      connections.close(former, closeCodes.replaced)
    }
    if (accepted === undefined) return
    const { connection } = accepted
    // The hello was heard, whatever has become of its connection.
    time.setClientDeadline(session, connection.receivedAt + session.lease)
    if (connection.state !== 'opening') {
      this.#suspendAtOnce(session)
      return
    }
    connection.open(session)
    attached.set(session, connection)
    time.clearClientDeadline(connection)
    time.setTimer(connection, session.lease / 3)
    admission.onAttached(connection)
    this.#welcome(session, accepted, answers)
  }

  #welcome(
    session: Session,
    { connection, secret }: AcceptedHandshake,
    answers: ReadonlyMap<number, Answer> | undefined,
  ): void {
    const resumed = answers !== undefined
    connection.send(encodeWelcome(session, resumed, secret, connection.receivedAt))
    if (!resumed) return
    for (const { fence, note } of session.revocations) {
      connection.send(encodeLost(fence, 'revoked', note))
    }
    // Paced like the snapshot: a thousand answers can be more than a connection may leave unread,
    // and who is cut for that comes back for the same.
    const encode = ([id, answer]: readonly [number, Answer]): string =>
      encodeAnswer(id, answer, this.#ttlBeganFor(answer))
    if (answers.size > 0) {
      connection.stream(messageFrames([...answers], encode), false, session.answerBytes)
    }
    const held = session.held.values().map((lock): HeldItem => {
      const { id, key, mode, fence, ttl } = lock
      return { id, key, mode, fence, ttl, at: this.#ttlBeganAt(lock) }
    })
    const waiting = session.waiting.values().map(({ id }) => id)
    connection.charge(costOfGathering(held.length + waiting.length + answers.size))
    const weight = held.length * heldItemBytes + waiting.length * 8
    connection.stream(snapshotChunks(held, waiting), false, weight)
  }

  /** The connection went while its hello was being judged. */
  #suspendAtOnce(session: Session): void {
    const { log, clock } = this.#deps
    const { id, attachEpoch } = session
    log.submit({ type: 'suspend', session: id, attachEpoch, keep: false, at: clock.wall() })
  }

  /** A grace runs from now, a lease from what was last received; no grace outlasts the lease. */
  #onSuspended(session: Session, keep: boolean): void {
    const { time } = this.#deps
    const attached = this.#attached
    if (!this.#isHere(session)) return
    const connection = attached.get(session)
    attached.delete(session)
    const now = time.now()
    const leaseEndsAt = (connection?.receivedAt ?? now) + session.lease
    time.setClientDeadline(session, keep ? leaseEndsAt : Math.min(now + session.grace, leaseEndsAt))
  }

  #onEnded(session: Session, reason: EndReason): void {
    this.#deps.time.clearClientDeadline(session)
    const connection = this.#attached.get(session)
    this.#attached.delete(session)
    if (connection !== undefined) this.#deps.connections.close(connection, closeFor[reason])
  }

  #startTimeout(request: Request): void {
    const { session, timeout } = request
    if (timeout === undefined || !this.#isHere(session)) return
    this.#deps.time.setTimer(request, timeout)
  }

  /** Lets the ttl of a lock begin now, if it is kept here; returns when, in patient time. */
  #startTtl(lock: Lock): number | undefined {
    if (lock.ttl === undefined || !this.#isHere(lock.session)) return undefined
    const now = this.#deps.time.now()
    this.#deps.time.setClientDeadline(lock, now + lock.ttl)
    return now
  }

  #ttlBeganAt(lock: Lock): number | undefined {
    const endsAt = this.#deps.time.clientDeadlineOf(lock)
    return endsAt === undefined || lock.ttl === undefined ? undefined : endsAt - lock.ttl
  }

  #ttlBeganFor(answer: Answer): number | undefined {
    return answer.kind === 'granted' ? this.#ttlBeganAt(answer.lock) : undefined
  }
}
