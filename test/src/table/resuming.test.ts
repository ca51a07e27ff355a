/**
 * A session and its connections: what a dropped connection costs, who may resume a session, which
 * secret is valid when, and that a replaced connection has no influence.
 */
import { expect } from 'chai'
import { Bench } from './bench.js'

function expectNothing(bench: Bench, command: () => string[]): void {
  const before = bench.state()
  expect(command()).to.deep.equal([])
  expect(bench.state()).to.equal(before)
}

/** A bench with `a`, which has a grace and the secret `s1` and holds `k`, and `b`, which waits. */
function graced(): Bench {
  const bench = new Bench()
  bench.open('a', { grace: 5_000, secret: 's1', principal: 'anyone' })
  bench.open('b')
  bench.lock('a', 'k')
  bench.lock('b', 'k')
  return bench
}

describe('table: a dropped connection', () => {
  it('ends a session without a grace at once', () => {
    const bench = Bench.with('a', 'b')
    bench.lock('a', 'k')
    bench.lock('b', 'k')
    expect(bench.suspend('a')).to.deep.equal([
      'released a k f1 ended',
      'granted b#1 k f2',
      'ended a dropped',
    ])
  })

  it('leaves a session with a grace its locks and requests', () => {
    const bench = graced()
    bench.lock('b', 'l')
    bench.lock('a', 'l')
    expect(bench.suspend('a')).to.deep.equal(['suspended a'])
    expect(bench.table.heldCount).to.equal(2)
    expect(bench.unlock('b', 2)).to.include('granted a#2 l f3')
  })

  it('leaves locks, but no requests, to a session without a grace that the broker cut', () => {
    const bench = Bench.with('a', 'b', 'c')
    bench.lock('a', 'k')
    bench.lock('b', 'l')
    bench.lock('a', 'l')
    bench.lock('c', 'k')
    expect(bench.suspend('a', { keep: true })).to.deep.equal([
      'withdrawn a#2 l ended',
      'suspended a, kept',
    ])
    expect(bench.unlock('b', 2)).to.deep.equal(['released b l f2 unlocked', 'answer b#2 unlocked'])
    expect(bench.end('a')).to.deep.equal([
      'released a k f1 ended',
      'granted c#1 k f3',
      'ended a goodbye',
    ])
  })

  it('grants requests that waited only behind a session that cannot resume', () => {
    const bench = Bench.with('a', 'b', 'c')
    bench.lock('a', 'k', { mode: 'shared' })
    bench.lock('b', 'k')
    bench.lock('c', 'k', { mode: 'shared' })
    expect(bench.suspend('b', { keep: true })).to.deep.equal([
      'withdrawn b#1 k ended',
      'granted c#1 k f2',
      'suspended b, kept',
    ])
  })

  it('grants nothing to a session that cannot resume while its requests are withdrawn', () => {
    const bench = Bench.with('a')
    bench.lock('a', 'k', { mode: 'shared' })
    bench.lock('a', 'k')
    bench.lock('a', 'k', { mode: 'shared' })
    expect(bench.suspend('a', { keep: true })).to.deep.equal([
      'withdrawn a#2 k ended',
      'withdrawn a#3 k ended',
      'suspended a, kept',
    ])
  })

  it('has no further effects, and its later commands are ignored', () => {
    const bench = graced()
    bench.suspend('a')
    expectNothing(bench, () => bench.suspend('a'))
    expectNothing(bench, () => bench.unlock('a', 1))
    expectNothing(bench, () => bench.lock('a', 'm'))
    expectNothing(bench, () => bench.cancel('a', 1))
    expectNothing(bench, () => bench.ack('a', [1]))
  })

  it('does not stop a ttl, a timeout or the end of the session', () => {
    const bench = new Bench()
    bench.open('a', { grace: 5_000 })
    bench.open('b')
    bench.lock('a', 'k', { ttl: 50 })
    bench.lock('b', 'l')
    bench.lock('a', 'l', { timeout: 50 })
    bench.suspend('a')
    expect(bench.expire('a', 1)).to.deep.equal(['released a k f1 expired'])
    expect(bench.timeout('a', 2)).to.deep.equal([
      'withdrawn a#2 l timeout',
      'answer a#2 LOCK_TIMEOUT by b f2',
    ])
    expect(bench.end('a')).to.deep.equal(['ended a goodbye'])
  })
})

describe('table: resume', () => {
  it('restores the session with everything, under the next attach epoch', () => {
    const bench = graced()
    bench.suspend('a')
    expect(bench.resume('a', 's1', 's2')).to.deep.equal(['resumed a @2; #1 granted f1'])
    expect(bench.unlock('a', 1)).to.include('granted b#1 k f2')
  })

  it('replaces a connection that is still open: later commands on it are ignored', () => {
    const bench = graced()
    expect(bench.resume('a', 's1', 's2')).to.deep.equal(['resumed a @2; #1 granted f1'])
    expectNothing(bench, () => bench.unlock('a', 1, { attachEpoch: 1, id: 9 }))
    expectNothing(bench, () => bench.lock('a', 'm', { attachEpoch: 1, id: 9 }))
    expectNothing(bench, () => bench.refresh('a', 1, { attachEpoch: 1, id: 9 }))
    expectNothing(bench, () => bench.cancel('a', 1, 1))
    expectNothing(bench, () => bench.ack('a', [1], 1))
    expectNothing(bench, () => bench.suspend('a', { attachEpoch: 1 }))
    expectNothing(bench, () => bench.suspend('a', { attachEpoch: 1, keep: true }))
    expectNothing(bench, () => bench.end('a', 1))
  })

  it('cancels the end that was proposed for the earlier connection', () => {
    const bench = graced()
    bench.suspend('a')
    bench.resume('a', 's1', 's2')
    expectNothing(bench, () => bench.end('a', 1))
    expect(bench.end('a', 2)).to.include('ended a goodbye')
  })

  it('is refused for a wrong secret, another principal, and an unknown or ended session', () => {
    const bench = new Bench()
    bench.open('a', { grace: 5_000, secret: 's1', principal: 'ann' })
    bench.suspend('a')
    const before = bench.state()
    expect(bench.resume('a', 'wrong', 's2', { principal: 'ann' })).to.deep.equal([
      'refused resume a',
    ])
    expect(bench.resume('a', 's', 's2', { principal: 'ann' })).to.deep.equal(['refused resume a'])
    expect(bench.resume('a', 's11', 's2', { principal: 'ann' })).to.deep.equal(['refused resume a'])
    expect(bench.resume('a', '', 's2', { principal: 'ann' })).to.deep.equal(['refused resume a'])
    expect(bench.resume('a', 's1', 's2', { principal: 'bob' })).to.deep.equal(['refused resume a'])
    expect(bench.resume('x', 's1', 's2', { principal: 'ann' })).to.deep.equal(['refused resume x'])
    expect(bench.state()).to.equal(before)
    bench.end('a')
    expect(bench.resume('a', 's1', 's2', { principal: 'ann' })).to.deep.equal(['refused resume a'])
  })

  it('is refused for a session without a grace, kept or not', () => {
    const bench = Bench.with('a')
    expect(bench.resume('a', '', 's2')).to.deep.equal(['refused resume a'])
    bench.suspend('a', { keep: true })
    expect(bench.resume('a', '', 's2')).to.deep.equal(['refused resume a'])
    expect(bench.resume('a', 'undefined', 's2')).to.deep.equal(['refused resume a'])
  })
})

describe('table: resume secrets', () => {
  it('the former one stays valid until the client sends on the new connection', () => {
    const bench = graced()
    bench.resume('a', 's1', 's2')
    expect(bench.resume('a', 's1', 's3')[0]).to.match(/^resumed a @3/)
  })

  it('the former one stays valid when the connection drops before the client has sent', () => {
    const bench = graced()
    bench.suspend('a')
    bench.resume('a', 's1', 's2')
    bench.suspend('a')
    expect(bench.resume('a', 's1', 's3')[0]).to.match(/^resumed a @3/)
  })

  it('the former one is refused once the client has sent, whatever it sent', () => {
    const says: Record<string, (bench: Bench) => void> = {
      ack: (bench) => bench.ack('a', []),
      lock: (bench) => bench.lock('a', 'm'),
      unlock: (bench) => bench.unlock('a', 1),
      refresh: (bench) => bench.refresh('a', 1),
      cancel: (bench) => bench.cancel('a', 77),
      'a message that is no command': (bench) => bench.confirm('a'),
    }
    for (const [what, say] of Object.entries(says)) {
      const bench = graced()
      bench.resume('a', 's1', 's2')
      say(bench)
      expect(bench.resume('a', 's1', 's3'), what).to.deep.equal(['refused resume a'])
      expect(bench.resume('a', 's2', 's3')[0], what).to.match(/^resumed a @3/)
    }
  })

  it('a message on a replaced connection proves nothing', () => {
    const bench = graced()
    bench.resume('a', 's1', 's2')
    bench.ack('a', [], 1)
    bench.confirm('a', 1)
    expect(bench.resume('a', 's1', 's3')[0]).to.match(/^resumed a @3/)
  })

  it('the newer one is valid at once, and makes the former one invalid', () => {
    const bench = graced()
    bench.resume('a', 's1', 's2')
    expect(bench.resume('a', 's2', 's3')[0]).to.match(/^resumed a @3/)
    expect(bench.resume('a', 's1', 's4')).to.deep.equal(['refused resume a'])
    expect(bench.resume('a', 's3', 's4')[0]).to.match(/^resumed a @4/)
  })

  it('refuse an attempt that is older than the last successful one', () => {
    const bench = graced()
    expect(bench.resume('a', 's1', 's2', { resumeAttempt: 2 })[0]).to.match(/^resumed a @2/)
    const before = bench.state()
    for (const number of [1, 2]) {
      expect(bench.resume('a', 's1', 'late', { resumeAttempt: number })).to.deep.equal([
        'refused resume a',
      ])
    }
    expect(bench.state()).to.equal(before)
    expect(bench.resume('a', 's1', 's3', { resumeAttempt: 3 })[0]).to.match(/^resumed a @3/)
  })

  it('have attempt numbers of their own', () => {
    const bench = graced()
    bench.resume('a', 's1', 's2', { resumeAttempt: 7 })
    expect(bench.resume('a', 's2', 's3', { resumeAttempt: 1 })[0]).to.match(/^resumed a @3/)
    bench.ack('a', [])
    expect(bench.resume('a', 's3', 's4', { resumeAttempt: 1 })[0]).to.match(/^resumed a @4/)
    expect(bench.resume('a', 's3', 's5', { resumeAttempt: 1 })).to.deep.equal(['refused resume a'])
  })

  it('accept a client that does not number its attempts', () => {
    const bench = graced()
    bench.resume('a', 's1', 's2', { resumeAttempt: 2 })
    expect(bench.resume('a', 's1', 's3')[0]).to.match(/^resumed a @3/)
    expect(bench.resume('a', 's1', 's4', { resumeAttempt: 1 })[0]).to.match(/^resumed a @4/)
  })

  it('one from a welcome that was superseded is invalid', () => {
    const bench = graced()
    bench.resume('a', 's1', 's2')
    bench.resume('a', 's1', 's3')
    expect(bench.resume('a', 's2', 's4')).to.deep.equal(['refused resume a'])
    expect(bench.resume('a', 's3', 's4')[0]).to.match(/^resumed a @4/)
  })
})
