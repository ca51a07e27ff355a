/**
 * What a run found: the first promise that was broken, if any, and how often each thing happened
 * that the promises are about. A simulation in which nothing of interest happens proves nothing, so
 * the counts are part of the result.
 */

export interface Violation {
  /** The name of the promise. */
  readonly rule: string
  readonly detail: string
  /** World time, and the number of the event. */
  readonly time: number
  readonly event: number
}

export class Verdict {
  readonly counts = new Map<string, number>()
  violation: Violation | undefined = undefined
  readonly #now: () => { readonly time: number; readonly event: number }

  constructor(now: () => { readonly time: number; readonly event: number }) {
    this.#now = now
  }

  count(what: string, by = 1): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + by)
  }

  /** Only the first counts: what follows a broken promise may be its consequence. */
  broken(rule: string, detail: string): void {
    this.violation ??= { rule, detail, ...this.#now() }
  }
}
