/**
 * The items that queries of another kind than `locks` list in the message `found`: calls at
 * barriers, kept results of `once`, and sessions. `brokerMessages.ts` explains the times.
 */

/** A call that waits at a barrier, as queries with the kind `barriers` show the call. */
export interface BarrierCallInfo {
  /** The key of the barrier. */
  readonly key: string
  /** How many calls pass the barrier together. */
  readonly parties: number
  /** How many calls wait at the barrier, including this call. */
  readonly waiting: number
  readonly session: string
  readonly name?: string | undefined
  readonly since: number
}

/** A kept result of `once`, as queries with the kind `results` show the result. */
export interface KeptResultInfo {
  readonly key: string
  /** UTF-16 units of the value as JSON text; 0 for the value `undefined`. */
  readonly size: number
  /** The fence of the lock of the run. */
  readonly fence: number
  /** When the run completed. */
  readonly since: number
  /** How long the result is kept, in ms. */
  readonly keep: number
  /**
   * Time until the broker forgets the result, in ms; absent if another broker of the cluster
   * measures this time.
   */
  readonly remaining?: number | undefined
}

/** A session, as a query with the kind `sessions` shows it. */
export interface SessionInfo {
  readonly session: string
  readonly lease: number
  readonly grace: number
  /** Whether the session has a connection, to any broker of a cluster. */
  readonly connected: boolean
  /** The client that the token names; absent if the caller lacks the permission `inspect`. */
  readonly principal?: string | undefined
  /**
   * The IP address of the client. Absent if the caller lacks the permission `inspect`, and if this
   * broker has no connection of the session.
   */
  readonly address?: string | undefined
}
