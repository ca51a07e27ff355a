/**
 * How long a client may rely on its lease and on the ttl of a lock. The formula and its proof are
 * in `expiryMargin.ts` of `@holdfast/shared`: the client counts from the *sending* of a message,
 * and the broker from its *receipt*.
 *
 * A bound is a time on both clocks of the client. It has passed as soon as either clock says so,
 * because the monotonic clock may stand still while a laptop sleeps, and the wall clock may be set
 * back.
 */
import { type Clock, safeDuration, slowestClockRate } from '@holdfast/shared'

/** One instant on both clocks, in ms. */
export interface ClockReading {
  readonly monotonic: number
  readonly wall: number
}

/** From when on something has to be taken for lost, on whichever clock gets there first. */
export type Expiry = ClockReading

/** A message, when it was sent here and when it arrived at the broker by the broker's clock. */
export interface ClockSample {
  readonly sent: ClockReading
  readonly received: number
}

export function readClocks(clock: Clock): ClockReading {
  return { monotonic: clock.monotonic(), wall: clock.wall() }
}

/** Until when a period of `ms` certainly lasts that began at the broker at `since` or later. */
export function expiryFrom(since: ClockReading, ms: number): Expiry {
  return shift(since, safeDuration(ms))
}

/** Until when a ttl certainly lasts that began at the broker's `at`, judged by another message. */
export function expiryBySample({ sent, received }: ClockSample, at: number, ttl: number): Expiry {
  return shift(sent, safeDuration(at - received + ttl, ttl))
}

/**
 * Whether a broker that received the exchange's message when it says can have read `at` on its
 * clock by now. Which of our clocks is right is not known: the monotonic one may have stood still.
 */
export function isPossible(
  { sent, received }: ClockSample,
  at: number,
  now: ClockReading,
): boolean {
  const passed = Math.max(now.monotonic - sent.monotonic, now.wall - sent.wall)
  // Both of the broker's times are rounded down.
  return at - received <= passed / slowestClockRate + 1
}

/** A bound that holds if both do not. */
export function earlier(a: Expiry, b: Expiry): Expiry {
  return {
    monotonic: Math.min(a.monotonic, b.monotonic),
    wall: Math.min(a.wall, b.wall),
  }
}

/** The more generous of two bounds that are both right. */
export function later(a: Expiry, b: Expiry): Expiry {
  return a.monotonic >= b.monotonic ? a : b
}

function shift({ monotonic, wall }: ClockReading, ms: number): ClockReading {
  return { monotonic: monotonic + ms, wall: wall + ms }
}
