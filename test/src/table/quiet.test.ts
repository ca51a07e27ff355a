/**
 * A quiet table grants only steals, so that the holders at a broker that lost its table have time
 * to give up their locks. All other commands work as usual.
 */
import { expect } from 'chai'
import { Bench } from './bench.js'

/** A quiet bench with these sessions. */
function quiet(...sessions: string[]): Bench {
  const bench = Bench.with(...sessions)
  expect(bench.quiet(true)).to.deep.equal([])
  return bench
}

describe('table: a quiet time', () => {
  it('queues requests for a free key, and grants them at its end', () => {
    const bench = quiet('a', 'b')
    expect(bench.lock('a', 'k')).to.deep.equal(['queued a#1 k'])
    expect(bench.lock('b', 'k')).to.deep.equal(['queued b#1 k'])
    expect(bench.lock('b', 'l')).to.deep.equal(['queued b#2 l'])
    expect(bench.quiet(false)).to.deep.equal(['granted a#1 k f1', 'granted b#2 l f2'])
  })

  it('grants all shared requests at the head of a queue together at its end', () => {
    const bench = quiet('a', 'b', 'c')
    bench.lock('a', 'k', { mode: 'shared' })
    bench.lock('b', 'k', { mode: 'shared' })
    bench.lock('c', 'k')
    expect(bench.quiet(false)).to.deep.equal(['granted a#1 k f1', 'granted b#1 k f2'])
  })

  it('answers timeout 0 with LOCK_HELD without holders, and leaves nothing behind', () => {
    const bench = quiet('a')
    expect(bench.lock('a', 'k', { timeout: 0 })).to.deep.equal(['answer a#1 LOCK_HELD by '])
    expect(bench.table.keys.size).to.equal(0)
  })

  it('leaves nothing behind for a full queue', () => {
    const bench = new Bench()
    bench.open('a', { limits: { waitersPerKey: 0 } })
    bench.quiet(true)
    expect(bench.lock('a', 'k')).to.deep.equal(['repeat a#1 QUOTA_EXCEEDED'])
    expect(bench.table.keys.size).to.equal(0)
  })

  it('grants a steal past all waiters', () => {
    const bench = quiet('a', 'b')
    bench.lock('a', 'k')
    expect(bench.lock('b', 'k', { steal: true })).to.deep.equal(['granted b#1 k f1'])
    expect(bench.unlock('b', 1)).to.deep.equal(['released b k f1 unlocked', 'answer b#2 unlocked'])
    expect(bench.quiet(false)).to.deep.equal(['granted a#1 k f2'])
  })

  it('does not delay cancels, unlocks and ends', () => {
    const bench = quiet('a', 'b', 'c')
    bench.lock('a', 'k')
    bench.lock('b', 'k')
    bench.lock('c', 'l')
    expect(bench.cancel('a', 1)).to.deep.equal(['withdrawn a#1 k aborted', 'answer a#1 ABORTED'])
    expect(bench.timeout('b', 1)).to.include('answer b#1 LOCK_TIMEOUT by ')
    expect(bench.end('c')).to.include('withdrawn c#1 l ended')
    expect(bench.table.keys.size).to.equal(0)
    expect(bench.quiet(false)).to.deep.equal([])
  })
})
