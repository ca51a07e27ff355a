/** The basic checks of values that the caller gives. The checks of options call these functions. */
import {
  type ErrorCode,
  HoldfastError,
  isIntegerInRange,
  isKey,
  type LockMode,
  maxDurationMs,
} from '@holdfast/shared'

/** Whether the value is an integer of ms from `min` to 2^31 - 1. */
export function isMs(value: unknown, min: number): value is number {
  return isIntegerInRange(value, min, maxDurationMs)
}

export function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null
}

/** Whether the value is a mode that a caller may choose with the option `mode`. */
export function isMode(value: unknown): value is Exclude<LockMode, 'permits'> {
  return value === 'exclusive' || value === 'shared'
}

/** Whether the host name of a URL names this machine. */
export function isLoopback(hostname: string): boolean {
  return /^(127\.[\d.]+|\[::1\]|(.*\.)?localhost)$/.test(hostname)
}

/** The longest part of a refused value that an error message shows, in UTF-16 units. */
const maxShownLength = 40

/**
 * The text for a refused value in an error message. A string is in quotes, because `'5'` and 5
 * differ. Cuts a long value. Never throws.
 */
export function shown(value: unknown): string {
  if (Array.isArray(value)) return 'an array'
  if (isObject(value)) return 'an object'
  if (typeof value === 'function') return 'a function'
  const text = String(value)
  const start = text.length <= maxShownLength ? text : `${text.slice(0, maxShownLength)}…`
  return typeof value === 'string' ? JSON.stringify(start) : start
}

/** @throws HoldfastError with the given code unless the value passes `isMs` */
export function checkMs(
  name: string,
  value: unknown,
  min: 0 | 1,
  code: ErrorCode = 'INVALID_OPTION',
): void {
  if (isMs(value, min)) return
  throw notAllowed(name, `an integer of ms from ${min} to 2^31 - 1`, value, code)
}

/** @throws HoldfastError `INVALID_OPTION` unless the value is an integer from `min` to `max` */
export function checkInteger(name: string, value: unknown, min: number, max: number): void {
  if (isIntegerInRange(value, min, max)) return
  throw notAllowed(name, `an integer from ${min} to ${max}`, value)
}

/**
 * Makes the error for an option with a wrong value.
 * @param rule What the option must be, such as `an integer from 1 to 5`.
 */
export function notAllowed(
  name: string,
  rule: string,
  value: unknown,
  code: ErrorCode = 'INVALID_OPTION',
): HoldfastError {
  return new HoldfastError(code, `${name} must be ${rule}, not ${shown(value)}`)
}

/** @throws HoldfastError with the given code and message if the condition is false */
export function check(
  condition: boolean,
  message: string | undefined,
  code: ErrorCode = 'INVALID_OPTION',
): asserts condition {
  if (!condition) throw new HoldfastError(code, message)
}

/**
 * @throws HoldfastError `INVALID_OPTION` unless the value is a string of 1 to `maxLength` UTF-16
 *   units without lone surrogates
 */
export function checkText(name: string, value: unknown, maxLength: number): void {
  check(
    typeof value === 'string' &&
      value.length >= 1 &&
      value.length <= maxLength &&
      !/\p{Cs}/u.test(value),
    `${name} must be a string of 1 to ${maxLength} characters`,
  )
}

/** @throws HoldfastError `INVALID_OPTION` unless the value is a function */
export function checkFunction(name: string, value: unknown): void {
  check(typeof value === 'function', `${name} must be a function`)
}

/** @throws HoldfastError `INVALID_OPTION` unless the value is a boolean or undefined */
export function checkBoolean(name: string, value: unknown): void {
  if (value !== undefined && typeof value !== 'boolean')
    throw notAllowed(name, 'true or false', value)
}

/** @throws HoldfastError `INVALID_KEY` unless the value is a valid key */
export function checkKey(key: unknown): asserts key is string {
  if (isKey(key)) return
  const rule = 'use 1 to 512 bytes of UTF-8 without control characters'
  throw new HoldfastError('INVALID_KEY', `invalid key ${shown(key)}; ${rule}`)
}

/**
 * Error texts of `session.lock` and `session.locks.request`. The two methods throw errors of
 * different classes, so they share these texts but not the checks.
 */
export const wrongMode = "mode must be 'exclusive' or 'shared'"
export const wrongSignal = 'signal must be an AbortSignal'

/** @throws HoldfastError `INVALID_OPTION` unless the value is an `AbortSignal` or undefined */
export function checkSignal(signal: unknown): void {
  if (signal === undefined) return
  // Not `instanceof`, because the signal may come from an iframe.
  const { aborted, addEventListener } = (signal ?? {}) as Partial<AbortSignal>
  const isSignal = typeof aborted === 'boolean' && typeof addEventListener === 'function'
  check(isSignal, wrongSignal)
}
