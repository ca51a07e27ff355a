/**
 * Limits on the size and depth of a parsed JSON value. The broker checks the limits before
 * `JSON.stringify` or superstruct processes the value. A client can cheaply send a value with ten
 * thousand levels. To process that value costs the broker a hundred times more than sending costs
 * the client.
 *
 * The limit on the size is a number of JSON values. It counts the value itself, and each object,
 * array, string, number, boolean and null within the value.
 */
import { maxMetadataBytes, maxResultBytes } from '../limits.js'

/**
 * The highest number of JSON values in a message of any type except `complete`. Of these types,
 * `campaign` needs the most. A `campaign` has two large fields: the metadata of a lock, and the
 * value that the leader of an election publishes. Each field has at most `maxMetadataBytes` bytes.
 * A JSON value takes two bytes or more, together with the comma or bracket after it. The outermost
 * value of a field is counted too, and the byte after this value is outside the field. So the JSON
 * values of a field share at most `maxMetadataBytes + 1` bytes. Rounded down, half of this number
 * is `maxMetadataBytes / 2`, so both fields together have at most `maxMetadataBytes` JSON values.
 * The 64 further JSON values are for the other fields.
 */
const maxJsonValues = maxMetadataBytes + 64
/**
 * The highest number of JSON values in a `complete` message. Its only large field, `value`, is the
 * value that a client computed for the callers of a `once`. This field has at most
 * `maxResultBytes / 2` JSON values, for the same reason as above. The 64 further JSON values are
 * for the other fields.
 */
export const maxJsonValuesWithResult = maxResultBytes / 2 + 64

/**
 * Whether a parsed JSON value contains at most `maxValues` JSON values and at most `maxDepth`
 * levels. A string or a number has no level; an empty array has one level. The check visits at most
 * `maxValues` JSON values, so its time is bounded.
 */
export function isWithinJsonLimits(
  value: unknown,
  maxDepth: number,
  maxValues = maxJsonValues,
): boolean {
  return valuesLeft(value, maxDepth, maxValues) >= 0
}

/**
 * Returns how many JSON values are still allowed after `value`: `allowedValues` minus the number of
 * JSON values that `value` contains. The result is below 0 if the value is too big or too deep.
 */
function valuesLeft(value: unknown, maxDepth: number, allowedValues: number): number {
  if (typeof value !== 'object' || value === null) return allowedValues - 1
  if (maxDepth === 0) return -1
  let left = allowedValues - 1
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length && left >= 0; i++) {
      left = valuesLeft(value[i], maxDepth - 1, left)
    }
    return left
  }
  for (const field in value) {
    left = valuesLeft((value as Record<string, unknown>)[field], maxDepth - 1, left)
    if (left < 0) break
  }
  return left
}
