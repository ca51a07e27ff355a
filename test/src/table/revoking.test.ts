/**
 * A session revokes the lock of another session: the table ends exactly this lock. A repetition of
 * the request revokes nothing. A `TableDriver` applies commands to a lock table and returns the
 * effects as short texts: `granted b#1 k f2` means that request 1 of session `b` got the key `k`
 * with the fence 2. A fence is the number of a grant. `repeat` in place of `answer` marks a
 * repeated answer. The session `op` of an operator sends the requests to revoke. The driver gives
 * each revocation the reason (`note`) `stuck`.
 */
import { expect } from 'chai'
import { TableDriver } from './tableDriver.js'

describe('table: revoke', () => {
  it('reports the revoker and the reason, ends the lock, and grants the next waiter', () => {
    const driver = TableDriver.withSessions('a', 'b', 'op')
    driver.lock('a', 'k')
    driver.lock('b', 'k')
    expect(driver.revoke('op', 'k', 1)).to.deep.equal([
      'revoked f1 by op: stuck',
      'released a k f1 revoked',
      'granted b#1 k f2',
      'answer op#1 revoked',
    ])
    expect(driver.unlock('a', 1)).to.deep.equal(['answer a#2 LOCK_NOT_HELD'])
  })

  it('has no effect if the key has no lock with the fence', () => {
    const driver = TableDriver.withSessions('a', 'op')
    driver.lock('a', 'k')
    driver.lock('a', 'l')
    // The keys k and l have the fences 1 and 2, and m is free.
    for (const [key, fence] of [['k', 2] as const, ['l', 1] as const, ['m', 1] as const]) {
      expect(driver.revoke('op', key, fence)[0]).to.match(/^answer op#\d LOCK_NOT_HELD$/)
    }
    expect(driver.table.heldCount).to.equal(2)
  })

  it('ends one of several shared locks', () => {
    const driver = TableDriver.withSessions('a', 'b', 'op')
    driver.lock('a', 'k', { mode: 'shared' })
    driver.lock('b', 'k', { mode: 'shared' })
    driver.revoke('op', 'k', 1)
    expect([...driver.table.keys.get('k')!.holders].map(({ fence }) => fence)).to.deep.equal([2])
  })

  it('finds one of 1,000 holders without a walk over the holders', () => {
    // This driver checks no invariants, because the check walks over the holders.
    const driver = new TableDriver({ checksInvariants: false })
    driver.open('a')
    driver.open('op')
    for (let i = 0; i < 1_000; i++) driver.lock('a', 'k', { mode: 'shared' })
    const { holders } = driver.table.keys.get('k')!
    let walks = 0
    const walk = holders[Symbol.iterator].bind(holders)
    Object.defineProperty(holders, Symbol.iterator, {
      value: () => {
        walks++
        return walk()
      },
    })
    expect(driver.revoke('op', 'k', 500)).to.include('released a k f500 revoked')
    expect(driver.revoke('op', 'k', 500)[0]).to.match(/LOCK_NOT_HELD$/)
    expect(walks).to.equal(0)
  })

  it('ends a lock of a suspended session, and stores the revocation for the next resume', () => {
    const driver = new TableDriver()
    driver.open('a', { grace: 1_000 })
    driver.open('op')
    driver.lock('a', 'k')
    driver.suspend('a')
    expect(driver.revoke('op', 'k', 1)).to.include('released a k f1 revoked')
    // The session resumes with its secret `a-1`, and gets the new secret `a-2`.
    driver.resume('a', { secret: 'a-1', newSecret: 'a-2' })
    const { held, revocations } = driver.table.sessions.get('a')!
    expect(held.size).to.equal(0)
    expect(revocations).to.deep.equal([{ fence: 1, note: 'stuck' }])
  })

  it('stores the newest 16 revocations for a session that can resume, and none for others', () => {
    const driver = new TableDriver()
    driver.open('a', { grace: 1_000 })
    driver.open('b')
    driver.open('op')
    // 20 revocations for each session: the even fences for a, the odd fences for b.
    for (let fence = 1; fence <= 40; fence++) {
      driver.lock(fence % 2 === 0 ? 'a' : 'b', 'k')
      driver.revoke('op', 'k', fence)
    }
    const fencesOf = (session: string) =>
      driver.table.sessions.get(session)!.revocations.map(({ fence }) => fence)
    // The even fences from 10 to 40.
    expect(fencesOf('a')).to.deep.equal(Array.from({ length: 16 }, (_, i) => 10 + 2 * i))
    expect(fencesOf('b')).to.deep.equal([])
  })

  it('gives a repetition of the request the same answer, and revokes nothing', () => {
    const driver = new TableDriver()
    driver.open('a')
    // The table stores answers only for a session with a grace.
    driver.open('op', { grace: 1_000 })
    driver.lock('a', 'k')
    driver.revoke('op', 'k', 1)
    driver.lock('a', 'k')
    expect(driver.revoke('op', 'k', 1, { id: 1 })).to.deep.equal(['repeat op#1 revoked'])
    expect(driver.revoke('op', 'k', 1)).to.deep.equal(['answer op#2 LOCK_NOT_HELD'])
    expect(driver.table.heldCount).to.equal(1)
  })

  it('has no effect if sent on a connection that the session has replaced', () => {
    const driver = new TableDriver()
    driver.open('a')
    driver.open('op', { grace: 1_000 })
    driver.lock('a', 'k')
    driver.suspend('op')
    driver.resume('op', { secret: 'op-1', newSecret: 'op-2' })
    expect(driver.revoke('op', 'k', 1, { attachEpoch: 1 })).to.deep.equal([])
  })
})
