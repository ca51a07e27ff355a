/**
 * Limits on the size and depth of a parsed JSON value. The broker checks the limits before any
 * expensive work, because a client can send a value with ten thousand levels cheaply. To print or
 * measure such a value costs the broker a hundred times more.
 *
 * Each object, array, string, number, boolean and null in a value is a part of that value.
 */
import { maxMetadataBytes, maxResultBytes } from '../limits.js'

/**
 * The most parts that a message may have, and so the most parts of a value in a message. A message
 * has at most two large values: its metadata and the value of a leader. Each has no room for more
 * than `maxMetadataBytes / 2` parts, because the JSON text of a part and its separator takes two
 * bytes or more. The 64 further parts are for the other fields of the message.
 */
const maxParts = maxMetadataBytes + 64
/** The most parts that the value of a `once` may have. */
export const maxResultParts = maxResultBytes / 2 + 64

/**
 * Whether a parsed JSON value has at most `parts` parts and at most `maxDepth` levels. A string or
 * a number has no level; an empty array has one level. The check visits at most `parts` parts, so
 * its time is bounded.
 */
export function isWithinJsonLimits(value: unknown, maxDepth: number, parts = maxParts): boolean {
  return partsLeft(value, maxDepth, parts) >= 0
}

/**
 * Subtracts the parts of a value from `parts`, the number of parts that are still allowed. The
 * result is below 0 if the value is too big or too deep.
 */
function partsLeft(value: unknown, maxDepth: number, parts: number): number {
  if (typeof value !== 'object' || value === null) return parts - 1
  if (maxDepth === 0) return -1
  let left = parts - 1
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
