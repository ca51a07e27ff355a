/**
 * A first look at what a stranger sent, before anything is done with it that costs more than
 * reading it. Printing or measuring a value that is nested ten thousand deep takes a hundred times
 * longer than sending it does, and so would explaining what is wrong with each of its thirty
 * thousand parts.
 */
import { maxMetadataBytes } from '../limits.js'

/** Most values within one: metadata has room for no more, since each takes at least two bytes. */
const maxParts = maxMetadataBytes / 2 + 64

/**
 * Whether a value parsed from JSON has a bounded number of parts and is nested at most `maxDepth`
 * deep: a string or number is not nested at all, an empty array once. Takes a time that is bounded,
 * too, whatever the value.
 */
export function isWithinJsonLimits(value: unknown, maxDepth: number): boolean {
  return partsLeft(value, maxDepth, maxParts) >= 0
}

/** What this value leaves of the parts that it may have; below 0 if it is too big or too deep. */
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
