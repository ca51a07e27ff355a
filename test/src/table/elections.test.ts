/**
 * Tests the elections of the lock table: leaders, their values, and what a leader excludes. A
 * `TableDriver` applies commands to a lock table and returns the effects as short texts: `granted
 * b#1 k f2` means that request 1 of session `b` got the key `k` with the fence 2. A fence is the
 * number of a grant. A session campaigns for a key, and leads while it holds the lock of its
 * campaign. The leader proclaims a value, which is JSON text: the arguments of `proclaim` are the
 * session, the fence and the value. `proclaimed a f1 1 -> 2` means that the leader with the fence 1
 * changed its value from 1 to 2.
 */
import { dump, restore } from '@holdfast/server/core'
import { Digest } from '@holdfast/server/internal'
import { expect } from 'chai'
import { expectUnchanged, TableDriver } from './tableDriver.js'
import { plainState } from './tableToPlain.js'

describe('table: election', () => {
  it('makes one candidate after another the leader, in the order of their campaigns', () => {
    const driver = TableDriver.withSessions('a', 'b', 'c')
    expect(driver.campaign('a', 'k', { value: '1' })).to.deep.equal(['granted a#1 k f1'])
    driver.campaign('b', 'k')
    driver.campaign('c', 'k')
    expect(driver.unlock('a', 1)).to.include('granted b#1 k f2')
    expect(driver.unlock('b', 2)).to.include('granted c#1 k f3')
  })

  it('is excluded by a plain lock, and excludes a plain lock', () => {
    const driver = TableDriver.withSessions('a', 'b')
    driver.lock('a', 'k')
    expect(driver.campaign('b', 'k', { timeout: 0 })).to.deep.equal([
      'answer b#1 LOCK_HELD by a f1',
    ])
    driver.unlock('a', 1)
    driver.campaign('b', 'k')
    expect(driver.lock('a', 'k', { timeout: 0 })).to.deep.equal(['answer a#3 LOCK_HELD by b f2'])
  })

  it('lets the leader change its value and keep its lock and its fence', () => {
    const driver = TableDriver.withSessions('a')
    driver.campaign('a', 'k', { value: '1' })
    expect(driver.proclaim('a', 1, '2')).to.deep.equal([
      'proclaimed a f1 1 -> 2',
      'answer a#2 proclaimed',
    ])
    expect(driver.proclaim('a', 1, undefined)).to.include('proclaimed a f1 2 -> undefined')
    expect(driver.table.heldCount).to.equal(1)
  })

  it('refuses a value for a plain lock, the lock of another session, and a lock that has ended', () => {
    const driver = TableDriver.withSessions('a', 'b')
    driver.lock('a', 'k')
    driver.campaign('b', 'l', { value: '1' })
    expect(driver.proclaim('a', 1, '2')).to.deep.equal(['answer a#2 LOCK_NOT_HELD'])
    expect(driver.proclaim('a', 2, '2')).to.deep.equal(['answer a#3 LOCK_NOT_HELD'])
    driver.lock('a', 'l', { steal: true })
    expect(driver.proclaim('b', 2, '2')).to.deep.equal(['answer b#2 LOCK_NOT_HELD'])
  })

  it('gives the same answer to a repeated request, and changes nothing', () => {
    const driver = new TableDriver()
    driver.open('a', { grace: 1_000 })
    driver.campaign('a', 'k')
    driver.proclaim('a', 1, '2')
    const repeated = () => driver.proclaim('a', 1, '3', { id: 2 })
    expect(expectUnchanged(driver, repeated)).to.deep.equal(['repeat a#2 proclaimed'])
    // A request of another type with the same id is refused. In the texts of the driver, `repeat`
    // also marks such a refusal.
    expect(driver.unlock('a', 1, { id: 2 })).to.deep.equal(['repeat a#2 BAD_MESSAGE'])
  })

  it('leaves the command of the campaign unchanged when the leader changes its value', () => {
    const driver = TableDriver.withSessions('a')
    const election = { value: '1' }
    const terms = { ttl: undefined, timeout: undefined, steal: false, metadata: undefined }
    const fields = { at: 1, session: 'a', attachEpoch: 1, id: 1, key: 'k' } as const
    driver.apply({ type: 'lock', ...fields, mode: 'exclusive', ...terms, extras: { election } })
    driver.apply({
      type: 'proclaim',
      at: 2,
      session: 'a',
      attachEpoch: 1,
      id: 2,
      fence: 1,
      value: '2',
    })
    expect(election.value).to.equal('1')
  })

  it('counts the bytes of the current value only', () => {
    const driver = TableDriver.withSessions('a')
    const before = driver.table.bytes
    driver.campaign('a', 'k', { value: '1' })
    const withShortValue = driver.table.bytes
    driver.proclaim('a', 1, `"${'x'.repeat(1_000)}"`)
    // The table counts at least two bytes for each character.
    expect(driver.table.bytes - withShortValue).to.be.greaterThan(2_000)
    driver.unlock('a', 1)
    expect(driver.table.bytes).to.equal(before)
  })

  it('survives a snapshot with its leader, its candidates and their values', () => {
    const driver = TableDriver.withSessions('a', 'b', 'c')
    driver.campaign('a', 'k', { value: '1' })
    driver.proclaim('a', 1, '2')
    driver.campaign('b', 'k', { value: '"next"' })
    driver.campaign('c', 'k')
    const restored = restore(JSON.parse(JSON.stringify([...dump(driver.table)])))
    expect(plainState(restored)).to.deep.equal(plainState(driver.table))
    expect(restored.bytes).to.equal(driver.table.bytes)
  })

  it('changes the digest of the table with the value, and restores the digest with the former value', () => {
    const driver = TableDriver.withSessions('a')
    driver.campaign('a', 'k', { value: '1' })
    const digest = new Digest(driver.table)
    const { value: before } = digest
    const proclaimValue = (id: number, value: string) => {
      const fields = { at: id, session: 'a', attachEpoch: 1, id, fence: 1, value }
      for (const effect of driver.table.apply({ type: 'proclaim', ...fields }))
        digest.update(effect)
    }
    proclaimValue(2, '2')
    expect(digest.value).not.to.equal(before)
    expect(digest.value).to.equal(new Digest(driver.table).value)
    proclaimValue(3, '1')
    expect(digest.value).to.equal(before)
  })
})
