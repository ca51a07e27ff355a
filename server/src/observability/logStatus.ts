/**
 * The state of a command log as operators see it: in `/status`, in metrics and in log lines. Each
 * log reports its own state in these terms.
 */

/** How a shared log is doing, as this broker sees it. */
export interface LogStatus {
  /** The newest entry that was taken up. */
  readonly position: number
  /** How long the newest own entry took to come back, in ms; undefined before the first. */
  readonly lagMs: number | undefined
  /** Names of the brokers that are here, in order of joining. */
  readonly members: readonly string[]
  /** The name of this one; undefined while it does not count. */
  readonly name: string | undefined
  /** How much longer it counts if nothing comes back any more, in ms. */
  readonly selfLeaseMs: number
  /** Commands that wait to be appended. */
  readonly waiting: number
  /** The newest snapshot that is known of, and how old it is by the calendar, in ms. */
  readonly snapshot: { readonly position: number; readonly ageMs: number } | undefined
  /** What went wrong last, until it goes well again; or is about to. */
  readonly problem: string | undefined
}

/** How a journal on the local disk is doing. */
export interface JournalStatus {
  /** The number of the newest record that was written. */
  readonly position: number
  /** Commands that wait to be written. */
  readonly waiting: number
  /**
   * The newest snapshot, which a restart begins with, and how old it is by the calendar, in ms;
   * undefined before the first.
   */
  readonly snapshot: { readonly position: number; readonly ageMs: number } | undefined
}
