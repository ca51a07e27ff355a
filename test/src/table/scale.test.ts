/**
 * The cost of very many waiters, counted in effects and not in time. A release grants exactly the
 * waiters that can hold now, and ten thousand waiters that leave cause no grant.
 */
import { expect } from 'chai'
import { Bench } from './bench.js'
import { checkRecords } from './invariants.js'

const crowd = 10_000

/** A session that holds `k`, and a crowd that waits for it. */
function crowded(): Bench {
  const bench = new Bench(false)
  bench.open('holder')
  bench.lock('holder', 'k')
  for (let i = 0; i < crowd; i++) {
    bench.open(`w${i}`)
    bench.lock(`w${i}`, 'k')
  }
  expect(bench.table.waitingCount).to.equal(crowd)
  return bench
}

describe('table: ten thousand waiters', () => {
  it('one release grants exactly the first', () => {
    const bench = crowded()
    expect(bench.unlock('holder', 1)).to.deep.equal([
      'released holder k f1 unlocked',
      'granted w0#1 k f2',
      'answer holder#2 unlocked',
    ])
    checkRecords(bench.table)
  })

  it('all leave at once, in any order, without a grant', () => {
    const bench = crowded()
    // 7,919 is prime to the size of the crowd, so this visits every waiter, from all over the
    // queue.
    for (let i = 0; i < crowd; i++) {
      const session = `w${(i * 7_919) % crowd}`
      expect(bench.end(session)).to.deep.equal([
        `withdrawn ${session}#1 k ended`,
        `ended ${session} goodbye`,
      ])
    }
    expect(bench.table.waitingCount).to.equal(0)
    checkRecords(bench.table)
  })

  it('a chain of releases grants every waiter once, in order', () => {
    const bench = crowded()
    let holder = 'holder'
    for (let i = 0; i < crowd; i++) {
      const [, granted] = bench.unlock(holder, i + 1)
      expect(granted).to.equal(`granted w${i}#1 k f${i + 2}`)
      holder = `w${i}`
    }
    checkRecords(bench.table)
  })

  it('shared waiters are granted a thousand at a time, without recursion', () => {
    const bench = new Bench(false)
    bench.open('holder')
    bench.lock('holder', 'k')
    bench.open('w')
    for (let i = 0; i < crowd; i++) bench.lock('w', 'k', { mode: 'shared' })
    // Together with the release, the answer, and the effect for the unfinished key.
    expect(bench.unlock('holder', 1)).to.have.length(1_003)
    const serve = { type: 'grantUnfinishedKeys', keys: ['k'], at: 0 } as const
    for (let left = crowd - 1_000; left > 0; left -= 1_000) bench.apply(serve)
    expect(bench.table.heldCount).to.equal(crowd)
    expect(bench.end('w')).to.have.length(crowd + 1)
    expect(bench.table.keys.size).to.equal(0)
  })

  it('one session with ten thousand requests leaves in one pass', () => {
    const bench = new Bench(false)
    bench.open('holder')
    bench.open('w')
    bench.open('last')
    bench.lock('holder', 'k')
    for (let i = 0; i < crowd; i++) bench.lock('w', 'k')
    bench.lock('last', 'k')
    bench.end('w')
    expect(bench.unlock('holder', 1)).to.include('granted last#1 k f2')
    checkRecords(bench.table)
  })
})
