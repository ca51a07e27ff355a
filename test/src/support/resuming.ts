/** The messages of a broker that resumes a session. */
import { openScene, reconnect, type Scene, turn, welcomeWithGrace } from './scriptedSession.js'

export const resumed = welcomeWithGrace({ resumed: true, secret: 'second', at: 90_000 })

export function openGraced(): Promise<Scene> {
  return openScene({ grace: 'lease' }, welcomeWithGrace())
}

export function held(id: number, fence: number, key = 'k') {
  return { id, key, mode: 'exclusive', fence }
}

export function snapshot(heldItems: object[] = [], waiting: number[] = [], more = false) {
  return { type: 'snapshot', held: heldItems, waiting, more }
}

/** Resumes the session; `messages` follow the welcome. Returns what the client sent in response. */
export async function resume(scene: Scene, ...messages: object[]): Promise<object[]> {
  await reconnect(scene)
  scene.socket.deliver(resumed, ...(messages as Record<string, unknown>[]))
  await turn()
  return scene.socket.newMessages()
}

export const nothingToAck = { type: 'ack', ids: [] }
