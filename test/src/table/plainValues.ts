/**
 * The effects and the state of a lock table as plain values, without references to records of the
 * table. Records change with later commands, but plain values do not. So tests can keep these
 * values, compare them with those of a model or of another table, and print them.
 *
 * `tableToPlain.ts` makes plain values of a real table. The model of the table (`model.ts`) makes
 * them too, but without code that knows the records of the table.
 */
import type { CapacityMismatch, StoredHolder } from '@holdfast/server/core'
import type { ErrorCode, LockMode, NoticeType } from '@holdfast/shared'

/** The answer to a request of a session. */
export type PlainAnswer =
  | { readonly kind: 'granted' | 'upgraded' | 'refreshed'; readonly fence: number }
  | {
      readonly kind: 'unlocked' | 'downgraded' | 'scopeEnded' | 'revoked' | 'passed' | 'proclaimed'
    }
  | { readonly kind: 'result'; readonly fence: number; readonly value: string | undefined }
  | {
      readonly kind: 'failed'
      readonly code: ErrorCode
      readonly holders?: StoredHolder[]
      readonly mismatch?: CapacityMismatch | undefined
    }

/** The optional terms of locks and requests. */
interface PlainExtras {
  readonly permits: number | undefined
  readonly capacity: number | undefined
  /** The longest time from the grant to the end of the lock, even with refreshes, in ms. */
  readonly maxHold: number | undefined
  /** The notices that the client asked for. */
  readonly notify: readonly NoticeType[] | undefined
  /** All keys of the set to which the lock or request belongs; undefined without a set. */
  readonly set: readonly string[] | undefined
  /**
   * Present for a `once` call, and for its lock. The first caller of a key holds the lock while it
   * runs a function. The others wait as followers, and get the result of this run.
   */
  readonly once: true | undefined
  /**
   * Present for a campaign (a request to become the leader) and for the lock of a leader. `value`
   * is JSON text.
   */
  readonly election: { readonly value?: string | undefined } | undefined
  /** The number of the scope (one task of the session); undefined outside a scope. */
  readonly scope: number | undefined
}

export interface PlainLock extends PlainExtras {
  readonly session: string
  readonly id: number
  readonly key: string
  readonly mode: LockMode
  /** The number of the grant. Every grant has a higher fence than all earlier grants. */
  readonly fence: number
  /** The fence of the newest upgrade; without an upgrade, the fence of the grant. */
  readonly presentFence: number
  /** How long the lock lasts after its grant or its last refresh, in ms. */
  readonly ttl: number | undefined
  /** Rises when the ttl starts again. An expiry of an earlier generation has no effect. */
  readonly generation: number
  readonly metadata: string | undefined
  /** When the lock was granted, in wall time. */
  readonly since: number
}

export interface PlainRequest extends PlainExtras {
  readonly session: string
  readonly id: number
  readonly key: string
  readonly mode: LockMode
  readonly ttl: number | undefined
  readonly timeout: number | undefined
  readonly metadata: string | undefined
  /** When the request was queued, in wall time. */
  readonly since: number
  /** For an upgrade, the `fence` of the lock to make exclusive; undefined for other requests. */
  readonly upgradeOf: number | undefined
}

/** A result that the table keeps for later `once` calls of the key. */
export interface PlainKeptResult {
  readonly key: string
  /** The fence of the run that had this result. */
  readonly fence: number
  readonly value: string | undefined
  /** How long the table keeps the result, in ms. */
  readonly keep: number
  /** The broker that runs the timer of `keep`. */
  readonly ownerBroker: string
}

/** A result of `once` that some followers have not got yet. */
export interface PlainDelivery {
  readonly fence: number
  readonly value: string | undefined
  /** The followers without the result, as `session#id`. */
  readonly followers: readonly string[]
}

/** A call that waits at a barrier, until `parties` calls with its key have arrived. */
export interface PlainBarrierCall {
  readonly session: string
  readonly id: number
  readonly key: string
  readonly parties: number
  readonly timeout: number | undefined
  readonly since: number
}

export interface PlainSession {
  readonly id: string
  readonly principal: string
  /** How long the session survives without a connection, in ms. */
  readonly grace: number
  /** The broker that runs the timers of the session. */
  readonly ownerBroker: string
  /** Counts the connections of the session, from 1. */
  readonly attachEpoch: number
  /** Counts the changes of `ownerBroker`. */
  readonly ownerEpoch: number
  /** Whether the session has no connection. */
  readonly suspended: boolean
  /** The newest secret for a resume that the client is known to have. */
  readonly secret: string | undefined
  /** A newer secret, which the client may not have received. */
  readonly nextSecret: string | undefined
  /** The attempt number of the last resume with `secret`, if it had a number. */
  readonly lastResumeAttempt: number | undefined
  /** The highest request id so far. */
  readonly lastId: number
  /** The fences of the held locks, in the order of their grants. */
  readonly held: readonly number[]
  /** The ids of the waiting requests, in the order of their arrival. */
  readonly waiting: readonly number[]
  /** The ids of the calls that wait at barriers, in the order of their arrival. */
  readonly barrierCalls: readonly number[]
  /** The newest revocations of locks of the session, in the order in which they happened. */
  readonly revocations: readonly { readonly fence: number; readonly note: string }[]
  /** The stored answers by request id; undefined for a session without a grace. */
  readonly answers: readonly (readonly [number, PlainAnswer])[] | undefined
}

/** A key with its locks and waiting requests. */
export interface PlainKey {
  readonly key: string
  readonly holders: readonly PlainLock[]
  /** The waiting requests except upgrades, which do not stand in the queue. */
  readonly queue: readonly PlainRequest[]
  readonly delivery: PlainDelivery | undefined
  /** The waiting upgrade of a lock of the key. */
  readonly upgrade: PlainRequest | undefined
}

/** The whole state of a table. */
export interface PlainState {
  /** The fence of the next grant is higher by 1. */
  readonly fence: number
  readonly heldCount: number
  readonly waitingCount: number
  /** Whether the table grants only steals. */
  readonly quiet: boolean
  readonly sessions: readonly PlainSession[]
  /** Sorted by key. */
  readonly keys: readonly PlainKey[]
  /** Sorted by key; the calls of one barrier in order of arrival. */
  readonly barrierCalls: readonly PlainBarrierCall[]
  /** The kept results, oldest first. */
  readonly keptResults: readonly PlainKeptResult[]
}

/** An effect of a command: a change of the table, or an answer to a request. */
export type PlainEffect =
  | { readonly kind: 'opened'; readonly session: string; readonly handshakeId: string }
  | {
      readonly kind: 'resumed'
      readonly session: string
      readonly handshakeId: string
      readonly attachEpoch: number
      readonly answers: readonly (readonly [number, PlainAnswer])[]
    }
  | { readonly kind: 'refused'; readonly handshakeId: string }
  /** `keep` is true if the session lives on for its lease, even if its grace is shorter. */
  | { readonly kind: 'suspended'; readonly session: string; readonly keep: boolean }
  | { readonly kind: 'ended'; readonly session: string; readonly reason: string }
  | { readonly kind: 'acknowledged'; readonly session: string }
  | { readonly kind: 'queued'; readonly request: PlainRequest }
  /** The first waiter that the command could grant, had it not reached its limit of grants. */
  | { readonly kind: 'unfinished'; readonly request: PlainRequest }
  | { readonly kind: 'withdrawn'; readonly request: PlainRequest; readonly reason: string }
  | { readonly kind: 'granted'; readonly lock: PlainLock; readonly waited: boolean }
  | { readonly kind: 'upgraded'; readonly lock: PlainLock; readonly waited: boolean }
  | { readonly kind: 'downgraded'; readonly lock: PlainLock }
  | { readonly kind: 'released'; readonly lock: PlainLock; readonly reason: string }
  | { readonly kind: 'refreshed'; readonly lock: PlainLock }
  | {
      readonly kind: 'proclaimed'
      readonly lock: PlainLock
      readonly formerValue: string | undefined
    }
  | { readonly kind: 'deadlinesRestarted'; readonly session: string }
  | {
      readonly kind: 'kept' | 'keepRestarted' | 'forgotten'
      readonly kept: PlainKeptResult
    }
  | { readonly kind: 'arrived'; readonly call: PlainBarrierCall }
  | { readonly kind: 'departed'; readonly call: PlainBarrierCall; readonly reason: string }
  | {
      readonly kind: 'revoked'
      readonly lock: PlainLock
      /** The session that asked for the revocation. */
      readonly by: string
      readonly note: string
    }
  | {
      readonly kind: 'answer'
      readonly session: string
      readonly id: number
      readonly answer: PlainAnswer
      /** True if the table does not store this answer: a repetition or a refusal. */
      readonly repeat: boolean
    }
