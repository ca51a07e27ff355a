/**
 * What the table did, in order, for the shell to act on: send answers, keep deadlines, count, tell
 * watchers. An effect never asks the shell for anything back.
 */
import type { ErrorCode, Holder } from '@holdfast/shared'
import type { EndReason, SessionLimits } from './commands.js'
import type { Lock, Request, Session } from './records.js'

/** The requests that have an outcome which is stored. */
export type RequestType = 'lock' | 'unlock' | 'refresh' | 'revoke'

/** The outcome of a request, as stored for a session that may resume. */
export type Answer =
  | { readonly kind: 'granted'; readonly lock: Lock }
  | { readonly kind: 'unlocked' }
  /** Of a lock that may be gone by now. */
  | { readonly kind: 'refreshed'; readonly fence: number }
  | { readonly kind: 'revoked' }
  | {
      readonly kind: 'failed'
      readonly code: ErrorCode
      /** With `LOCK_NOT_HELD`: what was requested. Other codes tell that by themselves. */
      readonly request?: Exclude<RequestType, 'lock'> | undefined
      /** With `LOCK_HELD`, and without metadata with `LOCK_TIMEOUT`. */
      readonly holders?: readonly StoredHolder[] | undefined
      /** At least as many bytes as `holders` take as JSON; 0 without it. */
      readonly holderBytes?: number | undefined
      /** With `QUOTA_EXCEEDED`: what there is too much of. */
      readonly limit?: keyof SessionLimits | undefined
    }

const requestOf = {
  granted: 'lock',
  unlocked: 'unlock',
  refreshed: 'refresh',
  revoked: 'revoke',
} as const

/**
 * Whether an answer can be that of a request of this type. A `LOCK_NOT_HELD` in a snapshot of an
 * older broker does not say which request it answers, so it fits each of the three.
 */
export function answers(answer: Answer, type: RequestType): boolean {
  if (answer.kind !== 'failed') return requestOf[answer.kind] === type
  if (answer.code !== 'LOCK_NOT_HELD') return type === 'lock'
  return answer.request === undefined ? type !== 'lock' : answer.request === type
}

/** A {@link Holder} whose metadata is still JSON text. */
export interface StoredHolder extends Omit<Holder, 'metadata'> {
  readonly metadata: string | undefined
}

/** How a lock came to its end. */
export type ReleaseReason = 'unlocked' | 'expired' | 'stolen' | 'revoked' | 'ended'

/** How a request left its queue without a grant. */
export type WithdrawReason = 'aborted' | 'timeout' | 'ended'

export type Effect =
  | { readonly kind: 'opened'; readonly session: Session; readonly handshakeId: string }
  /** `answers`: what is stored and not acknowledged, oldest first. */
  | {
      readonly kind: 'resumed'
      readonly session: Session
      readonly handshakeId: string
      readonly answers: ReadonlyMap<number, Answer>
    }
  /** Unknown session or wrong secret: nobody is told which. */
  | { readonly kind: 'refused'; readonly handshakeId: string }
  | { readonly kind: 'suspended'; readonly session: Session; readonly keep: boolean }
  /** After all its releases and withdrawals. */
  | { readonly kind: 'ended'; readonly session: Session; readonly reason: EndReason }
  | { readonly kind: 'queued'; readonly request: Request }
  | { readonly kind: 'withdrawn'; readonly request: Request; readonly reason: WithdrawReason }
  /** `request` if it had been queued. The grant is also the answer to `lock.id`. */
  | { readonly kind: 'granted'; readonly lock: Lock; readonly request: Request | undefined }
  | { readonly kind: 'released'; readonly lock: Lock; readonly reason: ReleaseReason }
  /**
   * Its deadline is another broker's to keep, or nobody has kept it: its ttl or its timeout begins
   * anew at the session's home.
   */
  | { readonly kind: 'adopted'; readonly record: Lock | Request }
  /**
   * The key of this request, the first of its queue, has more to grant. The broker that keeps the
   * deadlines of its session submits `serve` for the key in a later turn.
   */
  | { readonly kind: 'more'; readonly request: Request }
  /** Its release follows. */
  | {
      readonly kind: 'revoked'
      readonly lock: Lock
      readonly by: Session
      readonly note: string
    }
  /** The ttl runs anew. An `answer` follows. */
  | { readonly kind: 'refreshed'; readonly lock: Lock }
  /** The client's word of what has arrived was heard, and with it all that it sent before. */
  | { readonly kind: 'acknowledged'; readonly session: Session }
  /** `repeat` if it was given before, or belongs to a request that changed nothing. */
  | {
      readonly kind: 'answer'
      readonly session: Session
      readonly id: number
      readonly answer: Answer
      readonly repeat: boolean
    }
