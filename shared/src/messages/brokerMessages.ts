/**
 * Every message from a broker to a client, one interface each. PROTOCOL.md explains them; see
 * `clientMessages.ts` for the other files of this folder.
 *
 * All times are ms. `at` is a time on the broker's monotonic clock: an integer that means something
 * only in comparison with another `at` of the same connection. `since` is a time of the broker's
 * calendar, for display.
 */
import type { ErrorCode, Holder, LossReason } from '../errors.js'
import type { LockMode } from './clientMessages.js'

/** The answer to `hello`: the session of this connection and its terms. */
export interface Welcome {
  readonly type: 'welcome'
  readonly session: string
  /** Whether this is the session that `hello` asked to resume. */
  readonly resumed: boolean
  /**
   * The secret for the next resume. Only sessions with a grace have one. The former secret stays
   * valid until the broker accepts a message on this connection.
   */
  readonly secret?: string | undefined
  /** The lease that the broker chose. */
  readonly lease: number
  /** The grace that the broker chose. With 0, the session ends when its connection drops. */
  readonly grace: number
  /** When the broker received `hello`. */
  readonly at: number
}

/** One lock in a {@link Snapshot}. */
export interface HeldItem {
  /** The id of the `lock` that was granted. */
  readonly id: number
  readonly key: string
  readonly mode: LockMode
  readonly fence: number
  readonly ttl?: number | undefined
  /** With `ttl`: when the ttl began to run. */
  readonly at?: number | undefined
}

/**
 * One part of what a resumed session holds and waits for. The parts follow the stored answers. A
 * request that is neither in a stored answer nor in a part is not known to the broker.
 */
export interface Snapshot {
  readonly type: 'snapshot'
  readonly held: readonly HeldItem[]
  /** The ids of the requests that wait. */
  readonly waiting: readonly number[]
  /** False in the last part. */
  readonly more: boolean
}

/** The broker granted the lock. */
export interface Granted {
  readonly type: 'granted'
  readonly id: number
  readonly fence: number
  /** Only for a lock with a ttl: when the ttl began to run. */
  readonly at?: number | undefined
}

/** The broker released the lock. */
export interface Unlocked {
  readonly type: 'unlocked'
  readonly id: number
}

/** The session holds the lock, and its ttl has begun to run anew. */
export interface Refreshed {
  readonly type: 'refreshed'
  readonly id: number
}

/** The broker ended the lock that a `revoke` named. */
export interface Revoked {
  readonly type: 'revoked'
  readonly id: number
}

/** The broker accepted the new token, which counts from now on. */
export interface Authenticated {
  readonly type: 'authenticated'
  readonly id: number
}

/** The token ends in this many ms. The client must send `auth`, or the broker closes with 4401. */
export interface Expiring {
  readonly type: 'expiring'
  readonly within: number
}

/** The broker refused a request, or the request ended without success. */
export interface Failed {
  readonly type: 'failed'
  readonly id: number
  readonly code: ErrorCode
  /** A message for people. */
  readonly message: string
  /** With `LOCK_HELD`, and without metadata with `LOCK_TIMEOUT`: the holders of the key. */
  readonly holders?: readonly Holder[] | undefined
}

/** The session lost a lock that it did not unlock. */
export interface Lost {
  readonly type: 'lost'
  readonly fence: number
  readonly reason: LossReason
  /** With `'revoked'`: the reason that the operator gave, 1 to 256 characters. */
  readonly note?: string | undefined
}

/** The client must answer with `pong` at once, which proves that the client program runs. */
export interface Ping {
  readonly type: 'ping'
  readonly n: number
}

/** The broker has handled the first `n` messages of this connection; the newest arrived at `at`. */
export interface Ack {
  readonly type: 'ack'
  readonly n: number
  readonly at: number
}

/** A lock that is held, as queries and watches show it. */
export interface HeldInfo extends Holder {
  readonly key: string
  readonly mode: LockMode
}

/** A request that waits, as queries show it. */
export interface WaitingInfo {
  readonly key: string
  readonly mode: LockMode
  readonly session: string
  readonly name?: string | undefined
  readonly since: number
}

/**
 * One part of the answer to `query`. In the last part, the counts include what `limit` left out.
 */
export interface Found {
  readonly type: 'found'
  readonly id: number
  readonly held: readonly HeldInfo[]
  readonly waiting: readonly WaitingInfo[]
  readonly heldCount: number
  readonly waitingCount: number
  /** False in the last part. */
  readonly more: boolean
}

/** One part of the answer to `watch`: the locks that are held now. Events follow the last part. */
export interface Watching {
  readonly type: 'watching'
  readonly id: number
  readonly held: readonly HeldInfo[]
  readonly heldCount: number
  /** False in the last part. */
  readonly more: boolean
}

/** A change of a lock, as watches show it. */
export type LockEvent = HeldInfo & {
  /** `lost`: the lock was stolen or revoked, or the session of its holder ended. */
  readonly event: 'locked' | 'unlocked' | 'expired' | 'lost'
}

/** A change that one or more watches of this connection match. */
export interface WatchEvent {
  readonly type: 'event'
  /** The id of the watch that matches, or the ids if several match. */
  readonly watch: number | readonly number[]
  readonly event: LockEvent
}

/** The counters of a broker since its start. */
export interface LockStats {
  /** Lock requests that were decided: granted locks plus `failedLocks`. */
  readonly totalLocks: number
  /** Locks that are held at this moment. */
  readonly activeLocks: number
  /** Lock requests that ended without a grant: held, timed out, aborted, or their session ended. */
  readonly failedLocks: number
  /** Locks that expired because their ttl passed. */
  readonly expiredLocks: number
  readonly refreshCount: number
  readonly unlockCount: number
  /** `(totalLocks - failedLocks) / totalLocks`; 0 while `totalLocks` is 0. */
  readonly successRate: number
}

/** The answer to a `stats` request. */
export interface Stats {
  readonly type: 'stats'
  readonly id: number
  readonly stats: LockStats
}

/** The broker will close every connection within this many ms. */
export interface Draining {
  readonly type: 'draining'
  readonly within: number
}

export type ServerMessage =
  | Welcome
  | Snapshot
  | Granted
  | Unlocked
  | Refreshed
  | Revoked
  | Authenticated
  | Expiring
  | Failed
  | Lost
  | Ping
  | Ack
  | Found
  | Watching
  | WatchEvent
  | Stats
  | Draining
