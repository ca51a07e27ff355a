/**
 * The messages with which broker and client resume a session, for tests that play the broker.
 */
import { openScene, reconnect, type Scene, turn, welcomeWithGrace } from './scriptedSession.js'

/**
 * The welcome of a resumed session. The field `at` is the time of the broker, and later than in the
 * first welcome.
 */
export const resumedWelcome = welcomeWithGrace({ resumed: true, secret: 'second', at: 90_000 })

/** Opens a session with a grace: the session survives a drop of its connection. */
export function openGraced(): Promise<Scene> {
  return openScene({ grace: 'lease' }, welcomeWithGrace())
}

/** A held lock in a snapshot: the `id` of its request, and its `fence`, the number of the grant. */
export function held(id: number, fence: number, key = 'k') {
  return { id, key, mode: 'exclusive', fence }
}

/**
 * The snapshot after a welcome: the locks and waiting requests that the broker has kept.
 *
 * @param waiting The ids of the waiting requests.
 * @param more Whether another part of the snapshot follows.
 */
export function snapshot(heldItems: object[] = [], waiting: number[] = [], more = false) {
  return { type: 'snapshot', held: heldItems, waiting, more }
}

/**
 * Resumes the session; `messages` follow the welcome. Returns the messages that the client sent in
 * response.
 */
export async function resume(scene: Scene, ...messages: object[]): Promise<object[]> {
  await reconnect(scene)
  scene.socket.deliver(resumedWelcome, ...(messages as Record<string, unknown>[]))
  await turn()
  return scene.socket.newMessages()
}

/** What a client sends after a resume if the client has no answer to acknowledge. */
export const emptyAck = { type: 'ack', ids: [] }
