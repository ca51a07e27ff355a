/**
 * `maxHold` is the longest time for which a session may hold a lock. This time begins with the
 * grant, and begins again if another broker takes over the session. A refresh, which restarts the
 * ttl, does not prolong `maxHold`. When this time is over, the broker that owns the session sends
 * the command `endHold`, which ends the lock. No time passes in these tests: the tests send
 * `endHold`. A `TableDriver` applies commands to a lock table and returns the effects as short
 * texts: `granted b#1 k f2` means that request 1 of session `b` got the key `k` with the fence 2. A
 * fence is the number of a grant.
 */
import { dump, restore } from '@holdfast/server/core'
import { expect } from 'chai'
import { expectNoEffect, TableDriver } from './tableDriver.js'
import { plainState } from './tableToPlain.js'

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

  it('does not end a lock without maxHold, a lock of another session, or a later lock of the key', () => {
    const driver = TableDriver.withSessions('a', 'b')
    driver.lock('a', 'k')
    driver.lock('a', 'l', { maxHold: 500 })
    expectNoEffect(driver, () => driver.endHold('a', 1))
    expectNoEffect(driver, () => driver.endHold('b', 2))
    driver.unlock('a', 2)
    driver.lock('a', 'l', { maxHold: 500 })
    expectNoEffect(driver, () => driver.endHold('a', 2))
  })

  it('is at most the maxHold limit of the session, even if the request has no maxHold', () => {
    const driver = new TableDriver()
    driver.open('a', { limits: { maxHold: 300 } })
    driver.lock('a', 'k', { maxHold: 500 })
    driver.lock('a', 'l')
    driver.lock('a', 'm', { maxHold: 200 })
    driver.lockAll('a', ['n', 'o'])
    const maxHolds = [...driver.table.keys.values()].map(
      ({ holders }) => holders.first?.extras?.maxHold,
    )
    expect(maxHolds).to.deep.equal([300, 300, 200, 300, 300])
  })

  it('starts again when a broker takes over, and only that broker can end the lock', () => {
    const driver = new TableDriver()
    driver.open('a', { grace: 1_000, ownerBroker: 'one' })
    driver.lock('a', 'k', { maxHold: 500 })
    expect(driver.takeOver({ formerOwner: 'one', ownerBroker: 'two' })).to.include(
      'deadlinesRestarted a',
    )
    expectNoEffect(driver, () => driver.endHold('a', 1, { ownerEpoch: 0 }))
    expect(driver.endHold('a', 1, { ownerEpoch: 1 })).to.deep.equal(['released a k f1 maxHold'])
  })

  it('survives a snapshot, and so does `notify`, the list of the notices that the client asked for', () => {
    const driver = TableDriver.withSessions('a', 'b')
    driver.lock('a', 'k', { maxHold: 500, notify: ['contended'] })
    driver.lock('b', 'k', { maxHold: 600, notify: ['queued', 'contended'] })
    const restored = restore(JSON.parse(JSON.stringify([...dump(driver.table)])))
    expect(plainState(restored)).to.deep.equal(plainState(driver.table))
    expect(restored.bytes).to.equal(driver.table.bytes)
  })

  it('is reported with the holder when a request for the held key fails', () => {
    const driver = TableDriver.withSessions('a', 'b')
    driver.lock('a', 'k', { maxHold: 500 })
    // The driver returns short texts without `maxHold`, so this test applies the command itself.
    const origin = { at: 9, session: 'b', attachEpoch: 1, id: 1 }
    const terms = { ttl: undefined, timeout: 0, steal: false, metadata: undefined }
    const command = { type: 'lock', ...origin, key: 'k', mode: 'exclusive', ...terms } as const
    const [effect] = driver.table.apply(command)
    expect(effect).to.have.nested.property('answer.holders[0].maxHold', 500)
  })
})
