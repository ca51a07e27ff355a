/**
 * The caller's signal: which error its abort becomes, and how requests hear of it.
 *
 * All requests that were given one signal share one listener on it. Node takes more than ten
 * listeners on a signal for a leak and prints a warning, and a service may well have one signal for
 * all that it does.
 */
import { HoldfastError } from '@holdfast/shared'
import { about } from '../requests/errorOf.js'
import { callSafely } from './callSafely.js'

/** Those that wait for one signal's abort, in the order of their coming. */
interface Audience {
  readonly callbacks: Set<(error: HoldfastError) => void>
  readonly listener: () => void
}

const audiences = new WeakMap<AbortSignal, Audience>()

function abortedError({ reason }: AbortSignal): HoldfastError {
  return new HoldfastError('ABORTED', undefined, { cause: reason })
}

/** @throws HoldfastError `ABORTED` */
export function refuseAborted(signal: AbortSignal | undefined, key?: string): void {
  if (signal?.aborted) throw about(key, abortedError(signal))
}

/**
 * Calls back when the signal is aborted, until the function that is returned is called. The last
 * one to go takes the listener off the signal.
 */
export function onAbort(
  signal: AbortSignal | undefined,
  callback: (error: HoldfastError) => void,
): () => void {
  if (signal === undefined) return () => {}
  // Of its own, so that one function can be given twice.
  const own = (error: HoldfastError) => callback(error)
  const audience = audiences.get(signal) ?? listenTo(signal)
  const { callbacks, listener } = audience
  callbacks.add(own)
  return () => {
    if (!callbacks.delete(own) || callbacks.size > 0) return
    signal.removeEventListener('abort', listener)
    audiences.delete(signal)
  }
}

function listenTo(signal: AbortSignal): Audience {
  const callbacks: Audience['callbacks'] = new Set()
  const listener = () => {
    for (const callback of [...callbacks]) {
      // One that was called before it may have settled this one's request.
      if (callbacks.has(callback)) callSafely(() => callback(abortedError(signal)))
    }
  }
  const audience = { callbacks, listener }
  signal.addEventListener('abort', listener)
  audiences.set(signal, audience)
  return audience
}
