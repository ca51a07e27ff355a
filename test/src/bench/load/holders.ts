/**
 * A load of clients that lock one key, hold the lock for some milliseconds and unlock. If the
 * broker granted the lock to two clients at once, the exclusion check would notice. In the other
 * loads the check might miss a wrong grant, because the clients hold their locks too briefly. A
 * fence is the number of a grant.
 */
import type { Endpoint } from '../job.js'
import { ExclusionCheck } from './exclusion.js'
import { LoopGate } from './loopGate.js'
import { type RawAnswer, RawSession } from './rawSession.js'
import { seeded } from './statistics.js'

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
  // Tells the clients when to stop locking.
  const loopGate = new LoopGate()
  // The clients hold their locks for the same times in each run.
  const random = seeded(clients)
  const sessions: RawSession[] = []
  for (let i = 0; i < clients; i++) sessions.push(await RawSession.open(server.url))
  loopGate.open()
  for (const session of sessions) {
    loopGate.enter()
    lockAgain(session)
  }
  await new Promise((resolve) => setTimeout(resolve, ms))
  await loopGate.close()
  await Promise.all(sessions.map((session) => session.close()))
  return exclusion

  /** Locks the key, holds the lock for a moment, unlocks, and begins again. */
  function lockAgain(session: RawSession): void {
    session.lock(key, ({ fence }: RawAnswer) => {
      exclusion.granted(key, fence)
      setTimeout(() => {
        exclusion.released(key)
        session.unlock(fence, () => (loopGate.isOpen ? lockAgain(session) : loopGate.leave()))
      }, random() * longestHoldMs)
    })
  }
}
