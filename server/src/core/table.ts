/**
 * The lock table: all sessions, locks and waiting requests of a broker, as a pure state machine.
 *
 * `apply(command)` changes the table and returns the effects. It is synchronous and deterministic.
 * It uses no socket, timer, clock, random number, id generator or log. The same table therefore
 * serves from memory, is rebuilt from a journal, and is equal at every broker that shares a log.
 *
 * The rules of the table, and the methods that enforce each rule:
 * - Exclusion: a lock is granted only if `KeyState.admits` its mode (`#request`, `#grantWaitersOf`).
 * - First come, first served: no request is granted past a queue (`#request`, `#grantWaitersOf`).
 * - When a lock or a request ends, the table grants the waiters behind it while it executes the
 *   same command, by a loop and never by recursion (`#release`, `#withdraw`).
 * - A request whose id is repeated gets its first answer and never runs twice (`Responder`).
 * - A command from a replaced connection changes nothing (`#currentSession`).
 * - A set is granted on all its keys in one step, when its requests are the heads of all their
 *   queues and each is admitted (`#grantWaitersOf`, `#grantSet`).
 * - A `once` request that waits gets the value of the run that it waited for, and the requests for
 *   locks around it keep their places (`#complete`, `#answerFollowers`).
 * - One command grants a limited number of waiters; the command `grantUnfinishedKeys` grants the
 *   rest (`#grantWaiters`).
 * - An upgrade is granted when its lock is the only lock of the key, before all waiters
 *   (`#grantWaitersOf`, `#grantUpgrade`).
 * - Each lock gets a higher number, its fence, than every lock before (`#grant`).
 */
import { answers } from './answers.js'
import { BarrierTable } from './barriers.js'
import type * as Commands from './commands.js'
import { maxFenceFloor, unknownCommand } from './commands.js'
import { findDeadlock, type NewRequest } from './deadlock.js'
import type { Effect, ReleaseReason, WithdrawReason } from './effects.js'
import { proclaim } from './elections.js'
import { FenceIndex } from './fenceIndex.js'
import { HolderAnswers } from './holders.js'
import { KeyTable } from './keyTable.js'
import { type ExtraTerms, LockExtras, LockSet, type SetItem } from './lockExtras.js'
import { blockedKeysOf, canGrantSet, decideSet, memberTerms } from './lockSets.js'
import { takeOwnership } from './ownership.js'
import { capacityMismatch } from './permits.js'
import type { LockTerms, RequestTerms } from './plainRecords.js'
import { type Extras, type KeyState, Lock, Request, type ScopeOfLocks, Session } from './records.js'
import { Responder } from './responder.js'
import { ResultTable } from './results.js'
import { onLockEnded, onLockGranted, onWaitBegan, onWaitEnded, scopeOf } from './scopes.js'
import { isSupersededAttempt, matchSecret } from './secrets.js'
import type { FollowerGroup } from './sharedResults.js'
import { canChangeMode, decideUpgrade, isUpgradeReady, upgradeRequest } from './upgrades.js'
import { bytesOfLock, bytesOfRecords, bytesOfRequest, bytesOfSession } from './weights.js'

/** The part of a command that names its session and its connection. */
type SessionCommand = { readonly session: string; readonly attachEpoch: number }

/** The contents of a table that is restored from a snapshot. */
export interface TableState {
  readonly sessions: Map<string, Session>
  readonly keys: KeyTable
  readonly barriers: BarrierTable
  readonly results: ResultTable
  readonly fence: number
  readonly quiet: boolean
}

/**
 * Most waiters that one command grants. A lock for which 100,000 requests wait is therefore passed
 * on in several short turns of the event loop.
 */
const defaultGrantsPerCommand = 1_000
/** Most visits of a check for deadlocks, for a session without this limit. */
const defaultDeadlockVisits = 10_000

export class LockTable {
  readonly #sessions: Map<string, Session>
  readonly #keys: KeyTable
  readonly #barriers: BarrierTable
  readonly #results: ResultTable
  #fence: number
  #held = 0
  #waiting = 0
  #quiet: boolean
  #visitCount = 0
  /** Bytes of the sessions, locks and requests, without those of the keys and the answers. */
  #bytes: number
  readonly #responder = new Responder()
  readonly #grantsPerCommand: number
  /** How many more waiters this command may grant. */
  #grantsLeft: number
  /**
   * Other keys of sets that ended or were granted. This command must still grant their waiters, in
   * this order.
   */
  readonly #worklist = new Set<KeyState>()
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
    this.#results = state?.results ?? new ResultTable()
    this.#fence = state?.fence ?? 0
    this.#quiet = state?.quiet ?? false
    for (const { holders, queue, extras } of this.#keys.values()) {
      this.#held += holders.length
      this.#waiting += queue.length + (extras?.upgrade === undefined ? 0 : 1)
    }
    this.#bytes = bytesOfRecords(this.#sessions.values(), this.#keys.values())
    for (const { answerBytes } of this.#sessions.values()) this.#responder.bytes += answerBytes
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

  /** The results that the table keeps for later `once` calls, by key, oldest first. */
  get keptResults(): ResultTable['kept'] {
    return this.#results.kept
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
    const ownBytes = this.#bytes + this.#keys.bytes + this.#barriers.bytes
    return ownBytes + this.#results.bytes + this.#responder.bytes
  }

  /**
   * How many waiting scopes and sets all checks for deadlocks have visited. The number is not part
   * of the state; the broker charges it to the client that caused a check.
   */
  get visitCount(): number {
    return this.#visitCount
  }

  /** Whether the table grants only requests that steal the lock. */
  get quiet(): boolean {
    return this.#quiet
  }

  /** Executes a command. Returns its effects, in order. */
  apply(command: Commands.Command): readonly Effect[] {
    this.#responder.effects = []
    this.#execute(command)
    if (this.#unfinished.size > 0) this.#reportUnfinished()
    this.#grantsLeft = this.#grantsPerCommand
    return this.#responder.effects
  }

  #execute(command: Commands.Command): void {
    switch (command.type) {
      case 'lock':
        this.#request(command)
        break
      case 'lockAll':
        this.#requestSet(command)
        break
      case 'once':
        this.#requestOnce(command)
        break
      case 'complete':
        this.#complete(command)
        break
      case 'upgrade':
        this.#upgrade(command)
        break
      case 'downgrade':
        this.#downgrade(command)
        break
      case 'endScope':
        this.#endScope(command)
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
      case 'barrier':
        this.#arriveAtBarrier(command)
        break
      case 'proclaim':
        this.#proclaim(command)
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
      default:
        this.#executeOther(command)
    }
  }

  /** Executes a command of a timer or of the broker, or the beginning or end of a connection. */
  #executeOther(command: Exclude<Commands.Command, Commands.ClientCommand>): void {
    switch (command.type) {
      case 'forgetResult':
        this.#results.forget(this.#responder, command)
        break
      case 'timeout':
        this.#timeOut(command)
        break
      case 'expire':
      case 'endHold':
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
        this.#raiseFenceFloor(command)
        break
      case 'grantUnfinishedKeys':
        this.#grantUnfinishedKeys(command)
        break
      default:
        throw unknownCommand(command)
    }
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
      this.#withdrawAll(session)
      this.#grantWorklist(at)
    }
    this.#responder.effects.push({ kind: 'suspended', session, keep })
  }

  #restart({ formerOwner, ownerBroker, at }: Commands.Restart): void {
    const movedSessions = [...this.#sessions.values()].filter(
      (session) => formerOwner === undefined || session.ownerBroker === formerOwner,
    )
    for (const session of movedSessions) this.#takeOwnership(session, ownerBroker)
    this.#results.takeOwnership(this.#responder, formerOwner, ownerBroker)
    // This loop follows the loop above, because suspending one session can grant a lock to any of
    // the others. All sessions must have their new owner before.
    for (const session of movedSessions) this.#suspendSession(session, true, at)
    // The former owner may have left keys unfinished.
    for (const keyState of this.#keys.values())
      if (this.#isUnfinished(keyState)) this.#unfinished.add(keyState)
  }

  #takeOwnership(session: Session, ownerBroker: string): void {
    for (const lockOrRequest of takeOwnership(session, ownerBroker)) {
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
    this.#responder.bytes -= session.dropAnswers()
    this.#withdrawAll(session)
    for (const lock of session.held.values()) {
      this.#worklist.add(lock.keyState)
      this.#removeLock(lock, 'ended')
    }
    this.#grantWorklist(at)
    this.#responder.effects.push({ kind: 'ended', session, reason })
  }

  /**
   * Withdraws every waiting request of the session and puts their keys onto the worklist. Ends
   * every call of the session at a barrier.
   */
  #withdrawAll(session: Session): void {
    for (const request of session.waiting.values()) {
      this.#worklist.add(request.keyState)
      this.#removeRequest(request, 'ended')
    }
    this.#barriers.endCallsOf(this.#responder, session)
  }

  /**
   * The session whose client sent this command; undefined if the connection of the command was
   * replaced or dropped.
   */
  #currentSession(command: SessionCommand): Session | undefined {
    const session = this.#attachedSession(command)
    // A client that sends on this connection has read the new secret in `welcome`.
    if (session?.nextSecret !== undefined) session.confirmNextSecret()
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
    if (this.#isBusy(session, command.id, command.extras?.scope)) return
    this.#requestLock(session, command)
  }

  /** Answers with a kept result, or requests the lock for a run. */
  #requestOnce(command: Commands.RequestOnce): void {
    const session = this.#currentSession(command)
    if (session === undefined || !this.#responder.accepts(session, command)) return
    const kept = this.#results.kept.get(command.key)
    if (kept === undefined) {
      const terms = { mode: 'exclusive', steal: false, extras: { once: true } } as const
      this.#requestLock(session, { ...command, ...terms })
      return
    }
    session.lastId = command.id
    this.#responder.answer(session, command.id, { kind: 'result', result: kept.result })
  }

  #requestLock(session: Session, command: Omit<Commands.RequestLock, 'type'>): void {
    if (session.lockCount >= session.limits.locks) {
      this.#responder.refuse(session, command.id, 'QUOTA_EXCEEDED', 'locks')
      return
    }
    const { id, key, at } = command
    const keyState = this.#keys.getOrCreate(key)
    const mismatch = command.extras && capacityMismatch(keyState, command.extras.capacity)
    if (mismatch !== undefined) {
      this.#responder.refuseCapacity(session, id, mismatch)
      return
    }
    if (command.steal) this.#steal(keyState)
    const mayGrantNow = keyState.queue.length === 0 && !this.#quiet
    if (keyState.admits(command) && (mayGrantNow || command.steal)) {
      session.lastId = id
      const extras = extrasOf(session, command.extras)
      this.#grant(keyState, session, command, extras, ++this.#fence, at, undefined)
      if (this.#worklist.size > 0) this.#grantWorklist(at)
    } else if (command.timeout === 0) {
      session.lastId = id
      const answer = this.#heldAnswers.answerFor(keyState, session.storedHolderBytes)
      this.#responder.answer(session, id, answer)
      this.#markIdleIfUnused(keyState)
    } else if (keyState.queue.length >= session.limits.waitersPerKey) {
      this.#responder.refuse(session, id, 'QUOTA_EXCEEDED', 'waitersPerKey')
      this.#markIdleIfUnused(keyState)
    } else if (
      command.extras?.scope !== undefined &&
      this.#isDeadlock(session, id, scopeOf(session, command.extras.scope), [
        { keyState, mode: command.mode, permits: command.extras.permits ?? 0 },
      ])
    ) {
      this.#markIdleIfUnused(keyState)
    } else {
      session.lastId = id
      const extras = extrasOf(session, command.extras)
      this.#enqueue(keyState, session, command, extras)
    }
  }

  /** Whether the scope waits already, so that its next request is refused. */
  #isBusy(session: Session, id: number, scope: number | undefined): boolean {
    if (scope === undefined || session.scopes?.get(scope)?.waiting === undefined) return false
    this.#responder.refuseFault(session, id, 'busyScope')
    return true
  }

  /** Whether a request that would wait is refused, because of a deadlock or too many visits. */
  #isDeadlock(
    session: Session,
    id: number,
    scope: ScopeOfLocks | undefined,
    wanted: NewRequest['wanted'],
    upgradeOf?: Lock,
  ): boolean {
    const { deadlockVisits = defaultDeadlockVisits } = session.limits
    const result = findDeadlock({ session, scope, wanted, upgradeOf }, deadlockVisits)
    this.#visitCount += result.visits
    if (result.kind === 'deadlock') this.#responder.refuseDeadlock(session, id, result.cycle)
    else if (result.kind === 'tooManyVisits')
      this.#responder.refuse(session, id, 'QUOTA_EXCEEDED', 'deadlockVisits')
    return result.kind !== 'none'
  }

  #requestSet(command: Commands.RequestLockSet): void {
    const session = this.#currentSession(command)
    if (session === undefined || !this.#responder.accepts(session, command)) return
    const { id, items, at } = command
    if (this.#isBusy(session, id, command.extras?.scope)) return
    const scopeNumber = command.extras?.scope
    const scope = scopeNumber === undefined ? undefined : scopeOf(session, scopeNumber)
    const keyStates = items.map(({ key }) => this.#keys.getOrCreate(key))
    const decision = decideSet(command, keyStates, session, this.#quiet)
    if (decision.kind === 'overLimit')
      this.#responder.refuse(session, id, 'QUOTA_EXCEEDED', decision.limit)
    else if (decision.kind === 'mismatch')
      this.#responder.refuseCapacity(session, id, decision.mismatch)
    else if (
      decision.kind !== 'wait' ||
      scope === undefined ||
      !this.#isDeadlock(
        session,
        id,
        scope,
        items.map((item, i) => wantedOf(item, keyStates[i]!)),
      )
    ) {
      session.lastId = id
      if (decision.kind === 'held') {
        const { keyStates: blocked } = decision
        const answer = this.#heldAnswers.answerForSet(blocked, session.storedHolderBytes)
        this.#responder.answer(session, id, answer)
      } else {
        const set = new LockSet<Lock, Request>()
        if (decision.kind === 'grant') this.#fence++
        for (const [i, keyState] of keyStates.entries()) {
          const extras = extrasOf(session, { ...items[i]!, ...command.extras }, set)
          const terms = memberTerms(command, i)
          if (decision.kind === 'wait') this.#enqueue(keyState, session, terms, extras)
          else this.#grant(keyState, session, terms, extras, this.#fence, at, undefined)
        }
      }
    }
    for (const keyState of keyStates) this.#markIdleIfUnused(keyState)
  }

  #enqueue(
    keyState: KeyState,
    session: Session,
    terms: RequestTerms,
    extras: Extras | undefined,
  ): void {
    const request = new Request(keyState, session, terms, extras)
    if (extras !== undefined) extras.set?.requests.push(request)
    this.#startWaiting(request)
  }

  #startWaiting(request: Request): void {
    request.keyState.enqueue(request)
    request.session.addWaiting(request)
    if (request.extras !== undefined) onWaitBegan(request)
    if (request.extras?.once) this.#results.addFollower(request)
    this.#waiting++
    this.#bytes += bytesOfRequest(request)
    this.#responder.effects.push({ kind: 'queued', request })
  }

  #arriveAtBarrier(command: Commands.ArriveAtBarrier): void {
    const session = this.#currentSession(command)
    if (session !== undefined && this.#responder.accepts(session, command))
      this.#barriers.arrive(this.#responder, session, command)
  }

  #cancel(command: Commands.CancelRequest): void {
    const session = this.#currentSession(command)
    this.#barriers.giveUp(this.#responder, session, command.request, 'aborted')
    const request = session?.waiting.get(command.request)
    if (request === undefined) return
    this.#withdraw(request, 'aborted', command.at)
    const answer = { kind: 'failed', code: 'ABORTED', request: typeOf(request) } as const
    this.#responder.answer(request.session, request.id, answer)
  }

  #timeOut(command: Commands.TimeOutRequest): void {
    const waitingSession = this.#sessions.get(command.session)
    this.#barriers.giveUp(this.#responder, waitingSession, command.request, 'timeout')
    const request = waitingSession?.waiting.get(command.request)
    if (request === undefined) return
    const { session, id, keyState, extras, upgradedLock } = request
    const { storedHolderBytes } = session
    // Made before the withdrawal, because the withdrawal may grant locks to shared waiters behind
    // the request.
    const answer =
      upgradedLock !== undefined
        ? this.#timeoutAnswers.answerForUpgrade(upgradedLock, storedHolderBytes)
        : extras?.set === undefined
          ? this.#timeoutAnswers.answerFor(keyState, storedHolderBytes)
          : this.#timeoutAnswers.answerForSet(blockedKeysOf(extras.set), storedHolderBytes)
    this.#withdraw(request, 'timeout', command.at)
    this.#responder.answer(session, id, answer)
  }

  // ----------------------------------------------------------------------------------- locks

  /** The lock of the command. If the session does not hold the lock, answers the command. */
  #heldLock(
    command: Commands.Unlock | Commands.Refresh | Commands.UpgradeLock | Commands.DowngradeLock,
  ): Lock | undefined {
    const session = this.#currentSession(command)
    if (session === undefined || !this.#responder.accepts(session, command)) return undefined
    const lock = session.held.get(command.fence)
    if (lock !== undefined) return lock
    session.lastId = command.id
    this.#responder.answer(session, command.id, answers.notHeld[command.type])
    return undefined
  }

  #upgrade(command: Commands.UpgradeLock): void {
    const lock = this.#heldLock(command)
    if (lock === undefined) return
    const { session } = lock
    const decision = decideUpgrade(lock, command.timeout, this.#quiet)
    const { id } = command
    const { keyState, extras } = lock
    if (decision === 'invalid') {
      this.#responder.refuseFault(session, id, 'fixedMode')
      return
    }
    if (this.#isBusy(session, id, extras?.scope?.number)) return
    const wanted = [{ keyState, mode: 'exclusive', permits: 0 }] as const
    if (decision === 'wait' && this.#isDeadlock(session, id, extras?.scope, wanted, lock)) return
    session.lastId = command.id
    if (decision === 'grant') this.#grantUpgrade(lock, command.id, undefined)
    else if (decision === 'wait') {
      const request = upgradeRequest(command, lock)
      this.#startWaiting(request)
    } else {
      const { storedHolderBytes } = session
      const answer =
        decision === 'held'
          ? this.#heldAnswers.answerForUpgrade(lock, storedHolderBytes)
          : ({ kind: 'upgraded', fence: lock.presentFence } as const)
      this.#responder.answer(session, command.id, answer)
    }
  }

  #downgrade(command: Commands.DowngradeLock): void {
    const lock = this.#heldLock(command)
    if (lock === undefined) return
    const { session } = lock
    if (!canChangeMode(lock)) {
      this.#responder.refuseFault(session, command.id, 'fixedMode')
      return
    }
    session.lastId = command.id
    if (lock.mode === 'exclusive') {
      lock.mode = 'shared'
      this.#responder.effects.push({ kind: 'downgraded', lock })
      this.#grantWaiters(lock.keyState, command.at)
    }
    this.#responder.answer(session, command.id, answers.downgraded)
  }

  /** Ends a scope. Removes its request and its locks first, and grants waiters afterwards. */
  #endScope(command: Commands.EndScope): void {
    const session = this.#currentSession(command)
    if (session === undefined || !this.#responder.accepts(session, command)) return
    session.lastId = command.id
    const scope = session.scopes?.get(command.scope)
    const request = scope?.waiting
    if (request !== undefined) {
      this.#worklist.add(request.keyState)
      this.#removeRequest(request, 'aborted')
      this.#responder.answer(session, request.id, {
        kind: 'failed',
        code: 'ABORTED',
        request: typeOf(request),
      })
    }
    // In the order of the grants, because a table from a snapshot has the locks in another order.
    for (const lock of [...(scope?.locks ?? [])].sort((a, b) => a.fence - b.fence)) {
      if (!lock.isPrimary) continue
      this.#worklist.add(lock.keyState)
      this.#removeLock(lock, 'unlocked')
    }
    this.#grantWorklist(command.at)
    this.#responder.answer(session, command.id, answers.scopeEnded)
  }

  #unlock(command: Commands.Unlock): void {
    const lock = this.#heldLock(command)
    if (lock === undefined) return
    const { session } = lock
    session.lastId = command.id
    // Granting the next waiter precedes this answer, because a client is waiting for that grant.
    this.#release(lock, 'unlocked', command.at)
    this.#responder.answer(session, command.id, answers.unlocked)
  }

  /**
   * Releases the lock of a `once`. First answers the followers, and then grants the next waiter,
   * because the followers need not wait for this waiter.
   */
  #complete(command: Commands.CompleteOnce): void {
    const session = this.#currentSession(command)
    if (session === undefined || !this.#responder.accepts(session, command)) return
    session.lastId = command.id
    const lock = session.held.get(command.fence)
    if (lock?.extras?.once === undefined) {
      this.#responder.answer(session, command.id, answers.notHeld.unlock)
      return
    }
    this.#removeLock(lock, 'unlocked')
    this.#results.complete(this.#responder, lock, command)
    this.#grantWaiters(lock.keyState, command.at)
    this.#responder.answer(session, command.id, answers.unlocked)
  }

  #refresh(command: Commands.Refresh): void {
    const lock = this.#heldLock(command)
    if (lock === undefined) return
    const { session } = lock
    session.lastId = command.id
    if (command.ttl !== undefined) lock.ttl = command.ttl
    lock.generation++
    this.#responder.effects.push({ kind: 'refreshed', lock })
    this.#responder.answer(session, command.id, { kind: 'refreshed', fence: lock.fence })
  }

  #proclaim(command: Commands.Proclaim): void {
    const session = this.#currentSession(command)
    if (session !== undefined && this.#responder.accepts(session, command))
      this.#bytes += proclaim(this.#responder, session, command)
  }

  /**
   * Ends a lock only if its key and fence match the command, so that an operator cannot end a newer
   * lock by mistake.
   */
  #revoke(command: Commands.RevokeLock): void {
    const session = this.#currentSession(command)
    if (session === undefined || !this.#responder.accepts(session, command)) return
    session.lastId = command.id
    const keyState = this.#keys.get(command.key)
    const lock = keyState && this.#byFence.find(keyState, command.fence)
    if (lock === undefined) {
      this.#responder.answer(session, command.id, answers.notHeld.revoke)
      return
    }
    this.#responder.effects.push({ kind: 'revoked', lock, by: session, note: command.note })
    this.#bytes += lock.session.storeRevocation(lock.fence, command.note)
    this.#release(lock, 'revoked', command.at)
    this.#responder.answer(session, command.id, answers.revoked)
  }

  #expire(command: Commands.ExpireLock | Commands.EndHold): void {
    const lock = this.#sessions.get(command.session)?.held.get(command.fence)
    if (command.type === 'endHold') {
      if (lock?.extras?.maxHold === undefined) return
      // A new owner broker counts the hold anew, so a proposal of the former owner is out of date.
      if (lock.session.ownerBroker !== command.ownerBroker) return
      this.#release(lock, 'maxHold', command.at)
    } else if (lock?.generation === command.generation) this.#release(lock, 'expired', command.at)
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

  /** Removes a lock. Of a set, removes all locks, and puts their keys onto the worklist. */
  #removeLock(lock: Lock, reason: ReleaseReason): void {
    const set = lock.extras?.set
    if (set === undefined) {
      this.#removeHolder(lock, reason)
      return
    }
    for (const member of set.locks) {
      this.#removeHolder(member, reason)
      this.#worklist.add(member.keyState)
    }
  }

  #removeHolder(lock: Lock, reason: ReleaseReason): void {
    const upgrade = lock.keyState.extras?.upgrade
    if (upgrade?.upgradedLock === lock) {
      this.#removeRequest(upgrade, 'ended')
      this.#responder.answer(lock.session, upgrade.id, answers.notHeld.upgrade)
    }
    lock.keyState.removeHolder(lock)
    if (lock.extras !== undefined) onLockEnded(lock)
    if (this.#byFence.isUsed) this.#byFence.remove(lock)
    lock.session.removeHeld(lock)
    lock.session.reduceStoredGrant(lock)
    this.#held--
    this.#bytes -= bytesOfLock(lock)
    this.#responder.effects.push({ kind: 'released', lock, reason })
  }

  #withdraw(request: Request, reason: WithdrawReason, at: number): void {
    this.#removeRequest(request, reason)
    this.#grantWaiters(request.keyState, at)
  }

  /** Removes a request. Of a set, removes all requests, and puts their keys onto the worklist. */
  #removeRequest(request: Request, reason: WithdrawReason): void {
    const set = request.extras?.set
    if (set === undefined) {
      this.#dequeue(request)
      this.#responder.effects.push({ kind: 'withdrawn', request, reason })
      return
    }
    for (const member of set.requests) {
      this.#dequeue(member)
      this.#responder.effects.push({ kind: 'withdrawn', request: member, reason })
      this.#worklist.add(member.keyState)
    }
  }

  #dequeue(request: Request): void {
    request.keyState.dequeue(request)
    if (request.extras?.once) this.#results.removeFollower(request)
    if (request.extras !== undefined) onWaitEnded(request)
    request.session.removeWaiting(request)
    this.#waiting--
    this.#bytes -= bytesOfRequest(request)
  }

  /** Grants the waiters of a key, and of the keys on the worklist. */
  #grantWaiters(keyState: KeyState, at: number): void {
    if (this.#worklist.size === 0) this.#grantWaitersOf(keyState, at)
    else this.#worklist.add(keyState)
    if (this.#worklist.size > 0) this.#grantWorklist(at)
  }

  /** Grants the waiters of the keys on the worklist, key by key. A granted set adds its keys. */
  #grantWorklist(at: number): void {
    for (const keyState of this.#worklist) {
      this.#worklist.delete(keyState)
      this.#grantWaitersOf(keyState, at)
    }
  }

  /**
   * Answers the followers of a run that has ended. Then grants waiters from the head of the queue.
   * Stops before the first waiter that cannot be
   * granted, or when this command has used up its grants. Marks the key as idle if it has neither
   * holders nor waiters then.
   */
  #grantWaitersOf(keyState: KeyState, at: number): void {
    const delivery = keyState.extras?.delivery
    if (delivery !== undefined && !this.#answerFollowers(keyState, delivery)) return
    while (this.#isReady(keyState)) {
      if (this.#grantsLeft === 0) {
        this.#unfinished.add(keyState)
        return
      }
      const upgrade = keyState.extras?.upgrade
      if (upgrade !== undefined) {
        this.#grantsLeft--
        this.#dequeue(upgrade)
        this.#grantUpgrade(upgrade.upgradedLock!, upgrade.id, upgrade)
        return
      }
      const request = keyState.queue.first!
      const set = request.extras?.set
      if (set === undefined) {
        this.#grantsLeft--
        this.#dequeue(request)
        const { session, extras } = request
        this.#grant(keyState, session, request, extras, ++this.#fence, at, request)
      } else this.#grantSet(set, at)
    }
    this.#markIdleIfUnused(keyState)
  }

  /** Returns false if this command has used up its grants before the last follower. */
  #answerFollowers(keyState: KeyState, { requests, result }: FollowerGroup<Request>): boolean {
    for (const request of requests) {
      if (this.#grantsLeft === 0) {
        this.#unfinished.add(keyState)
        return false
      }
      this.#grantsLeft = Math.max(0, this.#grantsLeft - result!.answerCost)
      this.#dequeue(request)
      this.#responder.effects.push({ kind: 'withdrawn', request, reason: 'answered' })
      this.#responder.answer(request.session, request.id, { kind: 'result', result: result! })
    }
    return true
  }

  /** Grants a set that waited. Puts its keys onto the worklist. */
  #grantSet({ requests }: LockSet<Lock, Request>, at: number): void {
    // A set may exceed the grants of the command, because it is granted in one step.
    this.#grantsLeft = Math.max(0, this.#grantsLeft - requests.length)
    const fence = ++this.#fence
    for (const request of requests) {
      const { keyState, session, extras } = request
      this.#dequeue(request)
      this.#grant(keyState, session, request, extras, fence, at, request)
      this.#worklist.add(keyState)
    }
  }

  /** Makes a shared lock exclusive. `request` is the upgrade that waited. */
  #grantUpgrade(lock: Lock, id: number, request: Request | undefined): void {
    const formerFence = lock.presentFence
    this.#bytes -= bytesOfLock(lock)
    lock.extras ??= new LockExtras<Lock, Request, Session>({})
    lock.extras.presentFence = ++this.#fence
    this.#bytes += bytesOfLock(lock)
    lock.mode = 'exclusive'
    this.#responder.effects.push({ kind: 'upgraded', lock, request, formerFence })
    this.#responder.answer(lock.session, id, { kind: 'upgraded', fence: this.#fence })
  }

  #grantUnfinishedKeys({ keys, at }: Commands.GrantUnfinishedKeys): void {
    for (const key of keys) {
      const keyState = this.#keys.get(key)
      if (keyState !== undefined) this.#grantWaiters(keyState, at)
    }
  }

  /** Whether the upgrade or the first waiter of the key can be granted now. */
  #isReady(keyState: KeyState): boolean {
    const { first } = keyState.queue
    if (isUpgradeReady(keyState)) return !this.#quiet
    if (first === undefined || !keyState.admits(first) || this.#quiet) return false
    const set = first.extras?.set
    return set === undefined || canGrantSet(set)
  }

  /** Whether a later command must answer followers of the key, or grant a waiter of the key. */
  #isUnfinished(keyState: KeyState): boolean {
    return keyState.extras?.delivery !== undefined || this.#isReady(keyState)
  }

  #reportUnfinished(): void {
    for (const keyState of this.#unfinished) {
      const request = keyState.extras?.upgrade ?? keyState.queue.first
      if (request !== undefined && this.#isUnfinished(keyState)) {
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

  #raiseFenceFloor({ fence }: Commands.RaiseFenceFloor): void {
    // All brokers ignore a fence that is too high, because an error would stop them at each replay.
    if (fence <= maxFenceFloor) this.#fence = Math.max(this.#fence, fence)
  }

  /** Grants a lock, or one lock of a set. The caller chooses the fence. */
  #grant(
    keyState: KeyState,
    session: Session,
    terms: LockTerms,
    extras: Extras | undefined,
    fence: number,
    at: number,
    request: Request | undefined,
  ): void {
    const lock = new Lock(keyState, session, terms, extras, fence, at)
    if (extras !== undefined) extras.set?.locks.push(lock)
    keyState.addHolder(lock)
    if (extras !== undefined) onLockGranted(lock)
    if (this.#byFence.isUsed) this.#byFence.add(lock)
    session.addHeld(lock)
    this.#held++
    this.#bytes += bytesOfLock(lock)
    if (lock.isPrimary)
      this.#responder.bytes += session.storeAnswer(lock.id, { kind: 'granted', lock })
    this.#responder.effects.push({ kind: 'granted', lock, request })
  }

  #acknowledge(command: Commands.AcknowledgeAnswers): void {
    const session = this.#currentSession(command)
    if (session === undefined) return
    this.#responder.bytes -= session.forgetAnswers(command.ids)
    this.#responder.effects.push({ kind: 'acknowledged', session })
  }
}

/** The extras of a new request; undefined for an ordinary lock. */
function extrasOf(
  session: Session,
  terms: ExtraTerms | undefined,
  set?: LockSet<Lock, Request>,
): Extras | undefined {
  const extras = LockExtras.of<Lock, Request, Session>(terms, session.limits, set)
  if (terms?.scope !== undefined) extras!.scope = scopeOf(session, terms.scope)
  return extras
}

function wantedOf({ mode, permits = 0 }: SetItem, keyState: KeyState) {
  return { keyState, mode, permits }
}

/** The type in the answer to a request that waited; undefined for `lock` and `lockAll`. */
function typeOf({ upgradedLock }: Request): 'upgrade' | undefined {
  return upgradedLock === undefined ? undefined : 'upgrade'
}
