/** Tests `integerText`, which writes the numbers of frequent messages. */
import { integerText } from '@holdfast/shared'
import { expect } from 'chai'
import fc from 'fast-check'
import { quickOrFullRuns } from '../support/counts.js'

describe('shared: integerText', () => {
  it('writes an integer as a template literal does', () => {
    const anyInteger = fc.maxSafeNat()
    // `integerText` divides by 1,000. Near a multiple of 1,000 and near the highest safe integer,
    // the quotient could be rounded.
    const nearThousands = fc
      .tuple(
        fc.nat({ max: Math.floor(Number.MAX_SAFE_INTEGER / 1_000) }),
        fc.integer({ min: -1, max: 1 }),
      )
      .map(([thousands, distance]) => Math.abs(thousands * 1_000 + distance))
    const nearHighest = fc.nat({ max: 5_000 }).map((distance) => Number.MAX_SAFE_INTEGER - distance)
    const property = fc.property(
      fc.oneof(fc.nat({ max: 5_000 }), anyInteger, nearThousands, nearHighest),
      (value) => {
        expect(integerText(value)).to.equal(`${value}`)
      },
    )
    fc.assert(property, quickOrFullRuns(2_000, 100_000))
  })
})
