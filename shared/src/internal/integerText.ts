/**
 * Writes integers that differ in nearly every message, such as ids of requests and fences. A fence
 * is the number of a grant.
 */

/** How many values the last digits have that `integerText` takes from a list. */
const lastPartSize = 1_000

/** The texts of the last three digits: `000` to `999`. */
const lastParts = /* @__PURE__ */ Array.from({ length: lastPartSize }, (_, part) =>
  `${part}`.padStart(3, '0'),
)

/**
 * The decimal text of a safe integer that is not negative.
 *
 * V8 keeps the texts of many numbers that were converted last. So the text of each new number would
 * survive in memory, and every collection of garbage would have to copy it. Of a thousand
 * consecutive integers, this function converts only one number, and V8 has the others already. See
 * the table in `test/bench/README.md`.
 */
export function integerText(value: number): string {
  if (value < lastPartSize) return `${value}`
  const upperPart = Math.floor(value / lastPartSize)
  return `${upperPart}${lastParts[value - upperPart * lastPartSize]}`
}
