/**
 * The state of a command log (the record of all changes of locks) as operators see it: in
 * `/status`, in metrics and in log lines. Each kind of command log reports its state in one of
 * these types.
 */

/** The state of a shared log, as this broker sees it. */
export interface LogStatus {
  /** The position of the newest entry (a batch of commands) that this broker applied. */
  readonly position: number
  /**
   * How late the log returns the entries of this broker, in ms. An entry returns when this broker
   * reads the entry from the log. The value is the longer of two times: the age of the oldest entry
   * that has not returned, and how long the newest returned entry took. Undefined before the first
   * entry.
   */
  readonly lagMs: number | undefined
  /** The name that the operator gave to this broker; undefined without such a name. */
  readonly givenName: string | undefined
  /**
   * The addresses (etcd prefixes or PostgreSQL schemas) of other Holdfast logs in the same storage.
   * The brokers of different logs do not share locks.
   */
  readonly otherLogs: readonly string[]
  /** Names of the members (the brokers that share the log now), in order of joining. */
  readonly members: readonly string[]
  /** The name of this broker in `members`; undefined while this broker is not a member. */
  readonly name: string | undefined
  /**
   * How long this broker still stays a member if the log returns no more entries of this broker, in
   * ms.
   */
  readonly selfLeaseMs: number
  /** How many commands wait to be appended. */
  readonly waiting: number
  /** The newest known snapshot, and its age by the wall clock, in ms. */
  readonly snapshot: { readonly position: number; readonly ageMs: number } | undefined
  /** How often this broker has taken over the sessions of another broker. */
  readonly takeovers: number
  /**
   * How often this broker has resigned (disconnected its clients and joined again), mostly because
   * its entries did not return in time.
   */
  readonly resignations: number
  /** How many snapshots have failed at this broker. */
  readonly failedSnapshots: number
  /** The last problem, until the problem is solved; or a warning of a coming problem. */
  readonly problem: string | undefined
}

/** The state of a journal on the local disk. */
export interface JournalStatus {
  /** The number of the newest written record. */
  readonly position: number
  /** How many commands wait to be written. */
  readonly waiting: number
  /**
   * The newest snapshot, from which a restart begins, and its age by the wall clock, in ms;
   * undefined before the first snapshot.
   */
  readonly snapshot: { readonly position: number; readonly ageMs: number } | undefined
}
