/**
 * Writes integers that differ in nearly every message, such as ids of requests and fences. A fence
 * is the number of a grant.
 */

/** `integerText` takes the last three digits from a list, which has this many texts. */
const lastPartSize = 1_000

/** The texts of the last three digits: `000` to `999`. */
const lastParts = /* @__PURE__ */ Array.from({ length: lastPartSize }, (_, part) =>
  `${part}`.padStart(3, '0'),
)

/**
 * The decimal text of a safe integer that is not negative.
 *
 * V8 keeps the texts of many recently converted numbers. So the text of each new number would
 * survive in memory, and every garbage collection would have to copy that text. This function
 * converts only the upper part, which a thousand consecutive integers share. See the table in
 * `test/bench/README.md`.
 */
export function integerText(value: number): string {
  if (value < lastPartSize) return `${value}`
  const upperPart = Math.floor(value / lastPartSize)
  return `${upperPart}${lastParts[value - upperPart * lastPartSize]}`
}
