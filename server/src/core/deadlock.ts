/**
 * Finds deadlocks. A new request causes a deadlock if it could never be granted, because the scopes
 * in its way would wait for each other or for the new request.
 *
 * A *scope* is one logical task of a session. A scope that waits does nothing else until its
 * request is settled. So the locks of a waiting scope stay held until its request is granted. All
 * other locks, and all locks that are granted later, count as released sooner or later. An upgrade
 * makes a shared lock exclusive. A waiting upgrade outside a scope counts as a scope that holds
 * only the lock to be upgraded. A *set* is a request for several keys.
 *
 * The check is a graph reduction. The check collects the waiting requests on which the new request
 * depends, directly or through other requests. The check then repeats one step in its own records:
 * it grants a request that nothing prevents, and releases the locks of the scope of this request.
 * The check ends when no more request can be granted. If the new request is not granted by then,
 * there is a deadlock. A mere search for a cycle would find false deadlocks with permits: a request
 * for permits waits for several holders, but may be granted when only one of them releases its
 * permits.
 *
 * The check visits only waiting scopes and waiting sets. The order of the visits depends only on
 * the queues and on the fences (numbers) of locks, so that all brokers decide alike.
 */
import type { LockMode } from '@holdfast/shared'
import type { CycleEntry } from './plainRecords.js'
import type { KeyState, Lock, Request, ScopeOfLocks } from './records.js'
import { dropEmptyKeyScopes, listLocks } from './scopes.js'

/** The lock that a waiting request, or one member of a waiting set, wants at one key. */
interface WantedLock {
  readonly keyState: KeyState
  readonly mode: LockMode
  /** 0 unless the mode is `permits`. */
  readonly permits: number
}

/** What the caller of {@link findDeadlock} says about a request that is about to wait. */
export interface NewRequest {
  readonly session: { readonly id: string; readonly name: string | undefined }
  readonly wanted: readonly WantedLock[]
  readonly scope: ScopeOfLocks | undefined
  /** The lock that the request upgrades; undefined for a request for a new lock. */
  readonly upgradeOf: Lock | undefined
}

/** The result of a check: `none` for no deadlock, `tooManyVisits` if the check has given up. */
export type DeadlockResult = {
  /**
   * The cost of the check: how many waiting scopes and sets the check has visited, plus its other
   * work, converted to visits.
   */
  readonly visits: number
} & (
  | { readonly kind: 'none' | 'tooManyVisits' }
  | { readonly kind: 'deadlock'; readonly cycle: readonly CycleEntry[] }
)

/** An error shows at most this many entries of a cycle. */
const maxCycleEntries = 16
/**
 * A waiting request outside scopes and sets is not visited. The check only *passes* the request: it
 * tests whether the request can be granted, and goes on to the next request of the queue if so.
 * This many passed requests cost as much as one visit.
 */
const passedRequestsPerVisit = 16
/**
 * A lock of a waiting scope costs as much as this many passed requests. The first lock of each key
 * costs nothing.
 */
const passedRequestsPerLock = 5
/** A key of a waiting set costs as much as this many passed requests. */
const passedRequestsPerKey = 8
/**
 * Each key lists the locks of waiting scopes. A check removes from these lists at most this many
 * locks of scopes that do not wait any more. Later checks remove the rest. A removal adds to the
 * cost of the check, but never makes the check give up. All brokers must decide alike, although a
 * broker that restored a snapshot has fewer locks to remove than the other brokers.
 */
const maxRemovedLocks = 10_000

/** The new request, or a waiting request for which the check keeps the same fields. */
interface Waiter extends NewRequest {
  /** Undefined for the new request. */
  readonly request: Request | undefined
  /** The locks that stay held until this waiter is granted. */
  readonly heldLocks: { readonly checkedKey: CheckedKey; readonly lock: Lock }[]
  /** Whether `heldLocks` has the lock that this waiter upgrades. */
  holdsUpgradedLock: boolean
  /** Whether this check has granted the request in its own records. */
  isGranted: boolean
}

/** The records of the check about one key. */
interface CheckedKey {
  readonly keyState: KeyState
  /** The locks of waiting scopes, by rising fence. */
  readonly holders: { readonly waiter: Waiter; readonly lock: Lock }[]
  /** How many locks of `holders` the check has not released yet. */
  heldCount: number
  /** The permits of these locks together. */
  heldPermits: number
  /** The upgrade that waits at the key, and the new request if it is an upgrade at this key. */
  readonly upgrades: Waiter[]
  /**
   * The waiters that the check has collected at this key, in the order of the key's queue. Requests
   * outside scopes and sets are not collected.
   */
  readonly queue: Waiter[]
  /** The same waiters as in `queue`, so that a waiter is found in constant time. */
  readonly queuedWaiters: Set<Waiter>
  /** The requests in scopes or sets at this key that are not in `queue` yet. */
  readonly uncollected: Iterator<Request>
  /** An index in `queue`. All waiters at lower indices are granted. */
  headIndex: number
  /** The first request of the key's queue that the check has neither passed nor granted. */
  nextToPass: Request | undefined
}

/**
 * Checks a new request that would have to wait.
 *
 * @param maxVisits The check gives up when it would visit more waiting scopes and sets than this,
 *   or when its other work exceeds the cost of this many visits.
 */
export function findDeadlock(newRequest: NewRequest, maxVisits: number): DeadlockResult {
  return new DeadlockCheck(newRequest, maxVisits).run()
}

class DeadlockCheck {
  readonly #newWaiter: Waiter
  readonly #maxVisits: number
  readonly #checkedKeys = new Map<KeyState, CheckedKey>()
  readonly #waiters = new Map<Request, Waiter>()
  /** Waiters whose keys are not visited yet. */
  readonly #unvisited: Waiter[]
  /** Passed requests, and the locks and keys that count as passed requests. */
  #passedCount = 0
  /** How many locks this check has removed from the lists of keys. */
  #removedCount = 0

  constructor(newRequest: NewRequest, maxVisits: number) {
    this.#newWaiter = {
      ...newRequest,
      request: undefined,
      heldLocks: [],
      holdsUpgradedLock: false,
      isGranted: false,
    }
    this.#maxVisits = maxVisits
    this.#unvisited = [this.#newWaiter]
  }

  run(): DeadlockResult {
    const { scope } = this.#newWaiter
    // The scope of the new request does not wait yet, so its locks may be missing in the lists of
    // their keys.
    if (scope !== undefined) listLocks(scope)
    for (let waiter = this.#unvisited.pop(); waiter; waiter = this.#unvisited.pop()) {
      this.#visit(waiter)
      if (this.#exceedsMaxVisits) return { kind: 'tooManyVisits', visits: this.#costInVisits }
    }
    this.#reduce()
    if (this.#newWaiter.isGranted) return { kind: 'none', visits: this.#costInVisits }
    if (this.#exceedsMaxVisits) return { kind: 'tooManyVisits', visits: this.#costInVisits }
    return { kind: 'deadlock', visits: this.#costInVisits, cycle: this.#cycle() }
  }

  /** The cost of this check, in visits. */
  get #costInVisits(): number {
    const passed = this.#passedCount + passedRequestsPerLock * this.#removedCount
    return this.#waiters.size + Math.ceil(passed / passedRequestsPerVisit)
  }

  get #exceedsMaxVisits(): boolean {
    return (
      this.#waiters.size > this.#maxVisits ||
      this.#passedCount > this.#maxVisits * passedRequestsPerVisit
    )
  }

  // -------------------------------------------------------------------------------- collecting

  /**
   * Collects what the waiter waits for at each of its keys. Skips a key at which the check could
   * grant the waiter at once.
   */
  #visit(waiter: Waiter): void {
    const { request, upgradeOf } = waiter
    // A visit costs 1. A request for several keys costs more, by its number of keys. The new
    // request costs nothing.
    if (request !== undefined && waiter.wanted.length > 1)
      this.#passedCount += passedRequestsPerKey * waiter.wanted.length
    for (const { keyState, mode, permits } of waiter.wanted) {
      if (this.#exceedsMaxVisits) return
      if (upgradeOf !== undefined) {
        // An upgrade stands in no queue, so only the holders and upgrades of its key are collected.
        this.#collectKey(keyState)
        continue
      }
      if (request !== undefined && this.#hasNoObstacle(request, keyState)) continue
      const { first } = keyState.queue
      // The new request is in no queue yet, so it is first only in an empty queue.
      const isFirst =
        request === undefined ? first === undefined : isFirstInQueue(request, keyState)
      if (isFirst && keyState.admits({ mode, extras: { permits } })) continue
      this.#collectQueue(this.#collectKey(keyState), waiter)
    }
  }

  /**
   * Whether the key has no other request of a scope or set, no lock of a scope, and no upgrade. The
   * check could grant the request at such a key, so the check needs no records about the key. Most
   * waiting scopes wait for a key like this, and the records take most of the time of a visit.
   */
  #hasNoObstacle(request: Request, keyState: KeyState): boolean {
    const { scopes, upgrade } = keyState.extras ?? {}
    return (
      upgrade === undefined &&
      this.#newWaiter.upgradeOf?.keyState !== keyState &&
      scopes?.locks.size === 0 &&
      scopes.requests.size === 1 &&
      scopes.requests.has(request)
    )
  }

  /** Collects the waiters of a queue up to and including this waiter. */
  #collectQueue(checkedKey: CheckedKey, waiter: Waiter): void {
    while (!checkedKey.queuedWaiters.has(waiter) && !this.#exceedsMaxVisits) {
      const { value, done } = checkedKey.uncollected.next()
      // If `done`, the waiter is the new request, which the key does not list yet.
      const nextWaiter = done ? waiter : this.#waiterOf(value)
      checkedKey.queue.push(nextWaiter)
      checkedKey.queuedWaiters.add(nextWaiter)
    }
  }

  /** The records about this key. The first call for a key collects its holders and upgrades. */
  #collectKey(keyState: KeyState): CheckedKey {
    const existingKey = this.#checkedKeys.get(keyState)
    if (existingKey !== undefined) return existingKey
    const requests = keyState.extras?.scopes?.requests ?? []
    const checkedKey: CheckedKey = {
      keyState,
      holders: [],
      heldCount: 0,
      heldPermits: 0,
      upgrades: [],
      queue: [],
      queuedWaiters: new Set(),
      uncollected: requests[Symbol.iterator](),
      headIndex: 0,
      nextToPass: keyState.queue.first,
    }
    this.#checkedKeys.set(keyState, checkedKey)
    for (const lock of this.#locksOfWaitingScopes(keyState)) {
      this.#addHolder(checkedKey, lock, this.#waiterOfScope(lock.extras!.scope!))
    }
    const upgrade = keyState.extras?.upgrade
    if (upgrade !== undefined) this.#addUpgrade(checkedKey, this.#waiterOf(upgrade))
    if (this.#newWaiter.upgradeOf?.keyState === keyState)
      this.#addUpgrade(checkedKey, this.#newWaiter)
    return checkedKey
  }

  /** The locks of waiting scopes by rising fence. Removes other locks from the list of the key. */
  #locksOfWaitingScopes(keyState: KeyState): Lock[] {
    const listed = keyState.extras?.scopes?.locks
    if (listed === undefined) return []
    const locks: Lock[] = []
    for (const lock of listed) {
      const scope = lock.extras!.scope!
      if (scope.waiting !== undefined || scope === this.#newWaiter.scope) {
        locks.push(lock)
        // The first lock of a key costs nothing, because the cost of a visit includes one lock.
        if (locks.length > 1) this.#passedCount += passedRequestsPerLock
        if (this.#exceedsMaxVisits) break
      } else if (this.#removedCount < maxRemovedLocks) {
        this.#removedCount++
        listed.delete(lock)
        scope.unlistedLocks.add(lock)
      }
    }
    dropEmptyKeyScopes(keyState)
    return locks.sort((a, b) => a.fence - b.fence)
  }

  #addUpgrade(checkedKey: CheckedKey, waiter: Waiter): void {
    checkedKey.upgrades.push(waiter)
    // The lock of a scope is among the holders already.
    if (waiter.scope === undefined) this.#addHolder(checkedKey, waiter.upgradeOf!, waiter)
  }

  #addHolder(checkedKey: CheckedKey, lock: Lock, waiter: Waiter): void {
    checkedKey.holders.push({ waiter, lock })
    checkedKey.heldCount++
    checkedKey.heldPermits += lock.extras?.permits ?? 0
    waiter.heldLocks.push({ checkedKey, lock })
    if (lock === waiter.upgradeOf) waiter.holdsUpgradedLock = true
  }

  /** The waiter of a scope that waits, or of the scope of the new request. */
  #waiterOfScope(scope: ScopeOfLocks): Waiter {
    return scope === this.#newWaiter.scope ? this.#newWaiter : this.#waiterOf(scope.waiting!)
  }

  /** The waiter of a request. All requests of a set have the same waiter. */
  #waiterOf(waitingRequest: Request): Waiter {
    const set = waitingRequest.extras?.set
    const request = set?.requests[0] ?? waitingRequest
    const existingWaiter = this.#waiters.get(request)
    if (existingWaiter !== undefined) return existingWaiter
    const waiter: Waiter = {
      request,
      session: request.session,
      wanted: set === undefined ? [wantedBy(request)] : set.requests.map(wantedBy),
      scope: request.extras?.scope,
      upgradeOf: request.upgradedLock,
      heldLocks: [],
      holdsUpgradedLock: false,
      isGranted: false,
    }
    this.#waiters.set(request, waiter)
    this.#unvisited.push(waiter)
    return waiter
  }

  // ---------------------------------------------------------------------------------- reducing

  /** Grants waiters and releases their locks, until no further waiter can be granted. */
  #reduce(): void {
    const changedKeys = new Set<CheckedKey>()
    const grantIfPossible = (waiter: Waiter) => {
      if (waiter.isGranted || !this.#isGrantable(waiter)) return
      waiter.isGranted = true
      for (const { checkedKey, lock } of waiter.heldLocks) {
        checkedKey.heldCount--
        checkedKey.heldPermits -= lock.extras?.permits ?? 0
        changedKeys.add(checkedKey)
      }
      for (const { keyState } of waiter.wanted) {
        const checkedKey = this.#checkedKeys.get(keyState)
        if (checkedKey !== undefined) changedKeys.add(checkedKey)
      }
    }
    for (const waiter of this.#waiters.values()) grantIfPossible(waiter)
    grantIfPossible(this.#newWaiter)
    // The loop also reaches the keys that `grantIfPossible` adds during the loop.
    for (const checkedKey of changedKeys) {
      changedKeys.delete(checkedKey)
      for (const upgrade of checkedKey.upgrades) grantIfPossible(upgrade)
      const head = headOf(checkedKey)
      if (head !== undefined) grantIfPossible(head)
    }
  }

  #isGrantable(waiter: Waiter): boolean {
    for (const wanted of waiter.wanted) {
      const checkedKey = this.#checkedKeys.get(wanted.keyState)
      if (checkedKey !== undefined && !this.#isFreeAt(checkedKey, waiter, wanted)) return false
    }
    return true
  }

  /** Whether the check could grant the waiter at this key. */
  #isFreeAt(checkedKey: CheckedKey, waiter: Waiter, { mode, permits }: WantedLock): boolean {
    // An upgrade is granted when no other lock of a waiting scope is held.
    if (waiter.upgradeOf !== undefined)
      return checkedKey.heldCount === (waiter.holdsUpgradedLock ? 1 : 0)
    // An upgrade of the key is granted before the requests of the queue.
    if (checkedKey.upgrades.some((upgrade) => !upgrade.isGranted)) return false
    // `#visit` skipped this key for this waiter, because the check could grant the waiter here.
    if (!checkedKey.queuedWaiters.has(waiter)) return true
    if (headOf(checkedKey) !== waiter) return false
    // If no waiting scope holds a lock here, the waiter is granted. All other locks count as
    // released sooner or later, and so do the locks that the requests ahead will get.
    if (checkedKey.heldCount === 0) return true
    return isCompatible(checkedKey, mode, permits) && this.#passOthers(checkedKey, waiter)
  }

  /** Whether the check can pass all requests outside scopes and sets ahead of this waiter. */
  #passOthers(checkedKey: CheckedKey, waiter: Waiter): boolean {
    for (;;) {
      const ahead = checkedKey.nextToPass
      if (ahead === undefined || belongsTo(ahead, waiter)) return true
      const { mode, extras } = ahead
      // The check has granted the collected waiters ahead already, because `waiter` is the head.
      const isCollected = extras?.scope !== undefined || extras?.set !== undefined
      if (!isCollected && !isCompatible(checkedKey, mode, extras?.permits ?? 0)) return false
      checkedKey.nextToPass = ahead.next
      this.#passedCount++
      if (this.#exceedsMaxVisits) return false
    }
  }

  // ------------------------------------------------------------------------------------- cycle

  /**
   * The path of waiters from the new request on. Each waiter waits for the key of its entry, where
   * the waiter of the next entry is in the way. The path ends before a waiter would come again.
   */
  #cycle(): CycleEntry[] {
    const path = new Map<Waiter, CycleEntry>()
    for (let waiter = this.#newWaiter; !path.has(waiter); ) {
      const { key, next } = this.#obstacleOf(waiter)
      const { session, scope } = waiter
      const cycleEntry = { key, session: session.id, name: session.name, scope: scope?.number }
      path.set(waiter, cycleEntry)
      waiter = next
    }
    return [...path.values()].slice(0, maxCycleEntries)
  }

  /** A key at which the waiter cannot be granted, and the waiter that prevents the grant. */
  #obstacleOf(waiter: Waiter): { key: string; next: Waiter } {
    for (const wanted of waiter.wanted) {
      const checkedKey = this.#checkedKeys.get(wanted.keyState)
      if (checkedKey === undefined || this.#isFreeAt(checkedKey, waiter, wanted)) continue
      const { key } = checkedKey.keyState
      const isStuck = (other: Waiter) => !other.isGranted
      const upgrade = checkedKey.upgrades.find((other) => isStuck(other) && other !== waiter)
      if (upgrade !== undefined) return { key, next: upgrade }
      const head = waiter.upgradeOf === undefined ? headOf(checkedKey) : undefined
      if (head !== undefined && head !== waiter) return { key, next: head }
      const holder = checkedKey.holders.find(
        (other) => isStuck(other.waiter) && other.lock !== waiter.upgradeOf,
      )
      if (holder !== undefined) return { key, next: holder.waiter }
    }
    throw new Error('a request of a deadlock has no obstacle')
  }
}

/** The lock that a request for one key, or one request of a set, wants. */
function wantedBy({ keyState, mode, extras }: Request): WantedLock {
  return { keyState, mode, permits: extras?.permits ?? 0 }
}

/** The first waiter of the collected queue that the check has not granted. */
function headOf(checkedKey: CheckedKey): Waiter | undefined {
  while (checkedKey.queue[checkedKey.headIndex]?.isGranted) checkedKey.headIndex++
  return checkedKey.queue[checkedKey.headIndex]
}

/** Whether a lock is compatible with the locks of waiting scopes that are not released yet. */
function isCompatible(checkedKey: CheckedKey, mode: LockMode, permits: number): boolean {
  const { keyState, heldPermits } = checkedKey
  // All locks of a key have the same mode, so the first lock shows the mode.
  if (mode === 'exclusive' || mode !== keyState.first!.mode) return false
  return mode === 'shared' || heldPermits + permits <= keyState.extras!.permits!.capacity
}

/** Whether the request, or a member of its set, is the first of this queue. */
function isFirstInQueue(request: Request, keyState: KeyState): boolean {
  const { first } = keyState.queue
  return (
    first === request ||
    (first !== undefined && request.extras?.set?.requests.includes(first) === true)
  )
}

/** Whether this request of a queue is the waiter's request, or a request of the waiter's set. */
function belongsTo(queued: Request, { request }: Waiter): boolean {
  return queued === request || request?.extras?.set?.requests.includes(queued) === true
}
