/**
 * The report of a run: the first broken rule, if any, and how often each kind of event happened in
 * the simulated world. The counts are part of the report, because a run without interesting events
 * proves nothing.
 */

export interface Violation {
  /** The name of the rule. */
  readonly rule: string
  readonly detail: string
  /** The world time at which the rule was broken, in ms. */
  readonly time: number
  /** How many events had happened in the world when the rule was broken. */
  readonly event: number
}

export class RunReport {
  readonly counts = new Map<string, number>()
  violation: Violation | undefined = undefined
  readonly #now: () => { readonly time: number; readonly event: number }

  constructor(now: () => { readonly time: number; readonly event: number }) {
    this.#now = now
  }

  /** Adds `by` to the count of this kind of event. */
  count(kind: string, by = 1): void {
    this.counts.set(kind, (this.counts.get(kind) ?? 0) + by)
  }

  /** Records only the first broken rule, because later violations may follow from the first. */
  violated(rule: string, detail: string): void {
    this.violation ??= { rule, detail, ...this.#now() }
  }
}
