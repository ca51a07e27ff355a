/**
 * The broker ends a lock or a session after a time that the broker measures by its own clock. This
 * file computes, by the clock of the client, how long the client may rely on that lock or session.
 * The formula makes sure that the holder stops relying on a lock before the broker grants the lock
 * to another session.
 *
 * The formula has three uses:
 * - lease: the broker ends a session after this period of silence
 * - ttl: the broker ends a lock after this period
 * - self-lease: the other brokers of a cluster declare a broker dead after this period of silence.
 *   The silent broker stops granting locks before that moment.
 *
 * In each use, a *keeper* grants a *user* a right for `T` ms. For the lease and the ttl,
 * the keeper is the broker, and the user is the client. For the self-lease, the keeper is another
 * broker of the cluster, and the user is the broker that may be silent.
 *
 * The user sends a message at the time `s` of its clock, and counts the period from `s`. The keeper
 * receives that message at the time `r` of its clock, and ends the right at `r + T`. The user must
 * stop relying on the right before that moment in real time.
 *
 * The user stops at `s + T * 0.99 - margin(T)` of its clock. Proof that the user stops first:
 * 1. The keeper receives the message after the user sent the message. So in real time `r` is not
 *    before `s`, and the two clocks need no synchronisation.
 * 2. The rates of the two clocks may differ by up to 1 %. While `T` passes on the keeper's clock,
 *    at least `0.99 * T` passes on the user's clock. So the keeper ends the right no earlier than
 *    `s + 0.99 * T` of the user's clock.
 * 3. The user stops `margin(T)` before that time. The margin covers three delays that step 2
 *    ignores: both sides round times to whole ms, timers fire late, and the user must inform its
 *    caller.
 *
 * The margin is 2 % of the period, but at least 50 ms, because timers are as late in a short period
 * as in a long period. The margin is at most 10 % of the period, because otherwise a very short
 * period would be over before it begins. 1 ms is added for the rounding.
 */

/** The lowest rate of one clock in relation to another clock: 0.99, if the rates differ by 1 %. */
export const slowestClockRate = 0.99

/** The margin of a period of `periodMs`, in ms; see the proof above. */
export function expiryMargin(periodMs: number): number {
  return Math.min(Math.max(50, periodMs / 50), periodMs / 10) + 1
}

/**
 * For how many ms of its own clock the user may rely on the right.
 *
 * @param ms How long the right lasts by the keeper's clock, from the receipt of the user's message.
 * @param marginPeriodMs The period for which the margin is computed. Default: `ms`. Pass the
 *   ttl of a lock here if `ms` differs from it. Both end at the same moment, but the ttl begins at
 *   the grant, and `ms` begins at the receipt of the user's message. If the message is the lock
 *   request and the request waited, `ms` is longer than the ttl. If the user sent the message after
 *   the grant, `ms` is shorter.
 */
export function safeDuration(ms: number, marginPeriodMs: number = ms): number {
  return ms * slowestClockRate - expiryMargin(marginPeriodMs)
}
