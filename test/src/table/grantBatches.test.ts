/**
 * A key with very many shared holders or waiters. One command grants a thousand waiters at most,
 * and `grantUnfinishedKeys` grants the rest. One holder among many is found quickly.
 */
import { dump, LockTable, restore } from '@holdfast/server/core'
import { expect } from 'chai'
import { Bench } from './bench.js'

/** A bench where shared requests of one session wait for the exclusive lock of another. */
function crowd(waiters: number): { bench: Bench; unlock: () => string[] } {
  const bench = new Bench(false)
  bench.open('holder')
  bench.open('crowd')
  bench.lock('holder', 'k')
  for (let i = 0; i < waiters; i++) bench.lock('crowd', 'k', { mode: 'shared' })
  return { bench, unlock: () => bench.unlock('holder', 1) }
}

const granted = (lines: readonly string[]): number =>
  lines.filter((line) => line.startsWith('granted')).length

describe('table: a release with very many waiters', () => {
  it('grants a thousand, reports an unfinished key, and grants the rest on command', () => {
    const { bench, unlock } = crowd(2_500)
    const first = unlock()
    expect(granted(first)).to.equal(1_000)
    expect(first.at(-1)).to.equal('unfinished k')
    const serve = () => bench.apply({ type: 'grantUnfinishedKeys', keys: ['k'], at: 0 })
    const second = serve()
    expect(granted(second)).to.equal(1_000)
    expect(second.at(-1)).to.equal('unfinished k')
    const third = serve()
    expect(granted(third)).to.equal(500)
    expect(third).to.have.length(500)
    expect(serve()).to.deep.equal([])
  })

  it('queues a new request behind the waiters that are still to be granted', () => {
    const { bench, unlock } = crowd(1_500)
    bench.open('late')
    unlock()
    expect(bench.lock('late', 'k', { mode: 'shared' })).to.deep.equal(['queued late#1 k'])
    expect(bench.lock('late', 'k', { mode: 'shared', timeout: 0 })[0]).to.match(/LOCK_HELD/)
    const rest = bench.apply({ type: 'grantUnfinishedKeys', keys: ['k'], at: 0 })
    expect(rest.at(-1)).to.match(/^granted late#1 k/)
  })

  it('is continued after a restart, and by a restored table', () => {
    const { bench, unlock } = crowd(2_100)
    unlock()
    const table = restore(dump(bench.table))
    const restart = { type: 'restart', formerOwner: 'nobody', ownerBroker: '', at: 0 } as const
    const kinds = table.apply(restart).map(({ kind }) => kind)
    expect(kinds).to.deep.equal(['unfinished'])
    table.apply({ type: 'grantUnfinishedKeys', keys: ['k'], at: 0 })
    table.apply({ type: 'grantUnfinishedKeys', keys: ['k'], at: 0 })
    expect([table.waitingCount, table.heldCount]).to.deep.equal([0, 2_100])
  })

  it('shares its limit among all keys of one command', () => {
    const table = new LockTable(undefined, 3)
    const bench = new Bench(false, table)
    bench.open('holder')
    bench.open('crowd')
    for (const key of ['k', 'l', 'm']) {
      bench.lock('holder', key)
      for (let i = 0; i < 2; i++) bench.lock('crowd', key, { mode: 'shared' })
    }
    const lines = bench.end('holder')
    expect(granted(lines)).to.equal(3)
    expect(lines.slice(-2)).to.deep.equal(['unfinished l', 'unfinished m'])
    const rest = bench.apply({ type: 'grantUnfinishedKeys', keys: ['l', 'm', 'unknown'], at: 0 })
    expect(granted(rest)).to.equal(3)
  })
})

describe('table: one of very many holders', () => {
  it('is revoked by its fence, and only once, while other locks come and go', () => {
    const bench = new Bench()
    bench.open('crowd')
    bench.open('operator')
    for (let i = 0; i < 200; i++) bench.lock('crowd', 'k', { mode: 'shared' })
    const revoke = (fence: number): string => bench.revoke('operator', 'k', fence).at(-1)!
    expect(revoke(100)).to.match(/revoked$/)
    expect(revoke(100)).to.match(/LOCK_NOT_HELD$/)
    bench.unlock('crowd', 150)
    expect(revoke(150)).to.match(/LOCK_NOT_HELD$/)
    bench.lock('crowd', 'k', { mode: 'shared' })
    expect(revoke(201)).to.match(/revoked$/)
    bench.end('crowd')
    expect(revoke(7)).to.match(/LOCK_NOT_HELD$/)
    bench.open('again')
    for (let i = 0; i < 100; i++) bench.lock('again', 'k', { mode: 'shared' })
    expect(revoke(202)).to.match(/revoked$/)
  })
})
