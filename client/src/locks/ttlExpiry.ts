/**
 * Until when a lock with a ttl may be believed in, while refreshes of it are under way.
 *
 * A refresh counts from its own sending once it is answered. Before that it may have arrived or
 * not, so it can only bring the bound forward: one that shortens the ttl may already be in force.
 */
import { type ClockReading, type Expiry, earlier, expiryFrom, later } from './expiry.js'

/** A refresh that was sent and not answered. */
export interface Refreshing {
  /** The new ttl; undefined keeps the one that the lock has. */
  readonly ttl: number | undefined
  readonly sentAt: ClockReading | undefined
}

export class TtlExpiry {
  #ttl: number | undefined
  #confirmed: Expiry | undefined
  /** In the order of their sending, which is that of their answers. */
  readonly #refreshing: Refreshing[] = []

  /** The ttl that the broker last confirmed, in ms; undefined if the lock does not expire. */
  get ttl(): number | undefined {
    return this.#ttl
  }

  /** What the broker said of this lock: its ttl, and until when that certainly lasts. */
  confirm(ttl: number | undefined, expiry: Expiry | undefined): void {
    this.#ttl = ttl
    this.#confirmed = expiry
  }

  /**
   * The broker says it again, which gives another bound. With the ttl that it had, the former one
   * is still right: what may have happened since can only have begun it anew.
   */
  confirmAgain(ttl: number, bound: Expiry): void {
    const former = this.#ttl === ttl ? this.#confirmed : undefined
    this.confirm(ttl, former === undefined ? bound : later(former, bound))
  }

  begin(refresh: Refreshing): void {
    if (!this.#refreshing.includes(refresh)) this.#refreshing.push(refresh)
  }

  /** The broker has done this refresh. */
  succeed(refresh: Refreshing): void {
    this.abandon(refresh)
    const ttl = refresh.ttl ?? this.#ttl
    if (ttl === undefined || refresh.sentAt === undefined) return
    this.confirm(ttl, expiryFrom(refresh.sentAt, ttl))
  }

  /** The broker will not do this refresh, or has not heard of it. */
  abandon(refresh: Refreshing): void {
    const place = this.#refreshing.indexOf(refresh)
    if (place >= 0) this.#refreshing.splice(place, 1)
  }

  /** From when on the lock has to be taken for lost; undefined if it does not expire. */
  get bound(): Expiry | undefined {
    let { bound, ttl } = { bound: this.#confirmed, ttl: this.#ttl }
    for (const refresh of this.#refreshing) {
      ttl = refresh.ttl ?? ttl
      if (ttl === undefined || refresh.sentAt === undefined) continue
      const possible = expiryFrom(refresh.sentAt, ttl)
      bound = bound === undefined ? possible : earlier(bound, possible)
    }
    return bound
  }
}
