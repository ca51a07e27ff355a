/**
 * Tests the verdict of a soak run with made-up samples: which growth is a leak, and which is not.
 */
import { expect } from 'chai'
import { Random } from '../support/counts.js'
import { bounds, fitLine, type Growth, growthOf, type Quantity, type Sample } from './slopes.js'

const minute = 60_000
const hour = 60 * minute
const mib = 1024 * 1024

/** Makes samples with a single quantity, one for each minute of some hours. */
function samplesOf(
  quantity: Quantity,
  hours: number,
  valueAt: (at: number) => number,
): readonly Sample[] {
  // One more than the minutes: the first sample is at 0, and the last at the end of the hours.
  return Array.from({ length: hours * 60 + 1 }, (_, i) => {
    const at = i * minute
    return { at, values: { [quantity]: valueAt(at) } }
  })
}

/** The growth of one quantity over some hours. The warm-up is a quarter of an hour. */
function growth(quantity: Quantity, hours: number, valueAt: (at: number) => number): Growth {
  const growths = growthOf('broker', samplesOf(quantity, hours, valueAt), hour / 4)
  expect(growths.length).to.equal(1)
  return growths[0]!
}

describe('soak: the verdict', () => {
  it('fits a line exactly to points that lie on a line', () => {
    const points = [0, 1, 2, 7].map((at) => ({ at, value: 3 + 2 * at }))
    expect(fitLine(points)).to.deep.equal({ first: 3, last: 17, slope: 2 })
  })

  it('fits a line by least squares to points that do not lie on a line', () => {
    const points = [1, 2, 3, 4].map((at, i) => ({ at, value: [6, 5, 7, 10][i]! }))
    expect(fitLine(points)).to.deep.include({ slope: 1.4, first: 4.9 })
  })

  it('refuses to fit a line through a single point', () => {
    const fit = () => fitLine([{ at: 1, value: 2 }])
    expect(fit).to.throw('A slope needs points at two different times')
  })

  it('accepts a heap that moves up and down without growing', () => {
    const random = new Random(1)
    const { slopePerHour, isWithin } = growth('heap', 1, () => 10 * mib + random.below(mib))
    expect(isWithin).to.equal(true)
    expect(Math.abs(slopePerHour)).to.be.below(mib / 2)
  })

  it('notices a leak that adds less in an hour than the noise of a single sample', () => {
    const random = new Random(1)
    // In an hour, the leak adds half a MiB, and the noise is 2 MiB. The samples of 24 hours show
    // the leak.
    const leakingHeap = (at: number) => 10 * mib + random.below(2 * mib) + (at / hour) * (mib / 2)
    expect(growth('heap', 24, leakingHeap).isWithin).to.equal(false)
  })

  it('accepts growth before the end of the warm-up', () => {
    const growDuringWarmUp = (at: number) => Math.min(at, hour / 4) * 100
    const { first, slopePerHour, isWithin } = growth('heap', 1, growDuringWarmUp)
    expect([first, slopePerHour, isWithin]).to.deep.equal([(hour / 4) * 100, 0, true])
  })

  it('notices a leak of one descriptor in ten minutes', () => {
    expect(growth('descriptors', 4, (at) => 20 + Math.floor(at / (10 * minute)))).to.deep.include({
      process: 'broker',
      quantity: 'descriptors',
      isWithin: false,
    })
  })

  it('accepts memory that shrinks', () => {
    const { slopePerHour, isWithin } = growth('rss', 2, (at) => 200 * mib - at)
    expect([slopePerHour < 0, isWithin]).to.deep.equal([true, true])
  })

  for (const quantity of Object.keys(bounds) as Quantity[]) {
    it(`separates growth just within the bound from growth just beyond it: ${quantity}`, () => {
      const { once, perHour } = bounds[quantity]
      // Two hours minus the warm-up.
      const measuredHours = 2 - 1 / 4
      const limit = once / measuredHours + perHour
      const growWith = (slopePerHour: number) =>
        growth(quantity, 2, (at) => 1_000 + (slopePerHour * at) / hour)
      expect(growWith(limit).allowedPerHour).to.be.closeTo(limit, limit / 1e6)
      expect([growWith(limit * 0.99).isWithin, growWith(limit * 1.01).isWithin]).to.deep.equal([
        true,
        false,
      ])
    })
  }

  it('judges each quantity that a process reports, and leaves out the others', () => {
    const samples = samplesOf('heap', 1, (at) => at * 10).map(({ at, values }) => {
      return { at, values: { ...values, rss: 1, descriptors: undefined } }
    })
    const growths = growthOf('client 1', samples, 0)
    expect(growths.map(({ quantity, isWithin }) => [quantity, isWithin])).to.deep.equal([
      ['rss', true],
      ['heap', false],
    ])
  })

  it('refuses a verdict from too few samples after the warm-up', () => {
    // The warm-up of 55 minutes leaves the samples of the minutes 55 to 60.
    const warmUpMs = 55 * minute
    const samples = samplesOf('rss', 1, () => 1)
    const judge = () => growthOf('broker', samples, warmUpMs)
    expect(judge).to.throw(/^broker has 6 samples of rss after the warm-up, .* needs 10: run/)
  })
})
