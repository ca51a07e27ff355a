/**
 * How long one try to connect may take, from the socket to the welcome: a broker that is stopped
 * takes a connection and says nothing on it, and meanwhile the lease runs out.
 */

/** Until the lease is known, in ms; and at most. */
const mostMs = 10_000
/** With only one broker there is nothing to hurry for. */
const leastForOneMs = 2_000
/** What a handshake over a slow network takes. */
const leastMs = 500

/**
 * @param lease Of the session, in ms; 0 before the first welcome.
 * @param rounds How often every broker of the list was tried in vain: where each needs a little
 *   longer than this, none would ever be reached.
 */
export function connectTimeoutFor(lease: number, brokers: number, rounds: number): number {
  if (lease === 0) return mostMs
  // After silence half of the lease is gone; each broker of the list gets its share of the rest.
  const ms =
    brokers === 1 ? Math.max(lease / 3, leastForOneMs) : Math.max(lease / 2 / brokers, leastMs)
  return Math.min(ms * 2 ** rounds, mostMs)
}
