/** The records that hold only plain values: no sessions, locks or keys. */
import type { Holder, LockMode } from '@holdfast/shared'

/** A {@link Holder} whose metadata is still JSON text. */
export interface StoredHolder extends Omit<Holder, 'metadata'> {
  readonly metadata: string | undefined
}

/** A lock that an operator ended, and the operator's reason. */
export interface Revocation {
  readonly fence: number
  readonly note: string
}

/** The fields that a lock command and a waiting request have in common. */
export interface LockTerms {
  readonly id: number
  readonly mode: LockMode
  readonly ttl: number | undefined
  /** JSON text. */
  readonly metadata: string | undefined
}

/** The fields of a request that do not come from its key and session. */
export interface RequestTerms extends LockTerms {
  /** In ms; undefined if the request waits for ever. */
  readonly timeout: number | undefined
  /** Wall time of the request. */
  readonly at: number
}
