/**
 * A load of clients that lock one key, hold the lock for some milliseconds and unlock. The
 * exclusion check would notice a grant to a second client in these milliseconds. In the other
 * loads, clients may hold their locks too briefly for that. A fence is the number of a grant.
 */
import type { Endpoint } from '../job.js'
import { ExclusionCheck } from './exclusion.js'
import { LoopGate } from './loopGate.js'
import { type RawAnswer, RawSession } from './rawSession.js'
import { seededRandom } from './statistics.js'

const key = 'kept'
/** The longest time for which a client holds the lock, in ms. */
const longestHoldMs = 4

/**
 * Runs this many clients for `ms` milliseconds.
 *
 * @returns The exclusion check, which has recorded all grants and releases.
 */
export async function runHolders(
  server: Endpoint,
  clients: number,
  ms: number,
): Promise<ExclusionCheck> {
  const exclusion = new ExclusionCheck()
  const loopGate = new LoopGate()
  // Draws the same sequence of hold times in each run with this many clients.
  const random = seededRandom(clients)
  const sessions: RawSession[] = []
  for (let i = 0; i < clients; i++) sessions.push(await RawSession.open(server.url))
  loopGate.open()
  for (const session of sessions) {
    loopGate.enter()
    lockRepeatedly(session)
  }
  await new Promise((resolve) => setTimeout(resolve, ms))
  await loopGate.close()
  await Promise.all(sessions.map((session) => session.close()))
  return exclusion

  /** Locks the key, holds the lock for a moment, unlocks; repeats this while the gate is open. */
  function lockRepeatedly(session: RawSession): void {
    session.lock(key, ({ fence }: RawAnswer) => {
      exclusion.granted(key, fence)
      setTimeout(() => {
        exclusion.released(key)
        session.unlock(fence, () => (loopGate.isOpen ? lockRepeatedly(session) : loopGate.leave()))
      }, random() * longestHoldMs)
    })
  }
}
