/**
 * A key with very many shared holders or waiters: one command grants to a thousand at most, `serve`
 * goes on with the rest, and one holder of many is found at once.
 */
import { dump, LockTable, restore } from '@holdfast/server/core'
import { expect } from 'chai'
import { Bench } from './bench.js'

/** Requests for shared locks of one session that wait behind an exclusive one of another. */
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

describe('table: a release for very many', () => {
  it('grants to a thousand, says that there is more, and goes on when it is told to', () => {
    const { bench, unlock } = crowd(2_500)
    const first = unlock()
    expect(granted(first)).to.equal(1_000)
    expect(first.at(-1)).to.equal('more k')
    const serve = () => bench.apply({ type: 'serve', keys: ['k'], at: 0 })
    const second = serve()
    expect(granted(second)).to.equal(1_000)
    expect(second.at(-1)).to.equal('more k')
    const third = serve()
    expect(granted(third)).to.equal(500)
    expect(third).to.have.length(500)
    expect(serve()).to.deep.equal([])
  })

  it('lets a newcomer wait behind those who are still to be granted', () => {
    const { bench, unlock } = crowd(1_500)
    bench.open('late')
    unlock()
    expect(bench.lock('late', 'k', { mode: 'shared' })).to.deep.equal(['queued late#1 k'])
    expect(bench.lock('late', 'k', { mode: 'shared', timeout: 0 })[0]).to.match(/LOCK_HELD/)
    const rest = bench.apply({ type: 'serve', keys: ['k'], at: 0 })
    expect(rest.at(-1)).to.match(/^granted late#1 k/)
  })

  it('is gone on with after a restart, and by a table that was restored', () => {
    const { bench, unlock } = crowd(2_100)
    unlock()
    const table = restore(dump(bench.table))
    const restart = { type: 'restart', formerOwner: 'nobody', ownerBroker: '', at: 0 } as const
    const kinds = table.apply(restart).map(({ kind }) => kind)
    expect(kinds).to.deep.equal(['more'])
    table.apply({ type: 'serve', keys: ['k'], at: 0 })
    table.apply({ type: 'serve', keys: ['k'], at: 0 })
    expect([table.waitingCount, table.heldCount]).to.deep.equal([0, 2_100])
  })

  it('is shared by all keys that one command serves', () => {
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
    expect(lines.slice(-2)).to.deep.equal(['more l', 'more m'])
    const rest = bench.apply({ type: 'serve', keys: ['l', 'm', 'unknown'], at: 0 })
    expect(granted(rest)).to.equal(3)
  })
})

describe('table: one of very many holders', () => {
  it('is revoked by its fence, and only once, while others come and go', () => {
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
