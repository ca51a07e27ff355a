/**
 * Which broker keeps the deadlines of a session, and what changes when another broker takes over.
 */
import type { ChangeListener } from './changeListener.js'
import type { Session } from './records.js'

/**
 * Makes a broker the owner of the session. If the owner changes, its epoch rises. A proposal to end
 * a lock names the epoch, so the table ignores later proposals of the former owner, even if the
 * session returns to that broker. The locks themselves do not change, because one broker may take
 * over a million of them.
 */
export function takeOwnership(
  session: Session,
  ownerBroker: string,
  changeListener: ChangeListener | undefined,
): void {
  changeListener?.beforeSessionChange(session)
  // The owner stays the same if a restarted broker takes over its own sessions. Then no old timer
  // exists that could propose an end.
  if (session.ownerBroker !== ownerBroker) session.ownerEpoch++
  session.ownerBroker = ownerBroker
}

/** Whether a lock of the session has a deadline, or a request or barrier call may have one. */
export function mayHaveDeadlines({ timedLockCount, waiting, barrierCalls }: Session): boolean {
  return timedLockCount > 0 || waiting.size > 0 || barrierCalls.size > 0
}
