/**
 * Turns the effects of the lock table (the changes that a command made) into messages to clients,
 * and into client deadlines and broker timers. In a cluster each session has one owner broker. Only
 * the owner broker keeps the deadlines of the session, of its locks and of its requests.
 *
 * While the broker itself is paused, a client deadline (of a lease or a ttl) does not come closer,
 * but a broker timer does (see `timekeeper.ts`). This file sets broker timers for timeouts and for
 * kept results. A kept result is the value of a `once` (a function that runs once for all callers
 * of a key).
 */
import { type CloseCode, closeCodes } from '@holdfast/shared'
import { costOfBytes, costOfGathering } from '../config/workCosts.js'
import type { Connection } from '../connection/connection.js'
import {
  type Answer,
  type BarrierCall,
  bytesOfAnswers,
  type Command,
  type Effect,
  type EndReason,
  type KeptResult,
  type Lock,
  type ReleaseReason,
  type Request,
  type Session,
} from '../core/index.js'
import { messageFrames, snapshotChunks } from '../protocol/chunkedResponses.js'
import { encodeAnswer, encodeGranted, encodeUnlocked } from '../protocol/encodeAnswers.js'
import { encodeLost, encodeWelcome, type SnapshotLock } from '../protocol/encodeSessionMessages.js'
import type { BrokerTimekeeper } from './deadlineHandler.js'
import type { DeadlineRestarts } from './deadlineRestarts.js'
import type { AcceptedHandshake, Handshake, OwnerBroker } from './handshake.js'
import { leaseOf, startHeartbeat } from './heartbeat.js'
import type { HoldDeadlines } from './holdDeadlines.js'
import type { Notices } from './notices.js'
import type { UnfinishedKeys } from './unfinishedKeys.js'

export interface OutboundDeps {
  readonly time: BrokerTimekeeper
  readonly holdDeadlines: HoldDeadlines
  /** Starts the deadlines of sessions that this broker takes over. */
  readonly deadlineRestarts: DeadlineRestarts
  readonly handshake: Pick<Handshake, 'complete' | 'onResumeRefused'>
  readonly connections: {
    /** The connection of each attached session. */
    readonly attached: Map<Session, Connection>
    /** Closes a connection, and drops its socket if the client does not close the socket soon. */
    close(connection: Connection, closeCode: CloseCode): void
  }
  readonly admission: {
    /**
     * Must be called when a connection gets a session. Stops counting the connection as pending,
     * and starts the timer for the end of the connection's token.
     */
    onAttached(connection: Connection): void
  }
  /** Its `name` is the `ownerBroker` of the sessions that this broker owns. */
  readonly thisBroker: OwnerBroker
  readonly log: { submit(command: Command): void }
  readonly clock: { wall(): number }
  /** The keys with so many waiters that one command could not grant all of them. */
  readonly unfinishedKeys: UnfinishedKeys
  readonly notices: Notices
  /** The cell (one part of the keys) of this broker, such as `1/4`; undefined for all keys. */
  readonly cell: string | undefined
  /**
   * The lock table of the broker. `workUnits` is the work that all commands have caused. The costs
   * of some answers are added to `workUnits`, as if their commands had more effects.
   */
  readonly liveTable: { workUnits: number }
}

/**
 * Whether the cost of this answer is added to the cost of the command that causes the answer. The
 * result of a `once` and the list of holders in `LOCK_TIMEOUT` can be long. These answers often go
 * to clients that have not sent this command, so the receivers are not charged.
 */
function isChargedToCause(answer: Answer): boolean {
  return answer.kind === 'result' || (answer.kind === 'failed' && answer.code === 'LOCK_TIMEOUT')
}

const closeCodeFor: Record<EndReason, CloseCode> = {
  goodbye: closeCodes.goodbye,
  expired: closeCodes.expired,
  // No client gets this code, because the connection of the session has ended already.
  dropped: closeCodes.restart,
}

/**
 * Estimated bytes of a lock in a snapshot before the snapshot is encoded. A snapshot is the list of
 * locks and waiting requests that a resumed session gets. The key of the lock is not counted,
 * because the lock table keeps the key in any case.
 */
const snapshotLockBytes = 128
/** Estimated bytes of the id of a waiting request in a snapshot, before encoding. */
const snapshotIdBytes = 8

export class Outbound {
  readonly #deps: OutboundDeps
  /** The connection of each attached session. */
  readonly #attached: Map<Session, Connection>
  readonly #holdDeadlines: HoldDeadlines

  constructor(deps: OutboundDeps) {
    this.#deps = deps
    this.#attached = deps.connections.attached
    this.#holdDeadlines = deps.holdDeadlines
  }

  /**
   * Sends the messages of an effect, and sets or clears deadlines. Some kinds of effects:
   * - `arrived`: a call begins to wait at a barrier. `departed`: the call waits no longer.
   * - `suspended`: with `keep`, the session lives on for its whole lease.
   * - `kept` and `keepRestarted` start the keep time of a result of a `once`. `forgotten` ends the
   *   keep time.
   */
  handleEffect(effect: Effect): void {
    const { time } = this.#deps
    switch (effect.kind) {
      case 'granted':
        this.#onGranted(effect.lock, effect.request)
        break
      case 'revoked':
        // `lost` is sent here and not by `#onReleased`, because only this effect has the operator's
        // note.
        this.#onRevoked(effect.lock, effect.note)
        break
      case 'upgraded':
        this.#clearTimeout(effect.request)
        break
      case 'released':
        this.#onReleased(effect.lock, effect.reason)
        break
      case 'answer':
        this.#onAnswer(effect)
        break
      case 'acknowledged':
        this.#attached.get(effect.session)?.acks.sendDeferred()
        break
      case 'queued':
        this.#startTimeout(effect.request)
        this.#deps.notices.onQueued(effect.request)
        break
      case 'withdrawn':
        this.#clearTimeout(effect.request)
        break
      case 'arrived':
        this.#startTimeout(effect.call)
        break
      case 'departed':
        if (effect.call.timeout !== undefined) time.clearTimer(effect.call)
        break
      case 'deadlinesRestarted':
        this.#onDeadlinesRestarted(effect.session)
        break
      case 'kept':
      case 'keepRestarted':
        this.#startKeepTimer(effect.kept)
        break
      case 'forgotten':
        time.clearTimer(effect.kept)
        break
      case 'unfinished':
        this.#onUnfinished(effect.request)
        break
      case 'refreshed':
        this.#startTtl(effect.lock)
        break
      case 'opened':
        if (this.#isOwned(effect.session))
          this.#attach(effect.session, effect.handshakeId, undefined)
        break
      case 'resumed':
        if (!this.#isOwned(effect.session)) this.#detachMoved(effect.session)
        else this.#attach(effect.session, effect.handshakeId, effect.answers)
        break
      case 'refused':
        this.#deps.handshake.onResumeRefused(effect.handshakeId)
        break
      case 'suspended':
        this.#onSuspended(effect.session, effect.keep)
        break
      case 'ended':
        this.#onEnded(effect.session, effect.reason)
        break
    }
  }

  /**
   * Starts the deadlines of the sessions and kept results that this broker owns. Call when the
   * broker begins to serve. All deadlines count in full from this call, but the deadlines of locks
   * and requests are set in later turns.
   */
  startDeadlines(
    sessions: ReadonlyMap<string, Session>,
    keptResults: ReadonlyMap<string, KeptResult>,
  ): void {
    const { time, deadlineRestarts } = this.#deps
    for (const session of sessions.values()) {
      if (!this.#isOwned(session)) continue
      time.setClientDeadline(session, time.now() + session.lease)
      deadlineRestarts.add(session)
    }
    for (const kept of keptResults.values()) this.#startKeepTimer(kept)
  }

  /** Clears the deadlines that this broker keeps, and detaches all sessions. */
  detachAll(sessions: Iterable<Session>, keptResults: Iterable<KeptResult>): void {
    this.#deps.deadlineRestarts.clear()
    for (const session of sessions) if (this.#isOwned(session)) this.#clearDeadlines(session)
    // For a result of another broker this broker has no timer, and `clearTimer` does nothing.
    for (const kept of keptResults) this.#deps.time.clearTimer(kept)
    this.#attached.clear()
    this.#deps.notices.clear()
  }

  /** Whether this broker keeps the deadlines of the session, or the timer of the kept result. */
  #isOwned({ ownerBroker }: Session | KeptResult): boolean {
    return ownerBroker === this.#deps.thisBroker.name
  }

  #clearDeadlines(session: Session): void {
    const { time, deadlineRestarts } = this.#deps
    deadlineRestarts.forget(session)
    time.clearClientDeadline(session)
    for (const lock of session.held.values()) {
      time.clearClientDeadline(lock)
      this.#holdDeadlines.clear(lock)
    }
    for (const request of session.waiting.values()) time.clearTimer(request)
    for (const call of session.barrierCalls.values()) time.clearTimer(call)
  }

  /** Detaches a session that has resumed at another broker. */
  #detachMoved(session: Session): void {
    this.#clearDeadlines(session)
    const connection = this.#attached.get(session)
    this.#attached.delete(session)
    if (connection !== undefined) this.#deps.connections.close(connection, closeCodes.replaced)
  }

  /** @param request The request that waited; undefined for a lock that was granted immediately. */
  #onGranted(lock: Lock, request: Request | undefined): void {
    this.#clearTimeout(request)
    // A set (a lock on several keys) has one `Lock` for each key. The broker tells the client only
    // of the primary `Lock`, which stands for the set.
    if (lock.isPrimary) {
      const startTime = this.#startDeadlinesOf(lock)
      this.#attached.get(lock.session)?.send(encodeGranted(lock.id, lock.fence, startTime))
    }
    // Only a lock with `extras` (rare options) can want notices.
    if (lock.extras !== undefined) this.#deps.notices.onGranted(lock)
  }

  #onRevoked({ session, fence }: Lock, note: string): void {
    this.#attached.get(session)?.send(encodeLost(fence, 'revoked', note))
  }

  #clearTimeout(request: Request | undefined): void {
    if (request?.timeout !== undefined) this.#deps.time.clearTimer(request)
  }

  #onReleased(lock: Lock, reason: ReleaseReason): void {
    if (lock.ttl !== undefined) this.#deps.time.clearClientDeadline(lock)
    // Only a lock with `extras` can have a `maxHold` or want notices.
    if (lock.extras !== undefined) {
      this.#holdDeadlines.clear(lock)
      this.#deps.notices.onReleased(lock)
    }
    const isLost = reason === 'expired' || reason === 'maxHold' || reason === 'stolen'
    if (isLost && lock.isPrimary) {
      this.#attached.get(lock.session)?.send(encodeLost(lock.fence, reason))
    }
  }

  /**
   * Attaches a session to the connection of its handshake, unless the connection has closed.
   *
   * @param answers The stored answers of a resumed session; undefined for a new session.
   */
  #attach(
    session: Session,
    handshakeId: string,
    answers: ReadonlyMap<number, Answer> | undefined,
  ): void {
    const { time, handshake, connections, admission } = this.#deps
    const attached = this.#attached
    // After a takeover, some deadlines of the session may not be set yet. Sets them first, because
    // the client must not change a lock whose deadlines are not set.
    this.#deps.liveTable.workUnits += this.#deps.deadlineRestarts.finish(session)
    // A session that resumes may still be attached to the connection that its client has given up.
    const formerConnection = attached.get(session)
    const accepted = handshake.complete(handshakeId)
    if (formerConnection !== undefined) {
      attached.delete(session)
      connections.close(formerConnection, closeCodes.replaced)
    }
    if (accepted === undefined) return
    const { connection } = accepted
    if (connection.state !== 'opening') {
      // The connection has closed during the handshake. Until the session is suspended, its lease
      // (how long a session lives without messages) runs from the arrival of `hello`.
      time.setClientDeadline(session, connection.receivedAt + session.lease)
      this.#suspendAtOnce(session)
      return
    }
    connection.open(session)
    attached.set(session, connection)
    // Ends the time limit of the handshake. From now on the connection has a client deadline only
    // while its client reads slowly, so `forgetClientDeadline` is called to save memory.
    time.forgetClientDeadline(connection)
    startHeartbeat(time, connection)
    admission.onAttached(connection)
    this.#welcome(session, accepted, answers)
  }

  #welcome(
    session: Session,
    { connection, secret }: AcceptedHandshake,
    answers: ReadonlyMap<number, Answer> | undefined,
  ): void {
    const resumed = answers !== undefined
    const { cell } = this.#deps
    connection.send(encodeWelcome(session, resumed, secret, connection.receivedAt, cell))
    if (!resumed) return
    for (const { fence, note } of session.revocations) {
      connection.send(encodeLost(fence, 'revoked', note))
    }
    // A stored answer names neither a limit nor a deadlock, so `encodeAnswer` needs neither the
    // limits of the session nor `isVisible`.
    const encode = ([id, answer]: readonly [number, Answer]): string =>
      encodeAnswer(id, answer, this.#startTimeInAnswer(answer))
    if (answers.size > 0) {
      // Sends the answers as a stream, because a thousand answers at once can exceed the limit of
      // unread output. The broker would then disconnect the client, and the client would resume and
      // get the same answers again.
      const frames = messageFrames([...answers], encode)
      connection.stream(frames, /* blocksInput */ false, bytesOfAnswers(session))
    }
    const held = session.held.values().map((lock): SnapshotLock => {
      // `fence` is the fence of the grant, and `presentFence` the newer fence after an upgrade.
      const { id, key, mode, fence, presentFence, ttl } = lock
      return { id, key, mode, fence, presentFence, ttl, at: this.#startTimeOf(lock) }
    })
    const waiting = [...session.waiting.values(), ...session.barrierCalls.values()].map(
      ({ id }) => id,
    )
    const recordCount = held.length + waiting.length + answers.size
    this.#deps.liveTable.workUnits += costOfGathering(recordCount)
    const snapshotBytes = held.length * snapshotLockBytes + waiting.length * snapshotIdBytes
    connection.stream(snapshotChunks(held, waiting), /* blocksInput */ false, snapshotBytes)
    this.#deps.notices.onResumed(session)
  }

  /**
   * Suspends a session whose connection closed during the handshake. The command has `keep: false`,
   * so that the session ends at once if it has no grace. With `keep: true` the session would live
   * on for its lease.
   */
  #suspendAtOnce(session: Session): void {
    const { log, clock } = this.#deps
    const { id, attachEpoch } = session
    log.submit({ type: 'suspend', session: id, attachEpoch, keep: false, at: clock.wall() })
  }

  /**
   * Sets the deadline of a suspended session: with `keepsLease` the end of its lease, otherwise the
   * end of its lease or grace, whichever is earlier. The lease runs from the newest frame on the
   * attached connection, or from now if no connection is attached. The grace (the time in which the
   * client may resume on a new connection) runs from now.
   */
  #onSuspended(session: Session, keepsLease: boolean): void {
    const { time } = this.#deps
    const attached = this.#attached
    if (!this.#isOwned(session)) return
    const connection = attached.get(session)
    attached.delete(session)
    const now = time.now()
    const leaseEndsAt =
      connection === undefined ? now + session.lease : connection.receivedAt + leaseOf(connection)
    time.setClientDeadline(
      session,
      keepsLease ? leaseEndsAt : Math.min(now + session.grace, leaseEndsAt),
    )
  }

  #onEnded(session: Session, reason: EndReason): void {
    this.#deps.time.clearClientDeadline(session)
    this.#deps.deadlineRestarts.forget(session)
    const connection = this.#attached.get(session)
    this.#attached.delete(session)
    if (connection !== undefined) this.#deps.connections.close(connection, closeCodeFor[reason])
  }

  #startTimeout(request: Request | BarrierCall<Session>): void {
    const { session, timeout } = request
    if (timeout === undefined || !this.#isOwned(session)) return
    this.#deps.time.setTimer(request, timeout)
  }

  /** Lets a later command grant the remaining waiters of the key. */
  #onUnfinished({ session, key }: Request): void {
    if (this.#isOwned(session)) this.#deps.unfinishedKeys.add(key)
  }

  /** A session has a new owner broker, so the deadlines of its locks and requests start again. */
  #onDeadlinesRestarted(session: Session): void {
    const { deadlineRestarts } = this.#deps
    if (this.#isOwned(session)) deadlineRestarts.add(session)
    else deadlineRestarts.forget(session)
  }

  #onAnswer({ session, id, answer }: Extract<Effect, { kind: 'answer' }>): void {
    const connection = this.#attached.get(session)
    if (connection === undefined) return
    // `unlocked` is the most frequent answer, and has neither a start time nor a long text.
    if (answer.kind === 'unlocked') {
      connection.send(encodeUnlocked(id))
      return
    }
    const { policy } = connection
    const isVisible = policy && ((key: string) => policy.may('query', key))
    const startTime = this.#startTimeInAnswer(answer)
    const text = encodeAnswer(id, answer, startTime, session.limits, isVisible)
    if (isChargedToCause(answer)) this.#deps.liveTable.workUnits += costOfBytes(text.length)
    connection.send(text)
  }

  /** Starts the timer of a kept result. `kept.keep` is how long the result is kept, in ms. */
  #startKeepTimer(kept: KeptResult): void {
    if (this.#isOwned(kept)) this.#deps.time.setTimer(kept, kept.keep)
  }

  /**
   * Starts the ttl of a lock (how long the lock lives without a refresh) if this broker owns the
   * session of the lock. The ttl runs from now, in compensated time (see `timekeeper.ts`).
   */
  #startTtl(lock: Lock): void {
    if (lock.ttl === undefined || !this.#isOwned(lock.session)) return
    this.#deps.time.setClientDeadline(lock, this.#deps.time.now() + lock.ttl)
  }

  /**
   * Starts the ttl and the `maxHold` of a lock if this broker owns the session of the lock. Returns
   * the start in compensated time; undefined if this method starts no deadline.
   */
  #startDeadlinesOf(lock: Lock): number | undefined {
    const hasMaxHold = lock.extras?.maxHold !== undefined
    if ((lock.ttl === undefined && !hasMaxHold) || !this.#isOwned(lock.session)) return undefined
    const now = this.#deps.time.now()
    if (lock.ttl !== undefined) this.#deps.time.setClientDeadline(lock, now + lock.ttl)
    this.#holdDeadlines.start(lock, now)
    return now
  }

  /** When the ttl of a lock started; for a lock without a ttl, when its `maxHold` started. */
  #startTimeOf(lock: Lock): number | undefined {
    if (lock.ttl === undefined) return this.#holdDeadlines.startTimeOf(lock)
    const endsAt = this.#deps.time.clientDeadlineOf(lock)
    return endsAt === undefined ? undefined : endsAt - lock.ttl
  }

  /**
   * The start time for an answer that grants a lock; undefined for every other answer. The answer
   * that grants a lock is here a repeated answer, because `#onGranted` sends the first one.
   */
  #startTimeInAnswer(answer: Answer): number | undefined {
    return answer.kind === 'granted' ? this.#startTimeOf(answer.lock) : undefined
  }
}
