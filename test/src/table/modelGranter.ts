/**
 * Grants and releases the locks of the model of the lock table. The rules here decide which waiter
 * gets a lock next, and how many waiters one command grants.
 *
 * A command that reaches its limit of grants can leave unfinished keys. A key is unfinished if one
 * of its waiters can already be granted or answered. A later command does this. A follower is a
 * `once` that waits for the result of another `once`. A quiet table grants only steals.
 */
import type { ModelAnswers } from './modelAnswers.js'
import type { ModelResults } from './modelResults.js'
import { keysOf, type ModelState, removeFirst } from './modelState.js'
import type { ModelUpgrades } from './modelUpgrades.js'
import type { PlainEffect, PlainLock, PlainRequest } from './plainValues.js'

/** The other parts of the model that the granter needs. */
interface GranterDeps {
  readonly answers: ModelAnswers
  readonly results: ModelResults
  readonly upgrades: ModelUpgrades
  effect(effect: PlainEffect): void
}

export class ModelGranter {
  readonly #state: ModelState
  readonly #deps: GranterDeps
  readonly #grantsPerCommand: number
  /** The number of waiters that the current command may still grant. */
  #grantsLeft = 0
  /** Keys that may be unfinished at the end of the current command. */
  #possiblyUnfinishedKeys: string[] = []

  /** @param grantsPerCommand The largest number of waiters that one command grants. */
  constructor(state: ModelState, grantsPerCommand: number, deps: GranterDeps) {
    this.#state = state
    this.#grantsPerCommand = grantsPerCommand
    this.#deps = deps
  }

  /** Gives a new command its full number of grants. Call before any other method. */
  beginCommand(): void {
    this.#grantsLeft = this.#grantsPerCommand
    this.#possiblyUnfinishedKeys = []
  }

  /** Reports each unfinished key. Call at the end of a command. */
  reportUnfinishedKeys(): void {
    for (const key of new Set(this.#possiblyUnfinishedKeys)) {
      const upgrade = this.#deps.upgrades.readyOn(key)
      const first = this.#state.waitingRequests.find((waiter) => waiter.key === key)
      if (upgrade !== undefined) this.#deps.effect({ kind: 'unfinished', request: upgrade })
      else if (
        first !== undefined &&
        (this.#isReady(first) || this.#state.followersToAnswer(key).length > 0)
      )
        this.#deps.effect({ kind: 'unfinished', request: first })
    }
  }

  /** Makes `reportUnfinishedKeys` check every key in use. */
  suspectAllKeys(): void {
    this.#possiblyUnfinishedKeys.push(...this.#state.keysInUse)
  }

  /** Releases locks. The caller must call `grantWaiters` with their keys afterwards. */
  release(locks: readonly PlainLock[], reason: string): void {
    for (const lock of locks) {
      this.#deps.upgrades.endUpgradeOf(lock)
      removeFirst(this.#state.locks, (held) => held === lock)
      this.#deps.effect({ kind: 'released', lock: { ...lock }, reason })
    }
  }

  /**
   * For each key in turn, grants the first waiter again and again, until the first waiter cannot be
   * granted. A granted set appends all its keys to the list of keys.
   */
  grantWaiters(keys: readonly string[], at: number): void {
    const keysLeft = [...keys]
    for (let key = keysLeft.shift(); key !== undefined; key = keysLeft.shift()) {
      const followersRemain = this.#answerFollowers(key)
      if (followersRemain) continue
      for (;;) {
        const upgrade = this.#deps.upgrades.readyOn(key)
        if (upgrade !== undefined && this.#grantsLeft > 0) {
          this.#grantsLeft -= 1
          this.#deps.upgrades.grantWaiting(upgrade)
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
        this.grant(members, /* waited */ true, at)
        if (members.length > 1) keysLeft.push(...keysOf(members))
      }
    }
  }

  /**
   * Grants a request for one key, or all requests of a set with one common fence. Stores the answer
   * without the effect `answer`, because the effect `granted` also answers the request.
   */
  grant(requests: readonly PlainRequest[], waited: boolean, at: number): void {
    this.#state.fence += 1
    const { fence } = this.#state
    for (const { timeout: _, upgradeOf: __, ...request } of requests) {
      const lock = { ...request, fence, presentFence: fence, generation: 0, since: at }
      this.#state.locks.push(lock)
      this.#deps.effect({ kind: 'granted', lock: { ...lock }, waited })
    }
    const { session, id } = requests[0]!
    this.#deps.answers.store(
      this.#state.findSession(session)!,
      id,
      { kind: 'granted', fence },
      'lock',
    )
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
      const { request, answer, cost } = this.#deps.results.removeFollower(key)
      this.#grantsLeft = Math.max(0, this.#grantsLeft - cost)
      this.#deps.answers.answer(
        this.#state.findSession(request.session)!,
        request.id,
        answer,
        'lock',
      )
    }
    return false
  }

  /** Whether the request (or each member of its set) is first in its queue and can be granted. */
  #isReady(request: PlainRequest): boolean {
    const members = this.#state.membersOf(request)
    return !this.#state.quiet && members.every((member) => this.#state.isReadyOnKey(member))
  }
}
