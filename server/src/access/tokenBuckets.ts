/**
 * Rate limits as token buckets. A bucket fills with tokens at a steady rate, and each action takes
 * one token out. {@link TokenBuckets} keeps a bucket for each name, for example for each address.
 */

/** Allows `rate` actions a second on average, and bursts of up to `burst` actions. */
export class TokenBucket {
  readonly #tokensPerMs: number
  readonly #burst: number
  #tokens: number
  #updatedAt: number

  /** @param now The time of a monotonic clock, in ms. The other methods need the same clock. */
  constructor(rate: number, burst: number, now: number) {
    this.#tokensPerMs = rate / 1_000
    this.#burst = burst
    this.#tokens = burst
    this.#updatedAt = now
  }

  /** Takes one token. If the bucket has less than one token, takes nothing and returns false. */
  tryConsume(now: number): boolean {
    this.#fill(now)
    if (this.#tokens < 1) return false
    this.#tokens--
    return true
  }

  /** Takes one token even if the bucket is empty, so that later actions must wait longer. */
  overdraw(): void {
    this.#tokens--
  }

  /** Whether the bucket is full. A full bucket may be dropped, because a new bucket is full too. */
  isFull(now: number): boolean {
    this.#fill(now)
    return this.#tokens >= this.#burst
  }

  #fill(now: number): void {
    this.#tokens = Math.min(this.#burst, this.#tokens + (now - this.#updatedAt) * this.#tokensPerMs)
    this.#updatedAt = now
  }
}

/** With fewer buckets than this, no bucket is deleted. */
const minPruneSize = 10_000

/**
 * Keeps a {@link TokenBucket} for each name. Each bucket allows `rate` actions a second on average,
 * and bursts of up to `rate` actions.
 */
export class TokenBuckets {
  readonly #rate: number
  readonly #byName = new Map<string, TokenBucket>()
  /** Full buckets are deleted when the number of buckets reaches this number. */
  #pruneSize = minPruneSize

  constructor(rate: number) {
    this.#rate = rate
  }

  /**
   * Takes one token of the bucket of `name`. If that bucket has less than one token, takes nothing
   * and returns false.
   */
  tryConsume(name: string, now: number): boolean {
    let bucket = this.#byName.get(name)
    if (bucket === undefined) {
      this.#prune(now)
      bucket = new TokenBucket(this.#rate, this.#rate, now)
      this.#byName.set(name, bucket)
    }
    return bucket.tryConsume(now)
  }

  /**
   * Deletes full buckets when there are many buckets. The next deletion waits until the number of
   * buckets has doubled, so a flood of new names costs linear and not quadratic time.
   */
  #prune(now: number): void {
    if (this.#byName.size < this.#pruneSize) return
    for (const [name, bucket] of this.#byName) if (bucket.isFull(now)) this.#byName.delete(name)
    this.#pruneSize = Math.max(minPruneSize, this.#byName.size * 2)
  }
}
