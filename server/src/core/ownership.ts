/**
 * Which broker keeps the deadlines of a session, and what changes when another broker takes over.
 */
import type { BarrierCall } from './barrierCalls.js'
import type { ChangeListener } from './changeListener.js'
import type { Lock, Request, Session } from './records.js'

/**
 * Makes a broker the owner of the session. If the owner changes, the generation of each lock that
 * can expire rises. A proposal to expire a lock names the generation of the lock, so the table
 * ignores later proposals of the former owner.
 *
 * @returns The locks, requests and calls at barriers whose deadlines start again in full. A set
 *   is represented by its first lock or request, which has the deadlines.
 */
export function takeOwnership(
  session: Session,
  ownerBroker: string,
  changeListener: ChangeListener | undefined,
): (Lock | Request | BarrierCall<Session>)[] {
  const changesOwner = session.ownerBroker !== ownerBroker
  changeListener?.beforeSessionChange(session)
  session.ownerBroker = ownerBroker
  const locks =
    session.timedLockCount === 0 ? [] : session.held.values().filter(({ isTimed }) => isTimed)
  // If the owner stays the same, the broker has restarted, so no old timer can propose an expiry.
  if (changesOwner) {
    for (const lock of locks) {
      changeListener?.beforeKeyChange(lock.keyState)
      lock.generation++
    }
  }
  const requests = session.waiting.values().filter(({ timeout }) => timeout !== undefined)
  const calls = session.barrierCalls.values().filter(({ timeout }) => timeout !== undefined)
  return [...locks, ...requests, ...calls]
}
