/**
 * The seam for whoever traces what a session does: how long it waits for a lock and how long it
 * holds it. Nothing here depends on any tracing; `@holdfast/client/opentelemetry` fits it.
 */
import type { HoldfastError, LockMode } from '@holdfast/shared'

export interface Tracer {
  /**
   * A lock is being asked for. Called in the caller's own context, and what it throws is the
   * caller's; what the others throw is reported where the platform reports errors that nobody
   * handles.
   *
   * @param metadata What will be attached to the lock, as JSON text.
   */
  request(key: string, mode: LockMode, metadata: string | undefined): RequestTrace
}

export interface RequestTrace {
  /** The same, or with something in it by which others find the trace; at most 4 KiB. */
  readonly metadata: string | undefined
  granted(fence: number): HoldTrace
  failed(error: HoldfastError): void
}

export interface HoldTrace {
  /** Runs what is done under the lock. */
  run<T>(callback: () => T): T
  /** Called once, with why if it was lost. */
  ended(lost: HoldfastError | undefined): void
}
