/**
 * Repeated request ids, stored answers and their acknowledgement, and quotas. No request runs
 * twice, and no store of answers grows without bound.
 */
import { expect } from 'chai'
import { Bench } from './bench.js'

/** A bench with the session `a`, whose answers are stored, and `b`, whose answers are not. */
function stored(answers = 1_024): Bench {
  const bench = new Bench()
  bench.open('a', { grace: 5_000, limits: { answers } })
  bench.open('b')
  return bench
}

/** Runs a command that must not change the table. Returns its effects. */
function unchanged(bench: Bench, command: () => string[]): string[] {
  const before = bench.state()
  const effects = command()
  expect(bench.state()).to.equal(before)
  return effects
}

describe('table: a repeated request id', () => {
  it('gets its first answer', () => {
    const bench = stored()
    bench.lock('a', 'k')
    bench.refresh('a', 1)
    bench.lock('b', 'l')
    bench.lock('a', 'l', { timeout: 0 })
    bench.unlock('a', 99)
    bench.unlock('a', 1)
    const again = (ask: () => string[]) => unchanged(bench, ask)
    expect(again(() => bench.lock('a', 'k', { id: 1 }))).to.deep.equal(['repeat a#1 granted f1'])
    expect(again(() => bench.refresh('a', 1, { id: 2 }))).to.deep.equal(['repeat a#2 refreshed f1'])
    expect(again(() => bench.lock('a', 'l', { id: 3 }))).to.deep.equal([
      'repeat a#3 LOCK_HELD by b f2',
    ])
    expect(again(() => bench.unlock('a', 99, { id: 4 }))).to.deep.equal([
      'repeat a#4 LOCK_NOT_HELD',
    ])
    expect(again(() => bench.unlock('a', 1, { id: 5 }))).to.deep.equal(['repeat a#5 unlocked'])
  })

  it('gets its first answer even if the fields of the request differ', () => {
    const bench = stored()
    bench.lock('a', 'k')
    const ask = () => bench.lock('a', 'other', { id: 1, steal: true })
    expect(unchanged(bench, ask)).to.deep.equal(['repeat a#1 granted f1'])
  })

  it('is BAD_MESSAGE for a request of another type, whatever the first answer was', () => {
    const bench = stored()
    const types = ['lock', 'unlock', 'refresh', 'revoke'] as const
    const ask = {
      lock: (id: number) => bench.lock('a', 'k', { id, timeout: 0 }),
      unlock: (id: number) => bench.unlock('a', 77, { id }),
      refresh: (id: number) => bench.refresh('a', 77, { id }),
      revoke: (id: number) => bench.revoke('a', 'k', 77, { id }),
    }
    // Ids 1 to 4 fail; 5 to 8 succeed.
    bench.lock('b', 'k')
    for (const type of types) ask[type](types.indexOf(type) + 1)
    bench.lock('a', 'l', { id: 5 })
    bench.refresh('a', 2, { id: 7 })
    bench.revoke('a', 'l', 2, { id: 8 })
    bench.lock('a', 'm', { id: 9 })
    bench.unlock('a', 3, { id: 10 })
    const asked = { 1: 'lock', 2: 'unlock', 3: 'refresh', 4: 'revoke', 5: 'lock' }
    const more = { 7: 'refresh', 8: 'revoke', 9: 'lock', 10: 'unlock' }
    for (const [id, first] of Object.entries({ ...asked, ...more })) {
      for (const type of types) {
        const [said] = unchanged(bench, () => ask[type](Number(id)))
        const isRefused = said === `repeat a#${id} BAD_MESSAGE`
        expect(isRefused, `${type} with the id of a ${first}: ${said}`).to.equal(type !== first)
      }
    }
  })

  it('is BAD_MESSAGE for another type of request while the first waits', () => {
    const bench = stored()
    bench.lock('b', 'k')
    bench.lock('a', 'k')
    expect(unchanged(bench, () => bench.unlock('a', 1, { id: 1 }))).to.deep.equal([
      'repeat a#1 BAD_MESSAGE',
    ])
  })

  it('of a waiting request has no effect', () => {
    const bench = stored()
    bench.lock('b', 'k')
    bench.lock('a', 'k')
    expect(unchanged(bench, () => bench.lock('a', 'k', { id: 1 }))).to.deep.equal([])
  })

  it('gets the outcome of its request: a timeout, an abort or a late grant', () => {
    const bench = stored()
    bench.lock('b', 'k')
    bench.lock('a', 'k')
    bench.lock('a', 'k')
    bench.lock('a', 'k')
    bench.timeout('a', 1)
    bench.cancel('a', 2)
    bench.unlock('b', 1)
    expect(bench.lock('a', 'k', { id: 1 })).to.deep.equal(['repeat a#1 LOCK_TIMEOUT by b f1'])
    expect(bench.lock('a', 'k', { id: 2 })).to.deep.equal(['repeat a#2 ABORTED'])
    expect(bench.lock('a', 'k', { id: 3 })).to.deep.equal(['repeat a#3 granted f2'])
  })

  it('is BAD_MESSAGE if its answer was acknowledged or the id was skipped', () => {
    const bench = stored()
    bench.lock('a', 'k', { id: 5 })
    bench.ack('a', [5])
    for (const id of [5, 4, 1]) {
      const effects = unchanged(bench, () => bench.lock('a', 'l', { id }))
      expect(effects).to.deep.equal([`repeat a#${id} BAD_MESSAGE`])
    }
  })

  it('is BAD_MESSAGE in a session whose answers are not stored', () => {
    const bench = stored()
    bench.lock('b', 'k')
    expect(unchanged(bench, () => bench.lock('b', 'k', { id: 1 }))).to.deep.equal([
      'repeat b#1 BAD_MESSAGE',
    ])
  })

  it('does not run twice after a resume either', () => {
    const bench = stored()
    bench.lock('a', 'k')
    bench.unlock('a', 1)
    bench.suspend('a')
    expect(bench.resume('a', 'a-1', 'a-2')).to.deep.equal([
      'resumed a @2; #1 granted f1; #2 unlocked',
    ])
    expect(bench.lock('a', 'k', { id: 1 })).to.deep.equal(['repeat a#1 granted f1'])
    expect(bench.table.heldCount).to.equal(0)
  })
})

describe('table: ack', () => {
  it('drops the named answers and no others', () => {
    const bench = stored()
    for (const key of ['k', 'l', 'm']) bench.lock('a', key)
    expect(bench.ack('a', [1, 3, 99])).to.deep.equal(['acknowledged a'])
    bench.suspend('a')
    expect(bench.resume('a', 'a-1', 'a-2')).to.deep.equal(['resumed a @2; #2 granted f2'])
  })

  it('of a waiting request drops nothing: the later answer is stored', () => {
    const bench = stored()
    bench.lock('b', 'k')
    bench.lock('a', 'k')
    bench.ack('a', [1])
    bench.unlock('b', 1)
    expect(bench.lock('a', 'k', { id: 1 })).to.deep.equal(['repeat a#1 granted f2'])
  })

  it('changes nothing in a session whose answers are not stored', () => {
    const bench = stored()
    bench.lock('b', 'k')
    expect(unchanged(bench, () => bench.ack('b', [1]))).to.deep.equal(['acknowledged b'])
  })
})

describe('table: quotas', () => {
  it('of locks: counts held and waiting ones, and refuses another without a change', () => {
    const bench = new Bench()
    bench.open('a', { limits: { locks: 2 } })
    bench.open('b')
    bench.lock('b', 'l')
    bench.lock('a', 'k')
    bench.lock('a', 'l')
    expect(unchanged(bench, () => bench.lock('a', 'm'))).to.deep.equal([
      'repeat a#3 QUOTA_EXCEEDED',
    ])
    expect(unchanged(bench, () => bench.lock('a', 'm', { id: 3, timeout: 0 }))).to.deep.equal([
      'repeat a#3 QUOTA_EXCEEDED',
    ])
    expect(bench.unlock('a', 2, { id: 4 })).to.include('answer a#4 unlocked')
    expect(bench.lock('a', 'm', { id: 5 })).to.deep.equal(['granted a#5 m f3'])
  })

  it('refuse without storing the answer, so a repetition is decided again', () => {
    const bench = new Bench()
    bench.open('c', { limits: { locks: 1 }, grace: 5_000 })
    bench.lock('c', 'k')
    expect(bench.lock('c', 'l')).to.deep.equal(['repeat c#2 QUOTA_EXCEEDED'])
    expect(bench.lock('c', 'l', { id: 3 })).to.deep.equal(['repeat c#3 QUOTA_EXCEEDED'])
    expect(bench.unlock('c', 1, { id: 4 })).to.include('answer c#4 unlocked')
    for (const id of [2, 3]) {
      expect(unchanged(bench, () => bench.lock('c', 'l', { id }))).to.deep.equal([
        `repeat c#${id} BAD_MESSAGE`,
      ])
    }
    expect(bench.lock('c', 'l', { id: 5 })).to.deep.equal(['granted c#5 l f2'])
    expect(bench.lock('c', 'm', { id: 6 })).to.deep.equal(['repeat c#6 QUOTA_EXCEEDED'])
    bench.expire('c', 2, 0)
    expect(bench.lock('c', 'm', { id: 6 })).to.deep.equal(['granted c#6 m f3'])
  })

  it('of locks: refuses a steal before any lock is stolen', () => {
    const bench = new Bench()
    bench.open('a', { limits: { locks: 0 } })
    bench.open('b')
    bench.lock('b', 'k')
    expect(unchanged(bench, () => bench.lock('a', 'k', { steal: true }))).to.deep.equal([
      'repeat a#1 QUOTA_EXCEEDED',
    ])
  })

  it('of answers: refuses every new request until the client acknowledges', () => {
    const bench = stored(2)
    bench.lock('a', 'k')
    bench.lock('a', 'l')
    for (const ask of [
      () => bench.lock('a', 'm', { id: 3 }),
      () => bench.unlock('a', 1, { id: 3 }),
      () => bench.refresh('a', 1, { id: 3 }),
    ]) {
      expect(unchanged(bench, ask)).to.deep.equal(['repeat a#3 QUOTA_EXCEEDED'])
    }
    expect(unchanged(bench, () => bench.lock('a', 'k', { id: 1 }))).to.deep.equal([
      'repeat a#1 granted f1',
    ])
    bench.ack('a', [1])
    expect(bench.unlock('a', 1, { id: 3 })).to.deep.equal([
      'released a k f1 unlocked',
      'answer a#3 unlocked',
    ])
  })

  it('of answers: still answers a waiting request', () => {
    const bench = stored(1)
    bench.lock('b', 'k')
    bench.lock('a', 'k')
    bench.lock('a', 'k')
    bench.timeout('a', 1)
    expect(bench.unlock('b', 1)).to.include('granted a#2 k f2')
    bench.suspend('a')
    expect(bench.resume('a', 'a-1', 'a-2')).to.deep.equal([
      'resumed a @2; #1 LOCK_TIMEOUT by b f1; #2 granted f2',
    ])
  })

  it('of answers: does not limit a session whose answers are not stored', () => {
    const bench = new Bench()
    bench.open('b', { limits: { answers: 1 } })
    bench.lock('b', 'k')
    expect(bench.lock('b', 'l')).to.deep.equal(['granted b#2 l f2'])
  })

  it('of waiters for a key: refuses the next waiter, but not a request with timeout 0', () => {
    const bench = new Bench()
    const limits = { waitersPerKey: 1 }
    for (const session of ['a', 'b', 'c']) bench.open(session, { limits })
    bench.lock('a', 'k')
    bench.lock('b', 'k')
    expect(unchanged(bench, () => bench.lock('c', 'k'))).to.deep.equal([
      'repeat c#1 QUOTA_EXCEEDED',
    ])
    expect(bench.lock('c', 'k', { timeout: 0 })).to.deep.equal(['answer c#2 LOCK_HELD by a f1'])
    expect(bench.lock('c', 'k', { steal: true })).to.include('granted c#3 k f2')
    expect(bench.lock('c', 'l')).to.deep.equal(['granted c#4 l f3'])
  })
})
