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
import { runs } from '../support/counts.js'

const start: ClockTimes = { monotonic: 1_000, wall: 9_000 }

/** The times of both clocks this many ms after the start. */
function startPlus(ms: number): ClockTimes {
  return { monotonic: start.monotonic + ms, wall: start.wall + ms }
}

describe('the lease of a client', () => {
  it('is shorter at the client by 1 % and by a margin of at most 10 % plus 1 ms', () => {
    expect(expiryMargin(10_000)).to.equal(201)
    expect(expiryMargin(1_000)).to.equal(51)
    expect(expiryMargin(100)).to.equal(11)
    expect(expiryFrom(start, 10_000)).to.deep.equal(startPlus(9_900 - 201))
  })

  it('ends at the client before it ends at the broker, for all clock rates within 1 %', () => {
    const rate = fc.double({ min: 0.995, max: 1.005, noNaN: true })
    fc.assert(
      fc.property(
        rate,
        rate,
        fc.integer({ min: 1, max: 2 ** 31 - 1 }),
        fc.integer({ min: 0, max: 60_000 }),
        (clientRate, brokerRate, ttl, delay) => {
          const expiry = expiryFrom({ monotonic: 0, wall: 0 }, ttl)
          const clientEnd = expiry.monotonic / clientRate
          const brokerEnd = delay + ttl / brokerRate
          expect(clientEnd).to.be.below(brokerEnd)
        },
      ),
      runs(1_000, 100_000),
    )
  })

  it('never counts a ttl too long when a clock sample tells the time of the grant', () => {
    // The client sent the sample at `start`. The broker received the sample at 50,000 by the clock
    // of the broker, and granted the lock 4,000 ms later.
    const expiry = expiryBySample({ sent: start, received: 50_000 }, 54_000, 1_000)
    expect(expiry).to.deep.equal(startPlus(5_000 * 0.99 - 51))
  })

  it('finds the earlier and the later of two expiries', () => {
    const a = { monotonic: 10, wall: 40 }
    const b = { monotonic: 20, wall: 30 }
    expect(earlier(a, b)).to.deep.equal({ monotonic: 10, wall: 30 })
    expect(later(a, b)).to.equal(b)
  })
})

describe('the ttl of a lock under refreshes', () => {
  /** The expiry of a lock that was granted at `start` with this ttl. */
  function held(ttl: number | undefined): TtlExpiry {
    const ttlExpiry = new TtlExpiry()
    ttlExpiry.confirm(ttl, ttl === undefined ? undefined : expiryFrom(start, ttl))
    return ttlExpiry
  }

  it('keeps the later expiry when the broker confirms the same ttl, but not another ttl', () => {
    const lock = held(1_000)
    lock.confirmAfterResume(1_000, startPlus(500))
    expect(lock.expiry).to.deep.equal(expiryFrom(start, 1_000))
    lock.confirmAfterResume(1_000, startPlus(2_000))
    expect(lock.expiry).to.deep.equal(startPlus(2_000))
    lock.confirmAfterResume(900, startPlus(600))
    expect(lock.expiry).to.deep.equal(startPlus(600))
  })

  it('counts a confirmed refresh from when the client sent the refresh', () => {
    const lock = held(1_000)
    const refresh = { ttl: undefined, sentAt: startPlus(600) }
    lock.addRefresh(refresh)
    expect(lock.expiry).to.deep.equal(expiryFrom(start, 1_000))
    lock.confirmRefresh(refresh)
    expect(lock.expiry).to.deep.equal(expiryFrom(startPlus(600), 1_000))
  })

  it('uses a shorter ttl as soon as its refresh is sent', () => {
    const lock = held(60_000)
    const refresh = { ttl: 1_000, sentAt: startPlus(100) }
    lock.addRefresh(refresh)
    expect(lock.expiry).to.deep.equal(expiryFrom(startPlus(100), 1_000))
    expect(lock.ttl).to.equal(60_000)
    lock.confirmRefresh(refresh)
    expect(lock.ttl).to.equal(1_000)
  })

  it('returns to the former expiry when the broker refuses the refresh', () => {
    const lock = held(60_000)
    const refresh = { ttl: 1_000, sentAt: startPlus(100) }
    lock.addRefresh(refresh)
    lock.removeRefresh(refresh)
    expect(lock.expiry).to.deep.equal(expiryFrom(start, 60_000))
  })

  it('keeps the earlier expiry of the second refresh while only the first is answered', () => {
    const lock = held(1_000)
    const long = { ttl: 60_000, sentAt: startPlus(10) }
    const short = { ttl: 500, sentAt: startPlus(20) }
    lock.addRefresh(long)
    lock.addRefresh(short)
    lock.confirmRefresh(long)
    expect(lock.expiry).to.deep.equal(expiryFrom(startPlus(20), 500))
    lock.confirmRefresh(short)
    expect(lock.expiry).to.deep.equal(expiryFrom(startPlus(20), 500))
  })

  it('uses the ttl of the former refresh for a refresh without a ttl', () => {
    const lock = held(60_000)
    lock.addRefresh({ ttl: 500, sentAt: startPlus(0) })
    lock.addRefresh({ ttl: undefined, sentAt: startPlus(100) })
    expect(lock.expiry).to.deep.equal(expiryFrom(startPlus(0), 500))
  })

  it('has no expiry without a ttl, however often the lock is refreshed', () => {
    const lock = held(undefined)
    const refresh = { ttl: undefined, sentAt: startPlus(5) }
    lock.addRefresh(refresh)
    expect(lock.expiry).to.equal(undefined)
    lock.confirmRefresh(refresh)
    expect(lock.expiry).to.equal(undefined)
  })
})
