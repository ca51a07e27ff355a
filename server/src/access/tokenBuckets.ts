/**
 * How often something may happen: a bucket that fills at a steady rate, and one such bucket for
 * each address that is met.
 */

/** Allows `rate` a second on average, and `burst` at once. */
export class TokenBucket {
  readonly #perMs: number
  readonly #burst: number
  #tokens: number
  #at: number

  /** @param now As for every later `take`, in ms of one clock that does not go back. */
  constructor(rate: number, burst: number, now: number) {
    this.#perMs = rate / 1_000
    this.#burst = burst
    this.#tokens = burst
    this.#at = now
  }

  /** False if it is too soon for one more; that costs nothing further. */
  tryConsume(now: number): boolean {
    this.#fill(now)
    if (this.#tokens < 1) return false
    this.#tokens--
    return true
  }

  /** One more that must not wait: those after it wait for it. */
  overdraw(): void {
    this.#tokens--
  }

  /** Whether a new bucket would be the same. */
  isFull(now: number): boolean {
    this.#fill(now)
    return this.#tokens >= this.#burst
  }

  #fill(now: number): void {
    this.#tokens = Math.min(this.#burst, this.#tokens + (now - this.#at) * this.#perMs)
    this.#at = now
  }
}

/** Addresses met beyond which those with nothing against them are forgotten. */
const pruneAt = 10_000

/** A bucket of `rate` a second, and as many at once, for each name. */
export class TokenBuckets {
  readonly #rate: number
  readonly #byName = new Map<string, TokenBucket>()
  #pruneAt = pruneAt

  constructor(rate: number) {
    this.#rate = rate
  }

  tryConsume(name: string, now: number): boolean {
    let bucket = this.#byName.get(name)
    if (bucket === undefined) {
      this.#prune(now)
      bucket = new TokenBucket(this.#rate, this.#rate, now)
      this.#byName.set(name, bucket)
    }
    return bucket.tryConsume(now)
  }

  /** Costs as much as was met since the last time, so a flood of new names stays linear. */
  #prune(now: number): void {
    if (this.#byName.size < this.#pruneAt) return
    for (const [name, bucket] of this.#byName) if (bucket.isFull(now)) this.#byName.delete(name)
    this.#pruneAt = Math.max(pruneAt, this.#byName.size * 2)
  }
}
