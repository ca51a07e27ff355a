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

/** The fields that a lock, a waiting request and a command that asks for a lock all have. */
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

/** The terms of a request that decide whether the request fits the present holders of its key. */
export interface WantedTerms {
  readonly mode: LockMode
  readonly extras?: { readonly permits?: number | undefined } | undefined
}

/**
 * One request of a deadlock. The request waits for `key`. The session of the next entry (if there
 * is one) holds `key`, or waits for it further ahead in the queue.
 */
export interface CycleEntry {
  readonly key: string
  /** The id of the session that sent the request. */
  readonly session: string
  /** The name of the session. */
  readonly name: string | undefined
  /** The number of the scope of the request; undefined outside a scope. */
  readonly scope: number | undefined
}

/**
 * The types of requests whose outcome is stored. Some messages count as one type, because they get
 * the same kind of answer: for example, `once` counts as `lock` (see `responder.ts`).
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

/** The answer to a request. For a session that can resume, the table stores the answer. */
export type AnswerOf<L> =
  | { readonly kind: 'granted'; readonly lock: L }
  /** The answer to an upgrade. `fence` is the new fence. */
  | { readonly kind: 'upgraded'; readonly fence: number }
  | { readonly kind: 'downgraded' }
  | { readonly kind: 'scopeEnded' }
  | { readonly kind: 'unlocked' }
  /** Has the fence, not the lock, because the lock may have ended when the answer is sent again. */
  | { readonly kind: 'refreshed'; readonly fence: number }
  /** The value that the leader of an election publishes has changed. */
  | { readonly kind: 'proclaimed' }
  | { readonly kind: 'revoked' }
  /** All parties of a barrier have arrived. */
  | { readonly kind: 'passed' }
  /**
   * For a `once` request: the value of a function that runs once for all callers of a key. Also a
   * kept value, from a run that ended before the request.
   */
  | { readonly kind: 'result'; readonly result: SharedResult }
  | {
      readonly kind: 'failed'
      readonly code: ErrorCode
      /**
       * The type of the request, to recognize its repetition when the answer is stored. Undefined
       * for a `lock`, and for most refusals, because these are never stored. Also undefined for a
       * `LOCK_NOT_HELD` from a snapshot by an older version of the broker.
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
       * Why a request fails with `BAD_MESSAGE`:
       * - `fixedMode`: this lock can never change its mode, or already has an upgrade that waits.
       * - `busyScope`: another request of the scope waits already.
       * - Undefined: the id of the request was used before.
       */
      readonly fault?: 'fixedMode' | 'busyScope' | undefined
    }
