/**
 * Every message from a client to a broker, one interface each. PROTOCOL.md explains the messages.
 *
 * These are the main files of the folder, for each direction:
 * - `clientMessages.ts`, `brokerMessages.ts`: the messages as types, for the compiler
 * - `clientSchemas.ts`, `brokerSchemas.ts`: the messages as schemas of the library superstruct. The
 *   schemas decide which messages are valid.
 * - `checkClientMessage.ts`, `checkBrokerMessage.ts`: the checks that broker and client run. The
 *   checks of the most frequent messages are written by hand, and the checks of all others use
 *   tables. The tables for client messages are in `clientShapes.ts`. Tests prove that the checks
 *   accept exactly the messages that the schemas accept.
 *
 * Terms of the protocol:
 * - id: the number of a request in its session; the answer has the id of its request. The client
 *   gives each new request a higher id
 * - session: what a client has at the broker; the session holds the locks of the client. A client
 *   may resume its session over a new connection
 * - lease: how long the broker keeps a session whose client sends nothing over an open connection
 * - grace: how long the broker keeps a session after its connection dropped
 * - ttl: how long a lock lasts after its grant or its last refresh
 * - fence: the number of a grant; a later grant has a higher fence
 * - permits, capacity: several locks with permits may be held on one key, as on a semaphore; the
 *   capacity is how many permits they may have together
 * - set: one lock on several keys
 * - scope: one logical task of a client; the broker refuses a request in a scope if the request
 *   would complete a deadlock
 * - election: the choice of one leader among candidates; the leader holds a lock and may publish a
 *   value
 * - once: one client calls a function, and the other clients that ask for the same key meanwhile
 *   get the value of that call. A kept value is a value that later callers get too
 * - barrier: a point at which calls wait until a given number of calls (its parties) wait there
 * - cell: one of several independent brokers or clusters among which the keys are divided
 * - watch: a subscription to the changes of the locks of a key or of a prefix of keys
 *
 * All durations are in ms.
 */

/**
 * - `exclusive`: no other lock of the key is held at the same time.
 * - `shared`: only other shared locks of the key may be held at the same time.
 * - `permits`: only other locks with permits may be held at the same time, while the sum of their
 *   permits stays within the capacity of the key.
 */
export type LockMode = 'exclusive' | 'shared' | 'permits'

/** The first message of a connection: opens or resumes a session. Answer: `welcome`. */
export interface Hello {
  readonly type: 'hello'
  readonly token?: string | undefined
  /** Name of the session. Other clients see the name with the locks of the session. */
  readonly name?: string | undefined
  /** The lease that the client wants. The broker may choose another lease within its bounds. */
  readonly lease?: number | undefined
  /**
   * The grace that the client wants; default 0. `'lease'` asks for a grace as long as the lease.
   */
  readonly grace?: number | 'lease' | undefined
  /**
   * The cell to which the client expects the broker to belong. `1/4` is the first of four cells. A
   * broker of another cell closes the connection.
   */
  readonly cell?: string | undefined
  /** The session to resume. If the broker cannot resume this session, it opens a new session. */
  readonly resume?: Resume | undefined
}

/** The session to resume, and the proof that the session belongs to this client. */
export interface Resume {
  readonly session: string
  /** The secret of the newest `welcome`. */
  readonly secret: string
  /**
   * The number of this try. The client must raise the number with each `hello` that has the same
   * secret. The broker then refuses an old `hello` that arrives after a newer `hello`. Without the
   * number, the `hello` that the broker handles last gets the session.
   */
  readonly try?: number | undefined
}

/**
 * A message that the broker sends only to a client that asks for the message. `queued`: the request
 * must wait. `contended`: other requests wait for the lock that this request got.
 */
export type NoticeType = 'queued' | 'contended'

/** Requests a lock. Answer: `granted` or `failed`, possibly much later. */
export interface LockRequest {
  readonly type: 'lock'
  readonly id: number
  readonly key: string
  /**
   * Default `'exclusive'`. A request with a `capacity` must leave the mode out, because its lock
   * has the mode `'permits'`.
   */
  readonly mode?: Exclude<LockMode, 'permits'> | undefined
  /** How many permits the lock needs; default 1. Only with `capacity`. */
  readonly permits?: number | undefined
  /**
   * How many permits all locks of the key may have together. A request with this field is for a
   * lock with permits.
   */
  readonly capacity?: number | undefined
  /**
   * The lock expires this long after its grant or last refresh. Default: the lock never expires.
   */
  readonly ttl?: number | undefined
  /**
   * The request fails if the broker has not granted the lock after this time. With 0 the request
   * never waits. Default: the request waits without a limit.
   */
  readonly timeout?: number | undefined
  /**
   * If true, the broker takes the lock from its holders. Such a request must be exclusive, and must
   * have no timeout, capacity or scope.
   */
  readonly steal?: boolean | undefined
  /** Any JSON value, shown to other clients. */
  readonly metadata?: unknown
  /**
   * The lock ends this long after its grant, in ms, even if the lock is refreshed. Default: the
   * limit that the operator has set for all locks, if the operator has set a limit.
   */
  readonly maxHold?: number | undefined
  /** The notices that the client wants to get about this request and its lock. Default: none. */
  readonly notify?: readonly NoticeType[] | undefined
  /**
   * The number of the scope that the request belongs to. The client chooses this number. A scope is
   * one logical task, and has at most one waiting request.
   */
  readonly scope?: number | undefined
}

/** One key of a {@link LockSetRequest}. */
export interface LockItem {
  readonly key: string
  /** As in {@link LockRequest}. */
  readonly mode?: Exclude<LockMode, 'permits'> | undefined
  /** As in {@link LockRequest}. */
  readonly permits?: number | undefined
  /** As in {@link LockRequest}. */
  readonly capacity?: number | undefined
}

/** Requests one lock on several keys: all of them or none. Answer: `granted` or `failed`. */
export interface LockSetRequest {
  readonly type: 'lockAll'
  readonly id: number
  /** 1 to 64 items with different keys. Logs and errors name the set by its first key. */
  readonly items: readonly LockItem[]
  /** As in {@link LockRequest}. */
  readonly ttl?: number | undefined
  /** As in {@link LockRequest}. */
  readonly timeout?: number | undefined
  /** Any JSON value, shown to other clients. */
  readonly metadata?: unknown
  /** As in {@link LockRequest}. */
  readonly maxHold?: number | undefined
  /** As in {@link LockRequest}. */
  readonly notify?: readonly NoticeType[] | undefined
  /** As in {@link LockRequest}. */
  readonly scope?: number | undefined
}

/** Ends a scope: releases all its locks. Answer: `scopeEnded`. */
export interface EndScopeRequest {
  readonly type: 'endScope'
  readonly id: number
  readonly scope: number
}

/**
 * Makes a shared lock exclusive, as soon as the lock is the only lock of its key. The lock stays
 * shared while the request waits. Answer: `granted` with the new fence, or `failed`.
 */
export interface UpgradeRequest {
  readonly type: 'upgrade'
  readonly id: number
  /** The first fence of the lock, even if an earlier upgrade gave the lock a newer fence. */
  readonly fence: number
  /** As in {@link LockRequest}. */
  readonly timeout?: number | undefined
}

/** Makes an exclusive lock shared, without waiting. Answer: `downgraded`, or `failed`. */
export interface DowngradeRequest {
  readonly type: 'downgrade'
  readonly id: number
  /** The first fence of the lock, even if an upgrade gave the lock a newer fence. */
  readonly fence: number
}

/** Releases a lock. Answer: `unlocked`, or `failed` with `LOCK_NOT_HELD`. */
export interface UnlockRequest {
  readonly type: 'unlock'
  readonly id: number
  /** The first fence of the lock, even if an upgrade gave the lock a newer fence. */
  readonly fence: number
}

/** Restarts the ttl of a lock. Answer: `refreshed`, or `failed` with `LOCK_NOT_HELD`. */
export interface RefreshRequest {
  readonly type: 'refresh'
  readonly id: number
  /** The first fence of the lock, even if an upgrade gave the lock a newer fence. */
  readonly fence: number
  /** The new ttl. Default: the lock keeps its present ttl. */
  readonly ttl?: number | undefined
}

/**
 * Campaigns for the leadership of an election: requests the exclusive lock on the key that names
 * the election. The holder of this lock is the leader. Answer: `granted` or `failed`, possibly much
 * later.
 */
export interface CampaignRequest {
  readonly type: 'campaign'
  readonly id: number
  /** The name of the election. While a session leads, no other session can lock this key. */
  readonly key: string
  /** Any JSON value that the leader publishes. Default: no value. */
  readonly value?: unknown
  /** As in {@link LockRequest}. */
  readonly timeout?: number | undefined
  /** Any JSON value, shown to other clients. */
  readonly metadata?: unknown
}

/** Changes the value of a leader. Answer: `proclaimed`, or `failed` with `LOCK_NOT_HELD`. */
export interface ProclaimRequest {
  readonly type: 'proclaim'
  readonly id: number
  /** The fence of the leadership. A new value does not change the fence. */
  readonly fence: number
  /** Any JSON value. Default: the leader publishes no value from now on. */
  readonly value?: unknown
}

/**
 * Waits at a barrier until `parties` calls wait there. Answer: `passed` to all these calls at the
 * same time, or `failed`. Barriers have a namespace of their own: a lock may have the same key.
 */
export interface BarrierRequest {
  readonly type: 'barrier'
  readonly id: number
  readonly key: string
  /** How many calls pass together: 2 to 1,000. All calls of a barrier must give the same number. */
  readonly parties: number
  /** The call fails after this time, in ms. Default: the call waits without a limit. */
  readonly timeout?: number | undefined
}

/**
 * The client wants to call a function under the exclusive lock of a key. If a value is kept for the
 * key, the broker answers with that value. Otherwise, if another client is calling its function for
 * this key, the request waits until that call ends. If the call succeeds, the broker answers with
 * its value. If no call is running, or the call fails, the broker grants the lock. The answer is
 * one of these messages:
 * - `granted`: the client must call its function, and then send `complete`, or `unlock` if the
 *   function failed
 * - `result`: the value of the other client, or a kept value
 * - `failed`
 */
export interface OnceRequest {
  readonly type: 'once'
  readonly id: number
  readonly key: string
  /** As in {@link LockRequest}. */
  readonly ttl?: number | undefined
  /** As in {@link LockRequest}. */
  readonly timeout?: number | undefined
  /** Any JSON value, shown to other clients. */
  readonly metadata?: unknown
}

/**
 * Releases the lock of a `once`, and sends the value as the answer to all `once` requests that wait
 * for the key. Answer: `unlocked`, or `failed` with `LOCK_NOT_HELD`.
 */
export interface CompleteRequest {
  readonly type: 'complete'
  readonly id: number
  /** The fence in the `granted` that answered the `once`. */
  readonly fence: number
  /** Any JSON value of at most 32 KiB; absent for the value `undefined`. */
  readonly value?: unknown
  /** How long later calls get the value too, in ms. Default: later calls do not get the value. */
  readonly keep?: number | undefined
}

/**
 * Cancels a request that waits. If the request still waits, the broker answers that request with
 * `failed` and `ABORTED`. If the broker has answered the request already, `cancel` changes nothing,
 * and the answer is on its way. If that answer is `granted`, the client must unlock the lock. After
 * a `granted` upgrade, the client must instead downgrade the lock. The client need not react to
 * `result` or `passed`.
 */
export interface Cancel {
  readonly type: 'cancel'
  /**
   * The id of the `lock`, `lockAll`, `campaign`, `once`, `upgrade` or `barrier` message to cancel.
   */
  readonly request: number
}

/**
 * What a query lists:
 * - `locks`: the held locks, and the lock requests that wait
 * - `barriers`: the calls that wait at barriers
 * - `results`: the kept results of `once`
 * - `sessions`: the one session that the field `session` names
 */
export type QueryKind = 'locks' | 'barriers' | 'results' | 'sessions'

/**
 * Asks which locks are held and which requests wait. With another `kind`, asks for the calls at
 * barriers, for the kept results or for one session. Answer: one or more `found`. A query with
 * neither `key` nor `prefix` selects all keys.
 */
export interface QueryRequest {
  readonly type: 'query'
  readonly id: number
  readonly key?: string | undefined
  readonly prefix?: string | undefined
  /** At most this many locks, and at most this many waiting requests: 1 to 1,000, default 1,000. */
  readonly limit?: number | undefined
  /**
   * Asks for one page of the answer: only keys after this key, in the order of UTF-16 units. The
   * empty text asks for the first page.
   */
  readonly after?: string | undefined
  /**
   * Only with `after`, and only if the previous page ended in the middle of the locks of a key.
   * `after` is then this key, and the new page begins with the locks of this key whose fence is
   * above `afterFence`.
   */
  readonly afterFence?: number | undefined
  /** What to list; default `locks`. Only a query for `locks` can ask for a page. */
  readonly kind?: QueryKind | undefined
  /** The id of a session. Present if and only if the kind is `sessions`. */
  readonly session?: string | undefined
}

/**
 * Watches a key, all keys with a prefix, or (with neither field) all keys. Answer: one or more
 * `watching`, then an `event` for each change.
 */
export interface WatchRequest {
  readonly type: 'watch'
  readonly id: number
  readonly key?: string | undefined
  readonly prefix?: string | undefined
  /** If true, the watch also shows the requests that wait. */
  readonly queue?: boolean | undefined
}

/** Ends a watch. The broker sends no answer. Events that are on their way may still arrive. */
export interface Unwatch {
  readonly type: 'unwatch'
  /** The id of the `watch` message that began the watch. */
  readonly watch: number
}

/** Asks for the counters of the broker. Answer: `stats`. */
export interface StatsRequest {
  readonly type: 'stats'
  readonly id: number
}

/**
 * Ends one lock, whichever session holds that lock. Answer: `revoked`, or `failed` with
 * `LOCK_NOT_HELD`.
 */
export interface RevokeRequest {
  readonly type: 'revoke'
  readonly id: number
  readonly key: string
  /** The present fence of the lock. If the lock has another fence, the broker revokes nothing. */
  readonly fence: number
  /** Why the lock is revoked: 1 to 256 characters, for the broker's logs and for the holder. */
  readonly reason: string
}

/**
 * Sends a new token. The token must belong to the principal (the identity) that the present token
 * names. Answer: `authenticated` or `failed`.
 */
export interface AuthRequest {
  readonly type: 'auth'
  readonly id: number
  readonly token: string
}

/**
 * The answer to `ping`. The broker answers each `pong` immediately with the broker's `ack` (see
 * `brokerMessages.ts`), even if the broker has not handled all earlier messages yet. A client may
 * also send a `pong` without a `ping`, to get this `ack`.
 */
export interface Pong {
  readonly type: 'pong'
  /** The number of the `ping` that this `pong` answers; 0 if it answers none. */
  readonly n: number
  /**
   * Whether the client asks for the idle lease: the broker then keeps the session for twice its
   * lease, as long as the session holds nothing and waits for nothing.
   */
  readonly idle?: boolean | undefined
}

/**
 * The client's `ack`: the client has received the answers to these requests, so the broker may
 * delete the answers. The broker stores answers only for sessions with a grace. When the broker has
 * handled all earlier messages of the connection, it answers with the broker's `ack` (see
 * `brokerMessages.ts`).
 */
export interface Acknowledge {
  readonly type: 'ack'
  /** The ids of the answered requests, at most 1,024. */
  readonly ids: number[]
}

/** Ends the session and releases all its locks. The broker closes the connection with 1000. */
export interface Bye {
  readonly type: 'bye'
}

export type ClientMessage =
  | Hello
  | LockRequest
  | LockSetRequest
  | UpgradeRequest
  | DowngradeRequest
  | EndScopeRequest
  | UnlockRequest
  | RefreshRequest
  | CampaignRequest
  | ProclaimRequest
  | BarrierRequest
  | OnceRequest
  | CompleteRequest
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
