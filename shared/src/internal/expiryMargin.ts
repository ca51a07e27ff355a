/**
 * How much of a period a side may count on when the other side measures the period by its own
 * clock: the one formula behind "the holder knows first". The client uses it for its lease and for
 * the ttl of a lock; a broker that shares a command log uses it for its self-lease.
 *
 * The situation is always this. The *keeper* grants the *user* a period of `T` ms. The keeper
 * counts from the receipt of a message, at `r`; the user counts from the sending of the same
 * message, at `s`. The keeper takes the right away at `r + T` of its clock. The user must stop
 * relying on the right before that.
 *
 * Proof that the user stops first, for a user that stops at `s + T * 0.99 - margin(T)`:
 * 1. A message is received after it was sent. So in real time `r` is not before `s`, whatever the
 *    two clocks show. The clocks need no synchronisation.
 * 2. Two clocks may run at rates that differ by up to 1 %. While `T` passes on the keeper's clock,
 *    at least `0.99 * T` passes on the user's clock. So the keeper acts no earlier than
 *    `s + 0.99 * T` of the user's clock.
 * 3. The margin covers what step 2 leaves out: both sides round times to whole ms, timers fire
 *    late, and the user needs some time to tell its caller. The extra 1 ms is for the rounding, so
 *    the margin is above 0 for every `T`.
 * 4. So the user stops at least `margin(T)` ms before the earliest moment at which the keeper can
 *    act.
 *
 * The margin is 2 % of the period, but at least 50 ms, because a short period needs the same time
 * for timers as a long one. It is never above 10 % of the period (plus 1 ms), because a very short
 * period would otherwise be over before it begins.
 */

/** The least part of a period that passes on one clock while the whole period passes on another. */
export const slowestClockRate = 0.99

/** What a side gives up of a period of `ms`, beyond the difference between the two clock rates. */
export function expiryMargin(ms: number): number {
  return Math.min(Math.max(50, ms / 50), ms / 10) + 1
}

/**
 * For how many ms of its own clock a side may rely on a period that the other side measures.
 *
 * @param ms The length of the period on the other clock, from the moment that is counted from.
 * @param marginOf The period that the margin is computed from; the same without it. A lock's ttl
 *   passes another value, because its period begins at the grant and is counted from an older
 *   message.
 */
export function safeDuration(ms: number, marginOf: number = ms): number {
  return ms * slowestClockRate - expiryMargin(marginOf)
}
