/**
 * Decides about each request for a lock, and for an upgrade of a shared lock to an exclusive lock.
 * The table grants the request at once, lets the request wait, or refuses the request. Also ends a
 * waiting request when its client cancels the request, or when the timeout of the request is over.
 *
 * `granter.ts` grants the requests that wait. The `extras` of a request or lock are the terms that
 * only few requests have, such as permits or a scope. A scope is one logical task of a client.
 */
import type { BarrierTable } from './barriers.js'
import type {
  CancelRequest,
  RequestLock,
  RequestLockSet,
  RequestOnce,
  UpgradeLock,
} from './clientCommands.js'
import type { TimeOutRequest } from './commands.js'
import { findDeadlock, type NewRequest } from './deadlock.js'
import type { Granter } from './granter.js'
import { HolderAnswers } from './holders.js'
import { type ExtraTerms, LockExtras, LockSet, type SetItem } from './lockExtras.js'
import { blockedKeysOf, decideSet, memberTerms } from './lockSets.js'
import { capacityMismatch } from './permits.js'
import type { Extras, KeyState, Lock, Request, ScopeOfLocks, Session } from './records.js'
import type { Responder } from './responder.js'
import type { ResultTable } from './results.js'
import { scopeOf } from './scopes.js'
import type { SessionTable } from './sessions.js'
import { decideUpgrade, requestTypeOfWaiter, upgradeRequest } from './upgrades.js'

/**
 * How many waiting scopes and waiting sets (requests for several keys) one check for deadlocks may
 * visit, if the session has no limit for these visits.
 */
const defaultDeadlockVisits = 10_000

/** The other parts of the table that a request needs. */
interface RequestHandlerDeps {
  readonly responder: Responder
  readonly granter: Granter
  readonly sessions: SessionTable
  readonly barriers: BarrierTable
  readonly results: ResultTable
}

/**
 * Handles requests for locks. A new request raises `session.lastId` to its id, unless the request
 * is refused: a refusal (see `Responder.refuse`) changes nothing.
 */
export class RequestHandler {
  readonly #responder: Responder
  readonly #granter: Granter
  readonly #sessions: SessionTable
  readonly #barriers: BarrierTable
  readonly #results: ResultTable
  /** How many waiting scopes and waiting sets all checks for deadlocks have visited. */
  visitCount = 0
  /**
   * The answers to requests that must not wait. Only these answers show the metadata of holders.
   */
  readonly #lockHeldAnswers = new HolderAnswers('LOCK_HELD', /* showsMetadata */ true)
  readonly #timeoutAnswers = new HolderAnswers('LOCK_TIMEOUT', /* showsMetadata */ false)

  constructor(deps: RequestHandlerDeps) {
    this.#responder = deps.responder
    this.#granter = deps.granter
    this.#sessions = deps.sessions
    this.#barriers = deps.barriers
    this.#results = deps.results
  }

  /** Requests a lock on one key. */
  lock(command: RequestLock): void {
    const session = this.#sessions.sessionOfNewRequest(command)
    if (session === undefined) return
    if (this.#refuseIfScopeWaits(session, command.id, command.extras?.scope)) return
    this.#requestLock(session, command)
  }

  /**
   * Handles a `once`: answers with the result that the table has kept for the key. Without such a
   * result, requests the lock under which the client runs its function.
   */
  once(command: RequestOnce): void {
    const session = this.#sessions.sessionOfNewRequest(command)
    if (session === undefined) return
    const kept = this.#results.kept.get(command.key)
    if (kept === undefined) {
      const terms = { mode: 'exclusive', steal: false, extras: { once: true } } as const
      this.#requestLock(session, { ...command, ...terms })
      return
    }
    session.lastId = command.id
    this.#responder.answer(session, command.id, { kind: 'result', result: kept.result })
  }

  /** Grants a request for one key, lets the request wait, or refuses the request. */
  #requestLock(session: Session, command: Omit<RequestLock, 'type'>): void {
    if (session.lockCount >= session.limits.locks) {
      this.#responder.refuse(session, command.id, 'QUOTA_EXCEEDED', 'locks')
      return
    }
    const { id, key, at } = command
    const keyState = this.#granter.keys.getOrCreate(key)
    const mismatch = command.extras && capacityMismatch(keyState, command.extras.capacity)
    if (mismatch !== undefined) {
      // Only a key with a holder or a waiter has a capacity. So this key is in use, and needs no
      // `markIdleIfUnused`.
      this.#responder.refuseCapacity(session, id, mismatch)
      return
    }
    if (command.steal) this.#granter.steal(keyState, session)
    // For some time after a restart (`quiet`), the table grants only requests that steal the lock.
    const mayGrantNow = keyState.queue.length === 0 && !this.#granter.quiet
    if (keyState.admits(command) && (mayGrantNow || command.steal)) {
      session.lastId = id
      const extras = extrasOf(session, command.extras)
      const fence = this.#granter.nextFence()
      this.#granter.grant(keyState, session, command, extras, fence, at, /* request */ undefined)
      // A stolen lock may belong to a set, whose other keys are then free too. Grant their waiters.
      if (command.steal) this.#granter.grantWorklist(at)
    } else if (command.timeout === 0) {
      session.lastId = id
      // The answer is shorter if the stored answers of the session already describe many holders.
      const answer = this.#lockHeldAnswers.answerFor(keyState, session.storedHolderBytes)
      this.#responder.answer(session, id, answer)
      this.#granter.markIdleIfUnused(keyState)
    } else if (keyState.queue.length >= session.limits.waitersPerKey) {
      this.#responder.refuse(session, id, 'QUOTA_EXCEEDED', 'waitersPerKey')
      this.#granter.markIdleIfUnused(keyState)
    } else if (
      command.extras?.scope !== undefined &&
      this.#refuseIfDeadlock(session, id, scopeOf(session, command.extras.scope), [
        { keyState, mode: command.mode, permits: command.extras.permits ?? 0 },
      ])
    ) {
      this.#granter.markIdleIfUnused(keyState)
    } else {
      session.lastId = id
      const extras = extrasOf(session, command.extras)
      this.#granter.enqueue(keyState, session, command, extras)
    }
  }

  /**
   * Refuses the request if another request of its scope already waits. Returns whether the request
   * is refused.
   */
  #refuseIfScopeWaits(session: Session, id: number, scope: number | undefined): boolean {
    if (scope === undefined || session.scopes?.get(scope)?.waiting === undefined) return false
    this.#responder.refuseFault(session, id, 'busyScope')
    return true
  }

  /**
   * Refuses a request that would wait, if the request causes a deadlock or if the check for
   * deadlocks needs too many visits. Returns whether the request is refused.
   */
  #refuseIfDeadlock(
    session: Session,
    id: number,
    scope: ScopeOfLocks | undefined,
    wanted: NewRequest['wanted'],
    upgradeOf?: Lock,
  ): boolean {
    const { deadlockVisits = defaultDeadlockVisits } = session.limits
    const result = findDeadlock({ session, scope, wanted, upgradeOf }, deadlockVisits)
    this.visitCount += result.visits
    if (result.kind === 'deadlock') this.#responder.refuseDeadlock(session, id, result.cycle)
    else if (result.kind === 'tooManyVisits')
      this.#responder.refuse(session, id, 'QUOTA_EXCEEDED', 'deadlockVisits')
    return result.kind !== 'none'
  }

  /** Requests a lock on several keys. */
  lockAll(command: RequestLockSet): void {
    const session = this.#sessions.sessionOfNewRequest(command)
    if (session === undefined) return
    const { id, items, at } = command
    if (this.#refuseIfScopeWaits(session, id, command.extras?.scope)) return
    const scopeNumber = command.extras?.scope
    const scope = scopeNumber === undefined ? undefined : scopeOf(session, scopeNumber)
    const keyStates = items.map(({ key }) => this.#granter.keys.getOrCreate(key))
    const decision = decideSet(command, keyStates, session, this.#granter.quiet)
    // Outside a scope, a set causes no deadlock, because the set holds no locks while it waits.
    // In a scope, a set can cause one, because the scope holds its other locks meanwhile.
    const needsDeadlockCheck = decision.kind === 'wait' && scope !== undefined
    if (decision.kind === 'overLimit')
      this.#responder.refuse(session, id, 'QUOTA_EXCEEDED', decision.limit)
    else if (decision.kind === 'mismatch')
      this.#responder.refuseCapacity(session, id, decision.mismatch)
    else if (
      !needsDeadlockCheck ||
      !this.#refuseIfDeadlock(
        session,
        id,
        scope,
        items.map((item, i) => wantedOf(item, keyStates[i]!)),
      )
    ) {
      session.lastId = id
      if (decision.kind === 'held') {
        const { keyStates: blocked } = decision
        const answer = this.#lockHeldAnswers.answerForSet(blocked, session.storedHolderBytes)
        this.#responder.answer(session, id, answer)
      } else {
        const set = new LockSet<Lock, Request>()
        // A set that waits gets its fence later, when it is granted.
        const fence = decision.kind === 'grant' ? this.#granter.nextFence() : 0
        for (const [i, keyState] of keyStates.entries()) {
          const extras = extrasOf(session, { ...items[i]!, ...command.extras }, set)
          const terms = memberTerms(command, i)
          if (decision.kind === 'wait') this.#granter.enqueue(keyState, session, terms, extras)
          else this.#granter.grant(keyState, session, terms, extras, fence, at, undefined)
        }
      }
    }
    // `getOrCreate` has marked every key as in use. If the set was neither granted nor queued, some
    // keys may have neither a holder nor a waiter.
    for (const keyState of keyStates) this.#granter.markIdleIfUnused(keyState)
  }

  /** Handles the request of a session to make its shared lock exclusive. */
  upgrade(lock: Lock, command: UpgradeLock): void {
    const { session } = lock
    const decision = decideUpgrade(lock, command.timeout, this.#granter.quiet)
    const { id } = command
    const { keyState, extras } = lock
    if (decision === 'invalid') {
      // The mode of this lock can never change, or its upgrade waits already.
      this.#responder.refuseFault(session, id, 'fixedMode')
      return
    }
    if (this.#refuseIfScopeWaits(session, id, extras?.scope?.number)) return
    const wanted = [{ keyState, mode: 'exclusive', permits: 0 }] as const
    // An upgrade can cause a deadlock even outside a scope, because `lock` stays held meanwhile.
    if (decision === 'wait' && this.#refuseIfDeadlock(session, id, extras?.scope, wanted, lock))
      return
    session.lastId = command.id
    if (decision === 'grant') this.#granter.grantUpgrade(lock, command.id, /* request */ undefined)
    else if (decision === 'wait') {
      const request = upgradeRequest(command, lock)
      this.#granter.startWaiting(request)
    } else {
      // `held`: other locks prevent the upgrade, which must not wait. `unchanged`: the lock is
      // exclusive already.
      const { storedHolderBytes } = session
      const answer =
        decision === 'held'
          ? this.#lockHeldAnswers.answerForUpgrade(lock, storedHolderBytes)
          : ({ kind: 'upgraded', fence: lock.presentFence } as const)
      this.#responder.answer(session, command.id, answer)
    }
  }

  /** Ends a waiting request or a waiting call at a barrier, because its client cancels it. */
  cancel(command: CancelRequest): void {
    const session = this.#sessions.currentSession(command)
    // `giveUp` does nothing unless a call at a barrier has this id.
    this.#barriers.giveUp(this.#responder, session, command.request, 'aborted')
    const request = session?.waiting.get(command.request)
    if (request === undefined) return
    this.#granter.withdraw(request, 'aborted', command.at)
    const answer = {
      kind: 'failed',
      code: 'ABORTED',
      request: requestTypeOfWaiter(request),
    } as const
    this.#responder.answer(request.session, request.id, answer)
  }

  /** Ends a waiting request, or a waiting call at a barrier, when its timeout has passed. */
  timeOut(command: TimeOutRequest): void {
    const session = this.#sessions.byId.get(command.session)
    // `giveUp` does nothing unless a call at a barrier has this id.
    this.#barriers.giveUp(this.#responder, session, command.request, 'timeout')
    const request = session?.waiting.get(command.request)
    if (request === undefined) return
    const { keyState, extras, upgradedLock: lockToUpgrade } = request
    const { storedHolderBytes } = request.session
    // The answer describes the holders before the withdrawal. The withdrawal may grant locks to the
    // waiters behind this request, and the answer must not describe these locks.
    const answer =
      lockToUpgrade !== undefined
        ? this.#timeoutAnswers.answerForUpgrade(lockToUpgrade, storedHolderBytes)
        : extras?.set === undefined
          ? this.#timeoutAnswers.answerFor(keyState, storedHolderBytes)
          : this.#timeoutAnswers.answerForSet(blockedKeysOf(extras.set), storedHolderBytes)
    this.#granter.withdraw(request, 'timeout', command.at)
    this.#responder.answer(request.session, request.id, answer)
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

/** What the check for deadlocks needs to know about one key of a set. */
function wantedOf({ mode, permits = 0 }: SetItem, keyState: KeyState) {
  return { keyState, mode, permits }
}
