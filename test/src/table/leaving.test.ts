/**
 * Tests the commands (except unlock) that end locks or waiting requests: cancel, timeout, expiry of
 * the ttl (how long a lock lasts), steal, end of session. Each command may arrive too late. A
 * `TableDriver` applies commands to a lock table and returns the effects as short texts: `granted
 * b#1 k f2` means that request 1 of session `b` got the key `k` with the fence 2. A fence is the
 * number of a grant. `g1` means the generation 1 of a lock. The generation begins at 0, and each
 * refresh raises the generation by 1. `by a f1` names the holder.
 */
import { expect } from 'chai'
import { expectNoEffect, TableDriver } from './tableDriver.js'

describe('table: cancel and timeout', () => {
  it('a cancel removes the request from its queue and answers ABORTED', () => {
    const driver = TableDriver.withSessions('a', 'b')
    driver.lock('a', 'k')
    driver.lock('b', 'k')
    expect(driver.cancel('b', 1)).to.deep.equal(['withdrawn b#1 k aborted', 'answer b#1 ABORTED'])
    expect(driver.unlock('a', 1)).to.deep.equal(['released a k f1 unlocked', 'answer a#2 unlocked'])
  })

  it('a timeout answers LOCK_TIMEOUT once, and no grant follows', () => {
    const driver = TableDriver.withSessions('a', 'b')
    driver.lock('a', 'k')
    driver.lock('b', 'k', { timeout: 50 })
    expect(driver.timeOutRequest('b', 1)).to.deep.equal([
      'withdrawn b#1 k timeout',
      'answer b#1 LOCK_TIMEOUT by a f1',
    ])
    expectNoEffect(driver, () => driver.timeOutRequest('b', 1))
    expectNoEffect(driver, () => driver.cancel('b', 1))
    expect(driver.unlock('a', 1)).to.deep.equal(['released a k f1 unlocked', 'answer a#2 unlocked'])
  })

  it('neither a cancel nor a timeout affects a request that was granted', () => {
    const driver = TableDriver.withSessions('a')
    driver.lock('a', 'k')
    expectNoEffect(driver, () => driver.cancel('a', 1))
    expectNoEffect(driver, () => driver.timeOutRequest('a', 1))
  })

  it('neither a cancel nor a timeout affects an unknown request or session', () => {
    const driver = TableDriver.withSessions('a')
    expectNoEffect(driver, () => driver.cancel('a', 7))
    expectNoEffect(driver, () => driver.timeOutRequest('a', 7))
    expectNoEffect(driver, () => driver.cancel('unknown', 1))
    expectNoEffect(driver, () => driver.timeOutRequest('unknown', 1))
  })

  it('a session cannot cancel the request of another session', () => {
    const driver = TableDriver.withSessions('a', 'b', 'c')
    driver.lock('a', 'k')
    driver.lock('b', 'k')
    // The session c has no request 1, but the waiting request of b has this id.
    expectNoEffect(driver, () => driver.cancel('c', 1))
  })
})

describe('table: expiry and refresh', () => {
  it('an expiry releases the lock and grants the next waiter immediately', () => {
    const driver = TableDriver.withSessions('a', 'b')
    driver.lock('a', 'k', { ttl: 100 })
    driver.lock('b', 'k')
    expect(driver.expire('a', 1)).to.deep.equal(['released a k f1 expired', 'granted b#1 k f2'])
  })

  it('a refresh starts a new generation of the lock, and the expiry of the old generation has no effect', () => {
    const driver = TableDriver.withSessions('a')
    driver.lock('a', 'k', { ttl: 100 })
    expect(driver.refresh('a', 1)).to.deep.equal(['refreshed a f1 g1', 'answer a#2 refreshed f1'])
    expectNoEffect(driver, () => driver.expire('a', 1, { generation: 0 }))
    // No refresh has started the generation 2 yet.
    expectNoEffect(driver, () => driver.expire('a', 1, { generation: 2 }))
    expect(driver.expire('a', 1, { generation: 1 })).to.deep.equal(['released a k f1 expired'])
  })

  it('a refresh keeps the ttl, unless the refresh has a new ttl', () => {
    const driver = TableDriver.withSessions('a')
    driver.lock('a', 'k', { ttl: 100 })
    const lock = driver.table.sessions.get('a')!.held.get(1)!
    driver.refresh('a', 1)
    expect(lock.ttl).to.equal(100)
    driver.refresh('a', 1, { ttl: 2_000 })
    expect(lock.ttl).to.equal(2_000)
  })

  it('the refresh of a lock that the session does not hold fails with LOCK_NOT_HELD', () => {
    const driver = TableDriver.withSessions('a', 'b')
    driver.lock('a', 'k', { ttl: 100 })
    expect(driver.refresh('b', 1)).to.deep.equal(['answer b#1 LOCK_NOT_HELD'])
    driver.expire('a', 1)
    expect(driver.refresh('a', 1)).to.deep.equal(['answer a#2 LOCK_NOT_HELD'])
    expect(driver.table.heldCount).to.equal(0)
  })

  it('the expiry of an unlocked lock, or of a lock of another session, has no effect', () => {
    const driver = TableDriver.withSessions('a', 'b')
    driver.lock('a', 'k', { ttl: 100 })
    expectNoEffect(driver, () => driver.expire('b', 1))
    driver.unlock('a', 1)
    driver.lock('b', 'k', { ttl: 100 })
    expectNoEffect(driver, () => driver.expire('a', 1))
    expectNoEffect(driver, () => driver.expire('unknown', 2))
  })

  it('an unlock after the expiry fails with LOCK_NOT_HELD', () => {
    const driver = TableDriver.withSessions('a')
    driver.lock('a', 'k', { ttl: 100 })
    driver.expire('a', 1)
    expect(driver.unlock('a', 1)).to.deep.equal(['answer a#2 LOCK_NOT_HELD'])
  })
})

describe('table: steal', () => {
  it('takes the key from all holders and leaves the queue as it is', () => {
    const driver = TableDriver.withSessions('a', 'b', 'c', 'd')
    driver.lock('a', 'k', { mode: 'shared' })
    driver.lock('b', 'k', { mode: 'shared' })
    driver.lock('c', 'k')
    expect(driver.lock('d', 'k', { steal: true })).to.deep.equal([
      'released a k f1 stolen',
      'released b k f2 stolen',
      'granted d#1 k f3',
    ])
    expect(driver.unlock('d', 3)).to.include('granted c#1 k f4')
  })

  it('is an ordinary request if the key has no holder', () => {
    expect(TableDriver.withSessions('a').lock('a', 'k', { steal: true })).to.deep.equal([
      'granted a#1 k f1',
    ])
  })

  it('takes the key also from the stealing session itself, and grants a new fence', () => {
    const driver = TableDriver.withSessions('a')
    driver.lock('a', 'k')
    expect(driver.lock('a', 'k', { steal: true })).to.deep.equal([
      'released a k f1 stolen',
      'granted a#2 k f2',
    ])
  })

  it('ends the stolen lock, so its expiry has no effect and its unlock fails', () => {
    const driver = TableDriver.withSessions('a', 'b')
    driver.lock('a', 'k', { ttl: 100 })
    driver.lock('b', 'k', { steal: true })
    expectNoEffect(driver, () => driver.expire('a', 1))
    expect(driver.unlock('a', 1)).to.deep.equal(['answer a#2 LOCK_NOT_HELD'])
    expect(
      driver.table.sessions
        .get('b')!
        .held.values()
        .map(({ fence }) => fence),
    ).to.deep.equal([2])
  })
})

describe('table: the end of a session', () => {
  it('withdraws its requests, releases its locks and grants the next waiters', () => {
    const driver = TableDriver.withSessions('a', 'b', 'c')
    driver.lock('a', 'k')
    driver.lock('a', 'l')
    driver.lock('b', 'k')
    driver.lock('c', 'l')
    // The end of `a` does not affect this lock, which has the fence 3.
    driver.lock('b', 'm')
    driver.lock('a', 'm')
    expect(driver.end('a')).to.deep.equal([
      'withdrawn a#3 m ended',
      'released a k f1 ended',
      'released a l f2 ended',
      'granted b#1 k f4',
      'granted c#1 l f5',
      'ended a goodbye',
    ])
    expect([...driver.table.sessions.keys()]).to.deep.equal(['b', 'c'])
  })

  it('does not grant the next request of the ending session itself', () => {
    const driver = TableDriver.withSessions('a', 'b')
    driver.lock('a', 'k')
    driver.lock('a', 'k')
    driver.lock('b', 'k')
    expect(driver.end('a')).to.deep.equal([
      'withdrawn a#2 k ended',
      'released a k f1 ended',
      'granted b#1 k f2',
      'ended a goodbye',
    ])
  })

  it('grants requests that waited only because a request of the session was before them', () => {
    const driver = TableDriver.withSessions('a', 'b', 'c')
    driver.lock('a', 'k', { mode: 'shared' })
    driver.lock('b', 'k')
    driver.lock('c', 'k', { mode: 'shared' })
    expect(driver.end('b')).to.deep.equal([
      'withdrawn b#1 k ended',
      'granted c#1 k f2',
      'ended b goodbye',
    ])
  })

  it('happens once, and only with the attach epoch (the number of the present connection)', () => {
    const driver = TableDriver.withSessions('a')
    driver.lock('a', 'k')
    expectNoEffect(driver, () => driver.end('a', { attachEpoch: 2 }))
    expect(driver.end('a', { attachEpoch: 1 })).to.deep.equal([
      'released a k f1 ended',
      'ended a goodbye',
    ])
    expectNoEffect(driver, () => driver.end('a', { attachEpoch: 1 }))
  })

  it('makes all later commands about the session ineffective', () => {
    const driver = TableDriver.withSessions('a')
    driver.lock('a', 'k', { ttl: 5 })
    driver.end('a')
    expectNoEffect(driver, () => driver.expire('a', 1))
    expectNoEffect(driver, () => driver.unlock('a', 1))
    expectNoEffect(driver, () => driver.lock('a', 'k'))
    expectNoEffect(driver, () => driver.suspend('a'))
  })
})
