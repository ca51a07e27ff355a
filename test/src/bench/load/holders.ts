/**
 * Clients that lock one key, keep it for a moment and unlock it. They are slow enough to make an
 * overlap visible, which the busy loads are not.
 */
import type { Endpoint } from '../job.js'
import { ExclusionCheck } from './exclusion.js'
import { LoopGate } from './loopGate.js'
import { type RawAnswer, RawSession } from './rawSession.js'
import { seeded } from './statistics.js'

const key = 'kept'
const maxHoldMs = 4

/** Runs clients against one key for a while. @returns the exclusion check of their grants */
export async function holdByTurns(
  server: Endpoint,
  clients: number,
  ms: number,
): Promise<ExclusionCheck> {
  const exclusion = new ExclusionCheck()
  const loopGate = new LoopGate()
  const random = seeded(clients)
  const sessions: RawSession[] = []
  for (let i = 0; i < clients; i++) sessions.push(await RawSession.open(server.url))
  loopGate.open()
  for (const session of sessions) {
    loopGate.enter()
    holdAgain(session)
  }
  await new Promise((resolve) => setTimeout(resolve, ms))
  await loopGate.close()
  await Promise.all(sessions.map((session) => session.close()))
  return exclusion

  function holdAgain(session: RawSession): void {
    session.lock(key, ({ fence }: RawAnswer) => {
      exclusion.granted(key, fence)
      setTimeout(() => {
        exclusion.released(key)
        session.unlock(fence, () => (loopGate.isOpen ? holdAgain(session) : loopGate.leave()))
      }, random() * maxHoldMs)
    })
  }
}
