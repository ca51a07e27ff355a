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
   * Present for a `once`: one caller runs a function, and the other callers, its followers, wait
   * for the value of the function.
   */
  readonly once?: true | undefined
  /** Present if and only if the request is a campaign: a request to lead an election. */
  readonly election?: { readonly value?: string | undefined } | undefined
  /** The number that the client gave to a logical task, the scope; undefined outside a scope. */
  readonly scope?: number | undefined
}

/** Marks the extras of a candidate's request or of the leader's lock. Has the value to publish. */
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
   * The members of a set that waits. The grant does not remove these requests. Empty for a set that
   * was granted without a wait.
   */
  readonly requests: R[] = []
  /** The members since the grant; empty before. */
  readonly locks: L[] = []
  /** Index of the member that last prevented the grant; the next check begins with this member. */
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
  /** The locks that {@link KeyScopes} does not list now. The next wait of the scope lists them. */
  readonly unlistedLocks = new Set<L>()
  /** The request for which the scope waits; undefined if the scope does not wait. */
  waiting: R | undefined = undefined

  constructor(session: S, number: number) {
    this.session = session
    this.number = number
  }
}

/**
 * The locks of waiting scopes at one key, and the waiting requests of scopes and sets.
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
  /** This field and the next three fields are as in {@link ExtraTerms}. */
  readonly permits: number | undefined
  readonly capacity: number | undefined
  readonly maxHold: number | undefined
  readonly notify: readonly NoticeType[] | undefined
  /** The election; undefined unless the request is a campaign or the lock is a leadership. */
  readonly election: Election | undefined
  /** The set that the lock or request is a member of; undefined for a lock of one key. */
  readonly set: LockSet<L, R> | undefined
  /** As in {@link ExtraTerms}. */
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
    // Make a new object, because a `proclaim` changes the value of the election, and must not
    // change the command.
    this.election = election && new Election(election.value)
    this.set = set
    this.once = once
  }

  /**
   * The extras of a new request. Undefined for an ordinary lock, unless the session has a limit for
   * `maxHold`. The limit then replaces a longer or missing `maxHold` of the request.
   */
  static of<L, R, S>(
    terms: ExtraTerms | undefined,
    limits: { readonly maxHold?: number | undefined },
    set?: LockSet<L, R>,
  ): LockExtras<L, R, S> | undefined {
    // The members of a set always have `terms`, so no `set` is lost here.
    if (limits.maxHold === undefined) return terms && new LockExtras(terms, set)
    const maxHold = Math.min(terms?.maxHold ?? limits.maxHold, limits.maxHold)
    return new LockExtras({ ...terms, maxHold }, set)
  }
}

/** The permits of one key. */
export class KeyPermits {
  readonly capacity: number
  /** Permits of all locks of the key together. */
  used = 0
  /** How many locks and waiting requests of the key have the mode `permits`. */
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
  /** Locks and requests of scopes and sets; undefined while none is listed. */
  scopes: KeyScopes<L, R> | undefined = undefined
  /** The `once` requests that wait for the present run; undefined if none waits. */
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
