/**
 * The fields that only a few locks, requests and keys have. Such a lock, request or key has one
 * object for these fields. All others have no such object, to save memory and time.
 */
import type { LockMode, NoticeType } from '@holdfast/shared'
import type { FollowerGroup } from './sharedResults.js'

/**
 * The terms that only a few requests have. Commands contain these terms, so all terms are plain
 * values.
 */
export interface ExtraTerms {
  /** How many permits the request wants; present if and only if the mode is `permits`. */
  readonly permits?: number | undefined
  /** How many permits the key has; present if and only if the mode is `permits`. */
  readonly capacity?: number | undefined
  /**
   * The longest time for which the lock is held, in ms, even if the client refreshes the lock.
   * Undefined: no limit.
   */
  readonly maxHold?: number | undefined
  /**
   * The notices that the client asks for: messages about the queue of the key (see
   * `broker/notices.ts`).
   */
  readonly notify?: readonly NoticeType[] | undefined
  /**
   * Present for a `once`: one caller of the key runs a function. The other callers, the followers,
   * wait for the value of the function.
   */
  readonly once?: true | undefined
  /** Present if and only if the request is a campaign: a request to lead an election. */
  readonly election?: { readonly value?: string | undefined } | undefined
  /** The number that the client gave to a logical task, the scope; undefined outside a scope. */
  readonly scope?: number | undefined
}

/** Only the extras of a campaign, and of a leader's lock, have an `Election`. */
export class Election {
  /** The value that the leader publishes, as JSON text; undefined to publish no value. */
  value: string | undefined

  constructor(value: string | undefined) {
    this.value = value
  }
}

/** One key of a set. `permits` and `capacity` are as in {@link ExtraTerms}. */
export interface SetItem extends Pick<ExtraTerms, 'permits' | 'capacity'> {
  readonly key: string
  readonly mode: LockMode
}

/**
 * The members of a set (see `lockSets.ts`), in the order in which the client named the keys.
 *
 * @template L The class of locks.
 * @template R The class of requests.
 */
export class LockSet<L, R> {
  /**
   * The requests of a set that waits or has waited: they stay here after the grant. Empty for a set
   * that was granted without a wait.
   */
  readonly requests: R[] = []
  /** The locks of the set; empty before the grant. */
  readonly locks: L[] = []
  /** Index of the request that last prevented the grant. The next check begins with it. */
  blockedIndex = 0
}

/**
 * One logical task of a session (see `scopes.ts`).
 *
 * @template L The class of locks.
 * @template R The class of requests.
 * @template S The class of sessions.
 */
export class Scope<L, R, S> {
  readonly session: S
  /** The number that the client chose. */
  readonly number: number
  /** The locks of the scope. A set has one lock here for each of its keys. */
  readonly locks = new Set<L>()
  /**
   * The locks that are not in the {@link KeyScopes} of their keys. They are added there when the
   * scope next waits.
   */
  readonly unlistedLocks = new Set<L>()
  /** The request for which the scope waits; undefined if the scope does not wait. */
  waiting: R | undefined = undefined

  constructor(session: S, number: number) {
    this.session = session
    this.number = number
  }
}

/**
 * What a check for deadlocks must know of one key: the locks of waiting scopes, and the waiting
 * requests of scopes and sets.
 *
 * @template L The class of locks.
 * @template R The class of requests.
 */
export class KeyScopes<L, R> {
  /**
   * The locks of waiting scopes. When a scope stops waiting, its locks stay here until a later
   * check for deadlocks removes them.
   */
  readonly locks = new Set<L>()
  /** Waiting requests that are in a scope or members of a set, in the order of the queue. */
  readonly requests = new Set<R>()

  get isEmpty(): boolean {
    return this.locks.size === 0 && this.requests.size === 0
  }
}

/**
 * The extras of a request. When the request is granted, its lock gets the same object.
 *
 * @template L The class of locks.
 * @template R The class of requests.
 * @template S The class of sessions.
 */
export class LockExtras<L, R, S> {
  // `permits`, `capacity`, `maxHold`, `notify` and `once` are as in `ExtraTerms`.
  readonly permits: number | undefined
  readonly capacity: number | undefined
  readonly maxHold: number | undefined
  readonly notify: readonly NoticeType[] | undefined
  /** Defined only for a campaign, and for the lock that makes its holder a leader. */
  readonly election: Election | undefined
  /** The set that the lock or request is a member of; undefined outside a set. */
  readonly set: LockSet<L, R> | undefined
  readonly once: true | undefined
  /** The group of followers to which a waiting `once` request belongs. */
  followers: FollowerGroup<R> | undefined = undefined
  /** The scope of the lock or request; undefined outside a scope. */
  scope: Scope<L, R, S> | undefined = undefined
  /** The newest fence of a lock that was upgraded; undefined for other locks. */
  presentFence: number | undefined = undefined
  /** The lock that a waiting upgrade makes exclusive; undefined for other requests. */
  upgradeOf: L | undefined = undefined

  constructor(
    { permits, capacity, maxHold, notify, once, election }: ExtraTerms,
    set?: LockSet<L, R>,
  ) {
    this.permits = permits
    this.capacity = capacity
    this.maxHold = maxHold
    this.notify = notify
    // Make a new object, because a later `proclaim` changes the value. The object in `ExtraTerms`
    // belongs to a command, which must not change.
    this.election = election && new Election(election.value)
    this.set = set
    this.once = once
  }

  /**
   * The extras of a new request. If the session has a limit for `maxHold`, this limit replaces a
   * longer or missing `maxHold` of the request. Without such a limit, the extras of an ordinary
   * lock are undefined.
   */
  static of<L, R, S>(
    terms: ExtraTerms | undefined,
    limits: { readonly maxHold?: number | undefined },
    set?: LockSet<L, R>,
  ): LockExtras<L, R, S> | undefined {
    // Undefined `terms` never come with a `set`, because the members of a set always have `terms`.
    if (limits.maxHold === undefined) return terms && new LockExtras(terms, set)
    const maxHold = Math.min(terms?.maxHold ?? limits.maxHold, limits.maxHold)
    return new LockExtras({ ...terms, maxHold }, set)
  }
}

/** The permits of one key. */
export class KeyPermits {
  readonly capacity: number
  /** How many permits all locks of the key have together. */
  used = 0
  /** How many locks and waiting requests, not permits, share the capacity. */
  users = 0

  constructor(capacity: number) {
    this.capacity = capacity
  }

  /** Whether the key has at least this many unused permits. */
  hasRoomFor(permits: number): boolean {
    return this.used + permits <= this.capacity
  }
}

/**
 * The fields that only a few keys have. A key without any of these fields has no such object.
 *
 * @template L The class of locks.
 * @template R The class of requests.
 */
export class KeyExtras<L, R> {
  /** The permits of the key; undefined while no lock and no request has the mode `permits`. */
  permits: KeyPermits | undefined = undefined
  /** The upgrade that waits until its lock is the only lock of the key; undefined if none waits. */
  upgrade: R | undefined = undefined
  /** The locks and requests that {@link KeyScopes} lists; undefined while the lists are empty. */
  scopes: KeyScopes<L, R> | undefined = undefined
  /** The `once` requests that wait for a run that has not ended; undefined if none waits. */
  followers: FollowerGroup<R> | undefined = undefined
  /** The followers that get the value of a run that has ended; undefined if all are answered. */
  delivery: FollowerGroup<R> | undefined = undefined

  /** Whether the key needs this object no longer. */
  get isEmpty(): boolean {
    return (
      this.permits === undefined &&
      this.upgrade === undefined &&
      this.scopes === undefined &&
      this.followers === undefined &&
      this.delivery === undefined
    )
  }
}
