/**
 * An election is an exclusive lock whose holder leads and publishes a value, such as its address.
 *
 * A campaign is a request for the key that is the name of the election, and waits in the same queue
 * as other requests. A lock makes its holder the leader only if a campaign got the lock. While an
 * ordinary lock on the key is held, the election has no leader. A leader that changes its value
 * keeps its lock and the fence (the number of the lock).
 */
import type { Proclaim } from './clientCommands.js'
import type { Session } from './records.js'
import type { Responder } from './responder.js'
import { fixedAnswers } from './storedAnswers.js'
import { textBytes } from './weights.js'

/**
 * Executes a request to replace the value of a leader. Fails if no lock with this fence makes the
 * session a leader. The caller must have checked that the request is no repetition.
 *
 * @returns The bytes of the new value minus the bytes of the former value.
 */
export function proclaim(
  responder: Responder,
  session: Session,
  { id, fence, value }: Proclaim,
): number {
  session.lastId = id
  const lock = session.held.get(fence)
  // An ordinary lock has no `election`.
  const election = lock?.extras?.election
  if (lock === undefined || election === undefined) {
    responder.answer(session, id, fixedAnswers.notHeld.proclaim)
    return 0
  }
  responder.changeListener?.beforeKeyChange(lock.keyState)
  const formerValue = election.value
  election.value = value
  responder.effects.push({ kind: 'proclaimed', lock, formerValue })
  responder.answer(session, id, fixedAnswers.proclaimed)
  return textBytes(value) - textBytes(formerValue)
}
