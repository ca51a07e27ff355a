/**
 * How long a holder may believe that it holds: the arithmetic of "the holder knows first".
 *
 * The client counts from the *sending* of a message, the broker from its *receipt*, which is later
 * in real time whatever their clocks say. The rates of the two clocks may differ by 1 %, and a
 * small margin covers rounding and the way to the next holder. Every bound is kept on both clocks
 * of the client, and has passed when either says so: the monotonic one may stand still while a
 * laptop sleeps, the wall clock may be set back.
 */
import type { Clock } from '@holdfast/shared'

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

/** The least part of a period that passes here while all of it passes at the broker. */
const slowest = 0.99

export function readClocks(clock: Clock): ClockReading {
  return { monotonic: clock.monotonic(), wall: clock.wall() }
}

/** What a holder gives up of a period of `ms`, beyond the difference of the clocks' rates. */
export function margin(ms: number): number {
  return Math.min(Math.max(50, ms / 50), ms / 10) + 1
}

/** Until when a period of `ms` certainly lasts that began at the broker at `since` or later. */
export function expiryFrom(since: ClockReading, ms: number): Expiry {
  return shift(since, ms * slowest - margin(ms))
}

/** Until when a ttl certainly lasts that began at the broker's `at`, judged by another message. */
export function expiryBySample({ sent, received }: ClockSample, at: number, ttl: number): Expiry {
  return shift(sent, (at - received + ttl) * slowest - margin(ttl))
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
  return at - received <= passed / slowest + 1
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
