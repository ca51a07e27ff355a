/** The messages of a broker that resumes a session. */
import { comeBack, graced, openScene, type Scene, turn } from './scriptedSession.js'

export const resumed = graced({ resumed: true, secret: 'second', at: 90_000 })

export function openGraced(): Promise<Scene> {
  return openScene({ grace: 'lease' }, graced())
}

export function held(id: number, fence: number, key = 'k') {
  return { id, key, mode: 'exclusive', fence }
}

export function snapshot(heldItems: object[] = [], waiting: number[] = [], more = false) {
  return { type: 'snapshot', held: heldItems, waiting, more }
}

/** Resumes the session; `messages` follow the welcome. Returns what the client sent in response. */
export async function resume(scene: Scene, ...messages: object[]): Promise<object[]> {
  await comeBack(scene)
  scene.socket.say(resumed, ...(messages as Record<string, unknown>[]))
  await turn()
  return scene.socket.take()
}

export const nothingToAck = { type: 'ack', ids: [] }
