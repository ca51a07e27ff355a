/**
 * The upgrades, downgrades and ends of scopes in the model of the lock table. The model follows the
 * rules of PROTOCOL.md one by one, and has one flat list of waiting upgrades. A fence is the number
 * of a grant. An upgrade makes a shared lock exclusive and gives the lock a new `presentFence`. A
 * downgrade makes an exclusive lock shared. A scope is one task of a session. A quiet table grants
 * no upgrade.
 */
import type { DowngradeLock, EndScope, UpgradeLock } from '@holdfast/server/core'
import type { ErrorCode } from '@holdfast/shared'
import { type ModelLock, type ModelSession, type ModelState, removeFirst } from './modelState.js'
import type { PlainAnswer, PlainEffect, PlainLock, PlainRequest } from './plainValues.js'

/** The functions of the model that the upgrades need. */
interface UpgradeOutput {
  effect(effect: PlainEffect): void
  answer(session: ModelSession, id: number, answer: PlainAnswer, requestType: string): void
  refuse(session: ModelSession, id: number, code: ErrorCode): void
  release(locks: readonly PlainLock[], reason: string): void
  grantWaiters(keys: readonly string[], at: number): void
}

export class ModelUpgrades {
  readonly #state: ModelState
  readonly #output: UpgradeOutput

  constructor(state: ModelState, output: UpgradeOutput) {
    this.#state = state
    this.#output = output
  }

  /** Applies the command `upgrade`. */
  upgrade(session: ModelSession, command: UpgradeLock): void {
    const { id, fence, timeout, at } = command
    const state = this.#state
    const lock = this.#lockOrAnswer(session, command)
    if (lock === undefined) return
    const { key } = lock
    const others = state.locks.filter((other) => other.key === key && other !== lock)
    // Two waiting upgrades of one key would be a deadlock, so each key has at most one.
    const waitingUpgrade = state.upgrades.find((upgrade) => upgrade.key === key)
    if (hasFixedMode(lock) || waitingUpgrade?.upgradeOf === fence) {
      this.#output.refuse(session, id, 'BAD_MESSAGE')
    } else if (state.isScopeBusy(session.id, lock.scope)) {
      this.#output.refuse(session, id, 'BAD_MESSAGE')
    } else if (lock.mode === 'exclusive') {
      session.lastId = id
      this.#answerUpgrade(session, id, { kind: 'upgraded', fence: lock.presentFence })
    } else if (others.length === 0 && !state.quiet) {
      session.lastId = id
      const waited = false
      this.#grant(lock, id, waited)
    } else if (timeout === 0) {
      session.lastId = id
      this.#answerUpgrade(session, id, this.#failure(session, lock, 'LOCK_HELD'))
    } else {
      const unusedFields = {
        ttl: undefined,
        metadata: undefined,
        permits: undefined,
        capacity: undefined,
        maxHold: undefined,
        notify: undefined,
        set: undefined,
        once: undefined,
        election: undefined,
      }
      const commonFields = { session: session.id, id, key, timeout, since: at, scope: lock.scope }
      const kindFields = { mode: 'exclusive', upgradeOf: fence } as const
      const request: PlainRequest = { ...unusedFields, ...commonFields, ...kindFields }
      if (state.isDeadlock([request])) {
        this.#output.refuse(session, id, 'DEADLOCK')
        return
      }
      session.lastId = id
      state.upgrades.push(request)
      this.#output.effect({ kind: 'queued', request })
    }
  }

  /** Applies the command `downgrade`. */
  downgrade(session: ModelSession, command: DowngradeLock): void {
    const lock = this.#lockOrAnswer(session, command)
    if (lock === undefined) return
    if (hasFixedMode(lock)) {
      this.#output.refuse(session, command.id, 'BAD_MESSAGE')
      return
    }
    session.lastId = command.id
    if (lock.mode === 'exclusive') {
      lock.mode = 'shared'
      this.#output.effect({ kind: 'downgraded', lock: { ...lock } })
      this.#output.grantWaiters([lock.key], command.at)
    }
    this.#output.answer(session, command.id, { kind: 'downgraded' }, 'downgrade')
  }

  /** Ends a scope: first the call that waits, if any, then the locks of the scope. */
  endScope(session: ModelSession, { id, scope, at }: EndScope): void {
    session.lastId = id
    const state = this.#state
    const isOfScope = (item: PlainLock | PlainRequest) =>
      item.session === session.id && item.scope === scope
    // At most one call of a scope waits, so these requests are one call, and get one answer. A set
    // has a request for each key.
    const requests = state.requestsOf(session.id).filter(isOfScope)
    for (const request of requests) {
      for (const list of [state.waitingRequests, state.upgrades])
        removeFirst(list, (waiter) => waiter === request)
      this.#output.effect({ kind: 'withdrawn', request, reason: 'aborted' })
    }
    const [firstRequest] = requests
    if (firstRequest !== undefined) {
      const type = firstRequest.upgradeOf === undefined ? 'lock' : 'upgrade'
      this.#output.answer(session, firstRequest.id, { kind: 'failed', code: 'ABORTED' }, type)
    }
    const locks = state.locks.filter(isOfScope)
    this.#output.release(locks, 'unlocked')
    this.#output.grantWaiters(
      [...requests, ...locks].map(({ key }) => key),
      at,
    )
    this.#output.answer(session, id, { kind: 'scopeEnded' }, 'endScope')
  }

  /**
   * The waiting upgrade of the key, if the lock to be upgraded is the only lock of the key and the
   * table is not quiet.
   */
  readyOn(key: string): PlainRequest | undefined {
    if (this.#state.locks.filter((lock) => lock.key === key).length !== 1) return undefined
    return this.#state.quiet
      ? undefined
      : this.#state.upgrades.find((upgrade) => upgrade.key === key)
  }

  /** Grants an upgrade that waited. */
  grantWaiting(upgrade: PlainRequest): void {
    this.#remove(upgrade)
    const lock = this.#state.findLock(upgrade.session, upgrade.upgradeOf!)!
    const waited = true
    this.#grant(lock, upgrade.id, waited)
  }

  /** Ends a waiting upgrade, because its client or a timer gave it up. */
  giveUp(sessionId: string, requestId: number, reason: string, code: ErrorCode, at: number): void {
    const upgrade = this.#state.upgrades.find(
      (waiter) => waiter.session === sessionId && waiter.id === requestId,
    )
    if (upgrade === undefined) return
    const session = this.#state.findSession(sessionId)!
    const lock = this.#state.findLock(sessionId, upgrade.upgradeOf!)!
    const answer =
      code === 'LOCK_TIMEOUT'
        ? this.#failure(session, lock, code)
        : ({ kind: 'failed', code } as const)
    this.#remove(upgrade)
    this.#output.effect({ kind: 'withdrawn', request: upgrade, reason })
    this.#output.grantWaiters([upgrade.key], at)
    this.#answerUpgrade(session, requestId, answer)
  }

  /** Ends the upgrade of a lock that is about to be released. */
  endUpgradeOf(lock: PlainLock): void {
    const upgrade = this.#state.upgrades.find(
      (waiter) => waiter.session === lock.session && waiter.upgradeOf === lock.fence,
    )
    if (upgrade === undefined) return
    this.#remove(upgrade)
    this.#output.effect({ kind: 'withdrawn', request: upgrade, reason: 'ended' })
    const answer = { kind: 'failed', code: 'LOCK_NOT_HELD' } as const
    this.#answerUpgrade(this.#state.findSession(lock.session)!, upgrade.id, answer)
  }

  /** The lock that the command names. If the session has no such lock, answers the command. */
  #lockOrAnswer(session: ModelSession, command: UpgradeLock | DowngradeLock) {
    const lock = this.#state.findLock(session.id, command.fence)
    if (lock !== undefined) return lock
    session.lastId = command.id
    const answer = { kind: 'failed', code: 'LOCK_NOT_HELD' } as const
    this.#output.answer(session, command.id, answer, command.type)
    return undefined
  }

  /** @param waited Whether the upgrade waited; false if the model grants a new upgrade at once. */
  #grant(lock: ModelLock, id: number, waited: boolean): void {
    this.#state.fence += 1
    lock.presentFence = this.#state.fence
    lock.mode = 'exclusive'
    this.#output.effect({ kind: 'upgraded', lock: { ...lock }, waited })
    const session = this.#state.findSession(lock.session)!
    this.#answerUpgrade(session, id, { kind: 'upgraded', fence: lock.presentFence })
  }

  #remove(upgrade: PlainRequest): void {
    removeFirst(this.#state.upgrades, (waiter) => waiter === upgrade)
  }

  /** The answer to a failed upgrade of this lock, with the other holders of the key. */
  #failure(session: ModelSession, lock: PlainLock, code: 'LOCK_HELD' | 'LOCK_TIMEOUT') {
    const isSet = false
    return this.#state.failureWithHolders(session, [lock.key], isSet, code, lock.fence)
  }

  #answerUpgrade(session: ModelSession, id: number, answer: PlainAnswer): void {
    this.#output.answer(session, id, answer, 'upgrade')
  }
}

/**
 * Whether the mode of the lock cannot change, because the lock has permits, or is a set, a run of
 * `once` or a leadership.
 */
function hasFixedMode({ mode, set, once, election }: PlainLock): boolean {
  return mode === 'permits' || [set, once, election].some((field) => field !== undefined)
}
