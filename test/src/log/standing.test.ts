/**
 * How long a broker may count on itself and when it takes another one for dead: by two sides of one
 * table, and by trying out many ways in which the two can be delayed.
 */
import { FailureDetector, heartbeatMsFor, SelfLease } from '@holdfast/server/internal'
import { expect } from 'chai'
import { type Random, seeded } from '../support/counts.js'

const deadMs = 6_000

describe('standing', () => {
  it('begins when an entry has come back, and runs from when it was sent', () => {
    const standing = new SelfLease(deadMs)
    expect(standing.isOver(0)).to.equal(true)
    standing.onSent(1, 1_000)
    expect(standing.isOver(1_000)).to.equal(true)
    expect(standing.onOwnEntry(1)).to.equal(1_000)
    expect(standing.isOver(1_000 + 5_800)).to.equal(false)
    expect(standing.isOver(1_000 + 5_820)).to.equal(true)
  })

  it('is shorter than the dead time by more than two clocks may differ', () => {
    for (const dead of [1_000, 1_500, 6_000, 60_000]) {
      const standing = new SelfLease(dead)
      standing.onSent(1, 0)
      standing.onOwnEntry(1)
      expect(standing.until).to.be.lessThan(dead * 0.99)
      expect(standing.until).to.be.greaterThan(4 * heartbeatMsFor(dead))
    }
  })

  it('is prolonged by the newest entry that has come back, not by those under way', () => {
    const standing = new SelfLease(deadMs)
    for (const n of [1, 2, 3]) standing.onSent(n, n * 100)
    standing.onOwnEntry(2)
    expect(standing.until - 200).to.be.closeTo(5_819, 0.001)
    expect(standing.onOwnEntry(3)).to.equal(300)
    expect(standing.until - 300).to.be.closeTo(5_819, 0.001)
  })

  it('is not prolonged by what comes back once more', () => {
    const standing = new SelfLease(deadMs)
    standing.onSent(1, 100)
    standing.onOwnEntry(1)
    const { until } = standing
    expect(standing.onOwnEntry(1)).to.equal(undefined)
    expect(standing.until).to.equal(until)
  })
})

/** Own entries that come back every second; returns who was found silent when. */
function watch(
  vigil: FailureDetector,
  from: number,
  to: number,
  n = from / 1_000,
): [number, string][] {
  const found: [number, string][] = []
  for (let now = from; now <= to; now += 1_000, n++) {
    for (const other of vigil.onOwnEntry(n, n, now)) found.push([now, other])
  }
  return found
}

describe('vigil', () => {
  it('finds who is silent for longer than the dead time, and an own entry longer', () => {
    const vigil = new FailureDetector(deadMs, ['b'], 0)
    expect(watch(vigil, 1_000, 10_000)[0]).to.deep.equal([8_000, 'b'])
  })

  it('does not count an entry that was sent before the silence was complete', () => {
    const vigil = new FailureDetector(deadMs, ['b'], 0)
    watch(vigil, 1_000, 6_000)
    // Suspected when entry 7 returns; 8 was under way by then.
    expect(vigil.onOwnEntry(7, 8, 7_000)).to.deep.equal([])
    expect(vigil.hasSuspects).to.equal(true)
    expect(vigil.onOwnEntry(8, 9, 8_000)).to.deep.equal([])
    expect(vigil.onOwnEntry(9, 9, 8_100)).to.deep.equal(['b'])
  })

  it('hears whoever says something, and whoever is new', () => {
    const vigil = new FailureDetector(deadMs, ['b'], 0)
    watch(vigil, 1_000, 7_000)
    vigil.onEntryOf('b', 7_500)
    vigil.onEntryOf('c', 7_500)
    expect(vigil.hasSuspects).to.equal(false)
    expect(watch(vigil, 8_000, 14_000)).to.deep.equal([])
    expect(watch(vigil, 15_000, 15_000)).to.deep.equal([
      [15_000, 'b'],
      [15_000, 'c'],
    ])
  })

  it('names somebody again only after one more entry, and nobody who is gone', () => {
    const vigil = new FailureDetector(deadMs, ['b'], 0)
    watch(vigil, 1_000, 7_000)
    expect(vigil.onOwnEntry(8, 9, 8_000)).to.deep.equal(['b'])
    expect(vigil.onOwnEntry(9, 9, 8_010)).to.deep.equal([])
    expect(vigil.onOwnEntry(10, 10, 9_000)).to.deep.equal(['b'])
    vigil.remove('b')
    expect(watch(vigil, 10_000, 30_000)).to.deep.equal([])
  })

  it('forgives everybody while its own entries do not come back', () => {
    const vigil = new FailureDetector(deadMs, ['b'], 0)
    watch(vigil, 1_000, 3_000)
    // Nothing comes back for 20 s, which is 18 s more than usual: 5 s of silence are left of it.
    expect(watch(vigil, 23_000, 23_000)).to.deep.equal([])
    expect(watch(vigil, 24_000, 26_000)).to.deep.equal([[26_000, 'b']])
  })

  it('gives nobody more than its whole time by that', () => {
    const vigil = new FailureDetector(deadMs, ['b'], 0)
    watch(vigil, 1_000, 3_000)
    vigil.onEntryOf('b', 22_999)
    const [found] = watch(vigil, 23_000, 40_000)
    expect(found).to.deep.equal([31_000, 'b'])
  })
})

describe('standing and vigil together', () => {
  it('a broker is taken for dead only after its own time is over, whatever is delayed', () => {
    seeded((random) => {
      for (let round = 0; round < 300; round++) expectSafe(random)
    })
  })
})

/**
 * One broker speaks at random moments and is heard, with random delays, by itself and by another
 * one that watches it, whose own entries come back irregularly. One order for all.
 */
function expectSafe(random: Random): void {
  const standing = new SelfLease(deadMs)
  const vigil = new FailureDetector(deadMs, ['b'], 0)
  let ordered = 0
  let n = 0
  let own = 0
  let deadAt = Number.POSITIVE_INFINITY
  const silentFrom = random.below(20_000)
  for (let now = 0; now < 60_000 && deadAt === Number.POSITIVE_INFINITY; ) {
    now += random.below(1_500)
    if (now < silentFrom && random.chance(0.7)) {
      const sentAt = now - random.below(400)
      standing.onSent(++n, sentAt)
      ordered = Math.max(ordered, now)
      vigil.onEntryOf('b', ordered + random.below(300))
      if (random.chance(0.9)) standing.onOwnEntry(n)
    }
    own++
    ordered = Math.max(ordered, now)
    if (vigil.onOwnEntry(own, own, ordered).length > 0) deadAt = ordered
  }
  expect(deadAt).to.be.lessThan(Number.POSITIVE_INFINITY)
  expect(deadAt).to.be.greaterThan(standing.until)
}
