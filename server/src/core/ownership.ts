/**
 * Which broker keeps the deadlines of a session, and what changes when another broker takes over.
 */
import type { ChangeListener } from './changeListener.js'
import type { Session } from './records.js'

/**
 * Makes a broker the owner of the session. A proposal to end a lock names the broker that kept the
 * deadline, so the table ignores later proposals of the former owner. The locks themselves do not
 * change, because one broker may take over a million of them.
 */
export function takeOwnership(
  session: Session,
  ownerBroker: string,
  changeListener: ChangeListener | undefined,
): void {
  changeListener?.beforeSessionChange(session)
  session.ownerBroker = ownerBroker
}

/** Whether a lock of the session has a deadline, or a request or barrier call may have one. */
export function mayHaveDeadlines({ timedLockCount, waiting, barrierCalls }: Session): boolean {
  return timedLockCount > 0 || waiting.size > 0 || barrierCalls.size > 0
}
