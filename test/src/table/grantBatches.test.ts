/**
 * Tests a key with very many shared holders or waiters. One command grants at most a thousand
 * waiters, and the command `grantUnfinishedKeys` grants the remaining waiters. The table finds one
 * holder among many by its fence, the number of its grant. A `TableDriver` applies commands to a
 * lock table and returns the effects as short texts.
 */
import { dump, LockTable, restore } from '@holdfast/server/core'
import { expect } from 'chai'
import { TableDriver } from './tableDriver.js'

/**
 * Returns a driver where shared requests of the session `crowd` wait for the exclusive lock of the
 * session `holder`, and a function that releases this lock.
 */
function driverWithWaiters(waiters: number): { driver: TableDriver; unlockHolder: () => string[] } {
  // The driver does not check the invariants, because each check examines the whole table.
  const driver = new TableDriver({ checksInvariants: false })
  driver.open('holder')
  driver.open('crowd')
  driver.lock('holder', 'k')
  for (let i = 0; i < waiters; i++) driver.lock('crowd', 'k', { mode: 'shared' })
  return { driver, unlockHolder: () => driver.unlock('holder', 1) }
}

const grantCount = (lines: readonly string[]): number =>
  lines.filter((line) => line.startsWith('granted')).length

describe('table: a release with very many waiters', () => {
  it('grants a thousand waiters, reports an unfinished key, and grants the others by later commands', () => {
    const { driver, unlockHolder } = driverWithWaiters(2_500)
    const first = unlockHolder()
    expect(grantCount(first)).to.equal(1_000)
    expect(first.at(-1)).to.equal('unfinished k')
    const grantMore = () => driver.apply({ type: 'grantUnfinishedKeys', keys: ['k'], at: 0 })
    const second = grantMore()
    expect(grantCount(second)).to.equal(1_000)
    expect(second.at(-1)).to.equal('unfinished k')
    const third = grantMore()
    expect(grantCount(third)).to.equal(500)
    // There is no other effect, so the key is no longer unfinished.
    expect(third).to.have.length(500)
    expect(grantMore()).to.deep.equal([])
  })

  it('queues a new request behind the waiters that are not granted yet', () => {
    const { driver, unlockHolder } = driverWithWaiters(1_500)
    driver.open('late')
    unlockHolder()
    expect(driver.lock('late', 'k', { mode: 'shared' })).to.deep.equal(['queued late#1 k'])
    expect(driver.lock('late', 'k', { mode: 'shared', timeout: 0 })[0]).to.match(/LOCK_HELD/)
    const effects = driver.apply({ type: 'grantUnfinishedKeys', keys: ['k'], at: 0 })
    expect(effects.at(-1)).to.match(/^granted late#1 k/)
  })

  it('is completed by a restored table after a restart', () => {
    const { driver, unlockHolder } = driverWithWaiters(2_100)
    // Grants 1,000 waiters, so 1,100 remain for two further commands.
    unlockHolder()
    const table = restore(dump(driver.table))
    // No session belongs to the broker `nobody`, so the restart only reports the unfinished key.
    const restart = { type: 'restart', formerOwner: 'unknown', ownerBroker: '', at: 0 } as const
    const kinds = table.apply(restart).map(({ kind }) => kind)
    expect(kinds).to.deep.equal(['unfinished'])
    table.apply({ type: 'grantUnfinishedKeys', keys: ['k'], at: 0 })
    table.apply({ type: 'grantUnfinishedKeys', keys: ['k'], at: 0 })
    expect([table.waitingCount, table.heldCount]).to.deep.equal([0, 2_100])
  })

  it('grants at most the limit of one command, however many keys it frees', () => {
    const table = new LockTable(undefined, /* grantsPerCommand */ 3)
    const driver = new TableDriver({ checksInvariants: false, table })
    driver.open('holder')
    driver.open('crowd')
    for (const key of ['k', 'l', 'm']) {
      driver.lock('holder', key)
      for (let i = 0; i < 2; i++) driver.lock('crowd', key, { mode: 'shared' })
    }
    const lines = driver.end('holder')
    expect(grantCount(lines)).to.equal(3)
    expect(lines.slice(-2)).to.deep.equal(['unfinished l', 'unfinished m'])
    const effects = driver.apply({
      type: 'grantUnfinishedKeys',
      keys: ['l', 'm', 'unknown'],
      at: 0,
    })
    expect(grantCount(effects)).to.equal(3)
  })
})

describe('table: one of very many holders', () => {
  it('is revoked by its fence, and only once, while other locks come and go', () => {
    const driver = new TableDriver()
    driver.open('crowd')
    driver.open('operator')
    for (let i = 0; i < 200; i++) driver.lock('crowd', 'k', { mode: 'shared' })
    // The answer is the last effect of a command. The fences of the locks rise by 1, from 1.
    const revoke = (fence: number): string => driver.revoke('operator', 'k', fence).at(-1)!
    expect(revoke(100)).to.match(/revoked$/)
    expect(revoke(100)).to.match(/LOCK_NOT_HELD$/)
    driver.unlock('crowd', 150)
    expect(revoke(150)).to.match(/LOCK_NOT_HELD$/)
    // Grants the lock 201.
    driver.lock('crowd', 'k', { mode: 'shared' })
    expect(revoke(201)).to.match(/revoked$/)
    driver.end('crowd')
    expect(revoke(7)).to.match(/LOCK_NOT_HELD$/)
    driver.open('again')
    // The first of these locks has the fence 202.
    for (let i = 0; i < 100; i++) driver.lock('again', 'k', { mode: 'shared' })
    expect(revoke(202)).to.match(/revoked$/)
  })
})
