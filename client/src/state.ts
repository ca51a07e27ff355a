/** What a session is told to be, the states it can be in, and who hears of their changes. */
import type { HoldfastError, LostReason } from '@holdfast/shared'

/**
 * - `connecting`: no session yet.
 * - `connected`: there is a session and a connection.
 * - `away`: the connection is gone, or the session is being taken up again; requests wait.
 * - `closed`: for good.
 */
export type SessionState = 'connecting' | 'connected' | 'away' | 'closed'

/** What a session is told to be. */
export interface SessionSettings {
  /** For the next hello. */
  token: string | undefined
  readonly name: string | undefined
  /** The wanted lease, in ms. */
  readonly ttl: number | undefined
  readonly grace: number | 'lease' | undefined
}

/** Who is told what happens to the session. None of these throws. */
export interface StandingListener {
  onOpen(): void
  onJeopardy(): void
  onResumed(): void
  onRenewed(): void
  onLost(key: string, fence: number, reason: LostReason): void
  onDraining(within: number): void
  onExpiring(within: number): void
  /** The error is undefined after `close`. */
  onClosed(error: HoldfastError | undefined): void
}
