/**
 * The interface for tracing: how long a session waits for a lock, and how long it holds the lock.
 * This file depends on no tracing library; `@holdfast/client/opentelemetry` implements the
 * interface.
 */
import type { HoldfastError, LockMode } from '@holdfast/shared'

/** Receives the lock requests of a session. */
export interface Tracer {
  /**
   * Called when a caller asks for a lock, in the async context of that caller. An error that this
   * function throws rejects the caller's request. An error that `granted`, `failed` or `ended`
   * throws is reported as an unhandled rejection.
   *
   * @param metadata The caller's metadata for the lock, as JSON text.
   */
  request(key: string, mode: LockMode, metadata: string | undefined): RequestTrace
}

/** Receives the outcome of one lock request. */
export interface RequestTrace {
  /**
   * The metadata to send: the caller's metadata, possibly with more fields. At most 4 KiB of JSON.
   */
  readonly metadata: string | undefined
  /** Called when the broker has granted the lock. Returns the object that follows the lock. */
  granted(fence: number): HoldTrace
  /** Called when the request was rejected. */
  failed(error: HoldfastError): void
}

/** Follows one lock from its grant to its end. */
export interface HoldTrace {
  /**
   * Calls the callback of `session.withLock`. Here a tracer can make this hold the parent of the
   * spans (the timed steps of a trace) that the callback begins.
   */
  run<T>(callback: () => T): T
  /**
   * Called once when the lock ends. `lossError` is the error if the lock was lost; after an unlock
   * `lossError` is undefined.
   */
  ended(lossError: HoldfastError | undefined): void
}
