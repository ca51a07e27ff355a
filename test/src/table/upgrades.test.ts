/**
 * Upgrades and downgrades. An upgrade makes a shared lock exclusive, as soon as this lock is the
 * only lock of its key. A downgrade makes an exclusive lock shared, immediately. A `TableDriver`
 * applies commands to a lock table and returns the effects as short texts: `granted b#1 k f2` means
 * that request 1 of session `b` got the key `k` with the fence 2. A fence is the number of a grant.
 * A text that begins with `repeat` instead of `answer` is an answer that the table does not store
 * now: a repeated answer, or a refusal. Such a refusal leaves the id of the request unused.
 */
import { dump, restore } from '@holdfast/server/core'
import { expect } from 'chai'
import { expectUnchanged, TableDriver } from './tableDriver.js'

const shared = { mode: 'shared' } as const

/** Returns a driver where the sessions a and b have shared locks of the key k, and c has none. */
function twoReaders(): TableDriver {
  const driver = TableDriver.withSessions('a', 'b', 'c')
  driver.lock('a', 'k', shared)
  driver.lock('b', 'k', shared)
  return driver
}

describe('table: upgrades', () => {
  it('are granted immediately if the key has no other lock, and give a higher fence', () => {
    const driver = TableDriver.withSessions('a', 'b')
    driver.lock('a', 'k', shared)
    expect(driver.upgrade('a', 1)).to.deep.equal([
      'upgraded a k f1 to f2',
      'answer a#2 upgraded f2',
    ])
    expect(driver.lock('b', 'k', { ...shared, timeout: 0 })[0]).to.match(/LOCK_HELD by a f2/)
    // The holder still names the lock by its first fence.
    expect(driver.unlock('a', 1)).to.include('released a k f1 unlocked')
  })

  it('are granted before the other waiters of the key', () => {
    const driver = twoReaders()
    driver.lock('c', 'k')
    expect(driver.upgrade('a', 1)).to.deep.equal(['queued a#2 k'])
    expect(driver.unlock('b', 2)).to.deep.equal([
      'released b k f2 unlocked',
      'upgraded a k f1 to f3',
      'answer a#2 upgraded f3',
      'answer b#2 unlocked',
    ])
    expect(driver.unlock('a', 1)).to.include('granted c#1 k f4')
  })

  it('block every other request for the key while they wait, also shared requests', () => {
    const driver = twoReaders()
    driver.upgrade('a', 1)
    expect(driver.lock('c', 'k', shared)).to.deep.equal(['queued c#1 k'])
    expect(driver.lock('c', 'k', { ...shared, timeout: 0 })[0]).to.match(/LOCK_HELD/)
  })

  it('that time out or are cancelled leave the lock shared and the key to the next waiter', () => {
    for (const [end, reason] of [
      ['timeOutRequest', 'timeout'],
      ['cancel', 'aborted'],
    ] as const) {
      const driver = twoReaders()
      driver.upgrade('a', 1)
      driver.lock('c', 'k', shared)
      expect(driver[end]('a', 2).slice(0, 2)).to.deep.equal([
        `withdrawn a#2 k ${reason}`,
        'granted c#1 k f3',
      ])
      // The lock of a is still shared, because an exclusive lock needs no upgrade.
      expect(driver.upgrade('a', 1, { timeout: 0 })[0]).to.match(/LOCK_HELD by b f2, c f3/)
    }
  })

  it('with the timeout 0 fail with LOCK_HELD, and name only the other holders', () => {
    const driver = twoReaders()
    expect(driver.upgrade('a', 1, { timeout: 0 })).to.deep.equal(['answer a#2 LOCK_HELD by b f2'])
  })

  it('fail with DEADLOCK while another upgrade of the key waits, and change nothing', () => {
    const driver = twoReaders()
    driver.upgrade('a', 1)
    expect(expectUnchanged(driver, () => driver.upgrade('b', 2))).to.deep.equal([
      'repeat b#2 DEADLOCK',
    ])
    // When the lock of b has ended, the upgrade of a is granted.
    expect(driver.unlock('b', 2)).to.include('upgraded a k f1 to f3')
  })

  it('fail with LOCK_NOT_HELD if a steal, revocation, expiry or unlock ends their lock', () => {
    for (const end of [
      (driver: TableDriver) => driver.lock('c', 'k', { steal: true }),
      (driver: TableDriver) => driver.revoke('c', 'k', 1),
      (driver: TableDriver) => driver.expire('a', 1),
      (driver: TableDriver) => driver.unlock('a', 1),
    ]) {
      const driver = twoReaders()
      driver.upgrade('a', 1)
      expect(end(driver)).to.include.members(['withdrawn a#2 k ended', 'answer a#2 LOCK_NOT_HELD'])
    }
  })

  it('of an exclusive lock change nothing, and their answer names its present fence', () => {
    const driver = TableDriver.withSessions('a')
    driver.lock('a', 'k', shared)
    driver.upgrade('a', 1)
    expect(driver.upgrade('a', 1)).to.deep.equal(['answer a#3 upgraded f2'])
  })

  it('are refused for permits, sets, leaderships, calls of once, and a lock whose upgrade waits', () => {
    const driver = twoReaders()
    driver.upgrade('a', 1)
    expect(driver.upgrade('a', 1)).to.deep.equal(['repeat a#3 BAD_MESSAGE'])
    driver.lock('c', 'p', { capacity: 2 })
    driver.lockAll('c', ['x', 'y'])
    driver.campaign('c', 'election')
    driver.once('c', 'once')
    // The fences of the four grants of c: the two locks of the set have the same fence. Each
    // request can have the id 9, because a refusal leaves the id unused.
    for (const fence of [3, 4, 5, 6]) {
      expect(driver.upgrade('c', fence, { id: 9 })).to.deep.equal(['repeat c#9 BAD_MESSAGE'])
      // Downgrades are refused too.
      expect(driver.downgrade('c', fence, { id: 9 })).to.deep.equal(['repeat c#9 BAD_MESSAGE'])
    }
  })

  it('give the lock a new fence, by which a revocation finds the lock among many holders', () => {
    const driver = TableDriver.withSessions('a', 'b', 'c')
    driver.lock('a', 'k', shared)
    driver.upgrade('a', 1)
    driver.downgrade('a', 1)
    // The locks of b have the fences 3 to 102.
    for (let i = 0; i < 100; i++) driver.lock('b', 'k', shared)
    // A revocation by the first fence fails.
    expect(driver.revoke('c', 'k', 1)).to.deep.equal(['answer c#1 LOCK_NOT_HELD'])
    expect(driver.revoke('c', 'k', 50)).to.include('released b k f50 revoked')
    // `released` names the lock by its first fence.
    expect(driver.revoke('c', 'k', 2)).to.include('released a k f1 revoked')
  })

  it('take effect once: a repetition gets the first answer, or none while the upgrade waits', () => {
    const driver = new TableDriver()
    for (const session of ['a', 'b']) driver.open(session, { grace: 5_000 })
    driver.lock('a', 'k', shared)
    driver.lock('b', 'k', shared)
    driver.upgrade('a', 1)
    expect(driver.upgrade('a', 1, { id: 2 })).to.deep.equal([])
    // The id 2 belongs to the upgrade.
    expect(driver.lock('a', 'k', { id: 2 })).to.deep.equal(['repeat a#2 BAD_MESSAGE'])
    driver.unlock('b', 2)
    driver.downgrade('a', 1)
    expect(driver.upgrade('a', 1, { id: 2 })).to.deep.equal(['repeat a#2 upgraded f3'])
    expect(driver.downgrade('a', 1, { id: 3 })).to.deep.equal(['repeat a#3 downgraded'])
  })

  it('survive a restart from a snapshot while they wait and after their grant', () => {
    const driver = twoReaders()
    driver.upgrade('a', 1)
    // The invariants cannot be checked, because a check needs all commands since the first. A new
    // driver does not know the last ids of a and b, so the test gives their next ids.
    const driverWhileWaiting = new TableDriver({
      checksInvariants: false,
      table: restore(dump(driver.table)),
    })
    expect(driverWhileWaiting.unlock('b', 2, { id: 2 })).to.include('upgraded a k f1 to f3')
    const driverAfterGrant = new TableDriver({
      checksInvariants: false,
      table: restore(dump(driverWhileWaiting.table)),
    })
    expect(driverAfterGrant.downgrade('a', 1, { id: 3 })).to.include('downgraded a k f1')
    expect(driverAfterGrant.revoke('c', 'k', 3)).to.include('released a k f1 revoked')
  })
})

describe('table: downgrades', () => {
  it('grant the shared requests at the head of the queue in the same command', () => {
    const driver = TableDriver.withSessions('a', 'b', 'c', 'd')
    driver.lock('a', 'k')
    driver.lock('b', 'k', shared)
    driver.lock('c', 'k')
    // This shared request must wait behind the exclusive request of c.
    driver.lock('d', 'k', shared)
    expect(driver.downgrade('a', 1)).to.deep.equal([
      'downgraded a k f1',
      'granted b#1 k f2',
      'answer a#2 downgraded',
    ])
  })

  it('change nothing for a shared lock, even if its upgrade waits', () => {
    const driver = twoReaders()
    driver.upgrade('a', 1)
    expect(driver.downgrade('a', 1)).to.deep.equal(['answer a#3 downgraded'])
    expect(driver.unlock('b', 2)).to.include('upgraded a k f1 to f3')
  })
})
