/**
 * Tests the verdict of a soak run with made-up samples: which growth is a leak, and which is not.
 */
import { expect } from 'chai'
import { Random } from '../support/counts.js'
import { bounds, fitLine, type Growth, growthOf, type Quantity, type Sample } from './slopes.js'

const minute = 60_000
const hour = 60 * minute
const mib = 1024 * 1024

/** Makes a sample each minute, with one quantity. */
function samplesOf(
  quantity: Quantity,
  hours: number,
  valueAt: (at: number) => number,
): readonly Sample[] {
  // The first sample is at 0, and the last is at the end of the last hour.
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

  it('refuses to fit a line through points of one time', () => {
    const fit = () => fitLine([{ at: 1, value: 2 }])
    expect(fit).to.throw('A slope needs points at two different times')
  })

  it('accepts a heap that moves up and down without growing', () => {
    const random = new Random(1)
    const { slopePerHour, isWithin } = growth('heap', 1, () => 10 * mib + random.below(mib))
    expect(isWithin).to.equal(true)
    expect(Math.abs(slopePerHour)).to.be.below(mib / 2)
  })

  it('notices a leak that is smaller than the noise of single samples', () => {
    const random = new Random(1)
    // The leak of half a MiB in an hour is below the noise of 2 MiB. But a slope is fitted to all
    // samples.
    const leak = (at: number) => 10 * mib + random.below(2 * mib) + (at / hour) * (mib / 2)
    expect(growth('heap', 24, leak).isWithin).to.equal(false)
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
      const grow = (slope: number) => growth(quantity, 2, (at) => 1_000 + (slope * at) / hour)
      expect(grow(limit).allowedPerHour).to.be.closeTo(limit, limit / 1e6)
      expect([grow(limit * 0.99).isWithin, grow(limit * 1.01).isWithin]).to.deep.equal([
        true,
        false,
      ])
    })
  }

  it('judges each quantity that a process reports, and leaves out the others', () => {
    const samples = samplesOf('rss', 1, () => 1).map(({ at }) => {
      return { at, values: { rss: 1, heap: at * 10, descriptors: undefined } }
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
