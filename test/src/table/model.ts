/**
 * The model of the lock table, as simple as possible. The model searches flat lists from end to end
 * and follows the rules of PROTOCOL.md one by one. The model shares no code and no algorithm with
 * the real table, so the model and the table are unlikely to have the same mistake.
 *
 * A command emits withdrawals before releases, then grants, and then the answer. The grants come
 * key by key, in the order in which the keys were affected.
 *
 * Terms: a fence is the number of a grant. A grace is how long a session survives without a
 * connection. A ttl is how long a lock lasts without a refresh. A quiet table grants only steals. A
 * set is one lock on several keys. A scope is one logical task of a session. A follower is a `once`
 * that waits for the result of another `once`.
 */
import type { ClientCommand, Command } from '@holdfast/server/core'
import type { ErrorCode } from '@holdfast/shared'
import { ModelAnswers } from './modelAnswers.js'
import { ModelBarriers } from './modelBarriers.js'
import { lockRequest, setRequests } from './modelRequests.js'
import { ModelResults, onceRequest } from './modelResults.js'
import { acceptsResume, keysOf, type ModelSession, ModelState, removeFirst } from './modelState.js'
import { ModelUpgrades } from './modelUpgrades.js'
import type { PlainEffect, PlainLock, PlainRequest, PlainState } from './plainValues.js'

type CommandOf<T extends Command['type']> = Extract<Command, { type: T }>

export class Model {
  readonly #state = new ModelState()
  readonly #answers = new ModelAnswers(this.#state, (effect) => this.#effects.push(effect))
  readonly #barriers = new ModelBarriers(this.#state, {
    effect: (effect) => this.#effects.push(effect),
    answer: (session, id, answer) => this.#answers.answer(session, id, answer, 'barrier'),
    refuse: (session, id) => this.#answers.refuse(session, id, 'QUOTA_EXCEEDED'),
    refuseParties: (session, id, mismatch) =>
      this.#answers.refuse(session, id, 'CAPACITY_MISMATCH', mismatch),
  })
  readonly #results = new ModelResults(this.#state, (effect) => this.#effects.push(effect))
  readonly #upgrades = new ModelUpgrades(this.#state, {
    effect: (effect) => this.#effects.push(effect),
    answer: (session, id, answer, type) => this.#answers.answer(session, id, answer, type),
    refuse: (session, id, code) => this.#answers.refuse(session, id, code),
    release: (locks, reason) => this.#release(locks, reason),
    grantWaiters: (keys, at) => this.#grantWaiters(keys, at),
  })
  #effects: PlainEffect[] = []
  readonly #grantsPerCommand: number
  /** The number of waiters that the current command may still grant. */
  #grantsLeft = 0
  /** Keys on which the current command may leave waiters that can be granted or answered. */
  #possiblyUnfinishedKeys: string[] = []

  constructor(grantsPerCommand: number) {
    this.#grantsPerCommand = grantsPerCommand
  }

  state(): PlainState {
    return this.#state.toPlain()
  }

  /** Applies a command and returns its effects. */
  apply(command: Command): PlainEffect[] {
    this.#effects = []
    this.#grantsLeft = this.#grantsPerCommand
    this.#possiblyUnfinishedKeys = []
    switch (command.type) {
      case 'raiseFenceFloor':
        if (command.fence > this.#state.fence) this.#state.fence = command.fence
        break
      case 'quiet':
        this.#state.quiet = command.quiet
        for (const key of this.#state.keysInUse) this.#grantWaiters([key], command.at)
        break
      case 'restart':
        this.#restart(command)
        // The broker that is gone may have left any key unfinished.
        this.#possiblyUnfinishedKeys.push(...this.#state.keysInUse)
        break
      case 'forgetResult':
        this.#results.forget(command.key, command.fence)
        break
      case 'grantUnfinishedKeys':
        for (const key of command.keys) this.#grantWaiters([key], command.at)
        break
      case 'open':
        this.#open(command)
        break
      case 'resume':
        this.#resume(command)
        break
      case 'end':
        if (this.#state.findSession(command.session)?.attachEpoch === command.attachEpoch) {
          this.#end(command.session, command.reason, command.at)
        }
        break
      case 'timeout': {
        const { session, request, at } = command
        // Two calls do nothing: the id is that of a barrier call, an upgrade or a lock request.
        this.#barriers.giveUp(session, request, 'timeout')
        this.#upgrades.giveUp(session, request, 'timeout', 'LOCK_TIMEOUT', at)
        this.#withdraw(session, request, 'timeout', 'LOCK_TIMEOUT', at)
        break
      }
      case 'endHold': {
        const lock = this.#state.findLock(command.session, command.fence)
        const owner = this.#state.findSession(command.session)?.ownerBroker
        if (lock?.maxHold !== undefined && owner === command.ownerBroker)
          this.#endLock(lock, 'maxHold', command.at)
        break
      }
      case 'expire': {
        const lock = this.#state.findLock(command.session, command.fence)
        if (lock?.generation === command.generation) this.#endLock(lock, 'expired', command.at)
        break
      }
      default:
        this.#applySessionCommand(command)
    }
    // Keys that stay in use keep their places, and new keys come last.
    const usedKeys = [...this.#state.locks, ...this.#state.waitingRequests].map(({ key }) => key)
    this.#state.keysInUse = [
      ...new Set([...this.#state.keysInUse.filter((key) => usedKeys.includes(key)), ...usedKeys]),
    ]
    // Reports the keys that are in fact unfinished: a waiter can still be granted or answered.
    for (const key of new Set(this.#possiblyUnfinishedKeys)) {
      const upgrade = this.#upgrades.readyOn(key)
      const first = this.#state.waitingRequests.find((waiter) => waiter.key === key)
      if (upgrade !== undefined) this.#effects.push({ kind: 'unfinished', request: upgrade })
      else if (
        first !== undefined &&
        (this.#isReady(first) || this.#state.followersToAnswer(key).length > 0)
      )
        this.#effects.push({ kind: 'unfinished', request: first })
    }
    return this.#effects
  }

  /**
   * Applies a command of a client. The model ignores a command that did not come on the present
   * connection of its session.
   */
  #applySessionCommand(command: ClientCommand | CommandOf<'suspend'>): void {
    const session = this.#state.findSession(command.session)
    if (session === undefined || session.suspended || session.attachEpoch !== command.attachEpoch)
      return
    if (command.type === 'suspend') {
      this.#suspendOrEnd(session, command)
      return
    }
    // A message proves that the client has read the next secret, so the former secret is invalid.
    if (session.nextSecret !== undefined) session.secret = session.nextSecret
    session.nextSecret = undefined
    if (command.type === 'confirm') return
    if (command.type === 'cancel') {
      this.#barriers.giveUp(session.id, command.request, 'aborted')
      this.#upgrades.giveUp(session.id, command.request, 'aborted', 'ABORTED', command.at)
      this.#withdraw(session.id, command.request, 'aborted', 'ABORTED', command.at)
    } else if (command.type === 'ack') {
      session.answers = session.answers.filter(([id]) => !command.ids.includes(id))
      this.#effects.push({ kind: 'acknowledged', session: session.id })
    } else if (command.id <= session.lastId) {
      // A stored answer has the type `lock` for a set or `once`, and `unlock` for a `complete`.
      const { type } = command
      const isSetOrOnce = type === 'lockAll' || type === 'once'
      this.#answers.repeat(
        session,
        command.id,
        isSetOrOnce ? 'lock' : type === 'complete' ? 'unlock' : type,
      )
    } else if (session.grace > 0 && session.answers.length >= session.limits.answers) {
      this.#answers.refuse(session, command.id, 'QUOTA_EXCEEDED')
    } else if (command.type === 'lock') {
      this.#request(session, [lockRequest(session, command)], command.steal, command.at)
    } else if (command.type === 'lockAll') {
      this.#request(session, setRequests(session, command), /* steal */ false, command.at)
    } else if (command.type === 'once') {
      this.#once(session, command)
    } else if (command.type === 'complete') {
      this.#complete(session, command)
    } else if (command.type === 'barrier') {
      this.#barriers.arrive(session, command)
    } else if (command.type === 'proclaim') {
      this.#proclaim(session, command)
    } else if (command.type === 'upgrade') {
      this.#upgrades.upgrade(session, command)
    } else if (command.type === 'endScope') {
      this.#upgrades.endScope(session, command)
    } else if (command.type === 'downgrade') {
      this.#upgrades.downgrade(session, command)
    } else {
      this.#applyToLock(session, command)
    }
  }

  // -------------------------------------------------------------------------------- sessions

  #open(command: CommandOf<'open'>): void {
    const { session, handshakeId, principal, name, grace, limits, ownerBroker, secret } = command
    const chosenFields = { principal, name, grace, limits, ownerBroker, secret }
    const initialFields = { attachEpoch: 1, suspended: false, nextSecret: undefined, lastId: 0 }
    const emptyFields = { answers: [], acceptedResume: undefined, allRevocations: [] }
    this.#state.sessions.push({ id: session, ...chosenFields, ...initialFields, ...emptyFields })
    this.#effects.push({ kind: 'opened', session, handshakeId })
  }

  #resume(command: CommandOf<'resume'>): void {
    const { session: id, ownerBroker, handshakeId, proof, secret } = command
    const session = this.#state.findSession(id)
    if (session === undefined || !acceptsResume(session, command)) {
      this.#effects.push({ kind: 'refused', handshakeId })
      return
    }
    session.acceptedResume = command
    // `proof` is the secret that the client presented: the present secret or the next secret.
    session.secret = proof
    session.nextSecret = secret
    session.attachEpoch += 1
    session.suspended = false
    if (session.ownerBroker !== ownerBroker) this.#takeOwnership(session, ownerBroker)
    const { attachEpoch, answers } = session
    this.#effects.push({
      kind: 'resumed',
      session: id,
      handshakeId,
      attachEpoch,
      answers: answers.map(([request, answer]) => [request, answer] as const),
    })
  }

  /**
   * Suspends a session. A session without a grace ends instead, unless `keep` is true, which means
   * that the broker itself closed the connection.
   */
  #suspendOrEnd(session: ModelSession, { keep, at }: CommandOf<'suspend'>): void {
    if (session.grace === 0 && !keep) {
      this.#end(session.id, 'dropped', at)
      return
    }
    this.#suspendSession(session, keep, at)
  }

  #suspendSession(session: ModelSession, keep: boolean, at: number): void {
    session.suspended = true
    // A session without a grace keeps only its locks. No client can resume the session, so its
    // requests must not delay other waiters.
    const withdrawnKeys = session.grace === 0 ? this.#withdrawAll(session.id) : []
    this.#grantWaiters(withdrawnKeys, at)
    this.#effects.push({ kind: 'suspended', session: session.id, keep })
  }

  /**
   * Moves the sessions of `formerOwner`, or all sessions if undefined, to `ownerBroker`. Their
   * connections are lost, and all their deadlines start again in full.
   */
  #restart({ formerOwner, ownerBroker, at }: CommandOf<'restart'>): void {
    const sessions = this.#state.sessions.filter(
      (session) => formerOwner === undefined || formerOwner === session.ownerBroker,
    )
    for (const session of sessions) this.#takeOwnership(session, ownerBroker)
    this.#results.takeOwnership(formerOwner, ownerBroker)
    for (const session of sessions) this.#suspendSession(session, /* keep */ true, at)
  }

  #takeOwnership(session: ModelSession, ownerBroker: string): void {
    this.#state.takeOwnership(session, ownerBroker)
    if (this.#state.mayHaveDeadlines(session))
      this.#effects.push({ kind: 'deadlinesRestarted', session: session.id })
  }

  #end(id: string, reason: string, at: number): void {
    const keys = this.#withdrawAll(id)
    const held = this.#state.locks.filter((lock) => lock.session === id)
    this.#release(held, 'ended')
    this.#grantWaiters([...keys, ...keysOf(held)], at)
    removeFirst(this.#state.sessions, (session) => session.id === id)
    this.#effects.push({ kind: 'ended', session: id, reason })
  }

  /** Withdraws every request and barrier call of a session. Returns the keys of the requests. */
  #withdrawAll(id: string): string[] {
    const requests = this.#state.requestsOf(id)
    for (const request of requests) {
      for (const list of [this.#state.waitingRequests, this.#state.upgrades])
        removeFirst(list, (waiter) => waiter === request)
      this.#effects.push({ kind: 'withdrawn', request, reason: 'ended' })
    }
    this.#barriers.leave(id)
    return requests.map((waiter) => waiter.key)
  }

  // -------------------------------------------------------------------------------- requests

  /** Handles a lock request. `requests` has one element, or for a set one element for each key. */
  #request(
    session: ModelSession,
    requests: readonly PlainRequest[],
    steal: boolean,
    at: number,
  ): void {
    const { id, timeout, set, scope } = requests[0]!
    const state = this.#state
    const waitersOf = (key: string) => state.waitingRequests.filter((waiter) => waiter.key === key)
    const isFree = (request: PlainRequest) =>
      state.canHold(request) && waitersOf(request.key).length === 0
    const mismatch = requests
      .map(({ key, capacity }) => ({ key, capacity, capacityInUse: state.capacityOf(key) }))
      .find(
        ({ capacity, capacityInUse }) =>
          capacity !== undefined && capacityInUse && capacityInUse !== capacity,
      )
    if (state.isScopeBusy(session.id, scope)) {
      this.#answers.refuse(session, id, 'BAD_MESSAGE')
    } else if (state.lockLimitUsage(session.id) + requests.length > session.limits.locks) {
      this.#answers.refuse(session, id, 'QUOTA_EXCEEDED')
    } else if (mismatch !== undefined) {
      const { key, capacity, capacityInUse } = mismatch
      const numbers = { key, capacityInUse: capacityInUse!, requestedCapacity: capacity! }
      this.#answers.refuse(session, id, 'CAPACITY_MISMATCH', numbers)
    } else if (steal || (requests.every(isFree) && !state.quiet)) {
      session.lastId = id
      const [{ key }] = requests as [PlainRequest]
      const holders = steal ? state.locks.filter((lock) => lock.key === key) : []
      const stolen = holders.flatMap((lock) => state.locksOf(lock.fence))
      this.#release(stolen, 'stolen')
      this.#grant(requests, /* waited */ false, at)
      this.#grantWaiters(keysOf(stolen), at)
    } else if (timeout === 0) {
      session.lastId = id
      const isSet = set !== undefined
      // The answer to a set lists only the holders of the keys that are not free.
      const blocked = isSet ? requests.filter((request) => !isFree(request)) : requests
      const failure = state.failureWithHolders(session, keysOf(blocked), isSet, 'LOCK_HELD')
      this.#answers.answer(session, id, failure, 'lock')
    } else if (requests.some(({ key }) => waitersOf(key).length >= session.limits.waitersPerKey)) {
      this.#answers.refuse(session, id, 'QUOTA_EXCEEDED')
    } else if (scope !== undefined && state.isDeadlock(requests)) {
      this.#answers.refuse(session, id, 'DEADLOCK')
    } else {
      session.lastId = id
      for (const request of requests) {
        state.waitingRequests.push(request)
        this.#effects.push({ kind: 'queued', request })
      }
    }
  }

  /**
   * Withdraws a waiting request, and answers the request with an error. A timeout lists the holders
   * of the key; for a set, only the holders of the keys that delay the set.
   */
  #withdraw(sessionId: string, request: number, reason: string, code: ErrorCode, at: number): void {
    const waiter = this.#state.waitingRequests.find(
      (waiting) => waiting.session === sessionId && waiting.id === request,
    )
    if (waiter === undefined) return
    const session = this.#state.findSession(sessionId)!
    const isTimeout = code === 'LOCK_TIMEOUT'
    const isSet = waiter.set !== undefined
    const members = this.#state.membersOf(waiter)
    const blocked = isSet ? members.filter((member) => !this.#state.isReadyOnKey(member)) : members
    const answer = isTimeout
      ? this.#state.failureWithHolders(session, keysOf(blocked), isSet, code)
      : ({ kind: 'failed', code } as const)
    for (const member of members) {
      removeFirst(this.#state.waitingRequests, (waiting) => waiting === member)
      this.#effects.push({ kind: 'withdrawn', request: member, reason })
    }
    this.#grantWaiters(keysOf(members), at)
    this.#answers.answer(session, request, answer, 'lock')
  }

  /** Answers a `once` with the kept result. Without a kept result, requests an exclusive lock. */
  #once(session: ModelSession, command: CommandOf<'once'>): void {
    const kept = this.#results.keptFor(command.key)
    if (kept === undefined) {
      this.#request(session, [onceRequest(session, command)], /* steal */ false, command.at)
      return
    }
    session.lastId = command.id
    this.#answers.answer(session, command.id, this.#results.answerOf(kept), 'lock')
  }

  /** Ends the run of a `once`. `value` is the answer to each `once` that now waits for the key. */
  #complete(session: ModelSession, command: CommandOf<'complete'>): void {
    const { id, fence, value, keep, at } = command
    session.lastId = id
    const lock = this.#state.findLock(session.id, fence)
    if (lock?.once !== true) {
      this.#answers.answer(session, id, { kind: 'failed', code: 'LOCK_NOT_HELD' }, 'unlock')
      return
    }
    this.#release([lock], 'unlocked')
    this.#results.complete(session, { key: lock.key, fence, value, keep })
    this.#grantWaiters([lock.key], at)
    this.#answers.answer(session, id, { kind: 'unlocked' }, 'unlock')
  }

  /**
   * Answers the followers of the key. Returns true if followers remain because the command has
   * reached its limit of grants. An answer costs one grant, or more if its value is long.
   */
  #answerFollowers(key: string): boolean {
    while (this.#state.followersToAnswer(key).length > 0) {
      if (this.#grantsLeft === 0) {
        this.#possiblyUnfinishedKeys.push(key)
        return true
      }
      const { request, answer, cost } = this.#results.removeFollower(key)
      this.#grantsLeft = Math.max(0, this.#grantsLeft - cost)
      this.#answers.answer(this.#state.findSession(request.session)!, request.id, answer, 'lock')
    }
    return false
  }

  // ----------------------------------------------------------------------------------- locks

  #applyToLock(session: ModelSession, command: CommandOf<'unlock' | 'refresh' | 'revoke'>): void {
    session.lastId = command.id
    const ownLock = this.#state.findLock(session.id, command.fence)
    const lock =
      command.type === 'revoke' ? this.#state.findLockOfKey(command.key, command.fence) : ownLock
    if (lock === undefined) {
      const answer = { kind: 'failed', code: 'LOCK_NOT_HELD' } as const
      this.#answers.answer(session, command.id, answer, command.type)
    } else if (command.type !== 'refresh') {
      const [by, kind] = [session.id, command.type === 'revoke' ? 'revoked' : 'unlocked'] as const
      const note = command.type === 'revoke' ? command.note : ''
      if (kind === 'revoked') {
        this.#effects.push({ kind, lock: { ...lock }, by, note })
        this.#state.findSession(lock.session)!.allRevocations.push({ fence: lock.fence, note })
      }
      this.#endLock(lock, kind, command.at)
      this.#answers.answer(session, command.id, { kind }, command.type)
    } else {
      lock.generation += 1
      lock.ttl = command.ttl ?? lock.ttl
      this.#effects.push({ kind: 'refreshed', lock: { ...lock } })
      const answer = { kind: 'refreshed', fence: lock.fence } as const
      this.#answers.answer(session, command.id, answer, 'refresh')
    }
  }

  /** Ends a lock, or the whole set that the lock is a member of, and grants the waiters. */
  #endLock({ fence }: PlainLock, reason: string, at: number): void {
    const locks = this.#state.locksOf(fence)
    this.#release(locks, reason)
    this.#grantWaiters(keysOf(locks), at)
  }

  /** Changes the value of the leader, which holds the lock of an election. The lock stays. */
  #proclaim(session: ModelSession, { id, fence, value }: CommandOf<'proclaim'>): void {
    session.lastId = id
    const lock = this.#state.findLock(session.id, fence)
    if (lock?.election === undefined) {
      this.#answers.answer(session, id, { kind: 'failed', code: 'LOCK_NOT_HELD' }, 'proclaim')
      return
    }
    const formerValue = lock.election.value
    lock.election = { value }
    this.#effects.push({ kind: 'proclaimed', lock: { ...lock }, formerValue })
    this.#answers.answer(session, id, { kind: 'proclaimed' }, 'proclaim')
  }

  #release(locks: readonly PlainLock[], reason: string): void {
    for (const lock of locks) {
      this.#upgrades.endUpgradeOf(lock)
      removeFirst(this.#state.locks, (held) => held === lock)
      this.#effects.push({ kind: 'released', lock: { ...lock }, reason })
    }
  }

  /** Whether the request (or each member of its set) is first in its queue and can be granted. */
  #isReady(request: PlainRequest): boolean {
    const members = this.#state.membersOf(request)
    return !this.#state.quiet && members.every((member) => this.#state.isReadyOnKey(member))
  }

  /**
   * Grants the first waiter of each key again and again, key by key, until the first waiter cannot
   * be granted. After the grant of a set, continues with all keys of the set at the end.
   */
  #grantWaiters(keys: readonly string[], at: number): void {
    const keysLeft = [...keys]
    for (let key = keysLeft.shift(); key !== undefined; key = keysLeft.shift()) {
      if (this.#answerFollowers(key)) continue
      for (;;) {
        const upgrade = this.#upgrades.readyOn(key)
        if (upgrade !== undefined && this.#grantsLeft > 0) {
          this.#grantsLeft -= 1
          this.#upgrades.grantWaiting(upgrade)
          // The lock is now exclusive, so no other waiter can be granted.
          break
        }
        if (upgrade !== undefined) {
          this.#possiblyUnfinishedKeys.push(key)
          break
        }
        const first = this.#state.waitingRequests.find((waiter) => waiter.key === key)
        if (first === undefined || !this.#isReady(first)) break
        if (this.#grantsLeft === 0) {
          this.#possiblyUnfinishedKeys.push(key)
          break
        }
        const members = this.#state.membersOf(first)
        this.#grantsLeft = Math.max(0, this.#grantsLeft - members.length)
        for (const member of members)
          removeFirst(this.#state.waitingRequests, (waiter) => waiter === member)
        this.#grant(members, /* waited */ true, at)
        if (members.length > 1) keysLeft.push(...keysOf(members))
      }
    }
  }

  /**
   * Grants a request for one key, or all requests of a set with one common fence. Stores the answer
   * without the effect `answer`, because the effect `granted` also answers the request.
   */
  #grant(requests: readonly PlainRequest[], waited: boolean, at: number): void {
    this.#state.fence += 1
    const { fence } = this.#state
    for (const { timeout: _, upgradeOf: __, ...request } of requests) {
      const lock = { ...request, fence, presentFence: fence, generation: 0, since: at }
      this.#state.locks.push(lock)
      this.#effects.push({ kind: 'granted', lock: { ...lock }, waited })
    }
    const { session, id } = requests[0]!
    this.#answers.store(this.#state.findSession(session)!, id, { kind: 'granted', fence }, 'lock')
  }
}
