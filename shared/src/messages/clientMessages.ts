/**
 * Every message from a client to a broker, one interface each. PROTOCOL.md explains them.
 *
 * The folder has three files for each direction:
 * - `clientMessages.ts`, `brokerMessages.ts`: the messages as types, for the compiler
 * - `clientSchemas.ts`, `brokerSchemas.ts`: the same messages as superstruct schemas. They decide
 *   what is valid.
 * - `clientChecks.ts`, `brokerChecks.ts`: fast checks by hand for the frequent messages. Tests
 *   prove that they accept exactly what the schemas accept.
 *
 * All times are ms.
 */

export type LockMode = 'exclusive' | 'shared'

/** The first message of a connection: opens a session or resumes one. Answer: `welcome`. */
export interface Hello {
  readonly type: 'hello'
  readonly token?: string | undefined
  /** Name of the session, shown to other clients with the locks that it holds. */
  readonly name?: string | undefined
  /** Wanted lease. The broker may choose another one within its own bounds. */
  readonly lease?: number | undefined
  /** Wanted grace, default 0. `'lease'` wants as much as the lease. */
  readonly grace?: number | 'lease' | undefined
  /** The session to resume. If the broker cannot resume it, it opens a new one. */
  readonly resume?: Resume | undefined
}

/** The session to resume, and the proof that it belongs to the client. */
export interface Resume {
  readonly session: string
  /** The secret of the newest `welcome`. */
  readonly secret: string
  /**
   * Must rise with each `hello` that shows the same secret, so that a `hello` that arrives late
   * cannot replace the connection of a newer one. Without it, the `hello` that the broker handles
   * last wins.
   */
  readonly try?: number | undefined
}

/** Requests a lock. Answer: `granted` or `failed`, at any later time. */
export interface LockRequest {
  readonly type: 'lock'
  readonly id: number
  readonly key: string
  /** Default `'exclusive'`. */
  readonly mode?: LockMode | undefined
  /** The lock expires this long after its grant or last refresh. Without a ttl it never expires. */
  readonly ttl?: number | undefined
  /** The request fails after this time. 0 does not wait; without a timeout it waits for ever. */
  readonly timeout?: number | undefined
  /** Takes the lock from its holders. Exclusive mode only, and without a timeout. */
  readonly steal?: boolean | undefined
  /** Any JSON value, shown to other clients. */
  readonly metadata?: unknown
}

/** Releases a lock. Answer: `unlocked`, or `failed` with `LOCK_NOT_HELD`. */
export interface UnlockRequest {
  readonly type: 'unlock'
  readonly id: number
  readonly fence: number
}

/** Restarts the ttl of a lock. Answer: `refreshed`, or `failed` with `LOCK_NOT_HELD`. */
export interface RefreshRequest {
  readonly type: 'refresh'
  readonly id: number
  readonly fence: number
  /** The new ttl. Without it, the lock keeps its present ttl. */
  readonly ttl?: number | undefined
}

/**
 * Stops waiting for a lock. The answer to a request that waits becomes `failed` with `ABORTED`.
 * Otherwise nothing changes: the answer is already on its way, and the client must unlock a grant.
 */
export interface Cancel {
  readonly type: 'cancel'
  /** The id of a `lock`. */
  readonly request: number
}

/** Asks which locks are held and which requests wait. Answer: one or more `found`. */
export interface QueryRequest {
  readonly type: 'query'
  readonly id: number
  readonly key?: string | undefined
  readonly prefix?: string | undefined
  readonly limit?: number | undefined
  /** Asks for one page: the lowest keys after this one, in the order of UTF-16 units. */
  readonly after?: string | undefined
  /** The page begins with the locks of the key `after` that have a higher fence than this. */
  readonly afterFence?: number | undefined
}

/** Watches a key or a prefix. Answer: one or more `watching`, then an `event` for each change. */
export interface WatchRequest {
  readonly type: 'watch'
  readonly id: number
  readonly key?: string | undefined
  readonly prefix?: string | undefined
}

/** Ends a watch. No answer; events that are on their way may still arrive. */
export interface Unwatch {
  readonly type: 'unwatch'
  /** The id of the `watch`. */
  readonly watch: number
}

/** Asks for the counters of the broker. Answer: `stats`. */
export interface StatsRequest {
  readonly type: 'stats'
  readonly id: number
}

/** Ends the lock of any session. Answer: `revoked`, or `failed` with `LOCK_NOT_HELD`. */
export interface RevokeRequest {
  readonly type: 'revoke'
  readonly id: number
  readonly key: string
  /** The present fence of the lock. With any other fence the broker revokes nothing. */
  readonly fence: number
  /** 1 to 256 characters, for the broker's logs and for the holder. */
  readonly reason: string
}

/** Shows a new token of the same principal. Answer: `authenticated` or `failed`. */
export interface AuthRequest {
  readonly type: 'auth'
  readonly id: number
  readonly token: string
}

/** The answer to `ping`. The broker acknowledges it with `ack` in the same turn. */
export interface Pong {
  readonly type: 'pong'
  readonly n: number
}

/**
 * The client has received the answers to these requests, so the broker need not store them any
 * longer. The broker answers `ack` after it has handled everything that was sent before. Only
 * sessions with a grace have stored answers.
 */
export interface Acknowledge {
  readonly type: 'ack'
  /** At most 1,024 ids. */
  readonly ids: number[]
}

/** Ends the session and releases all its locks. The broker closes the connection with 1000. */
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
