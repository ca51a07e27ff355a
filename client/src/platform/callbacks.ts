/**
 * How the client deals with code of the caller: functions that may throw, abort signals, and the
 * symbols of `using`.
 */
import { HoldfastError } from '@holdfast/shared'

/*
 * Declared as the compiler's library `esnext.disposable` and the types of Node declare them,
 * because a program that is compiled without that library must understand our declarations.
 */
declare global {
  interface SymbolConstructor {
    readonly dispose: unique symbol
    readonly asyncDispose: unique symbol
  }
}

/** `Symbol.dispose`, or a stand-in where the platform does not have that symbol yet. */
export const dispose: typeof Symbol.dispose = Symbol.dispose ?? Symbol.for('Symbol.dispose')

/** `Symbol.asyncDispose`, or a stand-in where the platform does not have that symbol yet. */
export const asyncDispose: typeof Symbol.asyncDispose =
  Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose')

/**
 * Calls a function of the caller. An error that the function throws becomes an unhandled rejection,
 * because the error must be reported and must not interrupt the handling of a frame.
 */
export function callSafely(callback: () => void): void {
  try {
    callback()
  } catch (error) {
    void Promise.reject(error)
  }
}

type AbortCallback = (error: HoldfastError) => void

/** The callbacks of one signal, in the order in which they were added. */
interface SharedListener {
  readonly callbacks: Set<AbortCallback>
  readonly listener: () => void
}

/**
 * All requests with the same signal share one listener on it. Node prints a warning about a leak
 * when a signal has more than ten listeners, and a service may use one signal for all its calls.
 */
const listenersBySignal = new WeakMap<AbortSignal, SharedListener>()

function abortedError({ reason }: AbortSignal, key?: string): HoldfastError {
  return new HoldfastError('ABORTED', undefined, { cause: reason, key })
}

/** @throws HoldfastError `ABORTED`, with the key, if the signal is aborted already */
export function throwIfAborted(signal: AbortSignal | undefined, key?: string): void {
  if (signal?.aborted) throw abortedError(signal, key)
}

/**
 * Calls back when the signal is aborted. The returned function stops that; the last call of such a
 * function removes the shared listener from the signal.
 */
export function onAbort(signal: AbortSignal | undefined, callback: AbortCallback): () => void {
  if (signal === undefined) return () => {}
  // A new function, because the same callback may be added twice.
  const added: AbortCallback = (error) => callback(error)
  const { callbacks, listener } = listenersBySignal.get(signal) ?? addSharedListener(signal)
  callbacks.add(added)
  return () => {
    if (!callbacks.delete(added) || callbacks.size > 0) return
    signal.removeEventListener('abort', listener)
    listenersBySignal.delete(signal)
  }
}

function addSharedListener(signal: AbortSignal): SharedListener {
  const callbacks: SharedListener['callbacks'] = new Set()
  const listener = () => {
    for (const callback of [...callbacks]) {
      // An earlier callback may have removed this one.
      if (callbacks.has(callback)) callSafely(() => callback(abortedError(signal)))
    }
  }
  const listeners = { callbacks, listener }
  signal.addEventListener('abort', listener)
  listenersBySignal.set(signal, listeners)
  return listeners
}
