/**
 * Helpers for the callbacks and the abort signals that a caller passes to the client. The client
 * goes on if a callback throws. This file also defines the symbols with which the statements
 * `using` and `await using` close an object.
 */
import { HoldfastError } from '@holdfast/shared'

/*
 * These declarations equal the declarations in the compiler's library `esnext.disposable` and in
 * the types of Node. This file repeats them, because a program that uses this package may be
 * compiled without that library.
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
 * Calls a function that the caller passed to the client. An error that the function throws becomes
 * an unhandled rejection. So the platform reports the error, and the error does not interrupt the
 * client's own work.
 */
export function callSafely(callback: () => void): void {
  try {
    callback()
  } catch (error) {
    void Promise.reject(error)
  }
}

type AbortCallback = (error: HoldfastError) => void

/** The listener that the client adds to a signal, and the callbacks that this listener calls. */
interface SharedListener {
  readonly callbacks: Set<AbortCallback>
  readonly listener: () => void
}

/**
 * All requests with the same signal share one listener on that signal. Without sharing, a program
 * that uses one signal for all its calls would add many listeners. Node warns about a leak if a
 * signal has more than ten.
 */
const sharedListeners = new WeakMap<AbortSignal, SharedListener>()

function abortedError({ reason }: AbortSignal, key?: string): HoldfastError {
  return new HoldfastError('ABORTED', undefined, { cause: reason, key })
}

/** @throws HoldfastError `ABORTED`, with the key, if the signal is aborted already */
export function throwIfAborted(signal: AbortSignal | undefined, key?: string): void {
  if (signal?.aborted) throw abortedError(signal, key)
}

/**
 * Calls the callback when the signal is aborted. Does not report an earlier abort: call
 * `throwIfAborted` before. Returns a function that removes the callback. When a signal has no
 * callback any more, the shared listener is removed from the signal.
 */
export function onAbort(signal: AbortSignal | undefined, callback: AbortCallback): () => void {
  if (signal === undefined) return () => {}
  // A new function for each call, because several calls may pass the same callback.
  const registered: AbortCallback = (error) => callback(error)
  const { callbacks, listener } = sharedListeners.get(signal) ?? addSharedListener(signal)
  callbacks.add(registered)
  return () => {
    if (!callbacks.delete(registered) || callbacks.size > 0) return
    signal.removeEventListener('abort', listener)
    sharedListeners.delete(signal)
  }
}

function addSharedListener(signal: AbortSignal): SharedListener {
  const callbacks: SharedListener['callbacks'] = new Set()
  const listener = () => {
    for (const callback of [...callbacks]) {
      // An earlier callback may have removed this callback from the set, but not from the copy.
      if (callbacks.has(callback)) callSafely(() => callback(abortedError(signal)))
    }
  }
  const sharedListener = { callbacks, listener }
  signal.addEventListener('abort', listener)
  sharedListeners.set(signal, sharedListener)
  return sharedListener
}
