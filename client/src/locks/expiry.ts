/**
 * Computes how long a client may rely on its lease and on the ttl of a lock. The lease is the time
 * for which the broker keeps a silent session, and the ttl is the time after which a lock expires.
 *
 * The client counts such a period from the *sending* of a message, and the broker counts the period
 * from the *receipt* of that message. `expiryMargin.ts` of `@holdfast/shared` has the formula and
 * its proof.
 *
 * An expiry is a pair of times: one for the monotonic clock and one for the wall clock. The expiry
 * has passed as soon as one of the two clocks has reached its time. One clock is not enough: the
 * monotonic clock may stand still while a laptop sleeps, and the wall clock may be set back.
 */
import { safeDuration, slowestClockRate } from '@holdfast/shared'
import type { ClockTimes } from '../platform/environment.js'

/** When the client must treat a lock or session as lost: when one clock has reached its time. */
export type Expiry = ClockTimes

/** One message: when the client sent the message, and when the broker received the message. */
export interface ClockSample {
  /** By the clocks of the client. */
  readonly sent: ClockTimes
  /** By the monotonic clock of the broker, in ms. */
  readonly received: number
}

/**
 * The expiry of a period that the broker began no earlier than `earliestStart`, a time by the
 * client's clocks.
 */
export function expiryFrom(earliestStart: ClockTimes, periodMs: number): Expiry {
  return shift(earliestStart, safeDuration(periodMs))
}

/**
 * The expiry, by the client's clocks, of a period that began when the broker's clock showed `at`.
 * The clock sample says how the client's clocks relate to the broker's clock.
 */
export function expiryBySample(
  { sent, received }: ClockSample,
  at: number,
  periodMs: number,
): Expiry {
  // From the receipt to the end of the period. The period may have begun before or after the
  // receipt, but the safety margin is always that of the whole period.
  const msFromReceipt = at - received + periodMs
  return shift(sent, safeDuration(msFromReceipt, /* marginPeriodMs */ periodMs))
}

/**
 * Whether the broker's clock can have reached `at` by now. False means that the broker sent a wrong
 * time. The client's two clocks may show different durations since the sample. The function uses
 * the longer duration, because the monotonic clock may have stood still.
 */
export function canHaveReached(
  { sent, received }: ClockSample,
  at: number,
  now: ClockTimes,
): boolean {
  const passedMs = Math.max(now.monotonic - sent.monotonic, now.wall - sent.wall)
  // The division allows for a client's clock that is slower than the broker's clock. 1 ms is added,
  // because the broker rounds `at` and `received` down.
  return at - received <= passedMs / slowestClockRate + 1
}

/** Whether one of the clocks has reached the time of the expiry. */
export function hasPassed(expiry: Expiry, now: ClockTimes): boolean {
  return now.monotonic >= expiry.monotonic || now.wall >= expiry.wall
}

/** Combines two expiries that may each end a lock or session: for each clock, the earlier time. */
export function earlier(a: Expiry, b: Expiry): Expiry {
  return {
    monotonic: Math.min(a.monotonic, b.monotonic),
    wall: Math.min(a.wall, b.wall),
  }
}

/** Returns the later of two expiries, by the monotonic clock. Both must be safe to rely on. */
export function later(a: Expiry, b: Expiry): Expiry {
  return a.monotonic >= b.monotonic ? a : b
}

function shift({ monotonic, wall }: ClockTimes, ms: number): ClockTimes {
  return { monotonic: monotonic + ms, wall: wall + ms }
}

/** A refresh without a response. */
export interface PendingRefresh {
  /** The new ttl in ms; undefined keeps the present ttl. */
  readonly ttl: number | undefined
  /** When the refresh was last sent; undefined before the first sending. */
  readonly sentAt: ClockTimes | undefined
}

/**
 * Keeps the expiry of one lock's ttl. A refresh starts the ttl anew.
 *
 * When the broker confirms a refresh, the ttl counts from the sending of that refresh. Until then
 * the client does not know whether the broker has received the refresh. So the client uses the
 * earlier of two expiries: without the refresh, and with the refresh, whose ttl may be shorter.
 */
export class TtlExpiry {
  #ttl: number | undefined
  #confirmedExpiry: Expiry | undefined
  /** The refreshes without a response, in the order in which they were sent. */
  readonly #pendingRefreshes: PendingRefresh[] = []

  /** The ttl that the broker has confirmed last, in ms; undefined if the lock does not expire. */
  get ttl(): number | undefined {
    return this.#ttl
  }

  /** Sets the ttl that the broker has confirmed, and its expiry. */
  confirm(ttl: number | undefined, expiry: Expiry | undefined): void {
    this.#ttl = ttl
    this.#confirmedExpiry = expiry
  }

  /**
   * Call after a resume, which continues the session on a new connection. The broker then confirms
   * the ttl once more, with another expiry. If the ttl is unchanged, the later expiry counts,
   * because the former expiry is still safe. A refresh with the same ttl, which the broker may have
   * received without a confirmation, only makes the broker's expiry later.
   */
  confirmAfterResume(ttl: number, expiry: Expiry): void {
    const formerExpiry = this.#ttl === ttl ? this.#confirmedExpiry : undefined
    this.confirm(ttl, formerExpiry === undefined ? expiry : later(formerExpiry, expiry))
  }

  /** Adds a refresh that is being sent. A refresh that is sent again is not added twice. */
  addRefresh(refresh: PendingRefresh): void {
    if (!this.#pendingRefreshes.includes(refresh)) this.#pendingRefreshes.push(refresh)
  }

  /** Call when the broker has confirmed this refresh. */
  confirmRefresh(refresh: PendingRefresh): void {
    this.removeRefresh(refresh)
    const ttl = refresh.ttl ?? this.#ttl
    if (ttl === undefined || refresh.sentAt === undefined) return
    this.confirm(ttl, expiryFrom(refresh.sentAt, ttl))
  }

  /** Removes a refresh that has a response or has failed. */
  removeRefresh(refresh: PendingRefresh): void {
    const index = this.#pendingRefreshes.indexOf(refresh)
    if (index >= 0) this.#pendingRefreshes.splice(index, 1)
  }

  /** When the client must treat the lock as lost; undefined if the lock does not expire. */
  get expiry(): Expiry | undefined {
    let expiry = this.#confirmedExpiry
    let ttl = this.#ttl
    for (const refresh of this.#pendingRefreshes) {
      ttl = refresh.ttl ?? ttl
      if (ttl === undefined || refresh.sentAt === undefined) continue
      const possibleExpiry = expiryFrom(refresh.sentAt, ttl)
      expiry = expiry === undefined ? possibleExpiry : earlier(expiry, possibleExpiry)
    }
    return expiry
  }
}
