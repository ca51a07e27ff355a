/**
 * Tests the broker's counters. A lock request counts once, when the broker grants the request or
 * when the request fails. Invalid requests, requests beyond a quota and repeated requests do not
 * count. A fence is the number of a grant. The ttl of a lock is the time after which the lock
 * expires.
 */
import { expect } from 'chai'
import { BrokerHarness } from './harness.js'

/** The counters of a broker that has handled no request. */
const initialStats = {
  totalLocks: 0,
  activeLocks: 0,
  failedLocks: 0,
  expiredLocks: 0,
  refreshCount: 0,
  unlockCount: 0,
  successRate: 0,
  barriers: 0,
  barrierCalls: 0,
  keptResults: 0,
  refusedDeadlocks: 0,
}

describe('statistics', () => {
  it('start at 0, with a success rate of 0', () => {
    expect(new BrokerHarness().broker.stats()).to.deep.equal(initialStats)
  })

  it('count a grant, its refreshes and its release', () => {
    const harness = new BrokerHarness()
    const client = harness.openSession()
    const fence = client.acquire('k', { ttl: 1_000 })
    const granted = { ...initialStats, totalLocks: 1, activeLocks: 1, successRate: 1 }
    expect(harness.broker.stats()).to.deep.equal(granted)
    client.refresh(fence)
    client.refresh(fence)
    expect(harness.broker.stats()).to.deep.equal({ ...granted, refreshCount: 2 })
    client.unlock(fence)
    const released = { ...granted, refreshCount: 2, activeLocks: 0, unlockCount: 1 }
    expect(harness.broker.stats()).to.deep.equal(released)
  })

  it('do not count a waiting request before it is granted or has failed', () => {
    const harness = new BrokerHarness()
    const client = harness.openSession()
    const fence = client.acquire('k')
    client.lock('k')
    expect(harness.broker.stats().totalLocks).to.equal(1)
    client.unlock(fence)
    expect(harness.broker.stats()).to.include({ totalLocks: 2, failedLocks: 0, activeLocks: 1 })
  })

  it('count a request as failed if it may not wait, times out, is cancelled, or ends with its session', () => {
    const harness = new BrokerHarness()
    harness.openSession({ lease: 300_000 }).acquire('k')
    const client = harness.openSession()
    client.lock('k', { timeout: 0 })
    expect(harness.broker.stats().failedLocks, 'not granted immediately').to.equal(1)
    client.lock('k', { timeout: 100 })
    harness.environment.advance(100)
    expect(harness.broker.stats().failedLocks, 'timed out').to.equal(2)
    client.say({ type: 'cancel', request: client.lock('k') })
    expect(harness.broker.stats().failedLocks, 'cancelled').to.equal(3)
    client.lock('k')
    client.say({ type: 'bye' })
    expect(harness.broker.stats()).to.deep.equal({
      ...initialStats,
      totalLocks: 5,
      activeLocks: 1,
      failedLocks: 4,
      successRate: 1 / 5,
    })
  })

  it('count a lock that expires as expired, and not as failed or unlocked', () => {
    const harness = new BrokerHarness()
    harness.openSession().acquire('k', { ttl: 1_000 })
    harness.environment.advance(1_000)
    expect(harness.broker.stats()).to.deep.equal({
      ...initialStats,
      totalLocks: 1,
      expiredLocks: 1,
      successRate: 1,
    })
  })

  it('do not count a lock that is stolen, or ends with its session, as expired or unlocked', () => {
    const harness = new BrokerHarness()
    const client = harness.openSession()
    client.acquire('k')
    harness.openSession().lock('k', { steal: true })
    client.acquire('l')
    client.say({ type: 'bye' })
    expect(harness.broker.stats()).to.deep.equal({
      ...initialStats,
      totalLocks: 3,
      activeLocks: 1,
      successRate: 1,
    })
  })

  it('do not count invalid requests, requests beyond a quota or repeated requests', () => {
    const harness = new BrokerHarness({ limits: { locksPerSession: 1 } })
    const client = harness.openSession({ grace: 'lease' })
    client.acquire('k')
    const statsBefore = harness.broker.stats()
    client.lock('')
    client.lock('over the quota')
    // No lock has this fence.
    client.unlock(999)
    client.refresh(999)
    // Repeats the first request. The broker keeps the answers of a session with a grace.
    client.say({ type: 'lock', id: 1, key: 'k' })
    expect(harness.broker.stats()).to.deep.equal(statsBefore)
  })

  it('are the same in the process of the broker and in the answer to a client', () => {
    const harness = new BrokerHarness()
    const client = harness.openSession()
    client.acquire('k')
    client.say({ type: 'stats', id: 9 })
    const expected = [{ type: 'stats', id: 9, stats: harness.broker.stats() }]
    expect(client.takeMessages()).to.deep.equal(expected)
  })
})
