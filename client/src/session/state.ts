/** What a session is told to be, the states it can be in, and who hears of their changes. */
import type { SessionEvents } from './sessionEvents.js'

/**
 * - `connecting`: no session yet.
 * - `connected`: there is a session and a connection.
 * - `away`: the connection is gone, or the session is being taken up again; requests wait.
 * - `closed`: for good.
 */
export type SessionState = 'connecting' | 'connected' | 'disconnected' | 'closed'

/** What a session is told to be. */
export interface SessionSettings {
  /** For the next hello. */
  token: string | undefined
  readonly name: string | undefined
  /** The wanted lease, in ms. */
  readonly lease: number | undefined
  readonly grace: number | 'lease' | undefined
}

/** Who is told what happens to the session. Neither throws. */
export interface SessionControllerListener {
  /** There is a first session. */
  onOpen(): void
  /** Something that the session's own listeners are to hear. */
  tell<E extends keyof SessionEvents>(event: E, ...details: Parameters<SessionEvents[E]>): void
}
