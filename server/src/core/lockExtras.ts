/**
 * What only few locks and few keys have, in one optional object each. An ordinary lock has no such
 * object, so it stays as small and as fast as a table without these kinds of locks.
 */
import type { LockMode, NoticeType } from '@holdfast/shared'
import type { FollowerGroup } from './sharedResults.js'

/** The terms of a command that few requests have. They travel in commands, so they are plain. */
export interface ExtraTerms {
  /** How many permits the request wants; present if and only if the mode is `permits`. */
  readonly permits?: number | undefined
  /** How many permits the key has; present if and only if the mode is `permits`. */
  readonly capacity?: number | undefined
  /**
   * The lock ends this long after its grant, even if the client refreshes the lock. In ms;
   * undefined: never.
   */
  readonly maxHold?: number | undefined
  /** The notices that the client asks for. */
  readonly notify?: readonly NoticeType[] | undefined
  /** Present for a `once`: the holder runs a function, and followers wait for its value. */
  readonly once?: true | undefined
  /** Present if and only if the request is a campaign (see `elections.ts`). */
  readonly election?: { readonly value?: string | undefined } | undefined
}

/** The election that a request is a candidate of, or a lock is the leadership of. */
export class Election {
  /** JSON text; undefined without a value. */
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
  /** The members while the set waits; empty for a set that was granted at once. */
  readonly requests: R[] = []
  /** The members since the grant. */
  readonly locks: L[] = []
  /** Index of the member that last prevented the grant. */
  blockedAt = 0
}

/**
 * The extras of a request. When the request is granted, its lock gets the same object.
 *
 * @template L The class of locks.
 * @template R The class of requests.
 */
export class LockExtras<L, R> {
  /** As in {@link ExtraTerms}. */
  readonly permits: number | undefined
  readonly capacity: number | undefined
  readonly maxHold: number | undefined
  readonly notify: readonly NoticeType[] | undefined
  /** Undefined if the request is no campaign, and the lock no leadership. */
  readonly election: Election | undefined
  /** The set that the lock or request is a member of; undefined for a lock of one key. */
  readonly set: LockSet<L, R> | undefined
  /** As in {@link ExtraTerms}. */
  readonly once: true | undefined
  /** The group of a `once` request that waits. */
  followers: FollowerGroup<R> | undefined = undefined

  constructor(
    { permits, capacity, maxHold, notify, once, election }: ExtraTerms,
    set?: LockSet<L, R>,
  ) {
    this.permits = permits
    this.capacity = capacity
    this.maxHold = maxHold
    this.notify = notify
    // A new object, because the command keeps its own value when the leader proclaims another.
    this.election = election && new Election(election.value)
    this.set = set
    this.once = once
  }

  /**
   * The extras of a new request; undefined for an ordinary lock. The limit of the session bounds
   * `maxHold`, and is the `maxHold` of a request without one.
   */
  static of<L, R>(
    terms: ExtraTerms | undefined,
    limits: { readonly maxHold?: number | undefined },
    set?: LockSet<L, R>,
  ): LockExtras<L, R> | undefined {
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
  /** Locks and waiting requests of the key that have the mode `permits`. */
  users = 0

  constructor(capacity: number) {
    this.capacity = capacity
  }

  /** Whether `permits` more permits can be granted. */
  hasRoomFor(permits: number): boolean {
    return this.used + permits <= this.capacity
  }
}

/**
 * The extras of a key. A key without any of them has no such object.
 *
 * @template R The class of requests.
 */
export class KeyExtras<R = unknown> {
  /** The permits of the key; undefined while no lock and no request has the mode `permits`. */
  permits: KeyPermits | undefined = undefined
  /** The `once` requests that wait; undefined if none waits. */
  followers: FollowerGroup<R> | undefined = undefined
  /** The followers of a run that has ended, who must still be answered; undefined if none. */
  delivery: FollowerGroup<R> | undefined = undefined

  /** Whether the key needs this object no longer. */
  get isEmpty(): boolean {
    return this.permits === undefined && this.followers === undefined && this.delivery === undefined
  }
}
