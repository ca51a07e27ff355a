/**
 * The lock table: all sessions, locks and waiting requests of a broker, as a pure state machine.
 *
 * `apply(command)` changes the table and returns the effects. It is synchronous and deterministic.
 * It uses no socket, timer, clock, random number, id generator or log. The same table therefore
 * serves from memory, is rebuilt from a journal, and is equal at every broker that shares a log.
 *
 * The rules of the table, and the methods that enforce each rule:
 * - Exclusion: a lock is granted only if `KeyState.admits` its mode (`#request`, `#grantWaiters`).
 * - First come, first served: no request is granted past a queue (`#request`, `#grantWaiters`).
 * - When a lock or a request ends, the table grants the waiters behind it while it executes the
 *   same command, by a loop and never by recursion (`#release`, `#withdraw`).
 * - A request whose id is repeated gets its first answer and never runs twice (`Responder`).
 * - A command from a replaced connection changes nothing (`#currentSession`).
 * - One command grants a limited number of waiters; the command `grantUnfinishedKeys` grants the
 *   rest (`#grantWaiters`).
 * - Each lock gets a higher number, its fence, than every lock before (`#grant`).
 */
import { BarrierTable } from './barriers.js'
import type * as Commands from './commands.js'
import { maxFenceFloor } from './commands.js'
import type { Effect, ReleaseReason, WithdrawReason } from './effects.js'
import { FenceIndex } from './fenceIndex.js'
import { HolderAnswers } from './holders.js'
import { KeyTable } from './keyTable.js'
import { type Answer, type KeyState, Lock, type LockTerms, Request, Session } from './records.js'
import { Responder } from './responder.js'
import { isSupersededAttempt, matchSecret } from './secrets.js'
import { bytesOfSession, lockBytes, requestBytes, textBytes } from './weights.js'

/** The part of a command that names its session and its connection. */
type SessionCommand = { readonly session: string; readonly attachEpoch: number }

/** The contents of a table that is restored from a snapshot. */
export interface TableState {
  readonly sessions: Map<string, Session>
  readonly keys: KeyTable
  readonly barriers: BarrierTable
  readonly fence: number
  readonly quiet: boolean
}

const unlocked: Answer = { kind: 'unlocked' }
const revoked: Answer = { kind: 'revoked' }
/** All sessions share these answers, so that a stored answer takes little memory. */
const notHeld = {
  unlock: { kind: 'failed', code: 'LOCK_NOT_HELD', request: 'unlock' },
  refresh: { kind: 'failed', code: 'LOCK_NOT_HELD', request: 'refresh' },
  revoke: { kind: 'failed', code: 'LOCK_NOT_HELD', request: 'revoke' },
} as const satisfies Record<string, Answer>

/**
 * Most waiters that one command grants. A lock for which 100,000 requests wait is therefore passed
 * on in several short turns of the event loop.
 */
const defaultGrantsPerCommand = 1_000
/** A key with at most this many holders is searched for a fence one holder after the other. */
const maxScannedHolders = 64

export class LockTable {
  readonly #sessions: Map<string, Session>
  readonly #keys: KeyTable
  readonly #barriers: BarrierTable
  #fence: number
  #held = 0
  #waiting = 0
  #quiet: boolean
  /** Bytes of the sessions, locks and requests, without those of the keys and the answers. */
  #bytes = 0
  readonly #responder = new Responder()
  readonly #grantsPerCommand: number
  /** How many more waiters this command may grant. */
  #grantsLeft: number
  /** Keys with waiters that could be granted, but that this command may not grant any more. */
  readonly #unfinished = new Set<KeyState>()
  /** Finds a holder by its fence, for keys with many holders where a lock was revoked. */
  readonly #byFence = new FenceIndex()
  readonly #heldAnswers = new HolderAnswers('LOCK_HELD', true)
  readonly #timeoutAnswers = new HolderAnswers('LOCK_TIMEOUT', false)

  /**
   * @param state The contents to begin with. Default: none.
   * @param grantsPerCommand Most waiters that one command grants. This number must be equal at
   *   every broker.
   */
  constructor(state?: TableState, grantsPerCommand = defaultGrantsPerCommand) {
    this.#grantsPerCommand = grantsPerCommand
    this.#grantsLeft = grantsPerCommand
    this.#sessions = state?.sessions ?? new Map()
    this.#keys = state?.keys ?? new KeyTable()
    this.#barriers = state?.barriers ?? new BarrierTable()
    this.#fence = state?.fence ?? 0
    this.#quiet = state?.quiet ?? false
    for (const { holders, queue } of this.#keys.values()) {
      this.#held += holders.length
      this.#waiting += queue.length
      for (const lock of holders) this.#bytes += lockBytes + textBytes(lock.metadata)
      for (const request of queue) this.#bytes += requestBytes + textBytes(request.metadata)
    }
    for (const session of this.#sessions.values()) {
      this.#bytes += bytesOfSession(session) + session.revocationBytes
      this.#responder.bytes += session.answerBytes
    }
  }

  get sessions(): ReadonlyMap<string, Session> {
    return this.#sessions
  }

  /** The keys in use, each with its holders and its queue. */
  get keys(): Pick<KeyTable, 'size' | 'get' | 'values' | 'walk' | 'idleBytes'> {
    return this.#keys
  }

  /** The barriers at which calls wait. */
  get barriers(): Pick<BarrierTable, 'size' | 'callCount' | 'get' | 'values'> {
    return this.#barriers
  }

  /** The highest fence so far. */
  get fence(): number {
    return this.#fence
  }

  /** The number of held locks. */
  get heldCount(): number {
    return this.#held
  }

  /** The number of waiting requests. */
  get waitingCount(): number {
    return this.#waiting
  }

  /**
   * Bytes of memory for sessions, locks, requests, keys in use and stored answers, as `weights.ts`
   * estimates them. The number is equal at every broker.
   */
  get bytes(): number {
    return this.#bytes + this.#keys.bytes + this.#barriers.bytes + this.#responder.bytes
  }

  /** Whether the table grants only requests that steal the lock. */
  get quiet(): boolean {
    return this.#quiet
  }

  /** Executes a command. Returns its effects, in order. */
  apply(command: Commands.Command): readonly Effect[] {
    this.#responder.effects = []
    switch (command.type) {
      case 'lock':
        this.#request(command)
        break
      case 'unlock':
        this.#unlock(command)
        break
      case 'refresh':
        this.#refresh(command)
        break
      case 'revoke':
        this.#revoke(command)
        break
      case 'barrier': {
        const session = this.#currentSession(command)
        if (session !== undefined && this.#responder.accepts(session, command))
          this.#barriers.arrive(this.#responder, session, command)
        break
      }
      case 'cancel':
        this.#cancel(command)
        break
      case 'ack':
        this.#acknowledge(command)
        break
      case 'confirm':
        this.#currentSession(command)
        break
      case 'timeout':
        this.#timeOut(command)
        break
      case 'expire':
        this.#expire(command)
        break
      case 'open':
        this.#open(command)
        break
      case 'resume':
        this.#resume(command)
        break
      case 'suspend':
        this.#suspend(command)
        break
      case 'end':
        this.#endIfCurrent(command)
        break
      case 'quiet':
        this.#setQuiet(command)
        break
      case 'restart':
        this.#restart(command)
        break
      case 'raiseFenceFloor':
        // Ignored by all brokers alike, because an error would stop all of them at each replay.
        if (command.fence <= maxFenceFloor) this.#fence = Math.max(this.#fence, command.fence)
        break
      case 'grantUnfinishedKeys':
        this.#grantUnfinishedKeys(command)
        break
    }
    if (this.#unfinished.size > 0) this.#reportUnfinished()
    this.#grantsLeft = this.#grantsPerCommand
    return this.#responder.effects
  }

  // -------------------------------------------------------------------------------- sessions

  #open(command: Commands.OpenSession): void {
    const session = new Session(command)
    this.#sessions.set(session.id, session)
    this.#bytes += bytesOfSession(session)
    this.#responder.effects.push({ kind: 'opened', session, handshakeId: command.handshakeId })
  }

  #resume(command: Commands.ResumeSession): void {
    const { session: id, ownerBroker, handshakeId, principal, secret } = command
    const session = this.#sessions.get(id)
    const shownSecret = session && matchSecret(session, command)
    if (
      session?.answers === undefined ||
      shownSecret === undefined ||
      session.principal !== principal ||
      (shownSecret === 'secret' && isSupersededAttempt(session, command))
    ) {
      this.#responder.effects.push({ kind: 'refused', handshakeId })
      return
    }
    // A client that presents the newer secret has received that secret. The older secret stays
    // valid until the client proves that it has received the newest secret.
    session.secret = session[shownSecret]
    session.lastResumeAttempt = command.resumeAttempt
    session.nextSecret = secret
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

  #suspend(command: Commands.SuspendSession): void {
    // Does not use #currentSession: a dropped connection does not prove that the client read the
    // welcome.
    const session = this.#attachedSession(command)
    if (session === undefined) return
    if (session.grace === 0 && !command.keep) {
      this.#end(session, 'dropped', command.at)
      return
    }
    this.#suspendSession(session, command.keep, command.at)
  }

  #suspendSession(session: Session, keep: boolean, at: number): void {
    session.suspended = true
    // No client can resume this session, so other waiters need not wait behind its requests.
    if (session.answers === undefined) {
      for (const keyState of this.#withdrawAll(session)) this.#grantWaiters(keyState, at)
    }
    this.#responder.effects.push({ kind: 'suspended', session, keep })
  }

  #restart({ formerOwner, ownerBroker, at }: Commands.Restart): void {
    const movedSessions: Session[] = []
    for (const session of this.#sessions.values()) {
      if (formerOwner === undefined || session.ownerBroker === formerOwner)
        movedSessions.push(session)
    }
    for (const session of movedSessions) this.#takeOwnership(session, ownerBroker)
    // This loop follows the loop above, because suspending one session can grant a lock to any of
    // the others. All sessions must have their new owner before.
    for (const session of movedSessions) this.#suspendSession(session, true, at)
    // The former owner may have left keys unfinished: keys with waiters that can be granted.
    for (const keyState of this.#keys.values())
      if (this.#isReady(keyState)) this.#unfinished.add(keyState)
  }

  /**
   * Makes a broker the owner of the session, and restarts every deadline of the session. If the
   * owner changes, the generation of each lock rises. The table then ignores expiry proposals of
   * the former owner that arrive later.
   */
  #takeOwnership(session: Session, ownerBroker: string): void {
    const changesOwner = session.ownerBroker !== ownerBroker
    session.ownerBroker = ownerBroker
    for (const lockOrRequest of session.held.values()) {
      if (lockOrRequest.ttl === undefined) continue
      if (changesOwner) lockOrRequest.generation++
      this.#responder.effects.push({ kind: 'deadlineRestarted', lockOrRequest })
    }
    for (const lockOrRequest of [...session.waiting.values(), ...session.barrierCalls.values()]) {
      if (lockOrRequest.timeout !== undefined)
        this.#responder.effects.push({ kind: 'deadlineRestarted', lockOrRequest })
    }
  }

  /** Unlike other commands, `end` may name a suspended session, because its time has run out. */
  #endIfCurrent(command: Commands.EndSession): void {
    const session = this.#sessions.get(command.session)
    if (session?.attachEpoch === command.attachEpoch) this.#end(session, command.reason, command.at)
  }

  /**
   * Ends a session. Removes its locks and requests first and grants waiters afterwards. In the
   * other order, the session's own next request could get a lock that the session releases.
   */
  #end(session: Session, reason: Commands.EndReason, at: number): void {
    this.#sessions.delete(session.id)
    this.#bytes -= bytesOfSession(session) + session.revocationBytes
    this.#responder.bytes -= session.answerBytes
    const affectedKeys = this.#withdrawAll(session)
    for (const lock of session.held.values()) {
      affectedKeys.add(lock.keyState)
      this.#removeLock(lock, 'ended')
    }
    for (const keyState of affectedKeys) this.#grantWaiters(keyState, at)
    this.#responder.effects.push({ kind: 'ended', session, reason })
  }

  /**
   * Withdraws every waiting request of the session, and every call at a barrier. Returns the keys
   * whose waiters must be granted.
   */
  #withdrawAll(session: Session): Set<KeyState> {
    const affectedKeys = new Set<KeyState>()
    for (const request of session.waiting.values()) {
      affectedKeys.add(request.keyState)
      this.#dequeue(request)
      this.#responder.effects.push({ kind: 'withdrawn', request, reason: 'ended' })
    }
    this.#barriers.endCallsOf(this.#responder, session)
    return affectedKeys
  }

  /**
   * The session whose client sent this command; undefined if the connection of the command was
   * replaced or dropped.
   */
  #currentSession(command: SessionCommand): Session | undefined {
    const session = this.#attachedSession(command)
    if (session?.nextSecret !== undefined) {
      // A client that sends on this connection has read the new secret in `welcome`.
      session.secret = session.nextSecret
      session.nextSecret = undefined
      session.lastResumeAttempt = undefined
    }
    return session
  }

  /**
   * The session of the command, if the connection of the command is the present connection of the
   * session. The command need not come from the client.
   */
  #attachedSession(command: SessionCommand): Session | undefined {
    const session = this.#sessions.get(command.session)
    return session?.attachEpoch === command.attachEpoch && !session.suspended ? session : undefined
  }

  // -------------------------------------------------------------------------------- requests

  #request(command: Commands.RequestLock): void {
    const session = this.#currentSession(command)
    if (session === undefined || !this.#responder.accepts(session, command)) return
    if (session.usedLocks >= session.limits.locks) {
      this.#responder.refuse(session, command.id, 'QUOTA_EXCEEDED', 'locks')
      return
    }
    const { id, key, mode, at } = command
    const keyState = this.#keys.getOrCreate(key)
    if (command.steal) this.#steal(keyState)
    const mayGrantNow = keyState.queue.length === 0 && !this.#quiet
    if (keyState.admits(mode) && (mayGrantNow || command.steal)) {
      session.lastId = id
      this.#grant(keyState, session, command, at, undefined)
    } else if (command.timeout === 0) {
      session.lastId = id
      const answer = this.#heldAnswers.answerFor(keyState, session.storedHolderBytes)
      this.#responder.answer(session, id, answer)
      this.#markIdleIfUnused(keyState)
    } else if (keyState.queue.length >= session.limits.waitersPerKey) {
      this.#responder.refuse(session, id, 'QUOTA_EXCEEDED', 'waitersPerKey')
      this.#markIdleIfUnused(keyState)
    } else {
      session.lastId = id
      const request = new Request(keyState, session, command)
      keyState.enqueue(request)
      session.addWaiting(request)
      this.#waiting++
      this.#bytes += requestBytes + textBytes(request.metadata)
      this.#responder.effects.push({ kind: 'queued', request })
    }
  }

  #cancel(command: Commands.CancelRequest): void {
    const session = this.#currentSession(command)
    this.#barriers.giveUp(this.#responder, session, command.request, 'aborted')
    const request = session?.waiting.get(command.request)
    if (request === undefined) return
    this.#withdraw(request, 'aborted', command.at)
    this.#responder.answer(request.session, request.id, { kind: 'failed', code: 'ABORTED' })
  }

  #timeOut(command: Commands.TimeOutRequest): void {
    const waitingSession = this.#sessions.get(command.session)
    this.#barriers.giveUp(this.#responder, waitingSession, command.request, 'timeout')
    const request = waitingSession?.waiting.get(command.request)
    if (request === undefined) return
    const { keyState, session, id } = request
    // Made before the withdrawal, because the withdrawal may grant locks to shared waiters behind
    // the request.
    const answer = this.#timeoutAnswers.answerFor(keyState, session.storedHolderBytes)
    this.#withdraw(request, 'timeout', command.at)
    this.#responder.answer(session, id, answer)
  }

  // ----------------------------------------------------------------------------------- locks

  #unlock(command: Commands.Unlock): void {
    const session = this.#currentSession(command)
    if (session === undefined || !this.#responder.accepts(session, command)) return
    session.lastId = command.id
    const lock = session.held.get(command.fence)
    if (lock === undefined) {
      this.#responder.answer(session, command.id, notHeld.unlock)
      return
    }
    // Granting the next waiter precedes this answer, because a client is waiting for that grant.
    this.#release(lock, 'unlocked', command.at)
    this.#responder.answer(session, command.id, unlocked)
  }

  #refresh(command: Commands.Refresh): void {
    const session = this.#currentSession(command)
    if (session === undefined || !this.#responder.accepts(session, command)) return
    session.lastId = command.id
    const lock = session.held.get(command.fence)
    if (lock === undefined) {
      this.#responder.answer(session, command.id, notHeld.refresh)
      return
    }
    if (command.ttl !== undefined) lock.ttl = command.ttl
    lock.generation++
    this.#responder.effects.push({ kind: 'refreshed', lock })
    this.#responder.answer(session, command.id, { kind: 'refreshed', fence: lock.fence })
  }

  /**
   * Ends a lock only if its key and fence match the command, so that an operator cannot end a newer
   * lock by mistake.
   */
  #revoke(command: Commands.RevokeLock): void {
    const session = this.#currentSession(command)
    if (session === undefined || !this.#responder.accepts(session, command)) return
    session.lastId = command.id
    const lock = this.#findHolder(command.key, command.fence)
    if (lock === undefined) {
      this.#responder.answer(session, command.id, notHeld.revoke)
      return
    }
    this.#responder.effects.push({ kind: 'revoked', lock, by: session, note: command.note })
    this.#bytes += lock.session.storeRevocation(lock.fence, command.note)
    this.#release(lock, 'revoked', command.at)
    this.#responder.answer(session, command.id, revoked)
  }

  #findHolder(key: string, fence: number): Lock | undefined {
    const keyState = this.#keys.get(key)
    if (keyState === undefined) return undefined
    if (keyState.holders.length > maxScannedHolders)
      return this.#byFence.holdersOf(keyState).get(fence)
    for (const lock of keyState.holders) if (lock.fence === fence) return lock
    return undefined
  }

  #expire(command: Commands.ExpireLock): void {
    const lock = this.#sessions.get(command.session)?.held.get(command.fence)
    if (lock?.generation === command.generation) this.#release(lock, 'expired', command.at)
  }

  /** Ends all locks of the key. The waiting requests of the key stay in the queue. */
  #steal(keyState: KeyState): void {
    for (let lock = keyState.holders.first; lock !== undefined; lock = keyState.holders.first) {
      this.#removeLock(lock, 'stolen')
    }
  }

  #release(lock: Lock, reason: ReleaseReason, at: number): void {
    this.#removeLock(lock, reason)
    this.#grantWaiters(lock.keyState, at)
  }

  #removeLock(lock: Lock, reason: ReleaseReason): void {
    lock.keyState.holders.remove(lock)
    if (this.#byFence.isUsed) this.#byFence.remove(lock)
    lock.session.held.remove(lock)
    lock.session.reduceStoredGrant(lock)
    this.#held--
    this.#bytes -= lockBytes + textBytes(lock.metadata)
    this.#responder.effects.push({ kind: 'released', lock, reason })
  }

  #withdraw(request: Request, reason: WithdrawReason, at: number): void {
    this.#dequeue(request)
    this.#responder.effects.push({ kind: 'withdrawn', request, reason })
    this.#grantWaiters(request.keyState, at)
  }

  #dequeue(request: Request): void {
    request.keyState.queue.remove(request)
    request.session.waiting.remove(request)
    this.#waiting--
    this.#bytes -= requestBytes + textBytes(request.metadata)
  }

  /**
   * Grants waiters from the head of the queue. Stops before the first waiter that the holders
   * exclude, or when this command has used up its grants. Marks the key as idle if it has neither
   * holders nor waiters then.
   */
  #grantWaiters(keyState: KeyState, at: number): void {
    for (
      let request = keyState.queue.first;
      request !== undefined && keyState.admits(request.mode) && !this.#quiet;
      request = keyState.queue.first
    ) {
      if (this.#grantsLeft === 0) {
        this.#unfinished.add(keyState)
        return
      }
      this.#grantsLeft--
      this.#dequeue(request)
      this.#grant(keyState, request.session, request, at, request)
    }
    this.#markIdleIfUnused(keyState)
  }

  #grantUnfinishedKeys({ keys, at }: Commands.GrantUnfinishedKeys): void {
    for (const key of keys) {
      const keyState = this.#keys.get(key)
      if (keyState !== undefined) this.#grantWaiters(keyState, at)
    }
  }

  /** Whether the first waiter of the key can be granted now. */
  #isReady({ queue: { first } }: KeyState): boolean {
    return first?.keyState.admits(first.mode) === true && !this.#quiet
  }

  #reportUnfinished(): void {
    for (const keyState of this.#unfinished) {
      const request = keyState.queue.first
      if (request !== undefined && this.#isReady(keyState)) {
        this.#responder.effects.push({ kind: 'unfinished', request })
      }
    }
    this.#unfinished.clear()
  }

  #markIdleIfUnused(keyState: KeyState): void {
    if (!keyState.isIdle) return
    this.#keys.markIdle(keyState)
    if (this.#byFence.isUsed) this.#byFence.forget(keyState)
  }

  #setQuiet({ quiet, at }: Commands.SetQuiet): void {
    this.#quiet = quiet
    for (const keyState of this.#keys.values()) this.#grantWaiters(keyState, at)
  }

  #grant(
    keyState: KeyState,
    session: Session,
    terms: LockTerms,
    at: number,
    request: Request | undefined,
  ) {
    const lock = new Lock(keyState, session, terms, ++this.#fence, at)
    keyState.holders.append(lock)
    if (this.#byFence.isUsed) this.#byFence.add(lock)
    session.addHeld(lock)
    const bytes = session.storeAnswer(lock.id, { kind: 'granted', lock })
    this.#held++
    this.#responder.bytes += bytes
    this.#bytes += lockBytes + textBytes(lock.metadata)
    this.#responder.effects.push({ kind: 'granted', lock, request })
  }

  // --------------------------------------------------------------------------------- answers

  #acknowledge(command: Commands.AcknowledgeAnswers): void {
    const session = this.#currentSession(command)
    if (session === undefined) return
    this.#responder.bytes -= session.forgetAnswers(command.ids)
    this.#responder.effects.push({ kind: 'acknowledged', session })
  }
}
