/**
 * Keeps the deadlines of sessions whose clients send no other messages. A client may send `pong` by
 * itself, without a `ping`. Then the broker need not send the `ping`, which halves the writes for
 * such a session. For this reason, the client sends `pong` earlier than the broker would send its
 * `ping`. PROTOCOL.md, section 8, has the intervals of both sides.
 *
 * A `pong` moves the deadlines of its session at once, so the deadlines of a live session never
 * pass. Otherwise the broker would wake up for each of these deadlines only to set it again.
 */
import type { Connection } from '../connection/connection.js'
import type { Session } from '../core/index.js'

/** The parts of the lease after which the broker sends a `ping`. */
const partOfLease = {
  /** For a session that holds or waits for something: half a lease is left for a late answer. */
  engaged: 1 / 2,
  /** For a session that holds nothing and waits for nothing. */
  idle: 2 / 3,
}

export interface HeartbeatTimers {
  /** Sends the next `ping` on this connection `ms` from now. */
  setTimer(connection: Connection, ms: number): void
  /** Sets when the session ends, in compensated time, unless a further frame arrives. */
  setClientDeadline(session: Session, at: number): void
}

/** Call when a session is attached, and after each `ping`. */
export function schedulePing(
  time: Pick<HeartbeatTimers, 'setTimer'>,
  connection: Connection,
): void {
  // `lockCount` also counts waiting requests and calls at barriers.
  const { lease, lockCount } = connection.session!
  time.setTimer(connection, lease * (lockCount > 0 ? partOfLease.engaged : partOfLease.idle))
}

/** Call for each `pong`. */
export function onPong(time: HeartbeatTimers, connection: Connection): void {
  schedulePing(time, connection)
  const session = connection.session!
  time.setClientDeadline(session, connection.receivedAt + session.lease)
}
