/**
 * Which broker keeps the deadlines of a session, and what changes when another broker takes over.
 */
import type { ChangeListener } from './changeListener.js'
import type { Session } from './records.js'

/**
 * Makes a broker the owner of the session. If the owner changes, this function raises the
 * generation of each lock that can expire. A proposal to expire a lock names the generation of the
 * lock, so the table ignores later proposals of the former owner.
 */
export function takeOwnership(
  session: Session,
  ownerBroker: string,
  changeListener: ChangeListener | undefined,
): void {
  const changesOwner = session.ownerBroker !== ownerBroker
  changeListener?.beforeSessionChange(session)
  session.ownerBroker = ownerBroker
  // The owner stays the same if a restarted broker takes over its own sessions. Then no old timer
  // exists that could propose an expiry.
  if (!changesOwner || session.timedLockCount === 0) return
  for (const lock of session.held.values()) {
    if (!lock.isTimed) continue
    changeListener?.beforeKeyChange(lock.keyState)
    lock.generation++
  }
}

/** Whether a lock of the session has a deadline, or a request or barrier call may have one. */
export function mayHaveDeadlines({ timedLockCount, waiting, barrierCalls }: Session): boolean {
  return timedLockCount > 0 || waiting.size > 0 || barrierCalls.size > 0
}
