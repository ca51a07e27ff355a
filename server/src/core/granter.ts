/**
 * Keeps the keys with their locks and queues, and grants locks. Each grant gets a fence: a number
 * that is higher than the numbers of all earlier grants. Except for a restored snapshot, locks and
 * requests enter and leave the table only in this file. So only this file counts the locks and
 * requests, sums up their bytes and emits their effects.
 *
 * A set is one request for several keys. When a set is granted, withdrawn or released, its keys go
 * onto a worklist. A loop grants the waiters of these keys before the command ends. The loop needs
 * no recursion, because a set that the loop grants adds its keys to the same worklist.
 *
 * The parameter `at` is always the wall time of the command, in ms since 1970.
 */
import {
  type GrantUnfinishedKeys,
  maxFenceFloor,
  type RaiseFenceFloor,
  type SetQuiet,
} from './commands.js'
import type { ReleaseReason, WithdrawReason } from './effects.js'
import { FenceIndex, maxScannedHolders } from './fenceIndex.js'
import { type KeyTable, keysWithWaiters } from './keyTable.js'
import { LockExtras, type LockSet } from './lockExtras.js'
import { canGrantSet } from './lockSets.js'
import type { LockTerms, RequestTerms } from './plainRecords.js'
import { type Extras, type KeyState, Lock, Request, type Session } from './records.js'
import type { Responder } from './responder.js'
import type { ResultTable } from './results.js'
import { onLockEnded, onLockGranted, onWaitBegan, onWaitEnded } from './scopes.js'
import type { FollowerGroup } from './sharedResults.js'
import { fixedAnswers, reduceStoredGrant, storeAnswer } from './storedAnswers.js'
import { isUpgradeReady } from './upgrades.js'
import { bytesOfLock, bytesOfRequest } from './weights.js'

/** Totals of all locks and waiting requests of a table. */
export interface LockTotals {
  readonly held: number
  readonly waiting: number
  /** Bytes, as `weights.ts` estimates them. */
  readonly bytes: number
}

export class Granter {
  readonly #responder: Responder
  readonly #results: ResultTable
  /** The keys in use, each with its holders and its queue. */
  readonly keys: KeyTable
  /** Whether the table now grants only requests that steal the lock: see {@link SetQuiet}. */
  quiet: boolean
  /** Bytes of the locks and requests, as `weights.ts` estimates them. */
  bytes: number
  #fence: number
  #heldCount: number
  #waitingCount: number
  readonly #grantsPerCommand: number
  /**
   * How many more waiters this command may grant. A `once` runs a function for all callers of a key
   * (see `results.ts`). An answer to a *follower*, a caller that waits, costs one or more grants.
   */
  #grantsLeft: number
  /**
   * Keys whose waiters this command must still try to grant, in this order. The keys of a set are
   * added when the set ends or is granted. A scope or session that ends adds its keys too.
   */
  readonly #worklist = new Set<KeyState>()
  /**
   * Keys whose waiters a later command must grant: this command has used up its grants, or is a
   * takeover (see {@link findUnfinishedKeys}).
   */
  readonly #unfinished = new Set<KeyState>()
  /** Finds a lock of a key by the fence of the lock. */
  readonly #byFence = new FenceIndex()
  /**
   * Whether the fence index or a snapshot under way must learn of each lock that comes or goes. The
   * snapshot also learns of each request. One check of this field replaces two checks.
   */
  #mustTrackLocks = false

  /**
   * @param contents The contents to begin with. `fence` is the highest fence so far.
   * @param grantsPerCommand How many waiters one command may grant.
   */
  constructor(
    responder: Responder,
    results: ResultTable,
    contents: LockTotals & {
      readonly keys: KeyTable
      readonly fence: number
      readonly quiet: boolean
    },
    grantsPerCommand: number,
  ) {
    this.#responder = responder
    this.#results = results
    this.keys = contents.keys
    this.#fence = contents.fence
    this.quiet = contents.quiet
    this.#grantsPerCommand = grantsPerCommand
    this.#grantsLeft = grantsPerCommand
    this.#heldCount = contents.held
    this.#waitingCount = contents.waiting
    this.bytes = contents.bytes
  }

  /** The highest fence so far. */
  get fence(): number {
    return this.#fence
  }

  /** The number of held locks. */
  get heldCount(): number {
    return this.#heldCount
  }

  /** The number of waiting requests. */
  get waitingCount(): number {
    return this.#waitingCount
  }

  /**
   * Finds a lock of a key by the newest fence of the lock, because an upgrade gives a lock another
   * fence. Returns undefined if the key has no such lock.
   */
  findLock(key: string, fence: number): Lock | undefined {
    const keyState = this.keys.get(key)
    if (keyState === undefined) return undefined
    const lock = this.#byFence.find(keyState, fence)
    // `find` may have built an index.
    this.#updateTracking()
    return lock
  }

  /** Call when the responder gets or loses its change listener: a snapshot begins or ends. */
  onListenerChanged(): void {
    this.#updateTracking()
  }

  #updateTracking(): void {
    this.#mustTrackLocks = this.#byFence.isUsed || this.#responder.changeListener !== undefined
  }

  /** Returns a new fence. The caller must grant a lock with this fence. */
  nextFence(): number {
    return ++this.#fence
  }

  /** Puts a key onto the worklist. The caller must then call {@link grantWorklist}. */
  addToWorklist(keyState: KeyState): void {
    this.#worklist.add(keyState)
  }

  /**
   * Ends all locks of the key, because the session `by` steals them. Grants no waiter. Puts the
   * keys of a stolen set onto the worklist.
   */
  steal(keyState: KeyState, by: Session): void {
    for (let lock = keyState.holders.first; lock !== undefined; lock = keyState.holders.first) {
      this.removeLock(lock, 'stolen', by)
    }
  }

  /** Ends a lock, and grants the waiters behind the lock. */
  release(lock: Lock, reason: ReleaseReason, at: number): void {
    this.removeLock(lock, reason)
    this.grantWaiters(lock.keyState, at)
  }

  /**
   * Removes a lock. If the lock belongs to a set, removes all locks of the set, and puts their keys
   * onto the worklist. The caller must then grant the waiters of `lock.keyState`.
   */
  removeLock(lock: Lock, reason: ReleaseReason, by?: Session): void {
    const set = lock.extras?.set
    if (set === undefined) {
      this.#removeHolder(lock, reason, by)
      return
    }
    for (const member of set.locks) {
      this.#removeHolder(member, reason, by)
      this.#worklist.add(member.keyState)
    }
  }

  /** Removes one lock. Ends the waiting upgrade of this lock, if there is one. */
  #removeHolder(lock: Lock, reason: ReleaseReason, by: Session | undefined): void {
    const upgrade = lock.keyState.extras?.upgrade
    if (upgrade?.upgradedLock === lock) {
      this.removeRequest(upgrade, 'ended')
      this.#responder.answer(lock.session, upgrade.id, fixedAnswers.notHeld.upgrade)
    }
    if (this.#mustTrackLocks) this.#trackRemoval(lock)
    lock.keyState.removeHolder(lock)
    if (lock.extras !== undefined) onLockEnded(lock)
    lock.session.removeHeld(lock)
    // The stored answer `granted` of an ended lock needs only the id and the fence.
    reduceStoredGrant(lock)
    this.#heldCount--
    this.bytes -= bytesOfLock(lock)
    this.#responder.effects.push(
      by === undefined
        ? { kind: 'released', lock, reason }
        : { kind: 'released', lock, reason, by },
    )
  }

  /** Call before a lock is removed. */
  #trackRemoval(lock: Lock): void {
    this.#responder.changeListener?.beforeKeyChange(lock.keyState)
    this.#byFence.remove(lock)
  }

  /** Ends a request that waits, and grants the waiters behind the request. */
  withdraw(request: Request, reason: WithdrawReason, at: number): void {
    this.removeRequest(request, reason)
    this.grantWaiters(request.keyState, at)
  }

  /**
   * Removes a request. If the request belongs to a set, removes all requests of the set, and puts
   * their keys onto the worklist. The caller must then grant the waiters of `request.keyState`.
   */
  removeRequest(request: Request, reason: WithdrawReason): void {
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

  /** Removes one request from its queue and its session, without an effect or an answer. */
  #dequeue(request: Request): void {
    if (this.#mustTrackLocks) {
      this.#responder.changeListener?.beforeKeyChange(request.keyState)
      // The session loses the waiting request, and will store the answer to the request.
      this.#responder.changeListener?.beforeSessionChange(request.session)
    }
    request.keyState.dequeue(request)
    if (request.extras?.once) this.#results.removeFollower(request)
    if (request.extras !== undefined) onWaitEnded(request)
    request.session.removeWaiting(request)
    this.#waitingCount--
    this.bytes -= bytesOfRequest(request)
  }

  /** Creates a request for one key, and makes the request wait. Call once for each key of a set. */
  enqueue(
    keyState: KeyState,
    session: Session,
    terms: RequestTerms,
    extras: Extras | undefined,
  ): void {
    const request = new Request(keyState, session, terms, extras)
    if (extras !== undefined) extras.set?.requests.push(request)
    this.startWaiting(request)
  }

  /** Makes a new request wait: in the queue of its key, or as the upgrade of its key. */
  startWaiting(request: Request): void {
    if (this.#mustTrackLocks) this.#responder.changeListener?.beforeKeyChange(request.keyState)
    request.keyState.enqueue(request)
    request.session.addWaiting(request)
    if (request.extras !== undefined) onWaitBegan(request)
    if (request.extras?.once) this.#results.addFollower(request)
    this.#waitingCount++
    this.bytes += bytesOfRequest(request)
    this.#responder.effects.push({ kind: 'queued', request })
  }

  /** Grants the waiters of a key, and of the keys on the worklist. */
  grantWaiters(keyState: KeyState, at: number): void {
    // The worklist is usually empty. Then the waiters of the key are granted without the worklist.
    if (this.#worklist.size === 0) this.#grantWaitersOf(keyState, at)
    else this.#worklist.add(keyState)
    if (this.#worklist.size > 0) this.grantWorklist(at)
  }

  /** Grants the waiters of the keys on the worklist, key by key. A granted set adds its keys. */
  grantWorklist(at: number): void {
    for (const keyState of this.#worklist) {
      this.#worklist.delete(keyState)
      this.#grantWaitersOf(keyState, at)
    }
  }

  /**
   * First answers the *delivery* of the key: the `once` requests that get the value of a run that
   * has ended. Then grants waiters from the head of the queue. Stops before the first waiter that
   * cannot be granted, or when this command has used up its grants. Marks the key as idle if no
   * holder and no waiter is left.
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
        // The upgrade is ready, because the key admits no waiter while an upgrade waits.
        this.#grantsLeft--
        this.#dequeue(upgrade)
        this.grantUpgrade(upgrade.upgradedLock!, upgrade.id, upgrade)
        // The lock is exclusive now, so the key is not idle, and no waiter of its queue can be
        // granted.
        return
      }
      const request = keyState.queue.first!
      const set = request.extras?.set
      if (set === undefined) {
        this.#grantsLeft--
        this.#dequeue(request)
        const { session, extras } = request
        this.grant(keyState, session, request, extras, ++this.#fence, at, request)
      } else this.#grantSet(set, at)
    }
    this.markIdleIfUnused(keyState)
  }

  /**
   * Answers the delivery of a key, which always has a `result`. Returns false if this command used
   * up its grants before it answered all requests.
   */
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
    // A set may have more keys than this command has grants left: no set is granted in parts.
    this.#grantsLeft = Math.max(0, this.#grantsLeft - requests.length)
    const fence = ++this.#fence
    for (const request of requests) {
      const { keyState, session, extras } = request
      this.#dequeue(request)
      this.grant(keyState, session, request, extras, fence, at, request)
      this.#worklist.add(keyState)
    }
  }

  /**
   * Makes a shared lock exclusive.
   *
   * @param id The id of the request to upgrade.
   * @param request The same request if it waited; otherwise undefined.
   */
  grantUpgrade(lock: Lock, id: number, request: Request | undefined): void {
    const formerFence = lock.presentFence
    this.#responder.changeListener?.beforeKeyChange(lock.keyState)
    this.bytes -= bytesOfLock(lock)
    lock.extras ??= new LockExtras<Lock, Request, Session>({})
    lock.extras.presentFence = ++this.#fence
    this.bytes += bytesOfLock(lock)
    lock.mode = 'exclusive'
    this.#responder.effects.push({ kind: 'upgraded', lock, request, formerFence })
    this.#responder.answer(lock.session, id, { kind: 'upgraded', fence: this.#fence })
  }

  /** Grants more waiters of keys that an earlier command left unfinished. */
  grantUnfinishedKeys({ keys, at }: GrantUnfinishedKeys): void {
    for (const key of keys) {
      const keyState = this.keys.get(key)
      if (keyState !== undefined) this.grantWaiters(keyState, at)
    }
  }

  /** Whether the upgrade or the first waiter of the key can be granted now. */
  #isReady(keyState: KeyState): boolean {
    const { first } = keyState.queue
    if (isUpgradeReady(keyState)) return !this.quiet
    if (first === undefined || !keyState.admits(first) || this.quiet) return false
    const set = first.extras?.set
    return set === undefined || canGrantSet(set)
  }

  /** Whether a later command must answer followers of the key, or grant a waiter of the key. */
  #isUnfinished(keyState: KeyState): boolean {
    return keyState.extras?.delivery !== undefined || this.#isReady(keyState)
  }

  /**
   * Call when a broker takes over the sessions of a broker that has ended. Finds the keys whose
   * waiters could be granted now, because that broker may have ended before it continued with these
   * keys. Visits only keys with waiters, because there can be a million keys without a waiter.
   *
   * @param sessions All sessions of the table.
   */
  findUnfinishedKeys(sessions: Iterable<Session>): void {
    for (const keyState of keysWithWaiters(sessions))
      if (this.#isUnfinished(keyState)) this.#unfinished.add(keyState)
  }

  /** Ends a command: reports the unfinished keys, and gives the next command all its grants. */
  endCommand(): void {
    if (this.#unfinished.size > 0) this.#reportUnfinished()
    this.#grantsLeft = this.#grantsPerCommand
  }

  #reportUnfinished(): void {
    for (const keyState of this.#unfinished) {
      // The broker that owns the session of this request will continue with the key. A `once`
      // request that waits for an answer is in the queue too.
      const request = keyState.extras?.upgrade ?? keyState.queue.first
      if (request !== undefined && this.#isUnfinished(keyState)) {
        this.#responder.effects.push({ kind: 'unfinished', request })
      }
    }
    this.#unfinished.clear()
  }

  /**
   * Marks a key as idle if it has neither holders nor waiters. Call after `keys.getOrCreate` unless
   * the key gets a lock or a request.
   */
  markIdleIfUnused(keyState: KeyState): void {
    if (!keyState.isIdle) return
    this.keys.markIdle(keyState)
    if (!this.#byFence.isUsed) return
    this.#byFence.forget(keyState)
    this.#updateTracking()
  }

  /**
   * Begins or ends the quiet start. The end grants the waiters of all keys. Visits only keys with
   * waiters, because there can be a million keys without a waiter.
   *
   * @param sessions All sessions of the table.
   */
  setQuiet({ quiet, at }: SetQuiet, sessions: Iterable<Session>): void {
    this.quiet = quiet
    // When the quiet start begins, the loop grants no waiter, because `#isReady` returns false for
    // every key. The check of `isIdle` is a safeguard: `markIdle` must not get an idle key.
    for (const keyState of keysWithWaiters(sessions)) {
      if (!keyState.isIdle) this.grantWaiters(keyState, at)
    }
  }

  /** Makes all later fences higher than the fence of the command, unless that fence is too high. */
  raiseFenceFloor({ fence }: RaiseFenceFloor): void {
    // Ignores a fence that is too high. If this method threw an error instead, the command would
    // stop every broker that replays the command log.
    if (fence <= maxFenceFloor) this.#fence = Math.max(this.#fence, fence)
  }

  /**
   * Grants a lock, or one lock of a set. The caller chooses the fence, because all locks of a set
   * share one fence. `request` is the request that waited, and is then also the `terms`. For a
   * grant without a wait, `request` is undefined.
   */
  grant(
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
    if (this.#mustTrackLocks) this.#trackGrant(lock)
    keyState.addHolder(lock)
    if (keyState.holders.length === maxScannedHolders + 1) this.#indexHolders(keyState)
    if (extras !== undefined) onLockGranted(lock)
    session.addHeld(lock)
    this.#heldCount++
    this.bytes += bytesOfLock(lock)
    // Only the first lock of a set is primary. So the grant of a set gets one answer.
    if (lock.isPrimary)
      this.#responder.bytes += storeAnswer(session, lock.id, { kind: 'granted', lock })
    this.#responder.effects.push({ kind: 'granted', lock, request })
  }

  #indexHolders(keyState: KeyState): void {
    this.#byFence.build(keyState)
    this.#updateTracking()
  }

  /** Call before a lock is added to its key. */
  #trackGrant(lock: Lock): void {
    this.#responder.changeListener?.beforeKeyChange(lock.keyState)
    this.#byFence.add(lock)
  }
}
