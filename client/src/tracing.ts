/**
 * The seam for whoever traces what a session does: how long it waits for a lock and how long it
 * holds it. Nothing here depends on any tracing; `@holdfast/client/opentelemetry` fits it.
 */
import { type HoldfastError, type LockMode, maxMetadataBytes, utf8Length } from '@holdfast/shared'

export interface Tracer {
  /** A lock is being asked for. Called in the caller's own context. */
  request(key: string, mode: LockMode): RequestTrace
}

export interface RequestTrace {
  /** What to send along in the lock's metadata, so that others find the trace; may be empty. */
  readonly carrier: Readonly<Record<string, string>>
  granted(fence: number): HoldTrace
  failed(error: HoldfastError): void
}

export interface HoldTrace {
  /** Runs what is done under the lock. */
  run<T>(callback: () => T): T
  /** Called once, with why if it was lost. */
  ended(lost: HoldfastError | undefined): void
}

/**
 * Metadata with the carrier in it: as fields of an object, or instead of nothing. Metadata of other
 * kinds, and such that would become too long, stay as they are.
 *
 * @param metadata JSON text.
 */
export function carry(
  metadata: string | undefined,
  carrier: Readonly<Record<string, string>>,
): string | undefined {
  if (Object.keys(carrier).length === 0) return metadata
  const own: unknown = metadata === undefined ? {} : JSON.parse(metadata)
  if (typeof own !== 'object' || own === null || Array.isArray(own)) return metadata
  const text = JSON.stringify({ ...carrier, ...own })
  return utf8Length(text) <= maxMetadataBytes ? text : metadata
}
