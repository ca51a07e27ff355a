/**
 * Every message from a broker to a client, one interface each. PROTOCOL.md explains the messages.
 * `clientMessages.ts` explains the other files of this folder, and the terms of the protocol, such
 * as lease, grace, ttl, fence, set, scope, once and barrier.
 *
 * All durations are in ms. `at` is a time on the broker's monotonic clock: an integer in ms that a
 * client may only compare with another `at` of the same connection. `since` is a time on the
 * broker's wall clock in ms since 1970, for display.
 */
import type { BrokerLossReason, CycleEntry, ErrorCode, Holder } from '../errors.js'
import type { LockMode } from './clientMessages.js'
import type { BarrierCallInfo, KeptResultInfo, SessionInfo } from './queryItems.js'

/** The answer to `hello`: the session of this connection, with its lease and grace. */
export interface Welcome {
  readonly type: 'welcome'
  readonly session: string
  /** True if the broker resumed the session that `hello` named; false if the session is new. */
  readonly resumed: boolean
  /**
   * The secret for the next resume. Only a session with a grace has a secret. The former secret
   * stays valid until the broker accepts a message on this connection.
   */
  readonly secret?: string | undefined
  /** The lease that the broker chose. */
  readonly lease: number
  /**
   * The grace that the broker chose. With 0, the session ends when its connection drops, or, if
   * the broker itself closed the connection, when the lease is over.
   */
  readonly grace: number
  /** The longest time for which this session may hold a lock, in ms. Absent: no limit. */
  readonly maxHoldMs?: number | undefined
  /** When the broker received `hello`. */
  readonly at: number
  /** The version of the broker, such as `0.1.0`. Only for display. */
  readonly version?: string | undefined
  /** The names of optional message types and options that the broker knows. */
  readonly features?: readonly string[] | undefined
  /** The cell of the broker, such as `1/4`. Absent: the broker serves all keys. */
  readonly cell?: string | undefined
}

/** One lock in a {@link Snapshot}. */
export interface HeldItem {
  /** The id of the request that asked for this lock. */
  readonly id: number
  readonly key: string
  readonly mode: LockMode
  /** The first fence of the lock. Later messages name the lock by this fence. */
  readonly fence: number
  /** The newest fence of a lock that was upgraded; absent for other locks. */
  readonly presentFence?: number | undefined
  readonly ttl?: number | undefined
  /**
   * When the ttl began to run; for a lock without a ttl, when its `maxHold` began to run. Absent if
   * the lock has neither.
   */
  readonly at?: number | undefined
}

/**
 * One part of the snapshot that follows a resume. The snapshot lists the locks that the session
 * holds, and the waiting requests of the session. The broker first repeats the answers that it has
 * stored for the session, and then sends the parts. If a request is neither answered nor
 * listed, the broker has never received that request.
 */
export interface Snapshot {
  readonly type: 'snapshot'
  readonly held: readonly HeldItem[]
  /** The ids of the requests that wait. */
  readonly waiting: readonly number[]
  /** False in the last part. */
  readonly more: boolean
}

/** The broker granted the lock or the upgrade. */
export interface Granted {
  readonly type: 'granted'
  readonly id: number
  readonly fence: number
  /** When the ttl and the `maxHold` of the lock began to run. Absent if the lock has neither. */
  readonly at?: number | undefined
}

/** The lock is shared now. The fence of the lock stays as it is. */
export interface Downgraded {
  readonly type: 'downgraded'
  readonly id: number
}

/** The scope has ended, and the broker has released the locks of the scope. */
export interface ScopeEnded {
  readonly type: 'scopeEnded'
  readonly id: number
}

/** The broker released the lock. */
export interface Unlocked {
  readonly type: 'unlocked'
  readonly id: number
}

/** The session still holds the lock. The ttl of the lock, if it has one, begins to run anew. */
export interface Refreshed {
  readonly type: 'refreshed'
  readonly id: number
}

/** The leader now publishes the value of the `proclaim` message with this id. */
export interface Proclaimed {
  readonly type: 'proclaimed'
  readonly id: number
}

/** The broker ended the lock that the `revoke` message with this id named. */
export interface Revoked {
  readonly type: 'revoked'
  readonly id: number
}

/** All parties of the barrier have arrived, so all calls that wait at the barrier pass. */
export interface Passed {
  readonly type: 'passed'
  readonly id: number
}

/** Answers a `once` with the value of another caller. The client must not call its function. */
export interface Result {
  readonly type: 'result'
  readonly id: number
  /** The fence of the lock that the other caller held while it computed the value. */
  readonly fence: number
  /** Any JSON value; absent for the value `undefined`. */
  readonly value?: unknown
}

/** The broker accepted the new token, which replaces the former token from now on. */
export interface Authenticated {
  readonly type: 'authenticated'
  readonly id: number
}

/**
 * The token expires soon. If the client sends no `auth` before the token expires, the broker closes
 * the connection with 4401.
 */
export interface Expiring {
  readonly type: 'expiring'
  /** Time until the token expires, in ms. */
  readonly within: number
}

/** The broker refused a request, or the request ended without success. */
export interface Failed {
  readonly type: 'failed'
  readonly id: number
  readonly code: ErrorCode
  /** A message for people. */
  readonly message: string
  /** The holders of the key, with `LOCK_HELD`; also with `LOCK_TIMEOUT`, but without metadata. */
  readonly holders?: readonly Holder[] | undefined
  /**
   * With `CAPACITY_MISMATCH`: the capacity with which the key is in use, or the number of parties
   * that the other calls of the barrier asked for.
   */
  readonly capacity?: number | undefined
  /** With `DEADLOCK`: at most 16 requests that wait for each other. */
  readonly cycle?: readonly CycleEntry[] | undefined
}

/** The session lost a lock that it did not unlock. */
export interface Lost {
  readonly type: 'lost'
  readonly fence: number
  readonly reason: BrokerLossReason
  /** With `'revoked'`: the reason that the operator gave, 1 to 256 characters. */
  readonly note?: string | undefined
}

/**
 * The request must wait. The broker sends this message at most once for a request, and only if the
 * field `notify` of the request contains `queued`.
 */
export interface Queued {
  readonly type: 'queued'
  /** The id of the request. */
  readonly id: number
  /**
   * How many requests wait before this request. For a request for several keys: at the key with the
   * longest queue.
   */
  readonly ahead: number
  /**
   * The holders of the key. For a request for several keys: the holders of the keys that are not
   * free.
   */
  readonly holders: readonly Holder[]
}

/**
 * Requests wait behind this lock. The broker sends this message at most once a second for a lock,
 * and only if the field `notify` of the request for this lock contained `contended`.
 */
export interface Contended {
  readonly type: 'contended'
  readonly fence: number
  /** How many requests wait for the key. For a set: for the key with the longest queue. */
  readonly waiting: number
}

/** The client must immediately answer with `pong`. The answer proves that the client runs. */
export interface Ping {
  readonly type: 'ping'
  /** The number that the `pong` must repeat. */
  readonly n: number
}

/**
 * The broker has received the first `n` messages of this connection; message `n` arrived at `at`.
 */
export interface Ack {
  readonly type: 'ack'
  readonly n: number
  readonly at: number
}

/** A lock, as the events of watches show it. */
export interface LockDetails extends Holder {
  readonly key: string
  readonly mode: LockMode
  /** The present ttl, in ms; absent if the lock has none. */
  readonly ttl?: number | undefined
  /** How many permits the key has; only with the mode `permits`. */
  readonly capacity?: number | undefined
  /**
   * Only for a set: how many keys the set has. Queries and watches show a set as one lock for each
   * key, and these locks have the same fence.
   */
  readonly keyCount?: number | undefined
  /** The number that the client chose for the scope of the lock; absent outside a scope. */
  readonly scope?: number | undefined
  /** True if the holder runs the function of a `once` under this lock; absent for other locks. */
  readonly once?: true | undefined
  /**
   * True if the holder leads the election whose name is this key. Absent for other locks; `false`
   * means the same.
   */
  readonly election?: boolean | undefined
  /** The value of the leader; absent if the leader has none, and for other locks. */
  readonly value?: unknown
}

/** A lock that is held, as queries and the answer to `watch` show it. */
export interface HeldInfo extends LockDetails {
  /**
   * Time until the lock expires if its session does not refresh it, in ms. Absent if the lock has
   * no ttl, or if another broker of the cluster runs the timer of the lock.
   */
  readonly ttlRemaining?: number | undefined
  /**
   * Time until the lock ends because of its `maxHold`, in ms. Absent if the lock has no `maxHold`,
   * or if another broker of the cluster runs the timer of the lock.
   */
  readonly maxHoldRemaining?: number | undefined
}

/** A request that waits, as queries show it. */
export interface WaitingInfo {
  readonly key: string
  readonly mode: LockMode
  readonly session: string
  readonly name?: string | undefined
  readonly since: number
  /** How many permits the request wants; only with the mode `permits`. */
  readonly permits?: number | undefined
  /** How many permits the key has; only with the mode `permits`. */
  readonly capacity?: number | undefined
  /**
   * Only for a set: how many keys the set has. Queries and watches show the request as one request
   * for each key.
   */
  readonly keyCount?: number | undefined
  /** The `maxHold` that the lock will have, in ms; absent if the request has no `maxHold`. */
  readonly maxHold?: number | undefined
  /** The number that the client chose for the scope of the request; absent outside a scope. */
  readonly scope?: number | undefined
  /** Only for an upgrade: the session has a shared lock, and waits for an exclusive lock. */
  readonly upgrade?: true | undefined
  /** Only for a `once` request. */
  readonly once?: true | undefined
  /**
   * True for a candidate of the election whose name is this key. Absent for other requests; `false`
   * means the same.
   */
  readonly election?: boolean | undefined
}

/** A request that waits, as a watch with `queue` shows it. */
export interface QueuedInfo extends WaitingInfo {
  /** The id of the request, which no other request of the same session has. */
  readonly request: number
}

/**
 * One part of the answer to `query`. Only the counts of the last part are final: they include the
 * items that the answer leaves out because of `limit`. If the kind of the query is not `locks`,
 * `held` and `waiting` are empty.
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
  /** The calls that wait at barriers; only with the kind `barriers`. */
  readonly arrived?: readonly BarrierCallInfo[] | undefined
  readonly arrivedCount?: number | undefined
  /** The kept results of `once`; only with the kind `results`. */
  readonly kept?: readonly KeptResultInfo[] | undefined
  readonly keptCount?: number | undefined
  /** The session that the query names, if it exists; only with the kind `sessions`. */
  readonly sessions?: readonly SessionInfo[] | undefined
  readonly sessionsCount?: number | undefined
}

/**
 * One part of the answer to `watch`. The answer lists the locks that are held now. The broker sends
 * `event` messages after the last part.
 */
export interface Watching {
  readonly type: 'watching'
  readonly id: number
  readonly held: readonly HeldInfo[]
  /** In the last part, how many locks are held. */
  readonly heldCount: number
  /** The requests that wait; only with `queue`. */
  readonly waiting?: readonly QueuedInfo[] | undefined
  /** In the last part, how many requests wait; only with `queue`. */
  readonly waitingCount?: number | undefined
  /** False in the last part. */
  readonly more: boolean
}

/** The kinds of changes of a lock. */
export const lockEventNames = [
  'locked',
  'upgraded',
  'downgraded',
  'unlocked',
  'expired',
  'lost',
  'proclaimed',
] as const

/** The kind of a change of a lock. */
export type LockEventName = (typeof lockEventNames)[number]

/**
 * A change of a lock, as a watch reports the change. `ttl` is the ttl of the lock at the change.
 * The event has no `ttlRemaining` and no `maxHoldRemaining`, because an event may wait before the
 * broker sends it.
 */
export type LockEvent = LockDetails & {
  /**
   * The kind of the change. `lost`: the lock was stolen or revoked, or the session that held the
   * lock ended. `upgraded` and `downgraded`: the mode is the new mode, and the fence is the present
   * fence. `proclaimed`: the lock is a leadership, and its leader has another value.
   */
  readonly event: LockEventName
}

/** A change of a queue, as a watch with `queue` reports the change. */
export type QueueEvent = QueuedInfo & {
  /** `queued`: the request began to wait. `dequeued`: the request waits no longer. */
  readonly event: 'queued' | 'dequeued'
  /** Only with `dequeued`: why the request waits no longer. */
  readonly reason?: DequeueReason | undefined
}

/**
 * Why a request left its queue.
 * - `granted`: the event `locked` of the lock follows, or `upgraded` for an upgrade.
 * - `timeout`: the timeout of the request passed.
 * - `aborted`: the client cancelled the request, or ended its scope.
 * - `ended`: one of these events:
 *   - The session of the request ended.
 *   - The shared lock of an upgrade ended.
 *   - The broker itself closed the connection of a session without a grace. The request ends at
 *     once, but the session and its locks last until the lease is over.
 * - `answered`: the `once` request got the value of another caller.
 *
 * A broker that is newer than the client may send another text.
 */
export type DequeueReason = 'granted' | 'timeout' | 'aborted' | 'ended' | 'answered'

/**
 * Reports one change of a lock or of a queue, for one or more watches of this connection. The field
 * `event` is the change, and `event.event` is the kind of the change.
 */
export interface WatchEvent {
  readonly type: 'event'
  /** The id of the watch that selects this key; a list of ids if several watches select the key. */
  readonly watch: number | readonly number[]
  readonly event: LockEvent | QueueEvent
}

/** The counters of a broker since its start, and some numbers of this moment. */
export interface LockStats {
  /** Lock requests that were decided: granted locks plus `failedLocks`. */
  readonly totalLocks: number
  /** Locks that are held at this moment. */
  readonly activeLocks: number
  /**
   * Lock requests that ended without a grant, because the lock was held, the timeout passed, the
   * client cancelled the request, or its session ended.
   */
  readonly failedLocks: number
  /** Locks that expired because their ttl or their `maxHold` passed. */
  readonly expiredLocks: number
  /** Refreshes that succeeded. */
  readonly refreshCount: number
  /** Unlocks that succeeded. */
  readonly unlockCount: number
  /** The value is `(totalLocks - failedLocks) / totalLocks`; 0 while `totalLocks` is 0. */
  readonly successRate: number
  /** Barriers at which calls wait at this moment. Absent from older brokers. */
  readonly barriers?: number | undefined
  /** Calls that wait at barriers at this moment. Absent from older brokers. */
  readonly barrierCalls?: number | undefined
  /** Results of `once` that are kept at this moment. Absent from older brokers. */
  readonly keptResults?: number | undefined
  /** Requests that the broker refused with `DEADLOCK`. Absent from older brokers. */
  readonly refusedDeadlocks?: number | undefined
  /**
   * The newest deadlock that the broker refused. Absent if the broker has refused no deadlock, or
   * if the caller may query none of the deadlock's keys.
   */
  readonly newestDeadlock?: RefusedDeadlock | undefined
  /**
   * The deadlocks that the broker refused last, at most 20, the newest first. A deadlock is left
   * out if the caller may query none of the deadlock's keys. If the keys and the session names are
   * long, the broker keeps fewer than 20 deadlocks. Absent if the broker has refused no deadlock,
   * and from older brokers.
   */
  readonly deadlocks?: readonly RefusedDeadlock[] | undefined
}

/** A deadlock that the broker has refused. */
export interface RefusedDeadlock {
  /** When the broker refused the request. */
  readonly since: number
  /** The requests that wait for each other, at most 16, the refused request first. */
  readonly cycle: readonly CycleEntry[]
}

/** The answer to a `stats` request. */
export interface Stats {
  readonly type: 'stats'
  readonly id: number
  readonly stats: LockStats
}

/** The broker is about to stop, and will close every connection. */
export interface Draining {
  readonly type: 'draining'
  /** Time until the broker closes the connections, in ms. */
  readonly within: number
}

export type ServerMessage =
  | Welcome
  | Snapshot
  | Granted
  | Downgraded
  | ScopeEnded
  | Unlocked
  | Refreshed
  | Proclaimed
  | Revoked
  | Passed
  | Result
  | Authenticated
  | Expiring
  | Failed
  | Lost
  | Queued
  | Contended
  | Ping
  | Ack
  | Found
  | Watching
  | WatchEvent
  | Stats
  | Draining
