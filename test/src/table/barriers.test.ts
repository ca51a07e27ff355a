/** Tests the barriers of the lock table: who passes, who is counted, and what ends a barrier. */
import { dump, LockTable, restore } from '@holdfast/server/core'
import { expect } from 'chai'
import { Bench } from './bench.js'
import { plainState } from './plainValues.js'

describe('table: barrier', () => {
  it('passes all parties in one step, in order of arrival', () => {
    const bench = Bench.with('a', 'b', 'c')
    expect(bench.barrier('a', 'k', 3)).to.deep.equal(['arrived a#1 k'])
    expect(bench.barrier('b', 'k', 3)).to.deep.equal(['arrived b#1 k'])
    expect(bench.barrier('c', 'k', 3)).to.deep.equal([
      'arrived c#1 k',
      'departed a#1 k passed',
      'answer a#1 passed',
      'departed b#1 k passed',
      'answer b#1 passed',
      'departed c#1 k passed',
      'answer c#1 passed',
    ])
    expect(bench.table.barriers.size).to.equal(0)
  })

  it('begins a new barrier with the next call, which may have another number of parties', () => {
    const bench = Bench.with('a', 'b')
    bench.barrier('a', 'k', 2)
    bench.barrier('b', 'k', 2)
    expect(bench.barrier('a', 'k', 3)).to.deep.equal(['arrived a#2 k'])
    expect(bench.table.barriers.get('k')?.parties).to.equal(3)
  })

  it('counts each call as one party, also two calls of one session', () => {
    const bench = Bench.with('a')
    bench.barrier('a', 'k', 2)
    expect(bench.barrier('a', 'k', 2)).to.include('answer a#1 passed')
  })

  it('refuses another number of parties while calls wait, and changes nothing', () => {
    const bench = Bench.with('a', 'b')
    bench.barrier('a', 'k', 3)
    expect(bench.barrier('b', 'k', 2)).to.deep.equal(['answer b#1 CAPACITY_MISMATCH'])
    expect(bench.table.barriers.get('k')?.calls.size).to.equal(1)
  })

  it('does not count a call that timed out, was cancelled, or lost its session', () => {
    const bench = Bench.with('a', 'b', 'c', 'd')
    bench.barrier('a', 'k', 2)
    expect(bench.timeout('a', 1)).to.deep.equal([
      'departed a#1 k timeout',
      'answer a#1 LOCK_TIMEOUT',
    ])
    bench.barrier('b', 'k', 2)
    expect(bench.cancel('b', 1)).to.deep.equal(['departed b#1 k aborted', 'answer b#1 ABORTED'])
    bench.barrier('c', 'k', 2)
    expect(bench.suspend('c')).to.include('departed c#1 k ended')
    expect(bench.barrier('d', 'k', 2)).to.deep.equal(['arrived d#1 k'])
  })

  it('counts a session that is disconnected within its grace, and stores its answer', () => {
    const bench = new Bench()
    bench.open('a', { grace: 1_000 })
    bench.open('b')
    bench.barrier('a', 'k', 2)
    bench.suspend('a')
    bench.barrier('b', 'k', 2)
    expect(bench.resume('a', 'a-1', 'a-2').join()).to.contain('#1 passed')
  })

  it('gives the same answer to a repeated call, and none while the call waits', () => {
    const bench = new Bench()
    bench.open('a', { grace: 1_000 })
    bench.open('b')
    bench.barrier('a', 'k', 2)
    expect(bench.barrier('a', 'k', 2, { id: 1 })).to.deep.equal([])
    bench.barrier('b', 'k', 2)
    expect(bench.barrier('a', 'k', 2, { id: 1 })).to.deep.equal(['repeat a#1 passed'])
    expect(bench.lock('a', 'k', { id: 1 })).to.deep.equal(['repeat a#1 BAD_MESSAGE'])
    expect(bench.table.barriers.size).to.equal(0)
  })

  it('passes a call with the timeout 0 only if it is the last party', () => {
    const bench = Bench.with('a', 'b')
    expect(bench.barrier('a', 'k', 2, { timeout: 0 })).to.deep.equal(['answer a#1 LOCK_TIMEOUT'])
    bench.barrier('b', 'k', 2)
    expect(bench.barrier('a', 'k', 2, { timeout: 0 })).to.include('answer a#2 passed')
  })

  it('excludes no lock with the same key', () => {
    const bench = Bench.with('a', 'b')
    bench.barrier('a', 'k', 2)
    expect(bench.lock('b', 'k')).to.deep.equal(['granted b#1 k f1'])
  })

  it('refuses a call beyond the limits of the session, without using up its id', () => {
    const bench = new Bench()
    bench.open('a', { limits: { barriers: 1, locks: 10 } })
    bench.barrier('a', 'k', 2)
    expect(bench.barrier('a', 'l', 2)).to.deep.equal(['repeat a#2 QUOTA_EXCEEDED'])
    bench.open('b', { limits: { locks: 1 } })
    bench.lock('b', 'k')
    expect(bench.barrier('b', 'k', 2)).to.deep.equal(['repeat b#2 QUOTA_EXCEEDED'])
    expect(bench.table.barriers.callCount).to.equal(1)
  })

  it('survives a snapshot with its calls in order', () => {
    const bench = Bench.with('a', 'b')
    bench.barrier('b', 'l', 3)
    bench.barrier('a', 'k', 3, { timeout: 70 })
    bench.barrier('b', 'k', 3)
    const items = JSON.parse(JSON.stringify([...dump(bench.table)]))
    const restored = restore(items)
    expect(restored).to.be.instanceOf(LockTable)
    expect(plainState(restored)).to.deep.equal(plainState(bench.table))
    expect(restored.bytes).to.equal(bench.table.bytes)
  })

  it('keeps its calls when a broker takes over, and starts their timeouts again', () => {
    const bench = new Bench()
    bench.open('a', { grace: 1_000, ownerBroker: 'one' })
    bench.barrier('a', 'k', 2, { timeout: 50 })
    const effects = bench.restart('one', 'two')
    expect(effects).to.include('deadlineRestarted a#1 k')
    expect(bench.table.barriers.callCount).to.equal(1)
  })
})
