/**
 * How long a client may rely on its lease and on the ttl of a lock. The formula and its proof are
 * in `expiryMargin.ts` of `@holdfast/shared`: the client counts a period from the *sending* of a
 * message, and the broker counts from the *receipt* of that message.
 *
 * Every expiry is kept on both clocks of the client, and has passed as soon as one of them says so:
 * the monotonic clock may stand still while a laptop sleeps, and the wall clock may be set back.
 */
import { safeDuration, slowestClockRate } from '@holdfast/shared'
import type { ClockReading } from '../platform/environment.js'

/** When a lock or session must be taken for lost, on the clock that gets there first. */
export type Expiry = ClockReading

/** When a message was sent, by the client's clocks, and received, by the broker's clock. */
export interface ClockSample {
  readonly sent: ClockReading
  readonly received: number
}

/** The expiry of a period of `ms` that began at the broker at `since` or later. */
export function expiryFrom(since: ClockReading, ms: number): Expiry {
  return shift(since, safeDuration(ms))
}

/** The expiry of a ttl that began at `at` by the broker's clock, converted by a clock sample. */
export function expiryBySample({ sent, received }: ClockSample, at: number, ttl: number): Expiry {
  return shift(sent, safeDuration(at - received + ttl, ttl))
}

/**
 * Whether the broker's clock can show `at` by now, if the clock sample is true. The greater of the
 * client's two clocks counts, because the monotonic clock may have stood still.
 */
export function isPossible(
  { sent, received }: ClockSample,
  at: number,
  now: ClockReading,
): boolean {
  const passed = Math.max(now.monotonic - sent.monotonic, now.wall - sent.wall)
  // Plus 1 ms, because the broker rounds both of its times down.
  return at - received <= passed / slowestClockRate + 1
}

/** An expiry that is safe if only one of the two is right. */
export function earlier(a: Expiry, b: Expiry): Expiry {
  return {
    monotonic: Math.min(a.monotonic, b.monotonic),
    wall: Math.min(a.wall, b.wall),
  }
}

/** The later of two expiries that are both right. */
export function later(a: Expiry, b: Expiry): Expiry {
  return a.monotonic >= b.monotonic ? a : b
}

function shift({ monotonic, wall }: ClockReading, ms: number): ClockReading {
  return { monotonic: monotonic + ms, wall: wall + ms }
}

/** A refresh that was sent and has no response. */
export interface PendingRefresh {
  /** The new ttl in ms; undefined keeps the present ttl. */
  readonly ttl: number | undefined
  readonly sentAt: ClockReading | undefined
}

/**
 * The expiry of one lock's ttl, with the refreshes that are pending.
 *
 * A refresh counts from its own sending once the broker has confirmed it. Before that, a refresh
 * may or may not have arrived, so it can only make the expiry earlier: a refresh that shortens the
 * ttl may already be in force.
 */
export class TtlExpiry {
  #ttl: number | undefined
  #confirmed: Expiry | undefined
  /** In the order of sending, which is the order of the responses. */
  readonly #pending: PendingRefresh[] = []

  /** The ttl that the broker has confirmed last, in ms; undefined if the lock does not expire. */
  get ttl(): number | undefined {
    return this.#ttl
  }

  /** Sets the ttl that the broker has confirmed, and its expiry. */
  confirm(ttl: number | undefined, expiry: Expiry | undefined): void {
    this.#ttl = ttl
    this.#confirmed = expiry
  }

  /**
   * The broker confirms the ttl once more, with another expiry. If the ttl is unchanged, the former
   * expiry is right as well, because the broker can only have started the ttl anew since.
   */
  confirmAgain(ttl: number, expiry: Expiry): void {
    const former = this.#ttl === ttl ? this.#confirmed : undefined
    this.confirm(ttl, former === undefined ? expiry : later(former, expiry))
  }

  begin(refresh: PendingRefresh): void {
    if (!this.#pending.includes(refresh)) this.#pending.push(refresh)
  }

  /** The broker has confirmed this refresh. */
  succeed(refresh: PendingRefresh): void {
    this.abandon(refresh)
    const ttl = refresh.ttl ?? this.#ttl
    if (ttl === undefined || refresh.sentAt === undefined) return
    this.confirm(ttl, expiryFrom(refresh.sentAt, ttl))
  }

  /** The broker has refused this refresh, or has not received it. */
  abandon(refresh: PendingRefresh): void {
    const index = this.#pending.indexOf(refresh)
    if (index >= 0) this.#pending.splice(index, 1)
  }

  /** When the lock must be taken for lost; undefined if it does not expire. */
  get expiry(): Expiry | undefined {
    let expiry = this.#confirmed
    let ttl = this.#ttl
    for (const refresh of this.#pending) {
      ttl = refresh.ttl ?? ttl
      if (ttl === undefined || refresh.sentAt === undefined) continue
      const possible = expiryFrom(refresh.sentAt, ttl)
      expiry = expiry === undefined ? possible : earlier(expiry, possible)
    }
    return expiry
  }
}
