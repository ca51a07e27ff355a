/**
 * Finds deadlocks: whether a new request could never be granted, because the scopes for which the
 * request waits are waiting themselves.
 *
 * A *scope* is one logical task of a session. A scope that waits does nothing else until its
 * request is settled. So the locks of a waiting scope stay held until its request is granted. All
 * other locks, and all locks that are granted later, count as released sooner or later. A waiting
 * upgrade outside a scope counts as a scope that holds only the lock of the upgrade.
 *
 * The check is a graph reduction. The check collects the waiting requests on which the new request
 * depends, directly or through other requests. The check then repeats one step in its own records:
 * it grants a request that nothing prevents, and releases the locks of the scope of
 * this request. The check ends when no more request can be granted. If the new request is not
 * granted by then, there is a deadlock. A search for a cycle would not be exact for permits,
 * because a request for permits can be granted when any one of the holders makes room.
 *
 * The check visits only waiting scopes and waiting sets. The order of the visits depends only on
 * fences and queues, so that all brokers decide alike.
 */
import type { LockMode } from '@holdfast/shared'
import type { CycleEntry } from './plainRecords.js'
import type { KeyState, Lock, Request, ScopeOfLocks } from './records.js'
import { dropUnusedScopes, listLocks } from './scopes.js'

/** The lock that a waiting request, or one member of a waiting set, wants at one key. */
interface Wanted {
  readonly keyState: KeyState
  readonly mode: LockMode
  /** 0 unless the mode is `permits`. */
  readonly permits: number
}

/** A request that is about to wait. */
export interface NewRequest {
  readonly session: { readonly id: string; readonly name: string | undefined }
  readonly wanted: readonly Wanted[]
  readonly scope: ScopeOfLocks | undefined
  /** The lock that the request upgrades; undefined for a request for a new lock. */
  readonly upgradeOf: Lock | undefined
}

/** The result of a check: the cycle of a deadlock, or why there is none. */
export type DeadlockResult = {
  /** How many waiting scopes and sets the check has visited. */
  readonly visits: number
} & (
  | { readonly kind: 'none' | 'tooManyVisits' }
  | { readonly kind: 'deadlock'; readonly cycle: readonly CycleEntry[] }
)

/** Most entries of a cycle that an error shows. */
const maxCycleEntries = 16
/** How many waiting requests outside scopes are passed for one visit. */
const passedPerVisit = 16
/** A lock of a waiting scope costs as much as this many passed requests. */
const passedPerLock = 5
/** A key that a waiting scope or set wants costs as much as this many passed requests. */
const passedPerKey = 8
/**
 * Most locks that one check removes from the list of a key, because their scopes wait no longer.
 * Later checks remove the rest. These locks are no visits, because brokers may list different ones.
 */
const maxRemovedLocks = 10_000

/** A request that waits, or the new request. */
interface Waiter extends NewRequest {
  /** Undefined for the new request. */
  readonly request: Request | undefined
  /** The locks that stay held until this waiter is granted. */
  readonly heldLocks: { readonly place: Place; readonly lock: Lock }[]
  /** Whether `heldLocks` has the lock that this waiter upgrades. */
  holdsUpgradedLock: boolean
  canBeGranted: boolean
}

/** A key of the check. */
interface Place {
  readonly keyState: KeyState
  /** The locks of waiting scopes, by rising fence. */
  readonly holders: { readonly waiter: Waiter; readonly lock: Lock }[]
  /** How many of `holders`, and how many of their permits, are not released yet. */
  heldCount: number
  heldPermits: number
  readonly upgrades: Waiter[]
  /**
   * The waiting requests in scopes or sets on which the new request depends, in the order of the
   * queue.
   */
  readonly queue: Waiter[]
  /** The same waiters as in `queue`. */
  readonly queued: Set<Waiter>
  readonly queueRest: Iterator<Request>
  /** The waiters of `queue` before this index are granted. */
  headIndex: number
  /** The request of the queue up to which all requests can be granted. */
  passedUpTo: Request | undefined
}

/**
 * Checks a new request that would have to wait.
 *
 * @param maxVisits The check gives up when it would visit more waiting scopes and sets.
 */
export function findDeadlock(newRequest: NewRequest, maxVisits: number): DeadlockResult {
  return new DeadlockCheck(newRequest, maxVisits).run()
}

class DeadlockCheck {
  readonly #newWaiter: Waiter
  readonly #maxVisits: number
  readonly #places = new Map<KeyState, Place>()
  readonly #waiters = new Map<Request, Waiter>()
  /** Waiters whose keys are not visited yet. */
  readonly #unvisited: Waiter[]
  /** Passed requests, and the locks and keys that count as passed requests. */
  #passedCount = 0
  #removedCount = 0

  constructor(newRequest: NewRequest, maxVisits: number) {
    this.#newWaiter = {
      ...newRequest,
      request: undefined,
      heldLocks: [],
      holdsUpgradedLock: false,
      canBeGranted: false,
    }
    this.#maxVisits = maxVisits
    this.#unvisited = [this.#newWaiter]
  }

  run(): DeadlockResult {
    const { scope } = this.#newWaiter
    if (scope !== undefined) listLocks(scope)
    for (let waiter = this.#unvisited.pop(); waiter; waiter = this.#unvisited.pop()) {
      this.#visit(waiter)
      if (this.#visitsTooMany) return { kind: 'tooManyVisits', visits: this.#visits }
    }
    this.#reduce()
    if (this.#newWaiter.canBeGranted) return { kind: 'none', visits: this.#visits }
    if (this.#visitsTooMany) return { kind: 'tooManyVisits', visits: this.#visits }
    return { kind: 'deadlock', visits: this.#visits, cycle: this.#cycle() }
  }

  get #visits(): number {
    const passed = this.#passedCount + passedPerLock * this.#removedCount
    return this.#waiters.size + Math.ceil(passed / passedPerVisit)
  }

  get #visitsTooMany(): boolean {
    return (
      this.#waiters.size > this.#maxVisits || this.#passedCount > this.#maxVisits * passedPerVisit
    )
  }

  // -------------------------------------------------------------------------------- collecting

  /** Visits each key where the waiter is not the first or not admitted. */
  #visit(waiter: Waiter): void {
    const { request, upgradeOf } = waiter
    if (request !== undefined && waiter.wanted.length > 1)
      this.#passedCount += passedPerKey * waiter.wanted.length
    for (const { keyState, mode, permits } of waiter.wanted) {
      if (this.#visitsTooMany) return
      if (upgradeOf !== undefined) {
        this.#placeOf(keyState)
        continue
      }
      const { first } = keyState.queue
      const isFirst = request === undefined ? first === undefined : isHead(request, keyState)
      if (isFirst && keyState.admits({ mode, extras: { permits } })) continue
      this.#collectQueue(this.#placeOf(keyState), waiter)
    }
  }

  /** Collects the waiters of a queue up to this waiter. */
  #collectQueue(place: Place, waiter: Waiter): void {
    while (!place.queued.has(waiter) && !this.#visitsTooMany) {
      const { value, done } = place.queueRest.next()
      const next = done ? waiter : this.#waiterOf(value)
      place.queue.push(next)
      place.queued.add(next)
    }
  }

  #placeOf(keyState: KeyState): Place {
    const existingPlace = this.#places.get(keyState)
    if (existingPlace !== undefined) return existingPlace
    const requests = keyState.extras?.scopes?.requests ?? []
    const place: Place = {
      keyState,
      holders: [],
      heldCount: 0,
      heldPermits: 0,
      upgrades: [],
      queue: [],
      queued: new Set(),
      queueRest: requests[Symbol.iterator](),
      headIndex: 0,
      passedUpTo: keyState.queue.first,
    }
    this.#places.set(keyState, place)
    for (const lock of this.#locksOfWaitingScopes(keyState)) {
      this.#addHolder(place, lock, this.#waiterOfScope(lock.extras!.scope!))
    }
    const upgrade = keyState.extras?.upgrade
    if (upgrade !== undefined) this.#addUpgrade(place, this.#waiterOf(upgrade))
    if (this.#newWaiter.upgradeOf?.keyState === keyState) this.#addUpgrade(place, this.#newWaiter)
    return place
  }

  /** The locks of waiting scopes by rising fence. Removes the others from the index of the key. */
  #locksOfWaitingScopes(keyState: KeyState): Lock[] {
    const listed = keyState.extras?.scopes?.locks
    if (listed === undefined) return []
    const locks: Lock[] = []
    for (const lock of listed) {
      const scope = lock.extras!.scope!
      if (scope.waiting !== undefined || scope === this.#newWaiter.scope) {
        locks.push(lock)
        // The first lock of a key is a part of the visit of its scope.
        if (locks.length > 1) this.#passedCount += passedPerLock
        if (this.#visitsTooMany) break
      } else if (this.#removedCount < maxRemovedLocks) {
        this.#removedCount++
        listed.delete(lock)
        scope.unlistedLocks.add(lock)
      }
    }
    dropUnusedScopes(keyState)
    return locks.sort((a, b) => a.fence - b.fence)
  }

  #addUpgrade(place: Place, waiter: Waiter): void {
    place.upgrades.push(waiter)
    // The lock of a scope is among the holders already.
    if (waiter.scope === undefined) this.#addHolder(place, waiter.upgradeOf!, waiter)
  }

  #addHolder(place: Place, lock: Lock, waiter: Waiter): void {
    place.holders.push({ waiter, lock })
    place.heldCount++
    place.heldPermits += lock.extras?.permits ?? 0
    waiter.heldLocks.push({ place, lock })
    if (lock === waiter.upgradeOf) waiter.holdsUpgradedLock = true
  }

  #waiterOfScope(scope: ScopeOfLocks): Waiter {
    return scope === this.#newWaiter.scope ? this.#newWaiter : this.#waiterOf(scope.waiting!)
  }

  #waiterOf(memberRequest: Request): Waiter {
    const set = memberRequest.extras?.set
    const request = set?.requests[0] ?? memberRequest
    const existingWaiter = this.#waiters.get(request)
    if (existingWaiter !== undefined) return existingWaiter
    const waiter: Waiter = {
      request,
      session: request.session,
      wanted: (set?.requests ?? [request]).map(({ keyState, mode, extras }) => ({
        keyState,
        mode,
        permits: extras?.permits ?? 0,
      })),
      scope: request.extras?.scope,
      upgradeOf: request.upgradedLock,
      heldLocks: [],
      holdsUpgradedLock: false,
      canBeGranted: false,
    }
    this.#waiters.set(request, waiter)
    this.#unvisited.push(waiter)
    return waiter
  }

  // ---------------------------------------------------------------------------------- reducing

  #reduce(): void {
    const changedPlaces = new Set<Place>()
    const grantIfPossible = (waiter: Waiter) => {
      if (waiter.canBeGranted || !this.#isGrantable(waiter)) return
      waiter.canBeGranted = true
      for (const { place, lock } of waiter.heldLocks) {
        place.heldCount--
        place.heldPermits -= lock.extras?.permits ?? 0
        changedPlaces.add(place)
      }
      for (const { keyState } of waiter.wanted) {
        const place = this.#places.get(keyState)
        if (place !== undefined) changedPlaces.add(place)
      }
    }
    for (const waiter of this.#waiters.values()) grantIfPossible(waiter)
    grantIfPossible(this.#newWaiter)
    for (const place of changedPlaces) {
      changedPlaces.delete(place)
      for (const upgrade of place.upgrades) grantIfPossible(upgrade)
      const head = headOf(place)
      if (head !== undefined) grantIfPossible(head)
    }
  }

  #isGrantable(waiter: Waiter): boolean {
    return waiter.wanted.every((wanted) => {
      const place = this.#places.get(wanted.keyState)
      return place === undefined || this.#isFreeAt(place, waiter, wanted)
    })
  }

  #isFreeAt(place: Place, waiter: Waiter, { mode, permits }: Wanted): boolean {
    if (waiter.upgradeOf !== undefined)
      return place.heldCount === (waiter.holdsUpgradedLock ? 1 : 0)
    if (place.upgrades.some((upgrade) => !upgrade.canBeGranted)) return false
    // The check has visited this key only for another waiter. Here this waiter is the first of its
    // queue, and is admitted.
    if (!place.queued.has(waiter)) return true
    if (headOf(place) !== waiter) return false
    if (place.heldCount === 0) return true
    return isCompatible(place, mode, permits) && this.#passOthers(place, waiter)
  }

  /** Whether the requests outside scopes and sets that are ahead of this waiter can be granted. */
  #passOthers(place: Place, waiter: Waiter): boolean {
    for (;;) {
      const ahead = place.passedUpTo
      if (ahead === undefined || isMemberOf(ahead, waiter)) return true
      const { mode, extras } = ahead
      const isCollected = extras?.scope !== undefined || extras?.set !== undefined
      if (!isCollected && !isCompatible(place, mode, extras?.permits ?? 0)) return false
      place.passedUpTo = ahead.next
      this.#passedCount++
      if (this.#visitsTooMany) return false
    }
  }

  // ------------------------------------------------------------------------------------- cycle

  /**
   * The waiters of the cycle, beginning with the new request. Each waiter has the key at which the
   * next waiter prevents its grant.
   */
  #cycle(): CycleEntry[] {
    const path = new Map<Waiter, CycleEntry>()
    for (let waiter = this.#newWaiter; !path.has(waiter); ) {
      const { key, next } = this.#obstacleOf(waiter)
      const { session, scope } = waiter
      const entry = { key, session: session.id, name: session.name, scope: scope?.number }
      path.set(waiter, entry)
      waiter = next
    }
    return [...path.values()].slice(0, maxCycleEntries)
  }

  #obstacleOf(waiter: Waiter): { key: string; next: Waiter } {
    for (const wanted of waiter.wanted) {
      const place = this.#places.get(wanted.keyState)
      if (place === undefined || this.#isFreeAt(place, waiter, wanted)) continue
      const { key } = place.keyState
      const isStuck = (other: Waiter) => !other.canBeGranted
      const upgrade = place.upgrades.find((other) => isStuck(other) && other !== waiter)
      if (upgrade !== undefined) return { key, next: upgrade }
      const head = waiter.upgradeOf === undefined ? headOf(place) : undefined
      if (head !== undefined && head !== waiter) return { key, next: head }
      const holder = place.holders.find(
        (other) => isStuck(other.waiter) && other.lock !== waiter.upgradeOf,
      )
      if (holder !== undefined) return { key, next: holder.waiter }
    }
    throw new Error('a request of a deadlock has no obstacle')
  }
}

function headOf(place: Place): Waiter | undefined {
  while (place.queue[place.headIndex]?.canBeGranted) place.headIndex++
  return place.queue[place.headIndex]
}

/** Whether a lock is compatible with the locks of waiting scopes that are not released yet. */
function isCompatible(place: Place, mode: LockMode, permits: number): boolean {
  const { keyState, heldPermits } = place
  if (mode === 'exclusive' || mode !== keyState.first!.mode) return false
  return mode === 'shared' || heldPermits + permits <= keyState.extras!.permits!.capacity
}

function isHead(request: Request, keyState: KeyState): boolean {
  const { first } = keyState.queue
  return (
    first === request ||
    (first !== undefined && request.extras?.set?.requests.includes(first) === true)
  )
}

function isMemberOf(member: Request, { request }: Waiter): boolean {
  return member === request || request?.extras?.set?.requests.includes(member) === true
}
