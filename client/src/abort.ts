/** The caller's signal: what its abort is to us, and how to hear of it. */
import { HoldfastError } from '@holdfast/shared'

function abortedError({ reason }: AbortSignal): HoldfastError {
  return new HoldfastError('ABORTED', undefined, { cause: reason })
}

/** @throws HoldfastError `ABORTED` */
export function refuseAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw abortedError(signal)
}

/** Calls back when it is aborted, until the function that is returned is called. */
export function onAbort(
  signal: AbortSignal | undefined,
  callback: (error: HoldfastError) => void,
): () => void {
  const listener = () => callback(abortedError(signal!))
  signal?.addEventListener('abort', listener)
  return () => signal?.removeEventListener('abort', listener)
}
