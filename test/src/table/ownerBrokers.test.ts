/**
 * Several brokers on one table. Each session has an owner broker, which keeps its deadlines. The
 * tests move a session to another owner, and let an owner die.
 */
import { expect } from 'chai'
import { Bench } from './bench.js'

/**
 * A bench where `a`, owned by `one`, holds a lock with a ttl and one without, and waits for `l`.
 */
function away(): Bench {
  const bench = new Bench()
  bench.open('a', { grace: 5_000, secret: 's1', ownerBroker: 'one' })
  bench.open('b', { ownerBroker: 'two' })
  bench.lock('a', 'k', { ttl: 1_000 })
  bench.lock('a', 'for ever')
  bench.lock('b', 'l', { ttl: 1_000 })
  bench.lock('a', 'l', { timeout: 500 })
  return bench
}

function ownerOf(bench: Bench, session: string): string | undefined {
  return bench.table.sessions.get(session)?.ownerBroker
}

describe('table: a session that moves to another broker', () => {
  it('is owned by the broker where it resumes, and its deadlines start again', () => {
    const bench = away()
    expect(bench.resume('a', 's1', 's2', { ownerBroker: 'two' })).to.deep.equal([
      'deadlineRestarted a#1 k',
      'deadlineRestarted a#3 l',
      'resumed a @2; #1 granted f1; #2 granted f2',
    ])
    expect(ownerOf(bench, 'a')).to.equal('two')
  })

  it('keeps its lock although the former owner had proposed its expiry', () => {
    const bench = away()
    bench.resume('a', 's1', 's2', { ownerBroker: 'two' })
    expect(bench.expire('a', 1, 0)).to.deep.equal([])
    expect(bench.expire('a', 1, 1)).to.deep.equal(['released a k f1 expired'])
  })

  it('lives although the former owner had proposed its end', () => {
    const bench = away()
    bench.resume('a', 's1', 's2', { ownerBroker: 'two' })
    expect(bench.end('a', 1)).to.deep.equal([])
  })

  it('keeps its deadlines running if it resumes at its owner', () => {
    const bench = away()
    expect(bench.resume('a', 's1', 's2', { ownerBroker: 'one' })).to.deep.equal([
      'resumed a @2; #1 granted f1; #2 granted f2',
    ])
    expect(bench.expire('a', 1, 0)).to.deep.equal(['released a k f1 expired'])
  })

  it('keeps its owner when the resume is refused', () => {
    const bench = away()
    bench.resume('a', 'wrong', 's2', { ownerBroker: 'two' })
    expect(ownerOf(bench, 'a')).to.equal('one')
  })
})

describe('table: a broker that is gone', () => {
  it('leaves its own sessions, and no others, to the new owner for their whole lease', () => {
    const bench = away()
    expect(bench.restart('one', 'two')).to.deep.equal([
      'deadlineRestarted a#1 k',
      'deadlineRestarted a#3 l',
      'suspended a, kept',
    ])
    expect(ownerOf(bench, 'a')).to.equal('two')
    expect(bench.table.sessions.get('b')?.suspended).to.equal(false)
  })

  it('has no influence by its earlier proposals', () => {
    const bench = away()
    bench.restart('one', 'two')
    expect(bench.expire('a', 1, 0)).to.deep.equal([])
    expect(bench.lock('a', 'new')).to.deep.equal([])
  })

  it('leaves locks, but no requests, to a session that cannot resume', () => {
    const bench = new Bench()
    bench.open('a', { ownerBroker: 'one' })
    bench.open('b', { ownerBroker: 'two' })
    bench.lock('a', 'k')
    bench.lock('b', 'l')
    bench.lock('a', 'l', { timeout: 500 })
    expect(bench.restart('one', 'two')).to.deep.equal([
      'deadlineRestarted a#2 l',
      'withdrawn a#2 l ended',
      'suspended a, kept',
    ])
    expect(bench.table.heldCount).to.equal(2)
  })

  it('has no sessions left if it was taken over before', () => {
    const bench = away()
    bench.restart('one', 'two')
    expect(bench.restart('one', 'three')).to.deep.equal([])
  })

  it('may have been the only one: a restart without a former owner takes over all sessions', () => {
    const bench = away()
    expect(bench.restart(undefined, 'three')).to.deep.equal([
      'deadlineRestarted a#1 k',
      'deadlineRestarted a#3 l',
      'deadlineRestarted b#1 l',
      'suspended a, kept',
      'suspended b, kept',
    ])
  })

  it('leaves its whole lease to a session that was suspended already', () => {
    const bench = away()
    bench.suspend('a')
    expect(bench.restart('one', 'two')).to.include('suspended a, kept')
  })
})
