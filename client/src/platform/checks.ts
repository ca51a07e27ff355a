/** The small questions that every check of what a caller gave us is made of. */
import {
  type ErrorCode,
  HoldfastError,
  isIntegerFrom,
  type LockMode,
  maxMs,
} from '@holdfast/shared'

export function isMs(value: unknown, least: number): value is number {
  return isIntegerFrom(value, least, maxMs)
}

/** Whether it is a well-formed string of 1 to so many characters. */
function isText(value: unknown, longest: number): value is string {
  return (
    typeof value === 'string' &&
    value.length >= 1 &&
    value.length <= longest &&
    !/\p{Cs}/u.test(value)
  )
}

export function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null
}

export function check(
  condition: boolean,
  sentence: string | undefined,
  code: ErrorCode = 'INVALID_OPTION',
): asserts condition {
  if (!condition) throw new HoldfastError(code, sentence)
}

/** For an option: `sentence` goes on after its name. */
export function checkText(name: string, value: unknown, longest: number): void {
  check(isText(value, longest), `${name} has to be a string of 1 to ${longest} characters`)
}

/** Both ways to ask for a lock take a mode and a signal, and refuse a wrong one alike. */
export const wrongMode = "mode has to be 'exclusive' or 'shared'"
export const wrongSignal = 'signal has to be an AbortSignal'

export function isMode(value: unknown): value is LockMode {
  return value === 'exclusive' || value === 'shared'
}

export function checkFunction(name: string, value: unknown): void {
  check(typeof value === 'function', `${name} must be a function`)
}
