/**
 * The effects of a command: everything that the command changed in the lock table, in order. The
 * broker acts on the effects: it sends answers, keeps deadlines, updates counters and notifies
 * watchers. The table never needs a reply to an effect. `commands.ts` explains the terms, such as
 * ttl, fence, scope and once.
 *
 * For a set, which is one request for several keys, the table emits `queued`, `withdrawn`,
 * `granted` and `released` once for each key. The broker answers and counts a set only for the one
 * lock or request of the set whose `isPrimary` is true.
 */
import type { BarrierCall } from './barrierCalls.js'
import type { Answer, Lock, Request, Session } from './records.js'
import type { EndReason } from './sessionCommands.js'
import type { KeptResult } from './sharedResults.js'

/**
 * Why a lock ended. `ended`: its session ended. `expired`: its ttl is over. `maxHold`: its longest
 * time of holding is over, even if the client refreshed the lock.
 */
export type ReleaseReason = 'unlocked' | 'expired' | 'maxHold' | 'stolen' | 'revoked' | 'ended'

/**
 * Why a request left its queue without a grant.
 * - `aborted`: its client or its scope withdrew the request.
 * - `timeout`: the timeout of the request is over.
 * - `ended`: its session ended, or lost its connection and cannot be resumed. For an upgrade also:
 *   the lock of the upgrade ended.
 * - `answered`: the request is a `once` and gets the value of a run.
 */
export type WithdrawReason = 'aborted' | 'timeout' | 'ended' | 'answered'

/**
 * Why a call left its barrier. `aborted`: the client cancelled the call. `ended`: as in
 * {@link WithdrawReason}. `passed`: all parties had arrived.
 */
export type DepartReason = 'aborted' | 'timeout' | 'ended' | 'passed'

export type Effect =
  | { readonly kind: 'opened'; readonly session: Session; readonly handshakeId: string }
  /** `answers` are the stored answers that the client has not acknowledged, oldest first. */
  | {
      readonly kind: 'resumed'
      readonly session: Session
      readonly handshakeId: string
      readonly answers: ReadonlyMap<number, Answer>
    }
  /**
   * A refused resume, such as for an unknown session or with a wrong secret. The client must not
   * learn the reason.
   */
  | { readonly kind: 'refused'; readonly handshakeId: string }
  /** `keep` is true if the session lives on for its whole lease, and not only for its grace. */
  | { readonly kind: 'suspended'; readonly session: Session; readonly keep: boolean }
  /** The table emits this effect after all releases and withdrawals of the session. */
  | { readonly kind: 'ended'; readonly session: Session; readonly reason: EndReason }
  | { readonly kind: 'queued'; readonly request: Request }
  | { readonly kind: 'withdrawn'; readonly request: Request; readonly reason: WithdrawReason }
  /**
   * `request` is the request that waited; undefined for a lock that was granted without a
   * wait. The grant is also the answer to the request with the id `lock.id`.
   */
  | { readonly kind: 'granted'; readonly lock: Lock; readonly request: Request | undefined }
  /**
   * A shared lock has become exclusive. Its `presentFence` is a new fence. Its `fence`, by which
   * messages name the lock, stays the same. `request` is the upgrade that waited; undefined for an
   * upgrade that was granted without a wait. An `answer` follows.
   */
  | {
      readonly kind: 'upgraded'
      readonly lock: Lock
      readonly request: Request | undefined
      /** The `presentFence` of the lock before the upgrade. */
      readonly formerFence: number
    }
  /** An exclusive lock has become shared, and keeps its fence. An `answer` follows. */
  | { readonly kind: 'downgraded'; readonly lock: Lock }
  | {
      readonly kind: 'released'
      readonly lock: Lock
      readonly reason: ReleaseReason
      /** The session that stole the lock; only with the reason `stolen`. */
      readonly by?: Session | undefined
    }
  /**
   * All deadlines of the session's locks, requests and calls at barriers start again in full at the
   * session's owner broker: each ttl, `maxHold` and timeout. Before this effect, another broker or
   * no broker had timers for these deadlines. One effect stands for all deadlines, because one
   * command may restart the deadlines of more than a million locks.
   */
  | { readonly kind: 'deadlinesRestarted'; readonly session: Session }
  /**
   * The table keeps the result of a `once` for later calls. The broker with the name
   * `kept.ownerBroker` submits `forgetResult` when the keep time of the result is over.
   */
  | { readonly kind: 'kept'; readonly kept: KeptResult }
  /** A broker takes over a kept result, whose keep time starts again in full. */
  | { readonly kind: 'keepRestarted'; readonly kept: KeptResult }
  /** The table no longer keeps the result. */
  | { readonly kind: 'forgotten'; readonly kept: KeptResult }
  /** A call waits at a barrier. */
  | { readonly kind: 'arrived'; readonly call: BarrierCall<Session> }
  /** A call no longer waits at its barrier. An `answer` follows, unless the reason is `ended`. */
  | {
      readonly kind: 'departed'
      readonly call: BarrierCall<Session>
      readonly reason: DepartReason
    }
  /**
   * The command could not grant all waiters of a key. This request is the first that still waits.
   * The owner broker of the request's session submits `grantUnfinishedKeys` for the key in a later
   * turn of the event loop.
   */
  | { readonly kind: 'unfinished'; readonly request: Request }
  /** An operator has ended the lock. The `released` effect of the lock follows. */
  | {
      readonly kind: 'revoked'
      readonly lock: Lock
      /** The session of the operator. */
      readonly by: Session
      /** The reason that the operator gave. */
      readonly note: string
    }
  /** The ttl of the lock starts again. An `answer` follows. */
  | { readonly kind: 'refreshed'; readonly lock: Lock }
  /**
   * The leader of an election, which holds the lock, has changed the value that it publishes. The
   * former value is JSON text. An `answer` follows.
   */
  | {
      readonly kind: 'proclaimed'
      readonly lock: Lock
      readonly formerValue: string | undefined
    }
  /**
   * The client has acknowledged answers by an `ack`. The broker may now acknowledge that `ack`.
   */
  | { readonly kind: 'acknowledged'; readonly session: Session }
  /**
   * `repeat` is true if the table does not store this answer now. Then the table has stored it for
   * an earlier request with the same id, or the answer refuses a request that changed nothing.
   */
  | {
      readonly kind: 'answer'
      readonly session: Session
      readonly id: number
      readonly answer: Answer
      readonly repeat: boolean
    }
