/**
 * Clients that take one key, keep it for a moment, and give it back: slow enough that an overlap
 * would be seen, which the busy loads are not.
 */
import type { Endpoint } from '../job.js'
import { Exclusion } from './exclusion.js'
import { type RawAnswer, RawSession } from './rawSession.js'
import { seeded } from './statistics.js'
import { Turnstile } from './turnstile.js'

const key = 'kept'
const longestHoldMs = 4

/** Runs clients against one key for a while and returns the account of their grants. */
export async function keepInTurn(
  server: Endpoint,
  clients: number,
  ms: number,
): Promise<Exclusion> {
  const exclusion = new Exclusion()
  const turnstile = new Turnstile()
  const random = seeded(clients)
  const sessions: RawSession[] = []
  for (let i = 0; i < clients; i++) sessions.push(await RawSession.open(server.url))
  turnstile.open()
  for (const session of sessions) {
    turnstile.enter()
    keepAgain(session)
  }
  await new Promise((resolve) => setTimeout(resolve, ms))
  await turnstile.close()
  await Promise.all(sessions.map((session) => session.close()))
  return exclusion

  function keepAgain(session: RawSession): void {
    session.lock(key, ({ fence }: RawAnswer) => {
      exclusion.granted(key, fence)
      setTimeout(() => {
        exclusion.released(key)
        session.unlock(fence, () => (turnstile.isOpen ? keepAgain(session) : turnstile.leave()))
      }, random() * longestHoldMs)
    })
  }
}
