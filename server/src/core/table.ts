/**
 * The lock table: every session, lock and waiting request of a broker, as a pure state machine.
 *
 * `apply(command)` changes the table and returns what happened. It is synchronous and deterministic
 * and knows no socket, timer, clock, random number, id generator or log, so the same table serves
 * from memory, is replayed from a journal, and is the same on every replica.
 *
 * The rules, each kept in one place:
 * - Exclusion: a lock is granted only where `Entry.admits` it.            -> #request, #serve
 * - First come, first served: nobody is granted past a queue.             -> #request, #serve
 * - Whoever leaves, leaves at once, and those who can now hold are granted in the same pass, by a
 *   loop and never by recursion.                                          -> #release, #withdraw
 * - A request id that comes again gets the answer it got, and never runs twice.   -> #isRepeat
 * - A command from a connection that is no longer the session's changes nothing.  -> #speaker
 * - One command grants to so many waiters at most; `serve` goes on with the rest.   -> #serve
 * - Fences only rise.                                                     -> #grant
 */
import type { ErrorCode } from '@holdfast/shared'
import type * as Commands from './commands.js'
import {
  type Answer,
  answers,
  type Effect,
  type ReleaseReason,
  type RequestType,
  type WithdrawReason,
} from './effects.js'
import { FenceIndex } from './fenceIndex.js'
import { nameHolders } from './holders.js'
import { KeyTable } from './keyTable.js'
import { type KeyState, Lock, type LockTerms, Request, Session } from './records.js'
import { isOvertaken, isProvenBy } from './secrets.js'
import { bytesOfSession, lockBytes, requestBytes, textBytes } from './weights.js'

/** A command that came on a connection of a session. */
type SessionCommand = { readonly session: string; readonly attachEpoch: number }

/** What a table consists of; for one that is restored from a snapshot. */
export interface TableState {
  readonly sessions: Map<string, Session>
  readonly keys: KeyTable
  readonly fence: number
  readonly quiet: boolean
}

const unlocked: Answer = { kind: 'unlocked' }
const revoked: Answer = { kind: 'revoked' }
/** Shared, so that a stored answer takes no memory of its own for them. */
const notHeld = {
  unlock: { kind: 'failed', code: 'LOCK_NOT_HELD', request: 'unlock' },
  refresh: { kind: 'failed', code: 'LOCK_NOT_HELD', request: 'refresh' },
  revoke: { kind: 'failed', code: 'LOCK_NOT_HELD', request: 'revoke' },
} as const satisfies Record<string, Answer>

/** Most waiters that one command grants to: a release for 100,000 takes several short turns. */
const defaultGrantsAtOnce = 1_000
/** Holders of a key up to which a fence is searched for among them. */
const searchedHolders = 64

export class LockTable {
  readonly #sessions: Map<string, Session>
  readonly #keys: KeyTable
  #fence: number
  #held = 0
  #waiting = 0
  #quiet: boolean
  /** Without the keys. */
  #bytes = 0
  #effects: Effect[] = []
  readonly #grantsAtOnce: number
  /** How many more waiters this command may grant to. */
  #grantsLeft: number
  /** Keys that this command has left with waiters who could hold them. */
  readonly #unfinished = new Set<KeyState>()
  /** The holders by fence, of keys with many where one was revoked. */
  readonly #byFence = new FenceIndex()

  /**
   * @param state Where to begin; empty without it.
   * @param grantsAtOnce Most waiters that one command grants to. The same on every replica.
   */
  constructor(state?: TableState, grantsAtOnce = defaultGrantsAtOnce) {
    this.#grantsAtOnce = grantsAtOnce
    this.#grantsLeft = grantsAtOnce
    this.#sessions = state?.sessions ?? new Map()
    this.#keys = state?.keys ?? new KeyTable()
    this.#fence = state?.fence ?? 0
    this.#quiet = state?.quiet ?? false
    for (const { holders, queue } of this.#keys.values()) {
      this.#held += holders.length
      this.#waiting += queue.length
      for (const lock of holders) this.#bytes += lockBytes + textBytes(lock.metadata)
      for (const request of queue) this.#bytes += requestBytes + textBytes(request.metadata)
    }
    for (const session of this.#sessions.values()) {
      this.#bytes += bytesOfSession(session) + session.answerBytes + session.revocationBytes
    }
  }

  get sessions(): ReadonlyMap<string, Session> {
    return this.#sessions
  }

  /** The keys in use, each with its holders and its queue. */
  get keys(): Pick<KeyTable, 'size' | 'get' | 'values' | 'walk' | 'idleBytes'> {
    return this.#keys
  }

  /** The highest fence given out so far. */
  get fence(): number {
    return this.#fence
  }

  /** How many locks are held. */
  get heldCount(): number {
    return this.#held
  }

  /** How many requests wait. */
  get waitingCount(): number {
    return this.#waiting
  }

  /**
   * Bytes of memory that sessions, locks, requests, keys in use and stored answers take, as
   * `weights.ts` counts them. The same on every replica.
   */
  get bytes(): number {
    return this.#bytes + this.#keys.bytes
  }

  /** Whether nobody is granted anything but a steal. */
  get quiet(): boolean {
    return this.#quiet
  }

  apply(command: Commands.Command): readonly Effect[] {
    this.#effects = []
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
      case 'raise':
        this.#fence = Math.max(this.#fence, command.fence)
        break
      case 'serve':
        this.#grantUnfinishedKeys(command)
        break
    }
    if (this.#unfinished.size > 0) this.#reportUnfinished()
    this.#grantsLeft = this.#grantsAtOnce
    return this.#effects
  }

  // -------------------------------------------------------------------------------- sessions

  #open(command: Commands.OpenSession): void {
    const session = new Session(command)
    this.#sessions.set(session.id, session)
    this.#bytes += bytesOfSession(session)
    this.#effects.push({ kind: 'opened', session, handshakeId: command.handshakeId })
  }

  #resume(command: Commands.ResumeSession): void {
    const { session: id, ownerBroker, handshakeId, principal, secret } = command
    const session = this.#sessions.get(id)
    const proven = session && isProvenBy(session, command)
    if (
      session?.answers === undefined ||
      proven === undefined ||
      session.principal !== principal ||
      (proven === 'secret' && isOvertaken(session, command))
    ) {
      this.#effects.push({ kind: 'refused', handshakeId })
      return
    }
    // The newer secret has arrived, since it was presented; the older one stays good until then.
    session.secret = session[proven]
    session.lastResumeAttempt = command.resumeAttempt
    session.nextSecret = secret
    session.attachEpoch++
    session.suspended = false
    if (session.ownerBroker !== ownerBroker) this.#takeOwnership(session, ownerBroker)
    this.#effects.push({ kind: 'resumed', session, handshakeId, answers: session.answers })
  }

  #suspend(command: Commands.SuspendSession): void {
    // Not as a speaker: a connection that drops does not prove that its welcome was read.
    const session = this.#attached(command)
    if (session === undefined) return
    if (session.grace === 0 && !command.keep) {
      this.#end(session, 'dropped', command.at)
      return
    }
    this.#suspendSession(session, command.keep, command.at)
  }

  #suspendSession(session: Session, keep: boolean, at: number): void {
    session.suspended = true
    // Nobody can come back for what this session waits for: others need not wait behind it.
    if (session.answers === undefined) {
      for (const entry of this.#leaveQueues(session)) this.#grantWaiters(entry, at)
    }
    this.#effects.push({ kind: 'suspended', session, keep })
  }

  #restart({ formerOwner, ownerBroker, at }: Commands.Restart): void {
    const left: Session[] = []
    for (const session of this.#sessions.values()) {
      if (formerOwner === undefined || session.ownerBroker === formerOwner) left.push(session)
    }
    for (const session of left) this.#takeOwnership(session, ownerBroker)
    // Only now, since this can grant to any of them.
    for (const session of left) this.#suspendSession(session, true, at)
    // A broker that is gone has not gone on with what it was to go on with.
    for (const entry of this.#keys.values()) if (this.#isReady(entry)) this.#unfinished.add(entry)
  }

  /**
   * Lets every deadline of the session begin anew. Where that is at another broker, what the former
   * one has proposed and is still under way judged a deadline that is no more.
   */
  #takeOwnership(session: Session, home: string): void {
    const moves = session.ownerBroker !== home
    session.ownerBroker = home
    for (const record of session.held.values()) {
      if (record.ttl === undefined) continue
      if (moves) record.generation++
      this.#effects.push({ kind: 'adopted', record })
    }
    for (const record of session.waiting.values()) {
      if (record.timeout !== undefined) this.#effects.push({ kind: 'adopted', record })
    }
  }

  /** Unlike other commands, this may come for a suspended session: its grace or lease is over. */
  #endIfCurrent(command: Commands.EndSession): void {
    const session = this.#sessions.get(command.session)
    if (session?.attachEpoch === command.attachEpoch) this.#end(session, command.reason, command.at)
  }

  /**
   * First everything of the session leaves, then those who can now hold are granted: otherwise its
   * own next request in a queue would be granted a lock on the way out.
   */
  #end(session: Session, reason: Commands.EndReason, at: number): void {
    this.#sessions.delete(session.id)
    this.#bytes -= bytesOfSession(session) + session.answerBytes + session.revocationBytes
    const left = this.#leaveQueues(session)
    for (const lock of session.held.values()) {
      left.add(lock.keyState)
      this.#detach(lock, 'ended')
    }
    for (const entry of left) this.#grantWaiters(entry, at)
    this.#effects.push({ kind: 'ended', session, reason })
  }

  /** Withdraws all that the session waits for; returns the entries to serve when it is through. */
  #leaveQueues(session: Session): Set<KeyState> {
    const left = new Set<KeyState>()
    for (const request of session.waiting.values()) {
      left.add(request.keyState)
      this.#dequeue(request)
      this.#effects.push({ kind: 'withdrawn', request, reason: 'ended' })
    }
    return left
  }

  /** The session that sends this, if the connection it speaks on is still its own. */
  #currentSession(command: SessionCommand): Session | undefined {
    const session = this.#attached(command)
    if (session?.nextSecret !== undefined) {
      // Whoever speaks on this connection has read its welcome, and the new secret in it.
      session.secret = session.nextSecret
      session.nextSecret = undefined
      session.lastResumeAttempt = undefined
    }
    return session
  }

  /** The session on whose present connection something happened, said by its client or not. */
  #attached(command: SessionCommand): Session | undefined {
    const session = this.#sessions.get(command.session)
    return session?.attachEpoch === command.attachEpoch && !session.suspended ? session : undefined
  }

  // -------------------------------------------------------------------------------- requests

  #request(command: Commands.RequestLock): void {
    const session = this.#currentSession(command)
    if (session === undefined || this.#isRepeat(session, command)) return
    if (this.#isOverQuota(session, command.id)) return
    if (session.held.size + session.waiting.size >= session.limits.locks) {
      this.#refuse(session, command.id, 'QUOTA_EXCEEDED', 'locks')
      return
    }
    const { id, key, mode, at } = command
    const entry = this.#keys.getOrCreate(key)
    if (command.steal) this.#steal(entry)
    const free = entry.queue.length === 0 && !this.#quiet
    if (entry.admits(mode) && (free || command.steal)) {
      session.lastId = id
      this.#grant(entry, session, command, at, undefined)
    } else if (command.timeout === 0) {
      session.lastId = id
      const named = nameHolders(entry, true, session.storedHolderBytes)
      this.#answer(session, id, { kind: 'failed', code: 'LOCK_HELD', ...named })
      this.#forgetIfIdle(entry)
    } else if (entry.queue.length >= session.limits.waitersPerKey) {
      this.#refuse(session, id, 'QUOTA_EXCEEDED', 'waitersPerKey')
      this.#forgetIfIdle(entry)
    } else {
      session.lastId = id
      const request = new Request(entry, session, command)
      entry.enqueue(request)
      session.waitFor(request)
      this.#waiting++
      this.#bytes += requestBytes + textBytes(request.metadata)
      this.#effects.push({ kind: 'queued', request })
    }
  }

  #cancel(command: Commands.CancelRequest): void {
    const request = this.#currentSession(command)?.waiting.get(command.request)
    if (request === undefined) return
    this.#withdraw(request, 'aborted', command.at)
    this.#answer(request.session, request.id, { kind: 'failed', code: 'ABORTED' })
  }

  #timeOut(command: Commands.TimeOutRequest): void {
    const request = this.#sessions.get(command.session)?.waiting.get(command.request)
    if (request === undefined) return
    const { keyState, session, id } = request
    // Those that it waited for: to withdraw it may let in others, such as shared ones behind it.
    const named = nameHolders(keyState, false, session.storedHolderBytes)
    this.#withdraw(request, 'timeout', command.at)
    this.#answer(session, id, { kind: 'failed', code: 'LOCK_TIMEOUT', ...named })
  }

  // ----------------------------------------------------------------------------------- locks

  #unlock(command: Commands.Unlock): void {
    const session = this.#currentSession(command)
    if (session === undefined || this.#isRepeat(session, command)) return
    if (this.#isOverQuota(session, command.id)) return
    session.lastId = command.id
    const lock = session.held.get(command.fence)
    if (lock === undefined) {
      this.#answer(session, command.id, notHeld.unlock)
      return
    }
    // The next holder's grant leaves before this answer: it is the one somebody waits for.
    this.#release(lock, 'unlocked', command.at)
    this.#answer(session, command.id, unlocked)
  }

  #refresh(command: Commands.Refresh): void {
    const session = this.#currentSession(command)
    if (session === undefined || this.#isRepeat(session, command)) return
    if (this.#isOverQuota(session, command.id)) return
    session.lastId = command.id
    const lock = session.held.get(command.fence)
    if (lock === undefined) {
      this.#answer(session, command.id, notHeld.refresh)
      return
    }
    if (command.ttl !== undefined) lock.ttl = command.ttl
    lock.generation++
    this.#effects.push({ kind: 'refreshed', lock })
    this.#answer(session, command.id, { kind: 'refreshed', fence: lock.fence })
  }

  /** Only with the fence that the lock has now: whoever decided this has seen that lock. */
  #revoke(command: Commands.RevokeLock): void {
    const session = this.#currentSession(command)
    if (session === undefined || this.#isRepeat(session, command)) return
    if (this.#isOverQuota(session, command.id)) return
    session.lastId = command.id
    const lock = this.#lockOn(command.key, command.fence)
    if (lock === undefined) {
      this.#answer(session, command.id, notHeld.revoke)
      return
    }
    this.#effects.push({ kind: 'revoked', lock, by: session, note: command.note })
    this.#bytes += lock.session.onRevoked(lock.fence, command.note)
    this.#release(lock, 'revoked', command.at)
    this.#answer(session, command.id, revoked)
  }

  #lockOn(key: string, fence: number): Lock | undefined {
    const entry = this.#keys.get(key)
    if (entry === undefined) return undefined
    if (entry.holders.length > searchedHolders) return this.#byFence.holdersOf(entry).get(fence)
    for (const lock of entry.holders) if (lock.fence === fence) return lock
    return undefined
  }

  #expire(command: Commands.ExpireLock): void {
    const lock = this.#sessions.get(command.session)?.held.get(command.fence)
    if (lock?.generation === command.generation) this.#release(lock, 'expired', command.at)
  }

  /** Takes the key from everyone who holds it; the queue stays as it is. */
  #steal(entry: KeyState): void {
    for (let lock = entry.holders.first; lock !== undefined; lock = entry.holders.first) {
      this.#detach(lock, 'stolen')
    }
  }

  #release(lock: Lock, reason: ReleaseReason, at: number): void {
    this.#detach(lock, reason)
    this.#grantWaiters(lock.keyState, at)
  }

  #detach(lock: Lock, reason: ReleaseReason): void {
    lock.keyState.holders.remove(lock)
    if (this.#byFence.isUsed) this.#byFence.remove(lock)
    lock.session.held.remove(lock)
    lock.session.dropHolderDetails(lock)
    this.#held--
    this.#bytes -= lockBytes + textBytes(lock.metadata)
    this.#effects.push({ kind: 'released', lock, reason })
  }

  #withdraw(request: Request, reason: WithdrawReason, at: number): void {
    this.#dequeue(request)
    this.#effects.push({ kind: 'withdrawn', request, reason })
    this.#grantWaiters(request.keyState, at)
  }

  #dequeue(request: Request): void {
    request.keyState.queue.remove(request)
    request.session.waiting.remove(request)
    this.#waiting--
    this.#bytes -= requestBytes + textBytes(request.metadata)
  }

  /**
   * Grants from the head of the queue until the first who cannot hold, or until this command has
   * granted to so many as it may; forgets an idle key. Whoever comes meanwhile waits behind them.
   */
  #grantWaiters(entry: KeyState, at: number): void {
    for (
      let request = entry.queue.first;
      request !== undefined && entry.admits(request.mode) && !this.#quiet;
      request = entry.queue.first
    ) {
      if (this.#grantsLeft === 0) {
        this.#unfinished.add(entry)
        return
      }
      this.#grantsLeft--
      this.#dequeue(request)
      this.#grant(entry, request.session, request, at, request)
    }
    this.#forgetIfIdle(entry)
  }

  #grantUnfinishedKeys({ keys, at }: Commands.GrantUnfinishedKeys): void {
    for (const key of keys) {
      const entry = this.#keys.get(key)
      if (entry !== undefined) this.#grantWaiters(entry, at)
    }
  }

  /** Whether the first of the queue could hold, and is yet to be granted. */
  #isReady({ queue: { first } }: KeyState): boolean {
    return first?.keyState.admits(first.mode) === true && !this.#quiet
  }

  #reportUnfinished(): void {
    for (const entry of this.#unfinished) {
      const request = entry.queue.first
      if (request !== undefined && this.#isReady(entry)) {
        this.#effects.push({ kind: 'more', request })
      }
    }
    this.#unfinished.clear()
  }

  #forgetIfIdle(entry: KeyState): void {
    if (!entry.isIdle) return
    this.#keys.release(entry)
    if (this.#byFence.isUsed) this.#byFence.forget(entry)
  }

  #setQuiet({ quiet, at }: Commands.SetQuiet): void {
    this.#quiet = quiet
    for (const entry of this.#keys.values()) this.#grantWaiters(entry, at)
  }

  #grant(
    entry: KeyState,
    session: Session,
    terms: LockTerms,
    at: number,
    request: Request | undefined,
  ) {
    const lock = new Lock(entry, session, terms, ++this.#fence, at)
    entry.holders.append(lock)
    if (this.#byFence.isUsed) this.#byFence.add(lock)
    session.hold(lock)
    const bytes = session.storeAnswer(lock.id, { kind: 'granted', lock })
    this.#held++
    this.#bytes += bytes + lockBytes + textBytes(lock.metadata)
    this.#effects.push({ kind: 'granted', lock, request })
  }

  // --------------------------------------------------------------------------------- answers

  #acknowledge(command: Commands.AcknowledgeAnswers): void {
    const session = this.#currentSession(command)
    if (session === undefined) return
    this.#bytes -= session.forgetAnswers(command.ids)
    this.#effects.push({ kind: 'acknowledged', session })
  }

  /**
   * Whether the id of this request was used before. If so, the session gets the stored answer, or
   * nothing while the request waits; `BAD_MESSAGE` if there is neither, or if the id was that of
   * another type of request, because the stored answer would mean something else.
   */
  #isRepeat(session: Session, { id, type }: { id: number; type: RequestType }): boolean {
    if (id > session.lastId) return false
    const answer = session.answers?.get(id)
    if (answer !== undefined && answers(answer, type)) {
      this.#effects.push({ kind: 'answer', session, id, answer, repeat: true })
    } else if (type !== 'lock' || session.waiting.get(id) === undefined) {
      this.#refuse(session, id, 'BAD_MESSAGE')
    }
    return true
  }

  #isOverQuota(session: Session, id: number): boolean {
    if (session.answers === undefined || session.answers.size < session.limits.answers) return false
    this.#refuse(session, id, 'QUOTA_EXCEEDED', 'answers')
    return true
  }

  #answer(session: Session, id: number, answer: Answer): void {
    this.#bytes += session.storeAnswer(id, answer)
    this.#effects.push({ kind: 'answer', session, id, answer, repeat: false })
  }

  /** An answer to a request that changed nothing, and so need not be remembered. */
  #refuse(
    session: Session,
    id: number,
    code: ErrorCode,
    limit?: keyof Commands.SessionLimits,
  ): void {
    const answer: Answer =
      limit === undefined ? { kind: 'failed', code } : { kind: 'failed', code, limit }
    this.#effects.push({ kind: 'answer', session, id, answer, repeat: true })
  }
}
