/** Revoking the lock of another session: exactly the named lock, and once. */
import { expect } from 'chai'
import { Bench } from './bench.js'

describe('table: revoke', () => {
  it('ends the lock, reports who did it and why, grants the next waiter and answers, in order', () => {
    const bench = Bench.with('a', 'b', 'op')
    bench.lock('a', 'k')
    bench.lock('b', 'k')
    expect(bench.revoke('op', 'k', 1)).to.deep.equal([
      'revoked f1 by op: stuck',
      'released a k f1 revoked',
      'granted b#1 k f2',
      'answer op#1 revoked',
    ])
    expect(bench.unlock('a', 1)).to.deep.equal(['answer a#2 LOCK_NOT_HELD'])
  })

  it('has no effect with another fence or key', () => {
    const bench = Bench.with('a', 'op')
    bench.lock('a', 'k')
    bench.lock('a', 'l')
    for (const [key, fence] of [['k', 2] as const, ['l', 1] as const, ['m', 1] as const]) {
      expect(bench.revoke('op', key, fence)[0]).to.match(/^answer op#\d LOCK_NOT_HELD$/)
    }
    expect(bench.table.heldCount).to.equal(2)
  })

  it('ends one of several shared locks', () => {
    const bench = Bench.with('a', 'b', 'op')
    bench.lock('a', 'k', { mode: 'shared' })
    bench.lock('b', 'k', { mode: 'shared' })
    bench.revoke('op', 'k', 1)
    expect([...bench.table.keys.get('k')!.holders].map(({ fence }) => fence)).to.deep.equal([2])
  })

  it('ends a lock of a suspended session, and its snapshot reports this', () => {
    const bench = new Bench()
    bench.open('a', { grace: 1_000 })
    bench.open('op')
    bench.lock('a', 'k')
    bench.suspend('a')
    expect(bench.revoke('op', 'k', 1)).to.include('released a k f1 revoked')
    bench.resume('a', 'a-1', 'a-2')
    const { held, revocations } = bench.table.sessions.get('a')!
    expect(held.size).to.equal(0)
    expect(revocations).to.deep.equal([{ fence: 1, note: 'stuck' }])
  })

  it('stores the newest 16 revocations for a session that can resume, and none for others', () => {
    const bench = new Bench()
    bench.open('a', { grace: 1_000 })
    bench.open('b')
    bench.open('op')
    for (let fence = 1; fence <= 40; fence++) {
      bench.lock(fence % 2 === 0 ? 'a' : 'b', 'k')
      bench.revoke('op', 'k', fence)
    }
    const fencesOf = (session: string) =>
      bench.table.sessions.get(session)!.revocations.map(({ fence }) => fence)
    expect(fencesOf('a')).to.deep.equal(Array.from({ length: 16 }, (_, i) => 10 + 2 * i))
    expect(fencesOf('b')).to.deep.equal([])
  })

  it('runs once: a repetition gets the same answer and revokes nothing', () => {
    const bench = new Bench()
    bench.open('a')
    bench.open('op', { grace: 1_000 })
    bench.lock('a', 'k')
    bench.revoke('op', 'k', 1)
    bench.lock('a', 'k')
    expect(bench.revoke('op', 'k', 1, { id: 1 })).to.deep.equal(['repeat op#1 revoked'])
    expect(bench.revoke('op', 'k', 1)).to.deep.equal(['answer op#2 LOCK_NOT_HELD'])
    expect(bench.table.heldCount).to.equal(1)
  })

  it('has no effect on a replaced connection', () => {
    const bench = new Bench()
    bench.open('a')
    bench.open('op', { grace: 1_000 })
    bench.lock('a', 'k')
    bench.suspend('op')
    bench.resume('op', 'op-1', 'op-2')
    expect(bench.revoke('op', 'k', 1, { attachEpoch: 1 })).to.deep.equal([])
  })
})
