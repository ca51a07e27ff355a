/**
 * Finds out by `ping` and `pong` that the client of a session is gone. Each `pong` postpones the
 * next `ping`. A client may send `pong` by itself, before the broker would send its `ping`. The
 * broker then writes only the `ack` of the `pong`, and no `ping`. PROTOCOL.md, section 8, has the
 * intervals of both sides.
 *
 * A session that holds nothing and waits for nothing may ask for the idle lease in its `pong`. The
 * broker then keeps the session for twice its lease, so the client sends half as many messages. The
 * next request for a lock restarts the ordinary lease, because other clients may wait for the lock.
 *
 * A connected session has a client deadline only while the broker waits for the answer to a `ping`.
 * The session ends at this deadline, unless its client has sent a frame after the `ping`.
 */
import type { Connection } from '../connection/connection.js'
import type { Session } from '../core/index.js'

/** The parts of the lease, or of the idle lease, after which the broker sends a `ping`. */
const partOfLease = {
  /** For a session that holds or waits for something: half a lease is left for a late answer. */
  engaged: 1 / 2,
  /**
   * For a session that holds nothing and waits for nothing. Its client sends `pong` by itself after
   * 0.6 of the lease. The broker waits longer, so that this `pong` usually makes a `ping`
   * unnecessary.
   */
  idle: 2 / 3,
}
/** The idle lease is the lease times this factor. */
const idleLeaseFactor = 2

export interface HeartbeatTimers {
  /** Sends the next `ping` on this connection `ms` from now. */
  setTimer(connection: Connection, ms: number): void
  /**
   * Makes the session end at `at`, unless a frame arrives before. `at` is in compensated time (see
   * `timekeeper.ts`).
   */
  setClientDeadline(session: Session, at: number): void
  clearClientDeadline(session: Session): void
}

/** How long the broker keeps a session whose connection gets no further frame, in ms. */
export function leaseOf({ session, hasIdleLease }: Connection): number {
  return session!.lease * (hasIdleLease ? idleLeaseFactor : 1)
}

/** Sets the timer of the first `ping`. Call when a session is attached to a connection. */
export function startHeartbeat(timers: HeartbeatTimers, connection: Connection): void {
  schedulePing(timers, connection)
  timers.clearClientDeadline(connection.session!)
}

/** Sends a `ping`. Without a further frame, the session ends with its lease or idle lease. */
export function sendPing(timers: HeartbeatTimers, connection: Connection): void {
  connection.ping()
  schedulePing(timers, connection)
  timers.setClientDeadline(connection.session!, connection.receivedAt + leaseOf(connection))
}

function schedulePing(timers: HeartbeatTimers, connection: Connection): void {
  // `lockCount` also counts waiting requests and calls at barriers.
  const { lockCount } = connection.session!
  const part = lockCount > 0 ? partOfLease.engaged : partOfLease.idle
  timers.setTimer(connection, leaseOf(connection) * part)
}

/**
 * Call for each `pong`.
 *
 * @param asksForIdleLease Whether the `pong` has the field `idle`.
 */
export function onPong(
  timers: HeartbeatTimers,
  connection: Connection,
  asksForIdleLease: boolean,
): void {
  const session = connection.session!
  connection.hasIdleLease = asksForIdleLease && session.lockCount === 0
  schedulePing(timers, connection)
  timers.clearClientDeadline(session)
}

/**
 * Ends the idle lease. Call before the session begins to hold or wait for something. From then on,
 * the session ends if its client sends nothing for the ordinary lease.
 */
export function endIdleLease(timers: HeartbeatTimers, connection: Connection): void {
  connection.hasIdleLease = false
  const session = connection.session!
  // `schedulePing` would choose the part for an idle session, because `lockCount` is still 0.
  timers.setTimer(connection, session.lease * partOfLease.engaged)
  timers.clearClientDeadline(session)
}
