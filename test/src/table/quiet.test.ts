/**
 * A broker that lost its table starts with a quiet table, which grants only steals. So the holders
 * of the lost table have time to give up their locks. All other commands work as usual. A
 * `TableDriver` applies commands to a lock table and returns the effects as short texts: `granted
 * b#1 k f2` means that request 1 of session `b` got the key `k` with the fence 2. A fence is the
 * number of a grant.
 */
import { KeyTable, LockTable } from '@holdfast/server/core'
import { expect } from 'chai'
import { TableDriver } from './tableDriver.js'

/** Returns a driver of a quiet table with these sessions. */
function quietDriver(...sessions: string[]): TableDriver {
  const driver = TableDriver.withSessions(...sessions)
  expect(driver.beginQuietStart()).to.deep.equal([])
  return driver
}

describe('table: a quiet start', () => {
  it('queues requests for a free key, and grants them when the quiet start ends', () => {
    const driver = quietDriver('a', 'b')
    expect(driver.lock('a', 'k')).to.deep.equal(['queued a#1 k'])
    expect(driver.lock('b', 'k')).to.deep.equal(['queued b#1 k'])
    expect(driver.lock('b', 'l')).to.deep.equal(['queued b#2 l'])
    expect(driver.endQuietStart()).to.deep.equal(['granted a#1 k f1', 'granted b#2 l f2'])
  })

  it('grants all shared requests at the head of a queue when the quiet start ends', () => {
    const driver = quietDriver('a', 'b', 'c')
    driver.lock('a', 'k', { mode: 'shared' })
    driver.lock('b', 'k', { mode: 'shared' })
    driver.lock('c', 'k')
    expect(driver.endQuietStart()).to.deep.equal(['granted a#1 k f1', 'granted b#1 k f2'])
  })

  it('does not walk over all keys when the quiet start ends', () => {
    const driver = TableDriver.withSessions('a', 'b')
    for (let i = 0; i < 100; i++) driver.lock('a', `held${i}`)
    driver.beginQuietStart()
    for (const key of ['l', 'k']) driver.lock('b', key)
    // A walk over all keys would stall a broker with a million locks.
    let walkedKeys = 0
    const { values } = KeyTable.prototype
    KeyTable.prototype.values = function* () {
      for (const keyState of values.call(this)) {
        walkedKeys++
        yield keyState
      }
    }
    try {
      // The methods of the driver also check the invariants, which walks over all keys.
      const effects = driver.table
        .apply({ type: 'quiet', quiet: false, at: 0 })
        .map(({ kind }) => kind)
      expect(effects).to.deep.equal(['granted', 'granted'])
      expect(walkedKeys).to.equal(0)
    } finally {
      KeyTable.prototype.values = values
    }
  })

  it('fails a request with timeout 0 immediately, with an empty list of holders', () => {
    const driver = quietDriver('a')
    expect(driver.lock('a', 'k', { timeout: 0 })).to.deep.equal(['answer a#1 LOCK_HELD by '])
    expect(driver.table.keys.size).to.equal(0)
  })

  it('leaves no state of a key whose queue is full', () => {
    const driver = new TableDriver()
    // With the limit 0, every queue is full.
    driver.open('a', { limits: { waitersPerKey: 0 } })
    driver.beginQuietStart()
    // `repeat` marks an answer that the table does not store.
    expect(driver.lock('a', 'k')).to.deep.equal(['repeat a#1 QUOTA_EXCEEDED'])
    expect(driver.table.keys.size).to.equal(0)
  })

  it('grants a steal ahead of all waiters', () => {
    const driver = quietDriver('a', 'b')
    driver.lock('a', 'k')
    expect(driver.lock('b', 'k', { steal: true })).to.deep.equal(['granted b#1 k f1'])
    expect(driver.unlock('b', 1)).to.deep.equal(['released b k f1 unlocked', 'answer b#2 unlocked'])
    expect(driver.endQuietStart()).to.deep.equal(['granted a#1 k f2'])
  })

  it('does not delay cancels, timeouts and ends of sessions', () => {
    const driver = quietDriver('a', 'b', 'c')
    driver.lock('a', 'k')
    driver.lock('b', 'k')
    driver.lock('c', 'l')
    expect(driver.cancel('a', 1)).to.deep.equal(['withdrawn a#1 k aborted', 'answer a#1 ABORTED'])
    expect(driver.timeOutRequest('b', 1)).to.include('answer b#1 LOCK_TIMEOUT by ')
    expect(driver.end('c')).to.include('withdrawn c#1 l ended')
    expect(driver.table.keys.size).to.equal(0)
    expect(driver.endQuietStart()).to.deep.equal([])
  })

  it('grants the waiters of all keys at the end of the quiet start, even if this makes a key unused', () => {
    const grantsPerCommand = 2
    const driver = new TableDriver({
      table: new LockTable(/* contents */ undefined, grantsPerCommand),
    })
    for (const session of ['a', 'b', 'c', 'd', 'e']) driver.open(session)
    for (const session of ['a', 'b', 'c', 'd']) driver.once(session, 'k')
    driver.beginQuietStart()
    driver.lock('e', 'l')
    // Session `a` completes its run of `once`. An answer to a waiter of `once` counts as a grant,
    // so this command answers only `b` and `c`. The next command, `endQuietStart()`, first answers
    // `d`, which makes key `k` unused. The same command must still grant key `l` to `e`.
    driver.complete('a', 1, { value: '1' })
    const effects = driver.endQuietStart()
    expect(effects).to.include.members(['answer d#1 result f1 1', 'granted e#1 l f2'])
  })
})
