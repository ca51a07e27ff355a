/**
 * Several brokers on one table: each session has one that keeps its deadlines, its home. What
 * happens when it goes to another one, and when its home is gone.
 */
import { expect } from 'chai'
import { Bench } from './bench.js'

/** `a` at home at one, with a lock that has a ttl and one that has none; it waits for `l`. */
function away(): Bench {
  const bench = new Bench()
  bench.open('a', { grace: 5_000, secret: 's1', home: 'one' })
  bench.open('b', { home: 'two' })
  bench.lock('a', 'k', { ttl: 1_000 })
  bench.lock('a', 'for ever')
  bench.lock('b', 'l', { ttl: 1_000 })
  bench.lock('a', 'l', { timeout: 500 })
  return bench
}

function homeOf(bench: Bench, session: string): string | undefined {
  return bench.table.sessions.get(session)?.ownerBroker
}

describe('table: a session that moves to another broker', () => {
  it('is at home where it resumes, and its deadlines begin anew there', () => {
    const bench = away()
    expect(bench.resume('a', 's1', 's2', { home: 'two' })).to.deep.equal([
      'adopted a#1 k',
      'adopted a#3 l',
      'resumed a @2; #1 granted f1; #2 granted f2',
    ])
    expect(homeOf(bench, 'a')).to.equal('two')
  })

  it('keeps its lock although the former home had proposed its expiry', () => {
    const bench = away()
    bench.resume('a', 's1', 's2', { home: 'two' })
    expect(bench.expire('a', 1, 0)).to.deep.equal([])
    expect(bench.expire('a', 1, 1)).to.deep.equal(['released a k f1 expired'])
  })

  it('lives although the former home had proposed its end', () => {
    const bench = away()
    bench.resume('a', 's1', 's2', { home: 'two' })
    expect(bench.end('a', 1)).to.deep.equal([])
  })

  it('that resumes where it was at home keeps its deadlines as they run', () => {
    const bench = away()
    expect(bench.resume('a', 's1', 's2', { home: 'one' })).to.deep.equal([
      'resumed a @2; #1 granted f1; #2 granted f2',
    ])
    expect(bench.expire('a', 1, 0)).to.deep.equal(['released a k f1 expired'])
  })

  it('stays where it is when the resume is refused', () => {
    const bench = away()
    bench.resume('a', 'wrong', 's2', { home: 'two' })
    expect(homeOf(bench, 'a')).to.equal('one')
  })
})

describe('table: a broker that is gone', () => {
  it('leaves its sessions, and no others, to another one, for their whole lease', () => {
    const bench = away()
    expect(bench.restart('one', 'two')).to.deep.equal([
      'adopted a#1 k',
      'adopted a#3 l',
      'suspended a, kept',
    ])
    expect(homeOf(bench, 'a')).to.equal('two')
    expect(bench.table.sessions.get('b')?.suspended).to.equal(false)
  })

  it('has no say any more in what it had proposed', () => {
    const bench = away()
    bench.restart('one', 'two')
    expect(bench.expire('a', 1, 0)).to.deep.equal([])
    expect(bench.lock('a', 'new')).to.deep.equal([])
  })

  it('leaves a session that cannot come back its locks, and no place in line', () => {
    const bench = new Bench()
    bench.open('a', { home: 'one' })
    bench.open('b', { home: 'two' })
    bench.lock('a', 'k')
    bench.lock('b', 'l')
    bench.lock('a', 'l', { timeout: 500 })
    expect(bench.restart('one', 'two')).to.deep.equal([
      'adopted a#2 l',
      'withdrawn a#2 l ended',
      'suspended a, kept',
    ])
    expect(bench.table.heldCount).to.equal(2)
  })

  it('that was gone before leaves nothing', () => {
    const bench = away()
    bench.restart('one', 'two')
    expect(bench.restart('one', 'three')).to.deep.equal([])
  })

  it('may have been the only one: whoever takes over alone has every session', () => {
    const bench = away()
    expect(bench.restart(undefined, 'three')).to.deep.equal([
      'adopted a#1 k',
      'adopted a#3 l',
      'adopted b#1 l',
      'suspended a, kept',
      'suspended b, kept',
    ])
  })

  it('gives a session that was away already its whole lease', () => {
    const bench = away()
    bench.suspend('a')
    expect(bench.restart('one', 'two')).to.include('suspended a, kept')
  })
})
