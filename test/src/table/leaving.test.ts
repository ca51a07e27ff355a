/**
 * Every way in which a request or a lock ends other than by an unlock: cancel, timeout, expiry,
 * steal, and the end of a session. Each of these commands may arrive too late.
 */
import { expect } from 'chai'
import { Bench } from './bench.js'

/** Checks that a command has no effect and changes nothing. */
function expectNothing(bench: Bench, command: () => string[]): void {
  const before = bench.state()
  expect(command()).to.deep.equal([])
  expect(bench.state()).to.equal(before)
}

describe('table: cancel and timeout', () => {
  it('a cancel removes the request from its queue and answers ABORTED', () => {
    const bench = Bench.with('a', 'b')
    bench.lock('a', 'k')
    bench.lock('b', 'k')
    expect(bench.cancel('b', 1)).to.deep.equal(['withdrawn b#1 k aborted', 'answer b#1 ABORTED'])
    expect(bench.unlock('a', 1)).to.deep.equal(['released a k f1 unlocked', 'answer a#2 unlocked'])
  })

  it('a timeout answers LOCK_TIMEOUT once, and no grant follows', () => {
    const bench = Bench.with('a', 'b')
    bench.lock('a', 'k')
    bench.lock('b', 'k', { timeout: 50 })
    expect(bench.timeout('b', 1)).to.deep.equal([
      'withdrawn b#1 k timeout',
      'answer b#1 LOCK_TIMEOUT by a f1',
    ])
    expectNothing(bench, () => bench.timeout('b', 1))
    expectNothing(bench, () => bench.cancel('b', 1))
    expect(bench.unlock('a', 1)).to.deep.equal(['released a k f1 unlocked', 'answer a#2 unlocked'])
  })

  it('neither affects a request that was granted', () => {
    const bench = Bench.with('a')
    bench.lock('a', 'k')
    expectNothing(bench, () => bench.cancel('a', 1))
    expectNothing(bench, () => bench.timeout('a', 1))
  })

  it('neither affects an unknown request or session', () => {
    const bench = Bench.with('a')
    expectNothing(bench, () => bench.cancel('a', 7))
    expectNothing(bench, () => bench.timeout('a', 7))
    expectNothing(bench, () => bench.cancel('nobody', 1))
    expectNothing(bench, () => bench.timeout('nobody', 1))
  })

  it('a session cannot cancel the request of another', () => {
    const bench = Bench.with('a', 'b', 'c')
    bench.lock('a', 'k')
    bench.lock('b', 'k')
    expectNothing(bench, () => bench.cancel('c', 1))
  })
})

describe('table: expiry and refresh', () => {
  it('an expiry releases the lock and grants the next waiter in the same pass', () => {
    const bench = Bench.with('a', 'b')
    bench.lock('a', 'k', { ttl: 100 })
    bench.lock('b', 'k')
    expect(bench.expire('a', 1)).to.deep.equal(['released a k f1 expired', 'granted b#1 k f2'])
  })

  it('a refresh starts a new generation, and the expiry of the old one has no effect', () => {
    const bench = Bench.with('a')
    bench.lock('a', 'k', { ttl: 100 })
    expect(bench.refresh('a', 1)).to.deep.equal(['refreshed a f1 g1', 'answer a#2 refreshed f1'])
    expectNothing(bench, () => bench.expire('a', 1, 0))
    expectNothing(bench, () => bench.expire('a', 1, 2))
    expect(bench.expire('a', 1, 1)).to.deep.equal(['released a k f1 expired'])
  })

  it('a refresh keeps the ttl, unless it has a new one', () => {
    const bench = Bench.with('a')
    bench.lock('a', 'k', { ttl: 100 })
    const lock = bench.table.sessions.get('a')!.held.get(1)!
    bench.refresh('a', 1)
    expect(lock.ttl).to.equal(100)
    bench.refresh('a', 1, { ttl: 2_000 })
    expect(lock.ttl).to.equal(2_000)
  })

  it('a refresh with a fence that is not held is LOCK_NOT_HELD and changes nothing', () => {
    const bench = Bench.with('a', 'b')
    bench.lock('a', 'k', { ttl: 100 })
    expect(bench.refresh('b', 1)).to.deep.equal(['answer b#1 LOCK_NOT_HELD'])
    bench.expire('a', 1)
    expect(bench.refresh('a', 1)).to.deep.equal(['answer a#2 LOCK_NOT_HELD'])
    expect(bench.table.heldCount).to.equal(0)
  })

  it('the expiry of an unlocked lock, or of a lock of another session, has no effect', () => {
    const bench = Bench.with('a', 'b')
    bench.lock('a', 'k', { ttl: 100 })
    expectNothing(bench, () => bench.expire('b', 1))
    bench.unlock('a', 1)
    bench.lock('b', 'k', { ttl: 100 })
    expectNothing(bench, () => bench.expire('a', 1))
    expectNothing(bench, () => bench.expire('nobody', 2))
  })

  it('an unlock after the expiry is LOCK_NOT_HELD', () => {
    const bench = Bench.with('a')
    bench.lock('a', 'k', { ttl: 100 })
    bench.expire('a', 1)
    expect(bench.unlock('a', 1)).to.deep.equal(['answer a#2 LOCK_NOT_HELD'])
  })
})

describe('table: steal', () => {
  it('takes the key from all holders and leaves the queue as it is', () => {
    const bench = Bench.with('a', 'b', 'c', 'd')
    bench.lock('a', 'k', { mode: 'shared' })
    bench.lock('b', 'k', { mode: 'shared' })
    bench.lock('c', 'k')
    expect(bench.lock('d', 'k', { steal: true })).to.deep.equal([
      'released a k f1 stolen',
      'released b k f2 stolen',
      'granted d#1 k f3',
    ])
    expect(bench.unlock('d', 3)).to.include('granted c#1 k f4')
  })

  it('is an ordinary request if the key has no holder', () => {
    expect(Bench.with('a').lock('a', 'k', { steal: true })).to.deep.equal(['granted a#1 k f1'])
  })

  it('also takes the own lock of the stealing session, and grants it a new fence', () => {
    const bench = Bench.with('a')
    bench.lock('a', 'k')
    expect(bench.lock('a', 'k', { steal: true })).to.deep.equal([
      'released a k f1 stolen',
      'granted a#2 k f2',
    ])
  })

  it('makes the unlock and the expiry of the stolen lock ineffective', () => {
    const bench = Bench.with('a', 'b')
    bench.lock('a', 'k', { ttl: 100 })
    bench.lock('b', 'k', { steal: true })
    expectNothing(bench, () => bench.expire('a', 1))
    expect(bench.unlock('a', 1)).to.deep.equal(['answer a#2 LOCK_NOT_HELD'])
    expect(
      bench.table.sessions
        .get('b')!
        .held.values()
        .map(({ fence }) => fence),
    ).to.deep.equal([2])
  })
})

describe('table: the end of a session', () => {
  it('withdraws its requests, releases its locks and grants the next waiters, in one pass', () => {
    const bench = Bench.with('a', 'b', 'c')
    bench.lock('a', 'k')
    bench.lock('a', 'l')
    bench.lock('b', 'k')
    bench.lock('c', 'l')
    bench.lock('b', 'm')
    bench.lock('a', 'm')
    expect(bench.end('a')).to.deep.equal([
      'withdrawn a#3 m ended',
      'released a k f1 ended',
      'released a l f2 ended',
      'granted b#1 k f4',
      'granted c#1 l f5',
      'ended a goodbye',
    ])
    expect([...bench.table.sessions.keys()]).to.deep.equal(['b', 'c'])
  })

  it('does not grant its own next request', () => {
    const bench = Bench.with('a', 'b')
    bench.lock('a', 'k')
    bench.lock('a', 'k')
    bench.lock('b', 'k')
    expect(bench.end('a')).to.deep.equal([
      'withdrawn a#2 k ended',
      'released a k f1 ended',
      'granted b#1 k f2',
      'ended a goodbye',
    ])
  })

  it('grants requests that waited only behind its request', () => {
    const bench = Bench.with('a', 'b', 'c')
    bench.lock('a', 'k', { mode: 'shared' })
    bench.lock('b', 'k')
    bench.lock('c', 'k', { mode: 'shared' })
    expect(bench.end('b')).to.deep.equal([
      'withdrawn b#1 k ended',
      'granted c#1 k f2',
      'ended b goodbye',
    ])
  })

  it('needs the present attach epoch, and has no effect the second time', () => {
    const bench = Bench.with('a')
    bench.lock('a', 'k')
    expectNothing(bench, () => bench.end('a', 2))
    expect(bench.end('a', 1)).to.deep.equal(['released a k f1 ended', 'ended a goodbye'])
    expectNothing(bench, () => bench.end('a', 1))
  })

  it('leaves nothing that a later command could find', () => {
    const bench = Bench.with('a')
    bench.lock('a', 'k', { ttl: 5 })
    bench.end('a')
    expectNothing(bench, () => bench.expire('a', 1))
    expectNothing(bench, () => bench.unlock('a', 1))
    expectNothing(bench, () => bench.lock('a', 'k'))
    expectNothing(bench, () => bench.suspend('a'))
  })
})
