/**
 * Which holders an answer describes: those that blocked the request, as many as fit. A session that
 * never acknowledges stores a few hundred kilobytes of them at most.
 */
import { type Answer, type Command, dump, restore, type SnapshotItem } from '@holdfast/server/core'
import { expect } from 'chai'
import { Bench } from './bench.js'
import { plainEffect, plainState } from './plainValues.js'
import { isSame, TableAndModel } from './tableAndModel.js'

const large = JSON.stringify('x'.repeat(4_094))

/** The holders in the stored answer to a request of `b`. */
function named(bench: Bench, id: number) {
  const answer = bench.table.sessions.get('b')!.answers!.get(id) as Extract<
    Answer,
    { kind: 'failed' }
  >
  return answer.holders!
}

/**
 * A bench with `b`, whose answers are stored, and many sessions that share `k` with large metadata.
 */
function shared(holders: number, metadata = large): Bench {
  const bench = new Bench()
  bench.open('b', { grace: 5_000 })
  for (let i = 1; i <= holders; i++) {
    bench.open(`a${i}`, { name: `name ${i}` })
    bench.lock(`a${i}`, 'k', { mode: 'shared', metadata })
  }
  return bench
}

describe('table: the holders in LOCK_TIMEOUT', () => {
  it('have a name, fence and time, but no metadata', () => {
    const bench = shared(2)
    bench.lock('b', 'k', { timeout: 50 })
    expect(bench.timeout('b', 1)).to.include('answer b#1 LOCK_TIMEOUT by a1 f1, a2 f2')
    const [first] = named(bench, 1)
    expect(first).to.deep.equal({
      session: 'a1',
      name: 'name 1',
      metadata: undefined,
      fence: 1,
      since: 1_002,
    })
  })

  it('do not include waiters that the withdrawal lets in', () => {
    const bench = Bench.with('a', 'b', 'c')
    bench.lock('a', 'k', { mode: 'shared' })
    bench.lock('b', 'k', { timeout: 50 })
    bench.lock('c', 'k', { mode: 'shared' })
    expect(bench.timeout('b', 1)).to.deep.equal([
      'withdrawn b#1 k timeout',
      'granted c#1 k f2',
      'answer b#1 LOCK_TIMEOUT by a f1',
    ])
  })

  it('include the own session, if it holds the key', () => {
    const bench = Bench.with('a')
    bench.lock('a', 'k')
    bench.lock('a', 'k', { timeout: 50 })
    expect(bench.timeout('a', 2)).to.include('answer a#2 LOCK_TIMEOUT by a f1')
  })

  it('are empty for a key without holders in a quiet time', () => {
    const bench = Bench.with('a')
    bench.quiet(true)
    bench.lock('a', 'k', { timeout: 50 })
    expect(bench.timeout('a', 1)).to.include('answer a#1 LOCK_TIMEOUT by ')
  })

  it('are at most 16', () => {
    const bench = shared(20)
    bench.lock('b', 'k', { timeout: 50 })
    bench.timeout('b', 1)
    expect(named(bench, 1)).to.have.length(16)
  })
})

describe('table: answers that are shared', () => {
  it('are the same object while the holders of the key do not change', () => {
    const bench = shared(3, '"small"')
    bench.open('c', { grace: 5_000 })
    bench.lock('b', 'k', { timeout: 0 })
    bench.lock('c', 'k', { timeout: 0 })
    const { sessions } = bench.table
    expect(sessions.get('c')!.answers!.get(1)).to.equal(sessions.get('b')!.answers!.get(1))
  })

  it('are one object for all answers beyond the stored size', () => {
    const bench = shared(16)
    for (let i = 0; i < 1_024; i++) bench.lock('b', 'k', { timeout: 0 })
    const answers = bench.table.sessions.get('b')!.answers!
    expect(new Set(answers.values()).size).to.be.below(5)
  })

  it('describe the present holders after each change of the holders', () => {
    const bench = shared(4, '"small"')
    let id = 0
    const sessionsNamed = (): string[] => {
      bench.lock('b', 'k', { timeout: 0 })
      return named(bench, ++id).map(({ session }) => session)
    }
    expect(sessionsNamed()).to.deep.equal(['a1', 'a2', 'a3', 'a4'])
    bench.unlock('a2', 2)
    expect(sessionsNamed()).to.deep.equal(['a1', 'a3', 'a4'])
    bench.unlock('a4', 4)
    expect(sessionsNamed()).to.deep.equal(['a1', 'a3'])
    bench.lock('a2', 'k', { mode: 'shared' })
    expect(sessionsNamed()).to.deep.equal(['a1', 'a3', 'a2'])
    bench.unlock('a1', 1)
    expect(sessionsNamed()).to.deep.equal(['a3', 'a2'])
  })

  it('are right for more keys than the table keeps answers for', () => {
    const bench = Bench.with('a', 'b')
    for (let key = 1; key <= 200; key++) bench.lock('a', `k${key}`)
    for (const round of [0, 1]) {
      for (let key = 1; key <= 200; key++) {
        const id = 200 * round + key
        expect(bench.lock('b', `k${key}`, { timeout: 0 })).to.deep.equal([
          `answer b#${id} LOCK_HELD by a f${key}`,
        ])
      }
    }
  })
})

describe('table: the stored size of holders', () => {
  it('is at most 16 KiB in one answer, in whole holders', () => {
    const bench = shared(16)
    bench.lock('b', 'k', { timeout: 0 })
    expect(named(bench, 1).map(({ session }) => session)).to.deep.equal(['a1', 'a2', 'a3'])
    expect(JSON.stringify(named(bench, 1)).length).to.be.below(16 * 1024 + 3 * 1024)
  })

  it('is at most 256 KiB for a session; later answers have one holder without metadata', () => {
    const bench = shared(16)
    for (let i = 0; i < 1_024; i++) bench.lock('b', 'k', { timeout: 0 })
    const [first, last] = [named(bench, 1), named(bench, 1_024)]
    expect([first.length, first[0]!.metadata]).to.deep.equal([3, large])
    expect(last).to.deep.equal([{ ...first[0], metadata: undefined }])
    const stored = JSON.stringify([...bench.table.sessions.get('b')!.answers!.values()])
    expect(stored.length).to.be.below(512 * 1024)
  })

  it('shrinks when the client acknowledges', () => {
    const bench = shared(16)
    for (let i = 0; i < 100; i++) bench.lock('b', 'k', { timeout: 0 })
    expect(named(bench, 100)).to.have.length(1)
    bench.ack('b', [1, 2, 2])
    bench.lock('b', 'k', { timeout: 0 })
    expect(named(bench, 101)).to.have.length(3)
    bench.ack(
      'b',
      Array.from({ length: 101 }, (_, i) => i + 1),
    )
    expect(bench.table.sessions.get('b')!.storedHolderBytes).to.equal(0)
  })

  it('counts characters beyond ASCII as the most bytes that they can take', () => {
    const bench = shared(4, JSON.stringify('é'.repeat(2_047)))
    bench.lock('b', 'k', { timeout: 0 })
    expect(named(bench, 1)).to.have.length(2)
  })

  it('is unlimited in a session whose answers are not stored', () => {
    const bench = shared(3)
    bench.open('c')
    let answer: string | undefined
    for (let i = 0; i < 100; i++) [answer] = bench.lock('c', 'k', { timeout: 0 })
    expect(answer).to.equal('answer c#100 LOCK_HELD by a1 f1, a2 f2, a3 f3')
  })

  it('is the same in the model, and after a snapshot', () => {
    const pair = new TableAndModel()
    const bench = new Bench(false)
    const apply = bench.apply.bind(bench)
    // The model receives every command of the bench.
    bench.apply = (command: Command) => {
      pair.step(command)
      return apply(command)
    }
    bench.open('b', { grace: 5_000 })
    for (let i = 1; i <= 6; i++) {
      bench.open(`a${i}`, i % 2 === 0 ? { name: `näme ${i}` } : {})
      bench.lock(`a${i}`, 'k', { mode: 'shared', ...(i === 3 ? {} : { metadata: large }) })
    }
    for (let i = 0; i < 20; i++) bench.lock('b', 'k', { timeout: 0 })
    bench.lock('b', 'k', { timeout: 9 })
    bench.timeout('b', 21)
    bench.ack('b', [3])
    bench.lock('b', 'k', { timeout: 0 })
    const items = JSON.parse(JSON.stringify([...dump(bench.table)])) as SnapshotItem[]
    const copy = restore(items)
    expect(isSame(plainState(copy), plainState(bench.table))).to.equal(true)
    const command = { type: 'lock', at: 9, session: 'b', attachEpoch: 1, id: 23, key: 'k' } as const
    const terms = { mode: 'shared', ttl: undefined, timeout: 0, steal: false } as const
    const again: Command = { ...command, ...terms, mode: 'exclusive', metadata: undefined }
    const [one, other] = [copy.apply(again), bench.table.apply(again)]
    expect(isSame(one.map(plainEffect), other.map(plainEffect))).to.equal(true)
  })
})
