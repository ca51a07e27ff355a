/**
 * Tests how the client calculates when a lease or a ttl ends. The lease is how long the broker
 * keeps a silent session; the ttl is how long one lock lasts without a refresh. The holder must
 * know that a lock is lost before the broker grants the lock again. The calculation uses the
 * monotonic clock and the wall clock of the client.
 */
import {
  type ClockTimes,
  earlier,
  expiryBySample,
  expiryFrom,
  later,
  TtlExpiry,
} from '@holdfast/client/internal'
import { expiryMargin } from '@holdfast/shared'
import { expect } from 'chai'
import fc from 'fast-check'
import { quickOrFullRuns } from '../support/counts.js'

/** The times of both clocks at the beginning. They differ, so that no test can confuse them. */
const start: ClockTimes = { monotonic: 1_000, wall: 9_000 }

/** The times of both clocks this many ms after the start. */
function startPlus(ms: number): ClockTimes {
  return { monotonic: start.monotonic + ms, wall: start.wall + ms }
}

describe('the expiry of a lease or a ttl', () => {
  it('is earlier at the client by 1 % and a margin', () => {
    // The margin is 2 % of the period or 50 ms, whichever is longer, but never above 10 %. 1 ms is
    // added.
    expect(expiryMargin(10_000)).to.equal(201)
    expect(expiryMargin(1_000)).to.equal(51)
    expect(expiryMargin(100)).to.equal(11)
    expect(expiryFrom(start, 10_000)).to.deep.equal(startPlus(9_900 - 201))
  })

  it('is earlier at the client than at the broker, if the rates of the clocks differ by at most 1 %', () => {
    // A rate of 1 is that of real time. Two of these rates differ by at most 1 %.
    const rate = fc.double({ min: 0.995, max: 1.005, noNaN: true })
    fc.assert(
      fc.property(
        rate,
        rate,
        fc.integer({ min: 1, max: 2 ** 31 - 1 }),
        fc.integer({ min: 0, max: 60_000 }),
        (clientRate, brokerRate, duration, brokerStart) => {
          const expiry = expiryFrom({ monotonic: 0, wall: 0 }, duration)
          const clientEnd = expiry.monotonic / clientRate
          const brokerEnd = brokerStart + duration / brokerRate
          expect(clientEnd).to.be.below(brokerEnd)
        },
      ),
      quickOrFullRuns(1_000, 100_000),
    )
  })

  it('is calculated with a clock sample if the grant has a time of the broker', () => {
    // A clock sample is a message with two times: its sending by the client's clock, and its
    // receipt by the broker's clock. The client sent this message at `start`. The broker received
    // the message at 50,000, and granted the lock 4,000 ms later with a ttl of 1,000 ms. The margin
    // is that of the ttl.
    const expiry = expiryBySample({ sent: start, received: 50_000 }, 54_000, 1_000)
    expect(expiry).to.deep.equal(startPlus(5_000 * 0.99 - 51))
  })

  it('has `earlier`, the earlier time of each clock, and `later`, the expiry of the later monotonic time', () => {
    const a = { monotonic: 10, wall: 40 }
    const b = { monotonic: 20, wall: 30 }
    expect(earlier(a, b)).to.deep.equal({ monotonic: 10, wall: 30 })
    expect(later(a, b)).to.equal(b)
  })
})

describe('the ttl of a refreshed lock', () => {
  /** The expiry of a lock that was granted at `start` with this ttl. */
  function grantedExpiry(ttl: number | undefined): TtlExpiry {
    const ttlExpiry = new TtlExpiry()
    ttlExpiry.confirm(ttl, ttl === undefined ? undefined : expiryFrom(start, ttl))
    return ttlExpiry
  }

  it('keeps the later expiry if a resume confirms the same ttl, and takes the new expiry of another ttl', () => {
    const ttlExpiry = grantedExpiry(1_000)
    ttlExpiry.confirmAfterResume(1_000, startPlus(500))
    expect(ttlExpiry.expiry).to.deep.equal(expiryFrom(start, 1_000))
    ttlExpiry.confirmAfterResume(1_000, startPlus(2_000))
    expect(ttlExpiry.expiry).to.deep.equal(startPlus(2_000))
    ttlExpiry.confirmAfterResume(900, startPlus(600))
    expect(ttlExpiry.expiry).to.deep.equal(startPlus(600))
  })

  it('counts a confirmed refresh from when the client sent the refresh', () => {
    const ttlExpiry = grantedExpiry(1_000)
    const refresh = { ttl: undefined, sentAt: startPlus(600) }
    ttlExpiry.addRefresh(refresh)
    expect(ttlExpiry.expiry).to.deep.equal(expiryFrom(start, 1_000))
    ttlExpiry.confirmRefresh(refresh)
    expect(ttlExpiry.expiry).to.deep.equal(expiryFrom(startPlus(600), 1_000))
  })

  it('counts a shorter ttl from the sending of the refresh, but shows it in `ttl` only when confirmed', () => {
    const ttlExpiry = grantedExpiry(60_000)
    const refresh = { ttl: 1_000, sentAt: startPlus(100) }
    ttlExpiry.addRefresh(refresh)
    expect(ttlExpiry.expiry).to.deep.equal(expiryFrom(startPlus(100), 1_000))
    expect(ttlExpiry.ttl).to.equal(60_000)
    ttlExpiry.confirmRefresh(refresh)
    expect(ttlExpiry.ttl).to.equal(1_000)
  })

  it('returns to the former expiry when the broker refuses the refresh', () => {
    const ttlExpiry = grantedExpiry(60_000)
    const refresh = { ttl: 1_000, sentAt: startPlus(100) }
    ttlExpiry.addRefresh(refresh)
    ttlExpiry.removeRefresh(refresh)
    expect(ttlExpiry.expiry).to.deep.equal(expiryFrom(start, 60_000))
  })

  it('keeps the earlier expiry of the second refresh while only the first is answered', () => {
    const ttlExpiry = grantedExpiry(1_000)
    const long = { ttl: 60_000, sentAt: startPlus(10) }
    const short = { ttl: 500, sentAt: startPlus(20) }
    ttlExpiry.addRefresh(long)
    ttlExpiry.addRefresh(short)
    ttlExpiry.confirmRefresh(long)
    expect(ttlExpiry.expiry).to.deep.equal(expiryFrom(startPlus(20), 500))
    ttlExpiry.confirmRefresh(short)
    expect(ttlExpiry.expiry).to.deep.equal(expiryFrom(startPlus(20), 500))
  })

  it('keeps the shorter ttl of an unconfirmed refresh when a refresh without a ttl follows', () => {
    const ttlExpiry = grantedExpiry(60_000)
    const first = { ttl: 500, sentAt: start }
    const second = { ttl: undefined, sentAt: startPlus(100) }
    ttlExpiry.addRefresh(first)
    ttlExpiry.addRefresh(second)
    expect(ttlExpiry.expiry).to.deep.equal(expiryFrom(start, 500))
    ttlExpiry.confirmRefresh(first)
    expect(ttlExpiry.expiry).to.deep.equal(expiryFrom(start, 500))
    // The second refresh keeps the ttl of the first refresh, and starts this ttl anew.
    ttlExpiry.confirmRefresh(second)
    expect(ttlExpiry.expiry).to.deep.equal(expiryFrom(startPlus(100), 500))
  })

  it('has no expiry without a ttl, however often the lock is refreshed', () => {
    const ttlExpiry = grantedExpiry(undefined)
    const refresh = { ttl: undefined, sentAt: startPlus(5) }
    ttlExpiry.addRefresh(refresh)
    expect(ttlExpiry.expiry).to.equal(undefined)
    ttlExpiry.confirmRefresh(refresh)
    expect(ttlExpiry.expiry).to.equal(undefined)
  })
})
