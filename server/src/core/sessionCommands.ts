/**
 * The commands that open, resume, suspend and end a session, and the limits that a session gets
 * when it opens. Also the fields that all commands have, and the fields of all commands that belong
 * to a connection. `commands.ts` explains the terms.
 */

export interface CommandBase {
  /**
   * The wall time of the broker that submits the command, in ms since 1970. The table uses this
   * time only as the field `since` of a record, such as a lock.
   */
  readonly at: number
}

/**
 * A command about one connection of a session. `attachEpoch` is the number of this connection among
 * the connections of the session.
 */
export interface ConnectionCommand extends CommandBase {
  readonly session: string
  readonly attachEpoch: number
}

/**
 * The limits of a session. They are part of the command `open`, so that all brokers that share a
 * command log apply the same limits.
 */
export interface SessionLimits {
  /** The maximum number of locks, waiting requests and calls at barriers, counted together. */
  readonly locks: number
  /** The maximum number of stored answers that the client has not acknowledged. */
  readonly answers: number
  /**
   * The maximum number of requests, of all sessions together, that wait for one key. If a key has
   * so many, the table refuses a further request of this session.
   */
  readonly waitersPerKey: number
  /**
   * The maximum number of waiting scopes and sets that one check for deadlocks visits. An older
   * broker, which knows no scopes, does not set this field; the table then uses 10,000.
   */
  readonly deadlockVisits?: number | undefined
  /**
   * The maximum number of calls that wait at barriers. An older broker, which knows no barriers,
   * does not set this field; the table then applies no limit.
   */
  readonly barriers?: number | undefined
  /** The longest `maxHold` of a lock, in ms. Undefined: no limit. */
  readonly maxHold?: number | undefined
  /**
   * The maximum number of results of `once` that the table keeps for all sessions together. The
   * table checks this limit when this session adds a result. An older broker does not set this
   * field; the table then uses a default.
   */
  readonly keptResults?: number | undefined
  /**
   * The maximum size of the kept results of all sessions together, in bytes as `weights.ts`
   * estimates them. An older broker does not set this field; the table then uses a default.
   */
  readonly keptResultBytes?: number | undefined
}

/** A client has sent a `hello` that opens a session. */
export interface OpenSession extends CommandBase {
  readonly type: 'open'
  /** The id of the handshake, with which the broker matches the outcome to the connection. */
  readonly handshakeId: string
  readonly session: string
  /** The broker that runs the timers of this session; '' if the log is not shared. */
  readonly ownerBroker: string
  /** The authenticated name of the client. Only the same principal may resume the session. */
  readonly principal: string
  /** The name of the session, which the client chose. */
  readonly name: string | undefined
  /** Lease, in ms. */
  readonly lease: number
  /** Grace, in ms; 0 for a session that ends with its connection and cannot be resumed. */
  readonly grace: number
  /** Hash of the resume secret; undefined without a grace. */
  readonly secret: string | undefined
  readonly limits: SessionLimits
}

/** A client has sent a `hello` that resumes a session on a new connection. */
export interface ResumeSession extends CommandBase {
  readonly type: 'resume'
  readonly handshakeId: string
  readonly session: string
  /** The broker that runs the timers of the session from now on. */
  readonly ownerBroker: string
  readonly principal: string
  /** Hash of the secret that the client presented. */
  readonly proof: string
  /**
   * The number of this attempt, which rises with every `hello` that presents the same secret.
   * Undefined if the client sends no such number.
   */
  readonly resumeAttempt: number | undefined
  /** Hash of the secret for the next resume. */
  readonly secret: string
}

/**
 * A connection has ended. The table suspends its session. A session without a grace ends instead,
 * unless `keep` is true.
 */
export interface SuspendSession extends ConnectionCommand {
  readonly type: 'suspend'
  /**
   * Whether the table keeps the session for its lease even without a grace. True if the broker
   * itself closed the connection, because the client may still rely on its locks.
   */
  readonly keep: boolean
}

/**
 * Ends a session, because its client has sent `bye`, or because a timer of the broker found that
 * the lease or the grace is over. The reason is never `dropped`, because the command `suspend`
 * ends such a session.
 */
export interface EndSession extends ConnectionCommand {
  readonly type: 'end'
  readonly reason: EndReason
}

/**
 * Why a session ends. `goodbye`: the client sent `bye`. `expired`: the lease or the grace is over.
 * `dropped`: the connection of a session without a grace has ended (command `suspend`).
 */
export type EndReason = 'goodbye' | 'expired' | 'dropped'
