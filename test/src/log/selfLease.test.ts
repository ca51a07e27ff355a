/**
 * Tests the self-lease and the failure detector of brokers that share a command log, the record of
 * all changes of locks. The brokers are the members of the log. The self-lease is the time for
 * which a broker knows that it is still a member. An own entry is an entry that the broker appended
 * itself. The entry returns when the log delivers it to this broker, and extends the self-lease.
 * The failure detector of another broker declares a silent member dead. With any delays, the
 * self-lease of a member must end before the member is declared dead.
 */
import { FailureDetector, heartbeatMsFor, SelfLease } from '@holdfast/server/internal'
import { expect } from 'chai'
import { type Random, runRandomTest } from '../support/counts.js'

/** The dead time: a member that is silent for longer may be declared dead. */
const deadMs = 6_000
/**
 * The self-lease is shorter than the dead time: by 1 % for different clock rates, and by 2 % and
 * 1 ms as a margin.
 */
const selfLeaseMs = 5_819

describe('self-lease', () => {
  // `onSent` gets the number and the sending time of an own entry. `onOwnEntry` gets the number of
  // a returned entry, and returns its sending time.
  it('begins when an own entry returns, and counts from the sending of the entry', () => {
    const selfLease = new SelfLease(deadMs)
    expect(selfLease.isOver(0)).to.equal(true)
    selfLease.onSent(1, 1_000)
    expect(selfLease.isOver(1_000)).to.equal(true)
    expect(selfLease.onOwnEntry(1)).to.equal(1_000)
    expect(selfLease.isOver(1_000 + selfLeaseMs - 1)).to.equal(false)
    expect(selfLease.isOver(1_000 + selfLeaseMs + 1)).to.equal(true)
  })

  it('is shorter than the dead time by more than 1 %, because clocks run at different rates', () => {
    for (const someDeadMs of [1_000, 1_500, 6_000, 60_000]) {
      const selfLease = new SelfLease(someDeadMs)
      selfLease.onSent(1, 0)
      selfLease.onOwnEntry(1)
      expect(selfLease.until).to.be.lessThan(someDeadMs * 0.99)
      // Several heartbeats may be lost before the self-lease ends.
      expect(selfLease.until).to.be.greaterThan(4 * heartbeatMsFor(someDeadMs))
    }
  })

  it('is extended by the newest returned entry, not by entries that have not returned', () => {
    const selfLease = new SelfLease(deadMs)
    for (const n of [1, 2, 3]) selfLease.onSent(n, n * 100)
    selfLease.onOwnEntry(2)
    expect(selfLease.until - 200).to.be.closeTo(selfLeaseMs, 0.001)
    expect(selfLease.onOwnEntry(3)).to.equal(300)
    expect(selfLease.until - 300).to.be.closeTo(selfLeaseMs, 0.001)
  })

  it('is not extended by a duplicate of a returned entry', () => {
    const selfLease = new SelfLease(deadMs)
    selfLease.onSent(1, 100)
    selfLease.onOwnEntry(1)
    const { until } = selfLease
    expect(selfLease.onOwnEntry(1)).to.equal(undefined)
    expect(selfLease.until).to.equal(until)
  })
})

/**
 * Lets an own entry return every second from `from` to `to`. Returns the time and the member of
 * each report that a member is dead. The arguments of `FailureDetector.onOwnEntry` are the number
 * of the returned entry, the number of the last sent entry, and the time.
 *
 * @param n The number of the first entry.
 */
function reportsOf(
  detector: FailureDetector,
  from: number,
  to: number,
  n = from / 1_000,
): [number, string][] {
  const reported: [number, string][] = []
  for (let now = from; now <= to; now += 1_000, n++) {
    for (const other of detector.onOwnEntry(n, n, now)) reported.push([now, other])
  }
  return reported
}

describe('failure detector', () => {
  it('suspects a silent member at an own entry after the dead time, and reports the member at the next', () => {
    const detector = new FailureDetector(deadMs, ['b'], 0)
    // 6,000 ms are not longer than the dead time. So the detector suspects b at 7,000 ms, and
    // reports b at the next own entry.
    expect(reportsOf(detector, 1_000, 10_000)[0]).to.deep.equal([8_000, 'b'])
  })

  it('does not report a suspected member until an entry returns that was sent after the suspicion', () => {
    const detector = new FailureDetector(deadMs, ['b'], 0)
    reportsOf(detector, 1_000, 6_000)
    // The detector suspects b when entry 7 returns. The broker has already sent entry 8.
    expect(detector.onOwnEntry(7, 8, 7_000)).to.deep.equal([])
    expect(detector.hasSuspects).to.equal(true)
    expect(detector.onOwnEntry(8, 9, 8_000)).to.deep.equal([])
    expect(detector.onOwnEntry(9, 9, 8_100)).to.deep.equal(['b'])
  })

  it('counts the silence of known and new members from their newest entries', () => {
    const detector = new FailureDetector(deadMs, ['b'], 0)
    reportsOf(detector, 1_000, 7_000)
    detector.onEntryOf('b', 7_500)
    detector.onEntryOf('c', 7_500)
    expect(detector.hasSuspects).to.equal(false)
    // At 14,000 ms, both have been silent for 6.5 s, and the detector only suspects them.
    expect(reportsOf(detector, 8_000, 14_000)).to.deep.equal([])
    expect(reportsOf(detector, 15_000, 15_000)).to.deep.equal([
      [15_000, 'b'],
      [15_000, 'c'],
    ])
  })

  it('repeats a report when an entry returns that was sent after the report, until the member is removed', () => {
    const detector = new FailureDetector(deadMs, ['b'], 0)
    reportsOf(detector, 1_000, 7_000)
    expect(detector.onOwnEntry(8, 9, 8_000)).to.deep.equal(['b'])
    expect(detector.onOwnEntry(9, 9, 8_010)).to.deep.equal([])
    expect(detector.onOwnEntry(10, 10, 9_000)).to.deep.equal(['b'])
    detector.remove('b')
    expect(reportsOf(detector, 10_000, 30_000)).to.deep.equal([])
  })

  it('does not count a stall, in which no own entry returns, as silence', () => {
    const detector = new FailureDetector(deadMs, ['b'], 0)
    reportsOf(detector, 1_000, 3_000)
    // No own entry returns for 20 s. The normal gap is at most 2 s, so 18 s are a stall. The
    // silence lasts 23 s, and 5 s of the silence count.
    expect(reportsOf(detector, 23_000, 23_000)).to.deep.equal([])
    expect(reportsOf(detector, 24_000, 26_000)).to.deep.equal([[26_000, 'b']])
  })

  it('counts the silence of a member from the end of the stall in which its newest entry arrived', () => {
    const detector = new FailureDetector(deadMs, ['b'], 0)
    reportsOf(detector, 1_000, 3_000)
    detector.onEntryOf('b', 22_999)
    // Counted from 23,000 ms, the silence exceeds 6 s at 30,000 ms. The report follows 1 s later.
    const [reported] = reportsOf(detector, 23_000, 40_000)
    expect(reported).to.deep.equal([31_000, 'b'])
  })
})

describe('self-lease and failure detector together', () => {
  it('let no broker be declared dead before the end of its self-lease, with any delays', () => {
    runRandomTest((random) => {
      for (let round = 0; round < 300; round++) expectDeathAfterSelfLease(random)
    })
  })
})

/**
 * Broker `b` appends entries at random times, and becomes silent. A second broker watches `b`. The
 * entries reach both brokers in one order, but with random delays. The entries of the second broker
 * return irregularly. Checks that the self-lease of `b` ends before `b` is declared dead.
 */
function expectDeathAfterSelfLease(random: Random): void {
  const selfLease = new SelfLease(deadMs)
  const detector = new FailureDetector(deadMs, ['b'], 0)
  /** When the log ordered the newest entry. This time never falls. */
  let orderedAt = 0
  /** The number of the newest entry of `b`. */
  let n = 0
  /** The number of the newest entry of the second broker. */
  let ownNumber = 0
  let deadAt = Number.POSITIVE_INFINITY
  const silentFrom = random.below(20_000)
  // In each step, at most 1.5 s pass, `b` may append an entry, and an entry of the second broker
  // returns. An entry of `b` takes up to 0.4 s to the log, and up to 0.3 s more to the second
  // broker. One of ten entries does not return to `b`.
  for (let now = 0; now < 60_000 && deadAt === Number.POSITIVE_INFINITY; ) {
    now += random.below(1_500)
    if (now < silentFrom && random.chance(0.7)) {
      const sentAt = now - random.below(400)
      selfLease.onSent(++n, sentAt)
      orderedAt = Math.max(orderedAt, now)
      detector.onEntryOf('b', orderedAt + random.below(300))
      if (random.chance(0.9)) selfLease.onOwnEntry(n)
    }
    ownNumber++
    orderedAt = Math.max(orderedAt, now)
    if (detector.onOwnEntry(ownNumber, ownNumber, orderedAt).length > 0) deadAt = orderedAt
  }
  expect(deadAt).to.be.lessThan(Number.POSITIVE_INFINITY)
  expect(deadAt).to.be.greaterThan(selfLease.until)
}
