/**
 * The items of the answers (messages `found`) to queries of the kinds `barriers`, `results` and
 * `sessions`: calls at barriers, kept results of `once`, and sessions. Queries of the kind `locks`
 * return locks and waiting requests, whose types are in `brokerMessages.ts`. That file also
 * explains times such as `since`. `clientMessages.ts` explains the terms.
 */

/** A call that waits at a barrier. Queries of the kind `barriers` list these items. */
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

/**
 * A kept result of `once`: a value that one call of a function computed, and that later callers get
 * too. Queries of the kind `results` list these items, which do not contain the value itself.
 */
export interface KeptResultInfo {
  readonly key: string
  /** Length of the value as JSON text, in UTF-16 units; 0 for the value `undefined`. */
  readonly size: number
  /** The fence of the lock under which the function was called. */
  readonly fence: number
  /** When the call of the function completed. */
  readonly since: number
  /** How long the result is kept, in ms. */
  readonly keep: number
  /**
   * Time until the broker forgets the result, in ms; absent if another broker of the cluster
   * measures this time.
   */
  readonly remaining?: number | undefined
}

/** A session. Queries of the kind `sessions` list these items. */
export interface SessionInfo {
  readonly session: string
  readonly lease: number
  readonly grace: number
  /** Whether the session has a connection, to any broker of a cluster. */
  readonly connected: boolean
  /**
   * The client that the token of the session names; absent if the sender of the query lacks the
   * permission `inspect`.
   */
  readonly principal?: string | undefined
  /**
   * The IP address of the client. Absent if the sender of the query lacks the permission `inspect`,
   * or if this broker has no connection of the session.
   */
  readonly address?: string | undefined
}
