/**
 * The state of a command log as operators see it: in `/status`, in metrics and in log lines. Each
 * log reports its own state in these terms.
 */

/** The state of a shared log, as this broker sees it. */
export interface LogStatus {
  /** The position of the newest entry that this broker applied. */
  readonly position: number
  /** How long this broker's newest returned entry took, in ms; undefined before the first. */
  readonly lagMs: number | undefined
  /** Names of the members, in order of joining. */
  readonly members: readonly string[]
  /** This broker's name; undefined while it is not a member. */
  readonly name: string | undefined
  /** How long this broker stays a member if none of its entries returns any more, in ms. */
  readonly selfLeaseMs: number
  /** How many commands wait to be appended. */
  readonly waiting: number
  /** The newest known snapshot, and its age by the wall clock, in ms. */
  readonly snapshot: { readonly position: number; readonly ageMs: number } | undefined
  /** The last problem, until it is solved, or a warning of a coming one. */
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
   * undefined before the first.
   */
  readonly snapshot: { readonly position: number; readonly ageMs: number } | undefined
}
