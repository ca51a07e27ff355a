/**
 * What a command changed, in order. The broker acts on the effects: it sends answers, keeps
 * deadlines, updates counters and notifies watchers. The table never needs a reply to an effect.
 */
import type { EndReason } from './commands.js'
import type { Answer, Lock, Request, Session } from './records.js'

/** Why a lock ended. */
export type ReleaseReason = 'unlocked' | 'expired' | 'stolen' | 'revoked' | 'ended'

/** Why a request left its queue without a grant. */
export type WithdrawReason = 'aborted' | 'timeout' | 'ended'

export type Effect =
  | { readonly kind: 'opened'; readonly session: Session; readonly handshakeId: string }
  /** `answers` are the stored answers that the client has not acknowledged, oldest first. */
  | {
      readonly kind: 'resumed'
      readonly session: Session
      readonly handshakeId: string
      readonly answers: ReadonlyMap<number, Answer>
    }
  /** Unknown session or wrong secret. The client must not learn which of them. */
  | { readonly kind: 'refused'; readonly handshakeId: string }
  | { readonly kind: 'suspended'; readonly session: Session; readonly keep: boolean }
  /** Follows all releases and withdrawals of the session. */
  | { readonly kind: 'ended'; readonly session: Session; readonly reason: EndReason }
  | { readonly kind: 'queued'; readonly request: Request }
  | { readonly kind: 'withdrawn'; readonly request: Request; readonly reason: WithdrawReason }
  /**
   * `request` is set if the request was queued. The grant is also the answer to request `lock.id`.
   */
  | { readonly kind: 'granted'; readonly lock: Lock; readonly request: Request | undefined }
  | { readonly kind: 'released'; readonly lock: Lock; readonly reason: ReleaseReason }
  /**
   * The ttl or the timeout starts again in full at the session's owner broker, because another
   * broker kept the deadline before, or no broker did.
   */
  | { readonly kind: 'deadlineRestarted'; readonly lockOrRequest: Lock | Request }
  /**
   * The key of this request, the first in its queue, has more waiters to grant. The owner broker of
   * the request's session submits `grantUnfinishedKeys` for the key in a later turn.
   */
  | { readonly kind: 'unfinished'; readonly request: Request }
  /** The `released` effect of the lock follows. */
  | {
      readonly kind: 'revoked'
      readonly lock: Lock
      readonly by: Session
      readonly note: string
    }
  /** The ttl starts again. An `answer` follows. */
  | { readonly kind: 'refreshed'; readonly lock: Lock }
  /**
   * The client has acknowledged answers, so it has also read everything that it received before.
   */
  | { readonly kind: 'acknowledged'; readonly session: Session }
  /** `repeat` is set if the answer was given before, or if the request changed nothing. */
  | {
      readonly kind: 'answer'
      readonly session: Session
      readonly id: number
      readonly answer: Answer
      readonly repeat: boolean
    }
