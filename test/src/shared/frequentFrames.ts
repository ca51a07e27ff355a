/**
 * Checks for the functions that read frequent frames without `JSON.parse`. For every text, each of
 * these functions must return what `parseFrame` returns. Otherwise client or broker would accept
 * messages that are not JSON, or would act on other values than the sender wrote.
 */
import { parseFrame } from '@holdfast/shared'
import { expect } from 'chai'
import fc from 'fast-check'
import { quickOrFullRuns } from '../support/counts.js'

/** Makes the integers of messages, such as ids and fences. A fence is the number of a grant. */
export const integer = fc.oneof(
  fc.nat(),
  fc.maxSafeNat(),
  // Integers near 2 ** 53, the limit of exact integers, and integers of about as many digits.
  fc.bigInt(2n ** 53n - 3n, 2n ** 53n + 3n),
  fc.bigInt(10n ** 15n - 2n, 10n ** 17n),
)

/** Makes frames of frequent messages, and frames that also have other messages or values. */
function frameOf(frequent: fc.Arbitrary<string>): fc.Arbitrary<string> {
  const other = fc.constantFrom('{"type":"bye"}', '{"type":"ack","ids":[1,2]}', '1', '[]', 'null')
  return fc.oneof(
    frequent,
    fc.array(frequent, { minLength: 1, maxLength: 6 }).map((messages) => `[${messages.join()}]`),
    fc.array(fc.oneof(frequent, other), { maxLength: 4 }).map((messages) => `[${messages.join()}]`),
  )
}

/** What a change adds: a character with a meaning in JSON, an unusual character, or nothing. */
const addition = fc.constantFrom(...'"\\,:{}[]0123456789-+.eE u/', '\0', '\n', '\x7f', 'é', '')

/** A change of a text. The place is a fraction of the length of the text. */
const change = fc.record({
  place: fc.double({ min: 0, max: 1, noNaN: true }),
  removedCount: fc.nat(2),
  added: addition,
})

/** Returns the text after these changes. */
function changed(
  text: string,
  changes: readonly { place: number; removedCount: number; added: string }[],
) {
  let result = text
  for (const { place, removedCount, added } of changes) {
    const at = Math.floor(place * result.length)
    result = result.slice(0, at) + added + result.slice(at + removedCount)
  }
  return result
}

/**
 * Registers tests that compare `parse` with `parseFrame`.
 *
 * @param frequent Makes texts of frequent messages.
 * @param examples Frequent messages of every type. Together they have all fields.
 */
export function comparesWithParseFrame(
  parse: (text: string) => readonly unknown[] | undefined,
  frequent: fc.Arbitrary<string>,
  examples: readonly string[],
): void {
  const frame = frameOf(frequent)

  it('returns what parseFrame returns for frames of frequent messages', () => {
    const property = fc.property(frame, (text) => {
      expect(parse(text)).to.deep.equal(parseFrame(text))
    })
    fc.assert(property, quickOrFullRuns(2_000, 50_000))
  })

  it('returns what parseFrame returns for frames of frequent messages with changed characters', () => {
    const changes = fc.array(change, { minLength: 1, maxLength: 3 })
    const property = fc.property(frame, changes, (text, list) => {
      const input = changed(text, list)
      expect(parse(input), input).to.deep.equal(parseFrame(input))
    })
    fc.assert(property, quickOrFullRuns(5_000, 200_000))
  })

  it('returns what parseFrame returns for each beginning of a frame', () => {
    const text = `[${examples.join()}]`
    for (let length = 0; length <= text.length; length++) {
      const input = text.slice(0, length)
      expect(parse(input), input).to.deep.equal(parseFrame(input))
    }
  })
}
