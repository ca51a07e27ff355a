/**
 * The report of a run: the first broken rule, if any, and counts of what happened in the simulated
 * world, such as grants. The report has the counts because a run in which little happens proves
 * nothing.
 */

export interface Violation {
  /** The name of the rule. */
  readonly rule: string
  readonly detail: string
  /** The world time at which the rule was broken, in ms. */
  readonly time: number
  /** How many events of the event queue of the world had begun when the rule was broken. */
  readonly event: number
}

export class RunReport {
  readonly counts = new Map<string, number>()
  violation: Violation | undefined = undefined
  readonly #now: () => { readonly time: number; readonly event: number }

  constructor(now: () => { readonly time: number; readonly event: number }) {
    this.#now = now
  }

  /** Adds `by` to the count of this kind. */
  count(kind: string, by = 1): void {
    this.counts.set(kind, (this.counts.get(kind) ?? 0) + by)
  }

  /** Records only the first broken rule, because later violations may follow from the first. */
  violated(rule: string, detail: string): void {
    this.violation ??= { rule, detail, ...this.#now() }
  }
}
