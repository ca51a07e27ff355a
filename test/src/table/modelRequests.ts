/**
 * The requests for locks in the model of the lock table. The model turns the commands `lock`,
 * `lockAll` and `once` into requests, and then grants, queues or refuses them. A set is one lock on
 * several keys, and has a request for each key. A request has the fields of all kinds of locks. The
 * fields that its own kind does not use are undefined.
 */
import type { RequestLock, RequestLockSet, RequestOnce } from '@holdfast/server/core'
import type { ErrorCode } from '@holdfast/shared'
import type { ModelAnswers } from './modelAnswers.js'
import type { ModelGranter } from './modelGranter.js'
import type { ModelResults } from './modelResults.js'
import {
  keysOf,
  type ModelSession,
  type ModelState,
  removeFirst,
  shortestOf,
} from './modelState.js'
import type { PlainEffect, PlainRequest } from './plainValues.js'

/** The other parts of the model that the requests need. */
interface RequestDeps {
  readonly answers: ModelAnswers
  readonly results: ModelResults
  readonly granter: ModelGranter
  effect(effect: PlainEffect): void
}

export class ModelRequests {
  readonly #state: ModelState
  readonly #deps: RequestDeps

  constructor(state: ModelState, deps: RequestDeps) {
    this.#state = state
    this.#deps = deps
  }

  /** Requests a lock on one key. */
  lock(session: ModelSession, command: RequestLock): void {
    this.#request(session, [lockRequest(session, command)], command.steal, command.at)
  }

  /** Requests a set. */
  lockAll(session: ModelSession, command: RequestLockSet): void {
    this.#request(session, setRequests(session, command), /* steal */ false, command.at)
  }

  /** Answers a `once` with the kept result. Without a kept result, requests an exclusive lock. */
  once(session: ModelSession, command: RequestOnce): void {
    const kept = this.#deps.results.keptFor(command.key)
    if (kept === undefined) {
      this.#request(session, [onceRequest(session, command)], /* steal */ false, command.at)
      return
    }
    session.lastId = command.id
    this.#deps.answers.answer(session, command.id, this.#deps.results.answerOf(kept), 'lock')
  }

  /**
   * Withdraws a waiting request, and answers the request with an error. After a timeout, the error
   * lists the holders of the key; for a set, only the holders of the keys that delay the set.
   */
  withdraw(sessionId: string, request: number, reason: string, code: ErrorCode, at: number): void {
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
      this.#deps.effect({ kind: 'withdrawn', request: member, reason })
    }
    this.#deps.granter.grantWaiters(keysOf(members), at)
    this.#deps.answers.answer(session, request, answer, 'lock')
  }

  /**
   * Grants, queues or refuses a call for a lock. `requests` has one element, or for a set one
   * element for each key.
   */
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
      this.#deps.answers.refuse(session, id, 'BAD_MESSAGE')
    } else if (state.lockLimitUsage(session.id) + requests.length > session.limits.locks) {
      this.#deps.answers.refuse(session, id, 'QUOTA_EXCEEDED')
    } else if (mismatch !== undefined) {
      const { key, capacity, capacityInUse } = mismatch
      const details = { key, capacityInUse: capacityInUse!, requestedCapacity: capacity! }
      this.#deps.answers.refuse(session, id, 'CAPACITY_MISMATCH', details)
    } else if (steal || (requests.every(isFree) && !state.quiet)) {
      session.lastId = id
      const [{ key }] = requests as [PlainRequest]
      const holders = steal ? state.locks.filter((lock) => lock.key === key) : []
      const stolen = holders.flatMap((lock) => state.locksOf(lock.fence))
      this.#deps.granter.release(stolen, 'stolen')
      this.#deps.granter.grant(requests, /* waited */ false, at)
      this.#deps.granter.grantWaiters(keysOf(stolen), at)
    } else if (timeout === 0) {
      session.lastId = id
      const isSet = set !== undefined
      // The answer to a set lists only the holders of the keys that are not free.
      const blocked = isSet ? requests.filter((request) => !isFree(request)) : requests
      const failure = state.failureWithHolders(session, keysOf(blocked), isSet, 'LOCK_HELD')
      this.#deps.answers.answer(session, id, failure, 'lock')
    } else if (requests.some(({ key }) => waitersOf(key).length >= session.limits.waitersPerKey)) {
      this.#deps.answers.refuse(session, id, 'QUOTA_EXCEEDED')
    } else if (scope !== undefined && state.isDeadlock(requests)) {
      this.#deps.answers.refuse(session, id, 'DEADLOCK')
    } else {
      session.lastId = id
      for (const request of requests) {
        state.waitingRequests.push(request)
        this.#deps.effect({ kind: 'queued', request })
      }
    }
  }
}

/** A request for a lock on one key. */
function lockRequest(session: ModelSession, command: RequestLock): PlainRequest {
  const { id, key, mode, ttl, timeout, metadata, at, extras } = command
  const { permits, capacity, notify, election, scope } = extras ?? {}
  const maxHold = shortestOf(extras?.maxHold, session.limits.maxHold)
  const commonFields = { session: session.id, id, key, mode, ttl, timeout, metadata, since: at }
  const extraFields = { permits, capacity, notify, election, scope, maxHold }
  const unusedFields = { set: undefined, once: undefined, upgradeOf: undefined }
  return { ...commonFields, ...extraFields, ...unusedFields }
}

/** One request for each key of a set. Only the first has the ttl and the timeout of the set. */
function setRequests(
  session: ModelSession,
  { id, items, ttl, timeout, metadata, at, extras }: RequestLockSet,
): PlainRequest[] {
  const maxHold = shortestOf(extras?.maxHold, session.limits.maxHold)
  const setFields = { session: session.id, id, metadata, since: at, set: keysOf(items) }
  const extraFields = { maxHold, notify: extras?.notify, scope: extras?.scope }
  return items.map(({ key, mode, permits, capacity }, i) => {
    const deadlines = i === 0 ? { ttl, timeout } : { ttl: undefined, timeout: undefined }
    const unusedFields = { once: undefined, election: undefined, upgradeOf: undefined }
    const itemFields = { key, mode, permits, capacity }
    return { ...setFields, ...extraFields, ...deadlines, ...itemFields, ...unusedFields }
  })
}

/** A `once` is a request for an exclusive lock. */
function onceRequest(
  session: ModelSession,
  { id, key, ttl, timeout, metadata, at }: RequestOnce,
): PlainRequest {
  const unusedFields = {
    permits: undefined,
    capacity: undefined,
    notify: undefined,
    set: undefined,
    election: undefined,
    scope: undefined,
    upgradeOf: undefined,
  }
  const commonFields = { session: session.id, id, key, ttl, timeout, metadata, since: at }
  const { maxHold } = session.limits
  return { ...commonFields, ...unusedFields, maxHold, once: true, mode: 'exclusive' }
}
