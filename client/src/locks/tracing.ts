/**
 * The interface for tracing: how long a session waits for a lock, and how long it holds the lock.
 * This file depends on no tracing library; `@holdfast/client/opentelemetry` implements the
 * interface.
 */
import type { HoldfastError, LockMode } from '@holdfast/shared'

/** Is told about the lock requests of a session. */
export interface Tracer {
  /**
   * A caller asks for a lock. Called in the context of that caller, who also gets the errors that
   * this function throws. Errors of the other functions are reported as unhandled rejections.
   *
   * @param metadata The caller's metadata for the lock, as JSON text.
   */
  request(key: string, mode: LockMode, metadata: string | undefined): RequestTrace
}

/** Is told about one lock request. */
export interface RequestTrace {
  /** The metadata for the broker: the caller's metadata, or more, at most 4 KiB of JSON text. */
  readonly metadata: string | undefined
  granted(fence: number): HoldTrace
  failed(error: HoldfastError): void
}

/** Is told about one lock that is held. */
export interface HoldTrace {
  /** Runs the callback of `withLock`. */
  run<T>(callback: () => T): T
  /** Called once at the end; with an error if the lock was lost. */
  ended(lost: HoldfastError | undefined): void
}
