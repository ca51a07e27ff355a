/**
 * Every message of the protocol, one interface each, with its direction. PROTOCOL.md is the
 * contract in prose; this file is the same contract for the compiler.
 *
 * Times are milliseconds. `at` is the broker's monotonic clock, an integer that only means
 * something beside another `at` of the same welcome; `since` is wall time, for display.
 */
import type { ErrorCode, Holder } from '../errors.js'

export type LockMode = 'exclusive' | 'shared'

/** Why a lock was lost while its session lived. */
export type LossReason = 'expired' | 'stolen' | 'revoked'

// ---------------------------------------------------------------------------- client -> broker

/** First message of a connection: open a session, or take an old one up again. */
export interface Hello {
  readonly type: 'hello'
  readonly token?: string | undefined
  /** Shown to others as the holder's name. */
  readonly name?: string | undefined
  /** Wanted lease; the broker's bounds win. */
  readonly lease?: number | undefined
  /** Wanted grace; `'lease'` for all of the lease. Default 0. */
  readonly grace?: number | 'lease' | undefined
  /** If the broker cannot take this session up, it opens a new one and says so. */
  readonly resume?: Resume | undefined
}

/** Which session to take up, and the proof that it is the client's own. */
export interface Resume {
  readonly session: string
  /** Of the newest `welcome`. */
  readonly secret: string
  /**
   * Higher with every hello that shows this secret, so that one which travelled slowly does not
   * replace the connection of one that was sent later. Without it whichever is judged later stands.
   */
  readonly try?: number | undefined
}

/** Ask for a lock. Answer: `granted` or `failed`, whenever that is known. */
export interface LockRequest {
  readonly type: 'lock'
  readonly id: number
  readonly key: string
  /** Default `'exclusive'`. */
  readonly mode?: LockMode | undefined
  /** The lock expires this long after its grant or last refresh; without it, it does not. */
  readonly ttl?: number | undefined
  /** Give up after this long; 0 does not wait at all; without it, wait for ever. */
  readonly timeout?: number | undefined
  /** Take the lock from whoever holds it. Exclusive only; cannot be combined with a timeout. */
  readonly steal?: boolean | undefined
  /** Any JSON value, shown to others. */
  readonly metadata?: unknown
}

/** Give a lock back. Answer: `unlocked`, or `failed` with `LOCK_NOT_HELD`. */
export interface UnlockRequest {
  readonly type: 'unlock'
  readonly id: number
  readonly fence: number
}

/** Start the ttl of a lock anew. Answer: `refreshed`, or `failed` with `LOCK_NOT_HELD`. */
export interface RefreshRequest {
  readonly type: 'refresh'
  readonly id: number
  readonly fence: number
  /** The lock's new ttl; without it, the one it has. */
  readonly ttl?: number | undefined
}

/**
 * Stop waiting. If the request was waiting, its answer is `failed` with `ABORTED`; otherwise this
 * changes nothing, its answer is already on the way, and a grant must be unlocked.
 */
export interface Cancel {
  readonly type: 'cancel'
  readonly request: number
}

/** Who holds and who waits. Answer: one or more `found`. */
export interface QueryRequest {
  readonly type: 'query'
  readonly id: number
  readonly key?: string | undefined
  readonly prefix?: string | undefined
  readonly limit?: number | undefined
  /** Answer with a page in the order of keys (UTF-16 code units): of those after this key. */
  readonly after?: string | undefined
  /** Begin with the locks of the key `after` itself whose fence is higher than this. */
  readonly afterFence?: number | undefined
}

/** Be told what happens to a key or prefix. Answer: `watching`, then `event` for ever. */
export interface WatchRequest {
  readonly type: 'watch'
  readonly id: number
  readonly key?: string | undefined
  readonly prefix?: string | undefined
}

/** End a watch, named by the id it was asked with. No answer; events under way may still come. */
export interface Unwatch {
  readonly type: 'unwatch'
  readonly watch: number
}

/** Ask for the broker's counters. Answer: `stats`. */
export interface StatsRequest {
  readonly type: 'stats'
  readonly id: number
}

/** Take a lock from whoever holds it, for good reason. Answer: `revoked`, or `failed`. */
export interface RevokeRequest {
  readonly type: 'revoke'
  readonly id: number
  readonly key: string
  /** The fence the lock has now; with any other, nothing is revoked. */
  readonly fence: number
  /** For the record and for the holder: 1 to 256 characters. */
  readonly reason: string
}

/** A new token of the same principal. Answer: `authenticated`, or `failed` with `UNAUTHORIZED`. */
export interface AuthRequest {
  readonly type: 'auth'
  readonly id: number
  readonly token: string
}

/** The answer to `ping`. Acknowledged with `ack` in the same turn. */
export interface Pong {
  readonly type: 'pong'
  readonly n: number
}

/**
 * "I have received the answers to these requests": the broker may forget them. Acknowledged with
 * `ack` once everything sent before it has been acted upon. Only sessions with a grace have answers
 * stored.
 */
export interface Acknowledge {
  readonly type: 'ack'
  /** At most 1,024 of them. */
  readonly ids: number[]
}

/** End the session now and release everything. The broker closes with 1000. */
export interface Bye {
  readonly type: 'bye'
}

export type ClientMessage =
  | Hello
  | LockRequest
  | UnlockRequest
  | RefreshRequest
  | Cancel
  | QueryRequest
  | WatchRequest
  | Unwatch
  | StatsRequest
  | RevokeRequest
  | AuthRequest
  | Pong
  | Acknowledge
  | Bye

// ---------------------------------------------------------------------------- broker -> client

/** The answer to `hello`: what holds from now on. */
export interface Welcome {
  readonly type: 'welcome'
  readonly session: string
  /** Whether this is the session that `hello` wanted to resume. */
  readonly resumed: boolean
  /** For the next resume; only if the session has a grace. The old secret stays valid until the
   * client sends anything on this connection. */
  readonly secret?: string | undefined
  /** The lease. */
  readonly lease: number
  /** The grace; 0 if a disconnect releases at once. */
  readonly grace: number
  /** When the broker received `hello`. */
  readonly at: number
}

/** A lock in a {@link Snapshot}. */
export interface HeldItem {
  /** The request that was granted. */
  readonly id: number
  readonly key: string
  readonly mode: LockMode
  readonly fence: number
  readonly ttl?: number | undefined
  /** With `ttl`: when the ttl began to run. */
  readonly at?: number | undefined
}

/**
 * After a `welcome` that resumed, in one or more parts: first every stored answer is sent again as
 * itself, then these. What is in none of them, the broker does not know.
 */
export interface Snapshot {
  readonly type: 'snapshot'
  readonly held: readonly HeldItem[]
  /** Ids of the requests that wait. */
  readonly waiting: readonly number[]
  readonly more: boolean
}

/** The lock is yours. */
export interface Granted {
  readonly type: 'granted'
  readonly id: number
  readonly fence: number
  /** With a ttl only: when it began to run. */
  readonly at?: number | undefined
}

export interface Unlocked {
  readonly type: 'unlocked'
  readonly id: number
}

export interface Refreshed {
  readonly type: 'refreshed'
  readonly id: number
}

/** The lock that was named is no more. */
export interface Revoked {
  readonly type: 'revoked'
  readonly id: number
}

/** The new token was accepted and counts from now on. */
export interface Authenticated {
  readonly type: 'authenticated'
  readonly id: number
}

/** The token's time is up in this many ms: send `auth` with a new one, or be closed with 4401. */
export interface Expiring {
  readonly type: 'expiring'
  readonly within: number
}

/** A request was refused or came to nothing. */
export interface Failed {
  readonly type: 'failed'
  readonly id: number
  readonly code: ErrorCode
  /** One sentence for people. */
  readonly message: string
  /** With `LOCK_HELD`, and without metadata with `LOCK_TIMEOUT`: who holds the key. */
  readonly holders?: readonly Holder[] | undefined
}

/** A lock of this session is gone although nobody unlocked it. */
export interface Lost {
  readonly type: 'lost'
  readonly fence: number
  readonly reason: LossReason
  /** With `revoked`: the reason that the operator gave, 1 to 256 characters. */
  readonly note?: string | undefined
}

/** Prove that JavaScript runs: answer with `pong`. */
export interface Ping {
  readonly type: 'ping'
  readonly n: number
}

/** Of the messages on this connection, `n` have arrived, the newest of them at `at`. */
export interface Ack {
  readonly type: 'ack'
  readonly n: number
  readonly at: number
}

/** Somebody's lock, as query and watch show it. */
export interface HeldInfo extends Holder {
  readonly key: string
  readonly mode: LockMode
}

/** Somebody's place in a queue, as query shows it. */
export interface WaitingInfo {
  readonly key: string
  readonly mode: LockMode
  readonly session: string
  readonly name?: string | undefined
  readonly since: number
}

/**
 * One part of the answer to `query`. The counts are those of all that matched, within the limit or
 * not.
 */
export interface Found {
  readonly type: 'found'
  readonly id: number
  readonly held: readonly HeldInfo[]
  readonly waiting: readonly WaitingInfo[]
  readonly heldCount: number
  readonly waitingCount: number
  readonly more: boolean
}

/** One part of the answer to `watch`: what is held now. Events follow the last part. */
export interface Watching {
  readonly type: 'watching'
  readonly id: number
  readonly held: readonly HeldInfo[]
  readonly heldCount: number
  readonly more: boolean
}

/** What a watch is told. */
export type LockEvent = HeldInfo & {
  /** `lost` is a steal, a revocation or the end of the holder's session. */
  readonly event: 'locked' | 'unlocked' | 'expired' | 'lost'
}

export interface WatchEvent {
  readonly type: 'event'
  /** The id of the watch that is told, or the ids of all of them if several match. */
  readonly watch: number | readonly number[]
  readonly event: LockEvent
}

/** The counters of the whole broker since it started. */
export interface LockStats {
  /** Requests settled: granted, held off, timed out, aborted or ended with their session. */
  readonly totalLocks: number
  /** Locks held at this moment. */
  readonly activeLocks: number
  /** Requests settled without a grant. */
  readonly failedLocks: number
  /** Locks whose ttl ran out. */
  readonly expiredLocks: number
  readonly refreshCount: number
  readonly unlockCount: number
  /** (total - failed) / total; 0 when there were none. */
  readonly successRate: number
}

export interface Stats {
  readonly type: 'stats'
  readonly id: number
  readonly stats: LockStats
}

/** The broker will close every connection within this many ms; finish, and go elsewhere. */
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
