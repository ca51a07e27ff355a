/**
 * `maxHold` is the longest time for which a lock is held. This time begins with the grant. A
 * refresh, which restarts the ttl, does not prolong `maxHold`. When this time is over, the broker
 * that owns the session proposes the end of the lock with the command `endHold`. A `TableDriver`
 * applies commands to a lock table and returns the effects as short texts: `granted b#1 k f2` means
 * that request 1 of session `b` got the key `k` with the fence 2. A fence is the number of a grant.
 * No time passes in these tests: the tests send the proposal of the broker themselves.
 */
import { dump, restore } from '@holdfast/server/core'
import { expect } from 'chai'
import { plainState } from './plainValues.js'
import { expectNoEffect, TableDriver } from './tableDriver.js'

describe('table: maxHold', () => {
  it('ends a lock that was refreshed, and grants the next waiter', () => {
    const driver = TableDriver.withSessions('a', 'b')
    driver.lock('a', 'k', { ttl: 100, maxHold: 500 })
    driver.lock('b', 'k')
    driver.refresh('a', 1)
    expect(driver.endHold('a', 1)).to.deep.equal(['released a k f1 maxHold', 'granted b#1 k f2'])
  })

  it('ends a lock without a ttl', () => {
    const driver = TableDriver.withSessions('a')
    driver.lock('a', 'k', { maxHold: 500 })
    expect(driver.endHold('a', 1)).to.deep.equal(['released a k f1 maxHold'])
  })

  it('ends a whole set', () => {
    const driver = TableDriver.withSessions('a', 'b')
    driver.lockAll('a', ['k', 'l'], { maxHold: 500 })
    driver.lock('b', 'l')
    expect(driver.endHold('a', 1)).to.deep.equal([
      'released a k f1 maxHold',
      'released a l f1 maxHold',
      'granted b#1 l f2',
    ])
  })

  it('does not end a lock of another session, a later lock of the key, or a lock without maxHold', () => {
    const driver = TableDriver.withSessions('a', 'b')
    driver.lock('a', 'k')
    driver.lock('a', 'l', { maxHold: 500 })
    expectNoEffect(driver, () => driver.endHold('a', 1))
    expectNoEffect(driver, () => driver.endHold('b', 2))
    driver.unlock('a', 2)
    driver.lock('a', 'l', { maxHold: 500 })
    expectNoEffect(driver, () => driver.endHold('a', 2))
  })

  it('is at most the limit of the session, also for a request that names no maxHold', () => {
    const driver = new TableDriver()
    driver.open('a', { limits: { maxHold: 300 } })
    driver.lock('a', 'k', { maxHold: 500 })
    driver.lock('a', 'l')
    driver.lock('a', 'm', { maxHold: 200 })
    driver.lockAll('a', ['n', 'o'])
    const maxHolds = [...driver.table.keys.values()].map(({ first }) => first?.extras?.maxHold)
    expect(maxHolds).to.deep.equal([300, 300, 200, 300, 300])
  })

  it('starts again at the broker that takes over, and only that broker can end the lock', () => {
    const driver = new TableDriver()
    driver.open('a', { grace: 1_000, ownerBroker: 'one' })
    driver.lock('a', 'k', { maxHold: 500 })
    expect(driver.takeOver('one', 'two')).to.include('deadlinesRestarted a')
    expectNoEffect(driver, () => driver.endHold('a', 1, 'one'))
    expect(driver.endHold('a', 1, 'two')).to.deep.equal(['released a k f1 maxHold'])
  })

  it('survives a snapshot, with the notices that the client asked for', () => {
    const driver = TableDriver.withSessions('a', 'b')
    driver.lock('a', 'k', { maxHold: 500, notify: ['contended'] })
    driver.lock('b', 'k', { maxHold: 600, notify: ['queued', 'contended'] })
    const restored = restore(JSON.parse(JSON.stringify([...dump(driver.table)])))
    expect(plainState(restored)).to.deep.equal(plainState(driver.table))
    expect(restored.bytes).to.equal(driver.table.bytes)
  })

  it('is part of the answer `failed` to a request for the held key', () => {
    const driver = TableDriver.withSessions('a', 'b')
    driver.lock('a', 'k', { maxHold: 500 })
    // Not `driver.lock`, because the short text of an answer has no `maxHold`.
    const fields = { at: 9, session: 'b', attachEpoch: 1, id: 1 }
    const terms = { mode: 'exclusive', ttl: undefined, timeout: 0, steal: false } as const
    const lockFields = { key: 'k', metadata: undefined, ...terms }
    const [effect] = driver.table.apply({ type: 'lock', ...fields, ...lockFields })
    expect(effect).to.have.nested.property('answer.holders[0].maxHold', 500)
  })
})
