/** What a session tells those who listen. */
import type { HoldfastError, LostReason } from '@holdfast/shared'

/** A lock that is gone although it was not unlocked. */
export interface LostLock {
  readonly key: string
  readonly fence: number
  readonly reason: LostReason
}

export interface SessionEvents {
  /**
   * The connection is gone, and within the grace the locks may still be ours. The error is
   * `UNAVAILABLE` and says why.
   */
  jeopardy: (error: HoldfastError) => void
  /** The session was taken up again: what is still held is held. */
  resumed: () => void
  /** A new session was opened in place of the old one, whose locks are lost. */
  newSession: () => void
  lost: (lock: LostLock) => void
  /** The broker closes within this many ms: finish, and unlock. */
  draining: (event: { readonly within: number }) => void
  /** The token ends in this many ms: call `authenticate` with a new one, or be closed. */
  expiring: (event: { readonly within: number }) => void
  /** For good; the error is undefined after `close()`. */
  closed: (error: HoldfastError | undefined) => void
}

/** All of them. */
export const sessionEvents: Readonly<Record<keyof SessionEvents, 1>> = {
  jeopardy: 1,
  resumed: 1,
  newSession: 1,
  lost: 1,
  draining: 1,
  expiring: 1,
  closed: 1,
}
