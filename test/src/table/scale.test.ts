/**
 * The cost of thousands of waiters, counted in effects and not in time. A release grants only the
 * waiters that can now hold the lock. One command grants at most a thousand waiters. Later commands
 * (`grantUnfinishedKeys`) grant the others. Waiters that leave the queue cause no grant.
 *
 * A `TableDriver` applies commands to a lock table and returns the effects as short texts: `granted
 * b#1 k f2` means that request 1 of session `b` got the key `k` with the fence 2. A fence is the
 * number of a grant.
 */
import { expect } from 'chai'
import { quickOrFull } from '../support/counts.js'
import { checkTableRecords } from './invariants.js'
import { TableDriver } from './tableDriver.js'

const waiterCount = quickOrFull(3_000, 10_000)

/** Returns a driver that does not check invariants, because each check examines the whole table. */
const uncheckedDriver = (): TableDriver => new TableDriver({ checksInvariants: false })

/** Returns a driver with a session that holds `k`, and thousands of sessions that wait for `k`. */
function driverWithWaiters(): TableDriver {
  const driver = uncheckedDriver()
  driver.open('holder')
  driver.lock('holder', 'k')
  for (let i = 0; i < waiterCount; i++) {
    driver.open(`w${i}`)
    driver.lock(`w${i}`, 'k')
  }
  expect(driver.table.waitingCount).to.equal(waiterCount)
  return driver
}

describe(`table: ${waiterCount} waiters`, () => {
  it('one release grants only the first waiter', () => {
    const driver = driverWithWaiters()
    expect(driver.unlock('holder', 1)).to.deep.equal([
      'released holder k f1 unlocked',
      'granted w0#1 k f2',
      'answer holder#2 unlocked',
    ])
    checkTableRecords(driver.table)
  })

  it('all waiters leave one after another, in a scattered order, without a grant', () => {
    const driver = driverWithWaiters()
    // 7,919 and the number of waiters have no common factor, so the loop visits every waiter once,
    // in a scattered order.
    for (let i = 0; i < waiterCount; i++) {
      const session = `w${(i * 7_919) % waiterCount}`
      expect(driver.end(session)).to.deep.equal([
        `withdrawn ${session}#1 k ended`,
        `ended ${session} goodbye`,
      ])
    }
    expect(driver.table.waitingCount).to.equal(0)
    checkTableRecords(driver.table)
  })

  it('a chain of releases grants every waiter once, in order', () => {
    const driver = driverWithWaiters()
    let holder = 'holder'
    for (let i = 0; i < waiterCount; i++) {
      const heldFence = i + 1
      const [, granted] = driver.unlock(holder, heldFence)
      expect(granted).to.equal(`granted w${i}#1 k f${heldFence + 1}`)
      holder = `w${i}`
    }
    checkTableRecords(driver.table)
  })

  it('one release grants a thousand shared waiters, and each `grantUnfinishedKeys` a thousand more', () => {
    const driver = uncheckedDriver()
    driver.open('holder')
    driver.lock('holder', 'k')
    driver.open('w')
    for (let i = 0; i < waiterCount; i++) driver.lock('w', 'k', { mode: 'shared' })
    // A thousand grants, the release, the answer, and `unfinished k`, because waiters remain.
    expect(driver.unlock('holder', 1)).to.have.length(1_003)
    const grantMore = { type: 'grantUnfinishedKeys', keys: ['k'], at: 0 } as const
    for (let remaining = waiterCount - 1_000; remaining > 0; remaining -= 1_000)
      driver.apply(grantMore)
    expect(driver.table.heldCount).to.equal(waiterCount)
    // A release for each lock, and the end of the session.
    expect(driver.end('w')).to.have.length(waiterCount + 1)
    expect(driver.table.keys.size).to.equal(0)
  })

  it('the end of a session with thousands of requests withdraws all these requests', () => {
    const driver = uncheckedDriver()
    driver.open('holder')
    driver.open('w')
    driver.open('last')
    driver.lock('holder', 'k')
    for (let i = 0; i < waiterCount; i++) driver.lock('w', 'k')
    driver.lock('last', 'k')
    driver.end('w')
    expect(driver.unlock('holder', 1)).to.include('granted last#1 k f2')
    checkTableRecords(driver.table)
  })
})
