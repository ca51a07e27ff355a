/**
 * The report of a run: the first broken rule, if any, and how often each kind of event happened in
 * the simulated world. The counts are part of the report, because a run without interesting events
 * proves nothing.
 */

export interface Violation {
  /** The name of the rule. */
  readonly rule: string
  readonly detail: string
  /** When the rule was broken: the world time in ms, and the world's number of events so far. */
  readonly time: number
  readonly event: number
}

export class RunReport {
  readonly counts = new Map<string, number>()
  violation: Violation | undefined = undefined
  readonly #now: () => { readonly time: number; readonly event: number }

  constructor(now: () => { readonly time: number; readonly event: number }) {
    this.#now = now
  }

  /** Counts events of this kind. */
  count(kind: string, by = 1): void {
    this.counts.set(kind, (this.counts.get(kind) ?? 0) + by)
  }

  /** Records only the first broken rule, because later violations may follow from the first. */
  violated(rule: string, detail: string): void {
    this.violation ??= { rule, detail, ...this.#now() }
  }
}
