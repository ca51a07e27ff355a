/**
 * Limits on the size and depth of a parsed JSON value. The broker checks them before any expensive
 * work: to print or measure a value that is nested ten thousand levels deep takes a hundred times
 * longer than to send it.
 */
import { maxMetadataBytes } from '../limits.js'

/**
 * Most parts of a value. Metadata has no room for more, because each part takes two bytes or more.
 */
const maxParts = maxMetadataBytes / 2 + 64

/**
 * Whether a parsed JSON value has at most `maxParts` parts and at most `maxDepth` levels. A string
 * or a number has no level; an empty array has one. The time that the check takes is bounded.
 */
export function isWithinJsonLimits(value: unknown, maxDepth: number): boolean {
  return partsLeft(value, maxDepth, maxParts) >= 0
}

/** How many parts are left after this value; below 0 if the value is too big or too deep. */
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
