/**
 * Several brokers share one table. Each session has an owner broker, which runs the timers of the
 * session. The tests move a session to another owner broker, and let a broker take over the
 * sessions of a broker that is gone. The attach epoch of a session counts its connections. A fence
 * is the number of a grant.
 *
 * A `TableDriver` applies commands to a lock table and returns the effects as short texts. The text
 * `granted b#1 k f2` means that request 1 of session `b` got the key `k` with the fence 2. The text
 * `resumed a @2; #1 granted f1` means that session `a` now has the attach epoch 2, and gets its
 * stored answer to request 1 again. `suspended a` means that session `a` has no connection. Such a
 * session ends after its grace (0 for some sessions), but after its longer lease if it is `kept`.
 */
import { dump, restore } from '@holdfast/server/core'
import { expect } from 'chai'
import { TableDriver } from './tableDriver.js'

/**
 * Returns a driver with two sessions. `a`, owned by the broker `one`, holds a lock with a ttl (a
 * time limit) and a lock without a ttl. `a` waits for the key `l`. `b`, owned by the broker `two`,
 * holds `l`. A resume of `a` must present the secret `s1`. The tests name `s2` as the next secret.
 */
function driverWithTwoOwners(): TableDriver {
  const driver = new TableDriver()
  driver.open('a', { grace: 5_000, secret: 's1', ownerBroker: 'one' })
  driver.open('b', { ownerBroker: 'two' })
  driver.lock('a', 'k', { ttl: 1_000 })
  driver.lock('a', 'for ever')
  driver.lock('b', 'l', { ttl: 1_000 })
  driver.lock('a', 'l', { timeout: 500 })
  return driver
}

function ownerOf(driver: TableDriver, session: string): string | undefined {
  return driver.table.sessions.get(session)?.ownerBroker
}

describe('table: a session that moves to another broker', () => {
  it('is owned by the broker where it resumes, and its deadlines start again', () => {
    const driver = driverWithTwoOwners()
    expect(driver.resume('a', { secret: 's1', newSecret: 's2', ownerBroker: 'two' })).to.deep.equal(
      ['deadlinesRestarted a', 'resumed a @2; #1 granted f1; #2 granted f2'],
    )
    expect(ownerOf(driver, 'a')).to.equal('two')
  })

  it('keeps a lock when the former owner proposes an expiry too late, until the new owner proposes one', () => {
    const driver = driverWithTwoOwners()
    driver.resume('a', { secret: 's1', newSecret: 's2', ownerBroker: 'two' })
    expect(driver.expire('a', 1, { ownerEpoch: 0 })).to.deep.equal([])
    expect(driver.expire('a', 1, { ownerEpoch: 1 })).to.deep.equal(['released a k f1 expired'])
  })

  it('keeps a lock whose end its first owner had proposed, also if it has returned to this broker', () => {
    const driver = driverWithTwoOwners()
    driver.resume('a', { secret: 's1', newSecret: 's2', ownerBroker: 'two' })
    driver.resume('a', { secret: 's2', newSecret: 's3', ownerBroker: 'one' })
    // The broker `one` had proposed this before it learned that the session was at `two`.
    expect(driver.expire('a', 1, { ownerEpoch: 0 })).to.deep.equal([])
    expect(driver.expire('a', 1, { ownerEpoch: 2 })).to.deep.equal(['released a k f1 expired'])
  })

  it('has the same owner epoch after a snapshot', () => {
    const driver = driverWithTwoOwners()
    driver.resume('a', { secret: 's1', newSecret: 's2', ownerBroker: 'two' })
    const restored = restore(JSON.parse(JSON.stringify([...dump(driver.table)])))
    const expire = (ownerEpoch: number | undefined) =>
      restored.apply({ type: 'expire', at: 0, session: 'a', fence: 1, generation: 0, ownerEpoch })
    expect(expire(0)).to.deep.equal([])
    // Journals of earlier versions have no owner epochs, which stands for 0.
    expect(expire(undefined)).to.deep.equal([])
    expect(expire(1)[0]).to.include({ kind: 'released', reason: 'expired' })
  })

  it('needs no owner epoch in a journal or a snapshot of an earlier version', () => {
    const driver = driverWithTwoOwners()
    driver.lock('b', 'm', { maxHold: 500 })
    const items = JSON.parse(JSON.stringify([...dump(driver.table)]))
    for (const item of items) if (item.item === 'session') delete item.ownerEpoch
    const restored = restore(items)
    const fence = { session: 'b', fence: 3 }
    const expired = restored.apply({ type: 'expire', at: 0, ...fence, generation: 0 })
    expect(expired[0]).to.include({ kind: 'released', reason: 'expired' })
    // `a` had waited for the lock that expired, and got the fence 5.
    const ended = restored.apply({ type: 'endHold', at: 0, session: 'b', fence: 4 })
    expect(ended[0]).to.include({ kind: 'released', reason: 'maxHold' })
    restored.apply({ type: 'restart', at: 0, formerOwner: 'one', ownerBroker: 'two' })
    expect(restored.sessions.get('a')?.ownerEpoch).to.equal(1)
  })

  it('does not end when the former owner proposes its end too late', () => {
    const driver = driverWithTwoOwners()
    driver.resume('a', { secret: 's1', newSecret: 's2', ownerBroker: 'two' })
    // The former owner knows only the attach epoch 1.
    expect(driver.end('a', { attachEpoch: 1 })).to.deep.equal([])
  })

  it('keeps its deadlines running if it resumes at its owner', () => {
    const driver = driverWithTwoOwners()
    expect(driver.resume('a', { secret: 's1', newSecret: 's2', ownerBroker: 'one' })).to.deep.equal(
      ['resumed a @2; #1 granted f1; #2 granted f2'],
    )
    expect(driver.expire('a', 1, { ownerEpoch: 0 })).to.deep.equal(['released a k f1 expired'])
  })

  it('keeps its owner when the resume is refused', () => {
    const driver = driverWithTwoOwners()
    driver.resume('a', { secret: 'wrong', newSecret: 's2', ownerBroker: 'two' })
    expect(ownerOf(driver, 'a')).to.equal('one')
  })
})

describe('table: the takeover of the sessions of a broker that is gone', () => {
  it('gives the sessions of this broker, and no others, to the new owner broker', () => {
    const driver = driverWithTwoOwners()
    expect(driver.takeOver({ formerOwner: 'one', ownerBroker: 'two' })).to.deep.equal([
      'deadlinesRestarted a',
      'suspended a, kept',
    ])
    expect(ownerOf(driver, 'a')).to.equal('two')
    expect(driver.table.sessions.get('b')?.suspended).to.equal(false)
  })

  it('makes the table ignore expiries that this broker proposed, and late requests of its sessions', () => {
    const driver = driverWithTwoOwners()
    driver.takeOver({ formerOwner: 'one', ownerBroker: 'two' })
    expect(driver.expire('a', 1, { ownerEpoch: 0 })).to.deep.equal([])
    // The takeover has suspended `a`.
    expect(driver.lock('a', 'new')).to.deep.equal([])
  })

  it('keeps the locks, but not the requests, of a session without a grace', () => {
    const driver = new TableDriver()
    driver.open('a', { ownerBroker: 'one' })
    driver.open('b', { ownerBroker: 'two' })
    driver.lock('a', 'k')
    driver.lock('b', 'l')
    driver.lock('a', 'l', { timeout: 500 })
    expect(driver.takeOver({ formerOwner: 'one', ownerBroker: 'two' })).to.deep.equal([
      'deadlinesRestarted a',
      'withdrawn a#2 l ended',
      'suspended a, kept',
    ])
    expect(driver.table.heldCount).to.equal(2)
  })

  it('changes nothing if another broker has taken over these sessions before', () => {
    const driver = driverWithTwoOwners()
    driver.takeOver({ formerOwner: 'one', ownerBroker: 'two' })
    expect(driver.takeOver({ formerOwner: 'one', ownerBroker: 'three' })).to.deep.equal([])
  })

  it('includes the sessions of all brokers if the takeover names no former owner', () => {
    const driver = driverWithTwoOwners()
    expect(driver.takeOverAll('three')).to.deep.equal([
      'deadlinesRestarted a',
      'deadlinesRestarted b',
      'suspended a, kept',
      'suspended b, kept',
    ])
  })

  it('also suspends a session that is suspended already, so that its lease starts again', () => {
    const driver = driverWithTwoOwners()
    driver.suspend('a')
    expect(driver.takeOver({ formerOwner: 'one', ownerBroker: 'two' })).to.include(
      'suspended a, kept',
    )
  })
})
