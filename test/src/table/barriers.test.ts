/**
 * Tests the barriers of the lock table: which calls pass, which calls count as parties, and what
 * ends a barrier. A `TableDriver` applies commands to a lock table and returns the effects as short
 * texts: `arrived a#1 k` means that call 1 of session `a` waits at the barrier `k`, and `departed`
 * that the call no longer waits. The third argument of `driver.barrier` is the number of parties.
 * `repeat` instead of `answer` marks the stored answer to a repeated call, or a refusal that the
 * table does not store. After such a refusal, the client may use the id again.
 */
import { dump, LockTable, restore } from '@holdfast/server/core'
import { expect } from 'chai'
import { TableDriver } from './tableDriver.js'
import { plainState } from './tableToPlain.js'

describe('table: barrier', () => {
  it('passes all parties in one step, in order of arrival', () => {
    const driver = TableDriver.withSessions('a', 'b', 'c')
    expect(driver.barrier('a', 'k', 3)).to.deep.equal(['arrived a#1 k'])
    expect(driver.barrier('b', 'k', 3)).to.deep.equal(['arrived b#1 k'])
    expect(driver.barrier('c', 'k', 3)).to.deep.equal([
      'arrived c#1 k',
      'departed a#1 k passed',
      'answer a#1 passed',
      'departed b#1 k passed',
      'answer b#1 passed',
      'departed c#1 k passed',
      'answer c#1 passed',
    ])
    expect(driver.table.barriers.size).to.equal(0)
  })

  it('ends when all parties pass, and the next call may have another number of parties', () => {
    const driver = TableDriver.withSessions('a', 'b')
    driver.barrier('a', 'k', 2)
    driver.barrier('b', 'k', 2)
    expect(driver.barrier('a', 'k', 3)).to.deep.equal(['arrived a#2 k'])
    expect(driver.table.barriers.get('k')?.parties).to.equal(3)
  })

  it('counts each call as one party, also two calls of one session', () => {
    const driver = TableDriver.withSessions('a')
    driver.barrier('a', 'k', 2)
    expect(driver.barrier('a', 'k', 2)).to.include('answer a#1 passed')
  })

  it('refuses another number of parties while calls wait, and changes nothing', () => {
    const driver = TableDriver.withSessions('a', 'b')
    driver.barrier('a', 'k', 3)
    // This code also means another number of parties.
    expect(driver.barrier('b', 'k', 2)).to.deep.equal(['repeat b#1 CAPACITY_MISMATCH'])
    expect(driver.table.barriers.get('k')?.calls.size).to.equal(1)
  })

  it('does not count a call that timed out, was cancelled, or lost its session', () => {
    const driver = TableDriver.withSessions('a', 'b', 'c', 'd')
    driver.barrier('a', 'k', 2)
    expect(driver.timeOutRequest('a', 1)).to.deep.equal([
      'departed a#1 k timeout',
      'answer a#1 LOCK_TIMEOUT',
    ])
    driver.barrier('b', 'k', 2)
    expect(driver.cancel('b', 1)).to.deep.equal(['departed b#1 k aborted', 'answer b#1 ABORTED'])
    driver.barrier('c', 'k', 2)
    // This session has no grace, so the session ends.
    expect(driver.suspend('c')).to.include('departed c#1 k ended')
    expect(driver.barrier('d', 'k', 2)).to.deep.equal(['arrived d#1 k'])
  })

  it('counts a call whose session is disconnected within its grace, and stores the answer', () => {
    const driver = new TableDriver()
    driver.open('a', { grace: 1_000 })
    driver.open('b')
    driver.barrier('a', 'k', 2)
    driver.suspend('a')
    driver.barrier('b', 'k', 2)
    // `a-1` is the secret of the session, and `a-2` the next secret.
    expect(driver.resume('a', { secret: 'a-1', newSecret: 'a-2' }).join()).to.contain('#1 passed')
  })

  it('gives the same answer to a repeated call, and none while the call waits', () => {
    const driver = new TableDriver()
    driver.open('a', { grace: 1_000 })
    driver.open('b')
    driver.barrier('a', 'k', 2)
    expect(driver.barrier('a', 'k', 2, { id: 1 })).to.deep.equal([])
    driver.barrier('b', 'k', 2)
    expect(driver.barrier('a', 'k', 2, { id: 1 })).to.deep.equal(['repeat a#1 passed'])
    // A request of another type must not have the id of the call.
    expect(driver.lock('a', 'k', { id: 1 })).to.deep.equal(['repeat a#1 BAD_MESSAGE'])
    expect(driver.table.barriers.size).to.equal(0)
  })

  it('passes a call with the timeout 0 only if the call is the last party', () => {
    const driver = TableDriver.withSessions('a', 'b')
    expect(driver.barrier('a', 'k', 2, { timeout: 0 })).to.deep.equal(['answer a#1 LOCK_TIMEOUT'])
    driver.barrier('b', 'k', 2)
    expect(driver.barrier('a', 'k', 2, { timeout: 0 })).to.include('answer a#2 passed')
  })

  it('excludes no lock with the same key', () => {
    const driver = TableDriver.withSessions('a', 'b')
    driver.barrier('a', 'k', 2)
    expect(driver.lock('b', 'k')).to.deep.equal(['granted b#1 k f1'])
  })

  it('refuses a call beyond the limits of the session, and does not store the refusal', () => {
    const driver = new TableDriver()
    driver.open('a', { limits: { barriers: 1, locks: 10 } })
    driver.barrier('a', 'k', 2)
    expect(driver.barrier('a', 'l', 2)).to.deep.equal(['repeat a#2 QUOTA_EXCEEDED'])
    // A call also counts towards the limit of locks.
    driver.open('b', { limits: { locks: 1 } })
    driver.lock('b', 'k')
    expect(driver.barrier('b', 'k', 2)).to.deep.equal(['repeat b#2 QUOTA_EXCEEDED'])
    expect(driver.table.barriers.callCount).to.equal(1)
  })

  it('survives a snapshot with its calls in order', () => {
    const driver = TableDriver.withSessions('a', 'b')
    driver.barrier('b', 'l', 3)
    driver.barrier('a', 'k', 3, { timeout: 70 })
    driver.barrier('b', 'k', 3)
    const items = JSON.parse(JSON.stringify([...dump(driver.table)]))
    const restored = restore(items)
    expect(restored).to.be.instanceOf(LockTable)
    expect(plainState(restored)).to.deep.equal(plainState(driver.table))
    expect(restored.bytes).to.equal(driver.table.bytes)
  })

  it('keeps its calls when a broker takes over their sessions, and their timeouts start again', () => {
    const driver = new TableDriver()
    // The owner broker of a session runs the timers of the session.
    driver.open('a', { grace: 1_000, ownerBroker: 'one' })
    driver.barrier('a', 'k', 2, { timeout: 50 })
    const effects = driver.takeOver({ formerOwner: 'one', ownerBroker: 'two' })
    expect(effects).to.include('deadlinesRestarted a')
    expect(driver.table.barriers.callCount).to.equal(1)
  })
})
