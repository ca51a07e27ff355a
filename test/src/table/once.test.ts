/**
 * `once` in the lock table. The first caller of a key is granted a lock and runs a task. The
 * callers that wait meanwhile, its *followers*, get the value of the run. A `TableDriver` applies
 * commands to a lock table and returns the effects as short texts: `granted b#1 k f2` means that
 * request 1 of session `b` got the key `k` with the fence 2, the number of the grant. `complete`
 * ends a run: its arguments are the session, the fence of the run, and the value as JSON text. One
 * command answers or grants only a limited number of waiters. `unfinished k` means that a later
 * command must answer or grant the other waiters of `k`.
 */
import { dump, LockTable, restore, type SnapshotItem } from '@holdfast/server/core'
import { expect } from 'chai'
import { checkTableRecords } from './invariants.js'
import { expectUnchanged, TableDriver } from './tableDriver.js'
import { plainState } from './tableToPlain.js'

/** Returns a driver of a table whose commands each grant or answer at most this many waiters. */
function driverWithLimit(grantsPerCommand: number): TableDriver {
  return new TableDriver({ table: new LockTable(undefined, grantsPerCommand) })
}

/** Opens sessions that can resume, so that the table stores their answers. Returns the driver. */
function openResumable(driver: TableDriver, ...sessions: string[]): TableDriver {
  for (const session of sessions) driver.open(session, { grace: 5_000 })
  return driver
}

describe('table: once', () => {
  it('the value of the run answers every follower, before the next waiter is granted', () => {
    const driver = TableDriver.withSessions('a', 'b', 'c', 'd')
    expect(driver.once('a', 'k')).to.deep.equal(['granted a#1 k f1'])
    driver.once('b', 'k')
    driver.lock('c', 'k')
    driver.once('d', 'k')
    expect(driver.complete('a', 1, { value: '{"n":1}' })).to.deep.equal([
      'released a k f1 unlocked',
      'withdrawn b#1 k answered',
      'answer b#1 result f1 {"n":1}',
      'withdrawn d#1 k answered',
      'answer d#1 result f1 {"n":1}',
      'granted c#1 k f2',
      'answer a#2 unlocked',
    ])
  })

  it('the value may be undefined', () => {
    const driver = TableDriver.withSessions('a', 'b')
    driver.once('a', 'k')
    driver.once('b', 'k')
    expect(driver.complete('a', 1)).to.include('answer b#1 result f1 undefined')
  })

  it('the next caller runs if a run ends without complete: by unlock, a steal or the end of its session', () => {
    const driver = TableDriver.withSessions('a', 'b', 'c', 'd', 'stealer')
    for (const session of ['a', 'b', 'c', 'd']) driver.once(session, 'k')
    expect(driver.unlock('a', 1)).to.include('granted b#1 k f2')
    driver.lock('stealer', 'k', { steal: true })
    expect(driver.unlock('stealer', 3)).to.include('granted c#1 k f4')
    expect(driver.end('c')).to.include('granted d#1 k f5')
    // The only effects are the release and the answer, because no follower waits any more.
    expect(driver.complete('d', 5, { value: '5' })).to.have.lengthOf(2)
  })

  it('complete fails for a lock that was not acquired by once, for the lock of another session, and for an unknown fence', () => {
    const driver = TableDriver.withSessions('a', 'b')
    driver.lock('a', 'k')
    driver.once('b', 'l')
    expect(driver.complete('a', 1)).to.deep.equal(['answer a#2 LOCK_NOT_HELD'])
    expect(driver.complete('a', 2)).to.deep.equal(['answer a#3 LOCK_NOT_HELD'])
    // No lock has the fence 3.
    expect(driver.complete('b', 3)).to.deep.equal(['answer b#2 LOCK_NOT_HELD'])
  })

  it('a repeated once or complete gets its first answer', () => {
    const driver = openResumable(new TableDriver(), 'a', 'b')
    driver.once('a', 'k')
    driver.once('b', 'k')
    // The first `once` of `b` still waits, so its repetition has no effect.
    expect(driver.once('b', 'k', { id: 1 })).to.deep.equal([])
    driver.complete('a', 1, { value: '7' })
    const repeat = () => driver.once('b', 'k', { id: 1 })
    expect(expectUnchanged(driver, repeat)).to.deep.equal(['repeat b#1 result f1 7'])
    // The first `complete` of `a` also had the id 2.
    const completeAgain = () => driver.complete('a', 1, { id: 2, value: '8' })
    expect(expectUnchanged(driver, completeAgain)).to.deep.equal(['repeat a#2 unlocked'])
  })

  it('a command answers a limited number of followers, here two, and the next command answers the rest', () => {
    const driver = driverWithLimit(2)
    for (const session of ['a', 'b', 'c', 'd', 'e']) driver.open(session)
    for (const session of ['a', 'b', 'c', 'd']) driver.once(session, 'k')
    const effects = driver.complete('a', 1, { value: '1' })
    expect(effects).to.include.members(['answer c#1 result f1 1', 'unfinished k'])
    expect(effects.join()).to.not.include('answer d')
    // A call after the end of the run must not get the value of the run.
    expect(driver.once('e', 'k')).to.deep.equal(['queued e#1 k'])
    expect(driver.grantUnfinishedKeys('k')).to.deep.equal([
      'withdrawn d#1 k answered',
      'answer d#1 result f1 1',
      'granted e#1 k f2',
    ])
  })

  it('a follower that leaves before its answer gets no value, and the other followers get the value', () => {
    // One command answers one follower: `complete` answers b, and the cancel of c answers d.
    const driver = driverWithLimit(1)
    for (const session of ['a', 'b', 'c', 'd', 'e']) driver.open(session)
    for (const session of ['a', 'b', 'c', 'd', 'e']) driver.once(session, 'k')
    driver.complete('a', 1, { value: '1' })
    expect(driver.cancel('c', 1)).to.include.members([
      'answer c#1 ABORTED',
      'answer d#1 result f1 1',
    ])
    driver.end('e')
    expect(driver.table.keys.size).to.equal(0)
  })

  it('after a takeover, the followers that the former broker had not answered get their answers', () => {
    const driver = driverWithLimit(1)
    openResumable(driver, 'a', 'b', 'c')
    for (const session of ['a', 'b', 'c']) driver.once(session, 'k')
    driver.complete('a', 1, { value: '1' })
    // The new broker `two` takes over the sessions of all brokers.
    expect(driver.takeOverAll('two')).to.include('unfinished k')
    expect(driver.grantUnfinishedKeys('k')).to.include('answer c#1 result f1 1')
  })
})

/** A kept result answers the later `once` calls of its key for some time after the run. */
describe('table: kept results of once', () => {
  it('later callers get a kept result immediately, even while the key is locked', () => {
    const driver = TableDriver.withSessions('a', 'b', 'c')
    driver.once('a', 'k')
    driver.lock('b', 'k')
    expect(driver.complete('a', 1, { value: '1', keep: 60_000 })).to.include('kept k f1')
    expect(driver.once('c', 'k')).to.deep.equal(['answer c#1 result f1 1'])
    expect(driver.forgetResult('k', 1)).to.deep.equal(['forgotten k f1'])
    expect(driver.once('c', 'k')).to.deep.equal(['queued c#2 k'])
  })

  it('forgetResult with the fence of another run changes nothing', () => {
    const driver = TableDriver.withSessions('a', 'b')
    driver.once('a', 'k')
    driver.once('b', 'k')
    driver.unlock('a', 1)
    driver.complete('b', 2, { keep: 60_000 })
    expect(expectUnchanged(driver, () => driver.forgetResult('k', 1))).to.deep.equal([])
  })

  it('the table forgets the oldest results beyond the maximum number and the maximum bytes', () => {
    const limits = { keptResults: 2, keptResultBytes: 3_000 }
    const driver = new TableDriver()
    driver.open('a', { limits })
    const run = (key: string, value: string) => {
      // The text ends with the fence, as in `granted a#1 k f1`.
      const [granted] = driver.once('a', key)
      const fence = Number(granted!.split(' f')[1])
      return driver.complete('a', fence, { value, keep: 1_000 })
    }
    run('k', '1')
    run('l', '1')
    expect(run('m', '1')).to.include('forgotten k f1')
    // A kept result takes more than 400 bytes, plus more than two bytes for each character of its
    // value. So this result takes about 2,600 bytes, and no other result fits into 3,000 bytes.
    const large = `"${'v'.repeat(1_000)}"`
    expect(run('n', large)).to.include.members(['forgotten l f2', 'forgotten m f3'])
    expect([...driver.table.keptResults.keys()]).to.deep.equal(['n'])
  })

  it('a broker that takes over sessions also takes over the kept results of the former broker', () => {
    const driver = new TableDriver()
    driver.open('a', { ownerBroker: 'one' })
    driver.open('b', { ownerBroker: 'two' })
    driver.once('a', 'k')
    driver.complete('a', 1, { keep: 1_000 })
    driver.once('b', 'l')
    driver.complete('b', 2, { keep: 1_000 })
    // The time for which the result is kept begins again at the new broker.
    expect(driver.takeOver({ formerOwner: 'one', ownerBroker: 'two' })).to.include(
      'keepRestarted k f1',
    )
    const owners = [...driver.table.keptResults.values()].map(({ ownerBroker }) => ownerBroker)
    expect(owners).to.deep.equal(['two', 'two'])
  })

  it('a snapshot has a value in one place, even if several answers contain it and several followers still wait for it', () => {
    const driver = driverWithLimit(2)
    openResumable(driver, 'a', 'b', 'c', 'd', 'e')
    for (const session of ['a', 'b', 'c', 'd', 'e']) driver.once(session, 'k')
    driver.complete('a', 1, { value: '"the value"', keep: 1_000 })
    const text = JSON.stringify([...dump(driver.table)])
    // A single occurrence of the value divides the text into two parts.
    expect(text.split('the value')).to.have.lengthOf(2)
    const copy = restore(JSON.parse(text) as SnapshotItem[])
    // The key is unfinished, because d and e have no answer yet.
    checkTableRecords(copy, new Set(['k']))
    expect(plainState(copy)).to.deep.equal(plainState(driver.table))
    for (const table of [driver.table, copy]) {
      const effects = table.apply({ type: 'grantUnfinishedKeys', at: 0, keys: ['k'] })
      expect(effects.filter(({ kind }) => kind === 'answer')).to.have.lengthOf(2)
    }
  })

  it('a snapshot that lacks a result is refused', () => {
    // The fence of the run names the result.
    const kept = { item: 'kept', fence: 9, keep: 1, ownerBroker: '', since: 0 }
    expect(() => restore([kept as SnapshotItem])).to.throw('refers to the result 9')
  })
})
