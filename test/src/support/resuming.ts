/**
 * The messages with which broker and client resume a session, for tests that play the broker.
 */
import {
  openScriptedSession,
  reconnect,
  type ScriptedSession,
  untilTurnEnds,
  welcomeWithGrace,
} from './scriptedSession.js'

/**
 * The welcome of a resumed session. The field `at` is the time of the broker, and later than in the
 * first welcome.
 */
export const resumedWelcome = welcomeWithGrace({ resumed: true, secret: 'second', at: 90_000 })

/** Opens a session with a grace: the session survives a drop of its connection. */
export function openScriptedSessionWithGrace(): Promise<ScriptedSession> {
  return openScriptedSession({ grace: 'lease' }, welcomeWithGrace())
}

/** A held lock in a snapshot: the `id` of its request, and its `fence`, the number of the grant. */
export function heldLock({ id, fence, key = 'k' }: { id: number; fence: number; key?: string }) {
  return { id, key, mode: 'exclusive', fence }
}

/** The fields of a snapshot, except the type. */
interface SnapshotFields {
  readonly held?: readonly object[]
  /** The ids of the waiting requests. */
  readonly waiting?: readonly number[]
  /** Whether another part of the snapshot follows. */
  readonly more?: boolean
}

/** The snapshot after a welcome: the locks and waiting requests that the broker has kept. */
export function snapshot({ held = [], waiting = [], more = false }: SnapshotFields = {}) {
  return { type: 'snapshot', held, waiting, more }
}

/**
 * Resumes the session; `messages` follow the welcome. Returns the messages that the client sent in
 * response.
 */
export async function resumeSession(
  scene: ScriptedSession,
  ...messages: object[]
): Promise<object[]> {
  await reconnect(scene)
  scene.socket.deliver(resumedWelcome, ...(messages as Record<string, unknown>[]))
  await untilTurnEnds()
  return scene.socket.newMessages()
}

/** What a client sends after a resume if the client has no answer to acknowledge. */
export const emptyAck = { type: 'ack', ids: [] }
