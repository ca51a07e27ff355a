/**
 * Lock and unlock without timeouts: which requests are granted, queued and refused, and that an
 * idle key leaves nothing behind.
 */
import { restore } from '@holdfast/server/core'
import { maxHoldersNamed } from '@holdfast/shared'
import { expect } from 'chai'
import { Bench } from './bench.js'
import { plainEffect } from './plainValues.js'

describe('table: grant', () => {
  it('grants a free key at once', () => {
    expect(Bench.with('a').lock('a', 'k')).to.deep.equal(['granted a#1 k f1'])
  })

  it('reports everything about the granted lock', () => {
    const bench = new Bench()
    bench.open('a', { name: 'worker 7' })
    const [effect] = bench.table.apply({
      type: 'lock',
      at: 12_345,
      session: 'a',
      attachEpoch: 1,
      id: 3,
      key: 'k',
      mode: 'shared',
      ttl: 500,
      timeout: 1_000,
      steal: false,
      metadata: '{"job":1}',
    })
    expect(plainEffect(effect!)).to.deep.equal({
      kind: 'granted',
      waited: false,
      lock: {
        session: 'a',
        id: 3,
        key: 'k',
        mode: 'shared',
        fence: 1,
        ttl: 500,
        generation: 0,
        metadata: '{"job":1}',
        since: 12_345,
      },
    })
  })

  it('distinguishes keys that differ in a single code unit', () => {
    const bench = Bench.with('a', 'b')
    const spellings = ['\u00e9', 'e\u0301', 'E', 'e', ' e', '__proto__', 'constructor']
    for (const key of spellings) expect(bench.lock('a', key)).to.have.length(1)
    expect(bench.table.keys.size).to.equal(spellings.length)
  })

  it('is not re-entrant: a second request of the holder waits', () => {
    const bench = Bench.with('a')
    bench.lock('a', 'k')
    expect(bench.lock('a', 'k')).to.deep.equal(['queued a#2 k'])
    expect(bench.unlock('a', 1)).to.deep.equal([
      'released a k f1 unlocked',
      'granted a#2 k f2',
      'answer a#3 unlocked',
    ])
  })

  it('shares a key among any number of shared locks', () => {
    const bench = Bench.with('a', 'b')
    bench.lock('a', 'k', { mode: 'shared' })
    expect(bench.lock('b', 'k', { mode: 'shared' })).to.deep.equal(['granted b#1 k f2'])
    expect(bench.lock('a', 'k', { mode: 'shared' })).to.deep.equal(['granted a#2 k f3'])
  })

  it('keeps an exclusive request waiting while a single shared lock is held', () => {
    const bench = Bench.with('a', 'b', 'c')
    bench.lock('a', 'k', { mode: 'shared' })
    bench.lock('b', 'k', { mode: 'shared' })
    expect(bench.lock('c', 'k')).to.deep.equal(['queued c#1 k'])
    expect(bench.unlock('a', 1)).to.deep.equal(['released a k f1 unlocked', 'answer a#2 unlocked'])
    expect(bench.unlock('b', 2)).to.include('granted c#1 k f3')
  })
})

describe('table: first come, first served', () => {
  it('grants exclusive requests in the order of arrival', () => {
    const bench = Bench.with('a', 'b', 'c', 'd')
    for (const session of ['a', 'b', 'c', 'd']) bench.lock(session, 'k')
    expect(bench.unlock('a', 1)).to.include('granted b#1 k f2')
    expect(bench.unlock('b', 2)).to.include('granted c#1 k f3')
    expect(bench.unlock('c', 3)).to.include('granted d#1 k f4')
  })

  it('grants no shared request past a waiting exclusive one', () => {
    const bench = Bench.with('a', 'b', 'c')
    bench.lock('a', 'k', { mode: 'shared' })
    bench.lock('b', 'k')
    expect(bench.lock('c', 'k', { mode: 'shared' })).to.deep.equal(['queued c#1 k'])
  })

  it('grants adjacent shared requests together, up to the next exclusive one', () => {
    const bench = Bench.with('a', 'b', 'c', 'd', 'e')
    bench.lock('a', 'k')
    bench.lock('b', 'k', { mode: 'shared' })
    bench.lock('c', 'k', { mode: 'shared' })
    bench.lock('d', 'k')
    bench.lock('e', 'k', { mode: 'shared' })
    expect(bench.unlock('a', 1)).to.deep.equal([
      'released a k f1 unlocked',
      'granted b#1 k f2',
      'granted c#1 k f3',
      'answer a#2 unlocked',
    ])
  })

  it('grants the requests behind an exclusive one as soon as that one leaves the queue', () => {
    const bench = Bench.with('a', 'b', 'c', 'd')
    bench.lock('a', 'k', { mode: 'shared' })
    bench.lock('b', 'k')
    bench.lock('c', 'k', { mode: 'shared' })
    bench.lock('d', 'k', { mode: 'shared' })
    expect(bench.cancel('b', 1)).to.deep.equal([
      'withdrawn b#1 k aborted',
      'granted c#1 k f2',
      'granted d#1 k f3',
      'answer b#1 ABORTED',
    ])
  })

  it('keeps the order when a request in the middle leaves', () => {
    const bench = Bench.with('a', 'b', 'c', 'd')
    for (const session of ['a', 'b', 'c', 'd']) bench.lock(session, 'k')
    expect(bench.timeout('c', 1)).to.deep.equal([
      'withdrawn c#1 k timeout',
      'answer c#1 LOCK_TIMEOUT by a f1',
    ])
    expect(bench.unlock('a', 1)).to.include('granted b#1 k f2')
    expect(bench.unlock('b', 2)).to.include('granted d#1 k f3')
  })

  it('queues by key: a queue does not delay other keys', () => {
    const bench = Bench.with('a', 'b')
    bench.lock('a', 'k')
    bench.lock('b', 'k')
    expect(bench.lock('b', 'l')).to.deep.equal(['granted b#2 l f2'])
  })
})

describe('table: timeout 0', () => {
  it('fails at once with the holders, and leaves no trace in the queue', () => {
    const bench = new Bench()
    bench.open('a', { name: 'worker' })
    bench.open('b')
    bench.lock('a', 'k', { metadata: '"why"' })
    const effects = bench.table.apply({
      type: 'lock',
      at: 9,
      session: 'b',
      attachEpoch: 1,
      id: 1,
      key: 'k',
      mode: 'exclusive',
      ttl: undefined,
      timeout: 0,
      steal: false,
      metadata: undefined,
    })
    expect(effects.map(plainEffect)).to.deep.equal([
      {
        kind: 'answer',
        session: 'b',
        id: 1,
        repeat: false,
        answer: {
          kind: 'failed',
          code: 'LOCK_HELD',
          holders: [{ session: 'a', name: 'worker', metadata: '"why"', fence: 1, since: 1_002 }],
        },
      },
    ])
    expect(bench.table.waitingCount).to.equal(0)
  })

  it('is granted if that is possible at once', () => {
    const bench = Bench.with('a', 'b')
    expect(bench.lock('a', 'k', { timeout: 0, mode: 'shared' })).to.deep.equal(['granted a#1 k f1'])
    expect(bench.lock('b', 'k', { timeout: 0, mode: 'shared' })).to.deep.equal(['granted b#1 k f2'])
  })

  it('is not granted beside a shared lock that an exclusive request waits for', () => {
    const bench = Bench.with('a', 'b', 'c')
    bench.lock('a', 'k', { mode: 'shared' })
    bench.lock('b', 'k')
    expect(bench.lock('c', 'k', { timeout: 0, mode: 'shared' })).to.deep.equal([
      'answer c#1 LOCK_HELD by a f1',
    ])
  })

  it('reports at most 16 holders, the oldest ones', () => {
    const bench = Bench.with('a', 'b')
    for (let i = 0; i < 20; i++) bench.lock('a', 'k', { mode: 'shared' })
    const [answer] = bench.lock('b', 'k', { timeout: 0 })
    const named = Array.from({ length: maxHoldersNamed }, (_, i) => `a f${i + 1}`).join(', ')
    expect(answer).to.equal(`answer b#1 LOCK_HELD by ${named}`)
  })
})

describe('table: unlock', () => {
  it('releases the lock, grants the next waiter, and then answers', () => {
    const bench = Bench.with('a', 'b')
    bench.lock('a', 'k')
    bench.lock('b', 'k')
    expect(bench.unlock('a', 1)).to.deep.equal([
      'released a k f1 unlocked',
      'granted b#1 k f2',
      'answer a#2 unlocked',
    ])
  })

  it('is LOCK_NOT_HELD for an unknown fence, a released one, or one of another session', () => {
    const bench = Bench.with('a', 'b')
    bench.lock('a', 'k')
    bench.unlock('a', 1)
    bench.lock('b', 'k')
    for (const fence of [1, 2, 3, 2 ** 53 - 1]) {
      const keys = Array.from(bench.table.keys.values(), ({ key }) => key)
      expect(bench.unlock('a', fence)[0]).to.match(/^answer a#\d+ LOCK_NOT_HELD$/)
      expect(Array.from(bench.table.keys.values(), ({ key }) => key)).to.deep.equal(keys)
      expect(
        bench.table.sessions
          .get('b')!
          .held.values()
          .map(({ fence }) => fence),
      ).to.deep.equal([2])
    }
  })

  it('leaves nothing behind for an unused key', () => {
    const bench = Bench.with('a', 'b')
    bench.lock('a', 'k')
    bench.lock('b', 'k')
    bench.lock('b', 'k', { timeout: 0 })
    bench.cancel('b', 1)
    bench.unlock('a', 1)
    bench.lock('a', 'l', { mode: 'shared', timeout: 0 })
    bench.expire('a', 2)
    expect(bench.table.keys.size).to.equal(0)
  })
})

describe('table: fences', () => {
  it('rise with every grant, over all keys and sessions', () => {
    const bench = Bench.with('a', 'b')
    expect(bench.lock('a', 'k')).to.include('granted a#1 k f1')
    expect(bench.lock('b', 'l')).to.include('granted b#1 l f2')
    bench.unlock('a', 1)
    expect(bench.lock('a', 'k')).to.include('granted a#3 k f3')
  })

  it('begin above the raised floor, and never fall', () => {
    const bench = Bench.with('a')
    expect(bench.raiseFenceFloor(1_000_000)).to.deep.equal([])
    expect(bench.lock('a', 'k')).to.deep.equal(['granted a#1 k f1000001'])
    bench.raiseFenceFloor(5)
    expect(bench.lock('a', 'l')).to.deep.equal(['granted a#2 l f1000002'])
  })

  it('are exact up to 2^53 - 1', () => {
    // No command raises the fences so far, but a restored table may have them.
    const table = restore([{ item: 'table', fence: 2 ** 53 - 3, quiet: false }])
    const bench = new Bench(true, table)
    bench.open('a')
    expect(bench.lock('a', 'k')).to.deep.equal([`granted a#1 k f${2 ** 53 - 2}`])
    expect(bench.lock('a', 'l')).to.deep.equal([`granted a#2 l f${2 ** 53 - 1}`])
  })
})
