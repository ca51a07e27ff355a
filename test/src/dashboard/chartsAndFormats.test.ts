/**
 * Tests the rows of numbers from which the dashboard draws its charts, and the number formats. A
 * hand-off is the time from an unlock to the next grant.
 */
import type { LockStats } from '@holdfast/client'
import { expect } from 'chai'
import { loadModule } from './modules.js'

/** The counters of a broker: `counts`, and 0 for all other counters. */
function stats(counts: Partial<LockStats>): LockStats {
  const zeros = { totalLocks: 0, activeLocks: 0, failedLocks: 0, expiredLocks: 0 }
  return { ...zeros, refreshCount: 0, unlockCount: 0, successRate: 0, ...counts }
}

/** The wall clock when the monotonic clock is 0, in ms. */
const epoch = 1_000_000

/**
 * A sample of the broker when the monotonic clock is `now`, in ms. These tests do not depend on
 * `held`, `waiting` and `roundTrip`.
 */
function sample(now: number, counts: Partial<LockStats>) {
  return { wall: epoch + now, now, stats: stats(counts), held: 1, waiting: 2, roundTrip: 3 }
}

describe('the charts', () => {
  it('show the differences of counters per second', async () => {
    const series = new (await loadModule('series')).TimeSeries()
    series.add(sample(0, { totalLocks: 10, failedLocks: 4 }))
    expect(series.times).to.deep.equal([])
    series.add(sample(2_000, { totalLocks: 30, failedLocks: 10, unlockCount: 5, expiredLocks: 1 }))
    // The wall clock of the second sample, in s.
    expect(series.times).to.deep.equal([1_002])
    // `totalLocks` also counts failures: the 20 new requests are 14 grants and 6 failures, in 2 s.
    expect(series.latest('grants')).to.equal(7)
    expect(series.latest('failures')).to.equal(3)
    expect(series.latest('releases')).to.equal(2.5)
    expect(series.latest('expirations')).to.equal(0.5)
    expect(series.latest('handoff')).to.equal(null)
  })

  it('have a gap at a lost connection, and no row at a restart of the broker', async () => {
    const series = new (await loadModule('series')).TimeSeries()
    series.add(sample(0, { totalLocks: 10 }))
    series.add(sample(1_000, { totalLocks: 20 }))
    series.addGap(epoch + 1_500)
    series.addGap(epoch + 1_600)
    series.add(sample(5_000, { totalLocks: 900 }))
    series.add(sample(6_000, { totalLocks: 901 }))
    series.add(sample(7_000, { totalLocks: 1 }))
    // Two gaps in a row make one `null`. The first sample after a gap adds no row, and neither does
    // a sample whose counter fell, because the broker was restarted.
    expect(series.column('grants')).to.deep.equal([10, null, 1])
  })

  it('show the slowest hand-off of each second', async () => {
    const series = new (await loadModule('series')).TimeSeries()
    series.add(sample(0, {}))
    series.addHandoff(2)
    series.addHandoff(9)
    series.add(sample(1_000, {}))
    series.add(sample(2_000, {}))
    expect(series.column('handoff')).to.deep.equal([9, null])
  })

  it('keep a limited number of rows', async () => {
    const { TimeSeries, maxRows, columns } = await loadModule('series')
    const series = new TimeSeries()
    for (let n = 0; n <= maxRows + 5; n++) series.add(sample(n * 1_000, { totalLocks: n }))
    expect(series.times).to.have.length(maxRows)
    for (const name of columns) expect(series.column(name)).to.have.length(maxRows)
  })
})

describe('the formats of the dashboard', () => {
  it('show durations with at most two units, and latencies with one unit', async () => {
    const { formatTwoUnits, formatLatency } = await loadModule('format')
    const texts = [0, 999, 59_000, 61_000, 3_600_000, 90_061_000, -5].map(formatTwoUnits)
    expect(texts).to.deep.equal(['0 s', '0 s', '59 s', '1 min 1 s', '1 h', '1 d 1 h', '0 s'])
    expect([null, 0.04, 3.26, 12.7, 1_250].map(formatLatency)).to.deep.equal([
      '–',
      '0.0 ms',
      '3.3 ms',
      '13 ms',
      '1.3 s',
    ])
  })

  it('show counts and rates, and do not round a share up to 100 %', async () => {
    const { formatCount, formatPercent, formatPlural, formatRate, formatCompactCount } =
      await loadModule('format')
    expect([
      formatCount(12_345),
      formatCompactCount(9_999),
      formatCompactCount(12_345),
    ]).to.deep.equal(['12,345', '9,999', '12.3K'])
    expect([1, 0, 0.99999, 0.5].map(formatPercent)).to.deep.equal([
      '100 %',
      '0 %',
      '99.9 %',
      '50 %',
    ])
    expect([null, 0, 2.25, 4.04, 17.6].map(formatRate)).to.deep.equal([
      '–',
      '0',
      '2.3',
      '4.0',
      '18',
    ])
    expect([formatPlural(1, 'lock'), formatPlural(2, 'lock')]).to.deep.equal(['1 lock', '2 locks'])
  })

  it('replace the middle of a long key, and keep whole characters', async () => {
    const { shortenMiddle } = await loadModule('format')
    // A text of up to 48 characters stays. Of a longer text, the first 27 and the last 20 stay.
    const key = `documents/${'folder/'.repeat(10)}chapter-42`
    expect(shortenMiddle('x'.repeat(48))).to.equal('x'.repeat(48))
    expect(shortenMiddle(key)).to.equal('documents/folder/folder/fol…er/folder/chapter-42')
    expect(shortenMiddle('😀'.repeat(49))).to.equal(`${'😀'.repeat(27)}…${'😀'.repeat(20)}`)
  })
})
