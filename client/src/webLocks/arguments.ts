/**
 * Converts and checks the arguments of `locks.request` as the W3C specification says. First the
 * arguments are converted by the rules of WebIDL: from left to right, and the members of the
 * options in alphabetical order. Then the converted arguments are checked in the order of the
 * specification of `request()`. The order matters, because only the first of several mistakes is
 * reported.
 */
import { HoldfastError } from '@holdfast/shared'
import { type CheckedLock, checkLock } from '../locks/options.js'
import { isMode, wrongMode, wrongSignal } from '../platform/checks.js'
import type { LockCallback, WebLockMode } from './heldLock.js'
import { keyForName } from './names.js'

/**
 * The options of `locks.request`. `ttl` and `metadata` are not in the specification. As in WebIDL,
 * unknown members are ignored: code that was written for `navigator.locks` may pass such members.
 */
export interface LockRequestOptions {
  /** Several sessions may hold `'shared'` locks at the same time. Default `'exclusive'`. */
  readonly mode?: WebLockMode | undefined
  /** Does not wait: if the lock is not free, the callback gets `null`. Default false. */
  readonly ifAvailable?: boolean | undefined
  /** Takes the lock from its holders at once, before all waiting requests. Default false. */
  readonly steal?: boolean | undefined
  /** If this signal is aborted while the request waits, the request is cancelled. */
  readonly signal?: AbortSignal | undefined
  /**
   * How long after its grant the lock expires. In ms, 1 to 2^31 - 1. Default: the lock never
   * expires.
   */
  readonly ttl?: number | undefined
  /** Any JSON value, at most 4 KiB as text and 64 levels deep; other sessions can see it. */
  readonly metadata?: unknown
}

/** The converted arguments. */
export interface Arguments {
  readonly name: string
  readonly callback: LockCallback<unknown>
  readonly mode: WebLockMode
  readonly ifAvailable: boolean
  readonly steal: boolean
  readonly signal: AbortSignal | undefined
  readonly ttl: number | undefined
  readonly metadata: unknown
}

/** @throws TypeError, or any error that a getter or `toString` of the caller's objects throws */
export function convertArguments(args: readonly unknown[]): Arguments {
  if (args.length < 2) throw new TypeError('request takes a name and a callback')
  // As in WebIDL, the conversion to a text throws for a symbol.
  const name = `${args[0] as string}`
  const [options, callback] = args.length === 2 ? [undefined, args[1]] : [args[1], args[2]]
  const convertedOptions = convertOptions(options)
  if (typeof callback !== 'function') throw new TypeError('callback must be a function')
  return { name, callback: callback as LockCallback<unknown>, ...convertedOptions }
}

/**
 * Checks the converted arguments. Returns the checked options of the lock request.
 *
 * @throws TypeError, a DOMException, or the reason of an aborted signal
 */
export function checkArguments(args: Arguments): CheckedLock {
  const { name, mode, ifAvailable, steal, signal, ttl, metadata } = args
  if (name.startsWith('-')) throw notSupportedError('a name must not begin with "-"')
  if (steal && mode !== 'exclusive') throw notSupportedError('steal needs the mode "exclusive"')
  if ([steal, ifAvailable, signal].filter(Boolean).length > 1) {
    throw notSupportedError('steal, ifAvailable and signal exclude each other')
  }
  if (signal?.aborted) throw signal.reason
  const key = keyForName(name)
  if (key === undefined) throw notSupportedError('the name is longer than a key may be')
  const timeout = ifAvailable ? 0 : undefined
  try {
    return {
      ...checkLock(
        key,
        { mode, steal, ttl, metadata, signal },
        /* method */ 'request',
        // The key may have the prefix that is reserved for the names of `session.locks`.
        /* isName */ true,
      ),
      timeout,
    }
  } catch (cause) {
    if (!(cause instanceof HoldfastError)) throw cause
    throw new TypeError(cause.message, { cause })
  }
}

function convertOptions(options: unknown): Omit<Arguments, 'name' | 'callback'> {
  const members = (options ?? {}) as { readonly [member: string]: unknown }
  if (Object(members) !== members) throw new TypeError('the options must be an object')
  // In alphabetical order, because a getter of the caller's object can observe the order.
  const ifAvailable = Boolean(members['ifAvailable'])
  const metadata = members['metadata']
  const mode = modeFrom(members['mode'])
  const signal = signalFrom(members['signal'])
  const steal = Boolean(members['steal'])
  const ttl = members['ttl'] as number | undefined
  return { ifAvailable, metadata, mode, signal, steal, ttl }
}

function modeFrom(value: unknown): WebLockMode {
  if (value === undefined) return 'exclusive'
  const mode = `${value as string}`
  if (isMode(mode)) return mode
  throw new TypeError(wrongMode)
}

function signalFrom(value: unknown): AbortSignal | undefined {
  if (value === undefined) return undefined
  try {
    // Not `instanceof`, because a signal of another frame of the page must be accepted too. The
    // getter of `aborted` throws if the value is not a signal.
    Reflect.get(AbortSignal.prototype, 'aborted', value)
  } catch (cause) {
    throw new TypeError(wrongSignal, { cause })
  }
  return value as AbortSignal
}

function notSupportedError(message: string): DOMException {
  return new DOMException(message, 'NotSupportedError')
}
