/**
 * Types of the fields of the records in `records.ts`. This file does not import the classes of
 * `records.ts`, because files must not import each other in a cycle. So `AnswerOf` takes the type
 * of a lock as a type parameter.
 */
import type { ErrorCode, Holder, LockMode } from '@holdfast/shared'
import type { CapacityMismatch } from './permits.js'
import type { SessionLimits } from './sessionCommands.js'
import type { SharedResult } from './sharedResults.js'

/** A {@link Holder} whose metadata is still JSON text. */
export interface StoredHolder extends Omit<Holder, 'metadata'> {
  readonly metadata: string | undefined
}

/** A lock that an operator ended, and the operator's reason. */
export interface Revocation {
  readonly fence: number
  readonly note: string
}

/** The fields that a command for a lock, a waiting request and a lock have in common. */
export interface LockTerms {
  readonly id: number
  readonly mode: LockMode
  /** In ms; undefined if the lock does not expire. */
  readonly ttl: number | undefined
  /** JSON text. */
  readonly metadata: string | undefined
}

/** The fields of a waiting request, besides its key, its session and its rare `extras`. */
export interface RequestTerms extends LockTerms {
  /** In ms; undefined if the request waits for ever. */
  readonly timeout: number | undefined
  /** Wall time of the request, in ms since 1970. */
  readonly at: number
}

/** The terms that decide whether a lock is compatible with the holders of a key. */
export interface WantedTerms {
  readonly mode: LockMode
  readonly extras?: { readonly permits?: number | undefined } | undefined
}

/**
 * One request of a deadlock. The request waits for `key`. The session of the next entry holds this
 * key, or waits for it earlier in the queue.
 */
export interface CycleEntry {
  readonly key: string
  /** The id of the session of the request. */
  readonly session: string
  /** The name of this session. */
  readonly name: string | undefined
  /** The number of the scope of the request; undefined outside a scope. */
  readonly scope: number | undefined
}

/**
 * The types of requests whose outcome is stored. Requests that get the same kind of answer have one
 * type (see `responder.ts`).
 */
export type RequestType =
  | 'lock'
  | 'upgrade'
  | 'downgrade'
  | 'endScope'
  | 'unlock'
  | 'refresh'
  | 'proclaim'
  | 'revoke'
  | 'barrier'

/** The outcome of a request. For a session that can resume, the table stores the outcome. */
export type AnswerOf<L> =
  | { readonly kind: 'granted'; readonly lock: L }
  /** The answer to an upgrade. `fence` is the new fence. */
  | { readonly kind: 'upgraded'; readonly fence: number }
  | { readonly kind: 'downgraded' }
  | { readonly kind: 'scopeEnded' }
  | { readonly kind: 'unlocked' }
  /** Has only the fence, because the lock may have ended when this stored answer is sent again. */
  | { readonly kind: 'refreshed'; readonly fence: number }
  /** The leader of an election, which holds the lock, has changed the value that it publishes. */
  | { readonly kind: 'proclaimed' }
  | { readonly kind: 'revoked' }
  /** All parties of a barrier have arrived. */
  | { readonly kind: 'passed' }
  /**
   * For a `once` request: the value of a function that runs once for all callers of a key. The run
   * may have ended before the request.
   */
  | { readonly kind: 'result'; readonly result: SharedResult }
  | {
      readonly kind: 'failed'
      readonly code: ErrorCode
      /**
       * The type of the request. Undefined for a lock request, for most refusals (which are never
       * stored), and for a `LOCK_NOT_HELD` from a snapshot by an older version of the broker.
       */
      readonly request?: Exclude<RequestType, 'lock'> | undefined
      /**
       * For `LOCK_HELD` and `LOCK_TIMEOUT` only. The holders of a `LOCK_TIMEOUT` have no metadata.
       */
      readonly holders?: readonly StoredHolder[] | undefined
      /** An upper bound for the bytes of `holders` as JSON; undefined without `holders`. */
      readonly holderBytes?: number | undefined
      /** The limit that was reached, for `QUOTA_EXCEEDED` only. */
      readonly limit?: keyof SessionLimits | undefined
      /** For `CAPACITY_MISMATCH` only. */
      readonly mismatch?: CapacityMismatch | undefined
      /** For `DEADLOCK` only. */
      readonly cycle?: readonly CycleEntry[] | undefined
      /**
       * Why a request fails with `BAD_MESSAGE`. `fixedMode`: the mode of the lock can never change,
       * or its upgrade waits already. `busyScope`: another request of the scope waits already.
       * Undefined: the id of the request was used before.
       */
      readonly fault?: 'fixedMode' | 'busyScope' | undefined
    }
