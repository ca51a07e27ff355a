/**
 * Limits on the size and depth of a parsed JSON value. The broker checks the limits before it
 * prints or measures the value. A client can cheaply send a value with ten thousand levels, but to
 * print or measure that value costs the broker a hundred times more.
 *
 * Each object, array, string, number, boolean and null in a value is a part of that value.
 */
import { maxMetadataBytes, maxResultBytes } from '../limits.js'

/**
 * The most parts of a message that does not have the value of a `once`. Such a message has at most
 * two large values: its metadata and the value of a leader. Each of these two values has no room
 * for more than `maxMetadataBytes / 2` parts, because the JSON text of a part and its separator
 * takes two bytes or more. The 64 further parts are for the other fields.
 */
const maxMessageParts = maxMetadataBytes + 64
/**
 * The most parts of a message that has the value of a `once`. This value is the only large value of
 * the message, and each part of the value takes two bytes or more.
 */
export const maxResultParts = maxResultBytes / 2 + 64

/**
 * Whether a parsed JSON value has at most `maxParts` parts and at most `maxDepth` levels. A string
 * or a number has no level; an empty array has one level. The check visits at most `maxParts`
 * parts, so its time is bounded.
 */
export function isWithinJsonLimits(
  value: unknown,
  maxDepth: number,
  maxParts = maxMessageParts,
): boolean {
  return partsLeft(value, maxDepth, maxParts) >= 0
}

/**
 * Subtracts the parts of a value from `allowedParts`, and returns how many further parts are
 * allowed. The result is below 0 if the value is too big or too deep.
 */
function partsLeft(value: unknown, maxDepth: number, allowedParts: number): number {
  if (typeof value !== 'object' || value === null) return allowedParts - 1
  if (maxDepth === 0) return -1
  let left = allowedParts - 1
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length && left >= 0; i++) {
      left = partsLeft(value[i], maxDepth - 1, left)
    }
    return left
  }
  for (const field in value) {
    left = partsLeft((value as Record<string, unknown>)[field], maxDepth - 1, left)
    if (left < 0) break
  }
  return left
}
