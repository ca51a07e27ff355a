/** The small questions that every check of what a caller gave us is made of. */
import { type ErrorCode, HoldfastError, maxMs } from '@holdfast/shared'

export function isMs(value: unknown, least: number): value is number {
  return Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= maxMs
}

export function isText(value: unknown, longest: number): value is string {
  return typeof value === 'string' && value.length >= 1 && value.length <= longest
}

export function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null
}

export function isIterable(value: unknown): boolean {
  return (
    value !== null &&
    value !== undefined &&
    typeof (value as { [Symbol.iterator]?: unknown })[Symbol.iterator] === 'function'
  )
}

export function check(condition: boolean, code: ErrorCode, sentence?: string): asserts condition {
  if (!condition) throw new HoldfastError(code, sentence)
}
