/**
 * Tests the formula for the expiry margin. A client relies on periods that the clock of the broker
 * measures, such as a lease or a ttl. The rates of the two clocks may differ by 1 %, so the client
 * counts on only 99 % of each period. From these 99 %, the client subtracts the margin. The margin
 * is the larger one of 50 ms and 2 % of the period, but at most 10 % of the period. The formula
 * adds 1 ms for rounding.
 */
import { expiryMargin, safeDuration, slowestClockRate } from '@holdfast/shared'
import { expect } from 'chai'
import fc from 'fast-check'
import { quickOrFullRuns } from '../support/counts.js'

describe('shared: the expiry margin', () => {
  const margins: [ms: number, margin: number][] = [
    [10, 2],
    [100, 11],
    [500, 51],
    [2_000, 51],
    [2_500, 51],
    [15_000, 301],
    [300_000, 6_001],
  ]
  for (const [ms, margin] of margins) {
    it(`of ${ms} ms is ${margin} ms`, () => expect(expiryMargin(ms)).to.equal(margin))
  }

  it('leaves a client 14,549 ms of a lease of 15,000 ms', () => {
    // 99 % of the lease is 14,850 ms, and the margin is 301 ms.
    expect(safeDuration(15_000)).to.equal(14_549)
  })

  it('of a lock depends on the ttl alone, even if the client counts a longer period', () => {
    // The client counts from its request, which arrived 200 ms before the grant. The ttl of
    // 10,000 ms begins at the grant, and has a margin of 201 ms.
    expect(safeDuration(200 + 10_000, 10_000)).to.equal(10_200 * slowestClockRate - 201)
  })

  it('is above 0, and does not use up a period that has 10 ms or more', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2 ** 31 - 1 }), (ms) => {
        expect(expiryMargin(ms)).to.be.greaterThan(0)
        expect(safeDuration(ms)).to.be.below(ms)
        // The 1 ms for rounding may use up a shorter period.
        if (ms >= 10) expect(safeDuration(ms)).to.be.greaterThan(0)
      }),
      quickOrFullRuns(200, 5_000),
    )
  })
})
