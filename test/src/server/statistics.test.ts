/**
 * The broker's counters: a request counts once, when it is settled, as granted or as failed;
 * refused input and repeated questions count nowhere.
 */
import { expect } from 'chai'
import { Bench } from './bench.js'

const nothing = {
  totalLocks: 0,
  activeLocks: 0,
  failedLocks: 0,
  expiredLocks: 0,
  refreshCount: 0,
  unlockCount: 0,
  successRate: 0,
}

describe('statistics', () => {
  it('begin at nothing, with a success rate of 0', () => {
    expect(new Bench().broker.stats()).to.deep.equal(nothing)
  })

  it('count a grant, and what becomes of it', () => {
    const bench = new Bench()
    const client = bench.join()
    const fence = client.take('k', { ttl: 1_000 })
    const granted = { ...nothing, totalLocks: 1, activeLocks: 1, successRate: 1 }
    expect(bench.broker.stats()).to.deep.equal(granted)
    client.refresh(fence)
    client.refresh(fence)
    expect(bench.broker.stats()).to.deep.equal({ ...granted, refreshCount: 2 })
    client.unlock(fence)
    const over = { ...granted, refreshCount: 2, activeLocks: 0, unlockCount: 1 }
    expect(bench.broker.stats()).to.deep.equal(over)
  })

  it('count nothing for a request that waits, until it is settled', () => {
    const bench = new Bench()
    const client = bench.join()
    const fence = client.take('k')
    client.lock('k')
    expect(bench.broker.stats().totalLocks).to.equal(1)
    client.unlock(fence)
    expect(bench.broker.stats()).to.include({ totalLocks: 2, failedLocks: 0, activeLocks: 1 })
  })

  it('count as failed: held off, timed out, aborted, ended with its session', () => {
    const bench = new Bench()
    bench.join({ lease: 300_000 }).take('k')
    const client = bench.join()
    client.lock('k', { timeout: 0 })
    expect(bench.broker.stats().failedLocks, 'held off').to.equal(1)
    client.lock('k', { timeout: 100 })
    bench.environment.pass(100)
    expect(bench.broker.stats().failedLocks, 'timed out').to.equal(2)
    client.say({ type: 'cancel', request: client.lock('k') })
    expect(bench.broker.stats().failedLocks, 'aborted').to.equal(3)
    client.lock('k')
    client.say({ type: 'bye' })
    expect(bench.broker.stats()).to.deep.equal({
      ...nothing,
      totalLocks: 5,
      activeLocks: 1,
      failedLocks: 4,
      successRate: 1 / 5,
    })
  })

  it('count a lock that expires as expired, and not as failed or unlocked', () => {
    const bench = new Bench()
    bench.join().take('k', { ttl: 1_000 })
    bench.environment.pass(1_000)
    expect(bench.broker.stats()).to.deep.equal({
      ...nothing,
      totalLocks: 1,
      expiredLocks: 1,
      successRate: 1,
    })
  })

  it('count a stolen lock and one that ends with its session as neither', () => {
    const bench = new Bench()
    const client = bench.join()
    client.take('k')
    bench.join().lock('k', { steal: true })
    client.take('l')
    client.say({ type: 'bye' })
    expect(bench.broker.stats()).to.deep.equal({
      ...nothing,
      totalLocks: 3,
      activeLocks: 1,
      successRate: 1,
    })
  })

  it('do not count what was refused, or asked again', () => {
    const bench = new Bench({ limits: { locksPerSession: 1 } })
    const client = bench.join({ grace: 'lease' })
    client.take('k')
    const before = bench.broker.stats()
    client.lock('')
    client.lock('over the quota')
    client.unlock(999)
    client.refresh(999)
    client.say({ type: 'lock', id: 1, key: 'k' })
    expect(bench.broker.stats()).to.deep.equal(before)
  })

  it('are the same for whoever asks, in the process or over the wire', () => {
    const bench = new Bench()
    const client = bench.join()
    client.take('k')
    client.say({ type: 'stats', id: 9 })
    const expected = [{ type: 'stats', id: 9, stats: bench.broker.stats() }]
    expect(client.heard()).to.deep.equal(expected)
  })
})
