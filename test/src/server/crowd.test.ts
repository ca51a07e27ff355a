/**
 * Ten thousand clients that wait for one key: what leaves the broker when something happens to
 * them, counted in frames.
 */
import { expect } from 'chai'
import { Bench, type Client } from './bench.js'

const crowd = 10_000

interface Crowd {
  readonly bench: Bench
  readonly holder: Client
  readonly fence: number
  readonly waiters: readonly Client[]
}

function gather(): Crowd {
  const bench = new Bench()
  const holder = bench.join({ lease: 300_000 })
  const fence = holder.take('k')
  const waiters = Array.from({ length: crowd }, () => bench.join({ lease: 300_000 }))
  for (const waiter of waiters) waiter.lock('k')
  expect(bench.broker.table.waitingCount).to.equal(crowd)
  return { bench, holder, fence, waiters }
}

/** How many frames have been sent to all of them so far. */
function frames(clients: readonly Client[]): number {
  return clients.reduce((sum, { socket }) => sum + socket.frames.length, 0)
}

describe('crowd: ten thousand waiters on one key', () => {
  it('one release is exactly one grant message, to the first of them', () => {
    const { holder, fence, waiters } = gather()
    const before = frames(waiters)
    holder.unlock(fence)
    expect(frames(waiters)).to.equal(before + 1)
    expect(waiters[0]!.heard()).to.deep.equal([{ type: 'granted', id: 1, fence: fence + 1 }])
  })

  it('all of them leave at once: nothing is sent, nothing is left, nothing is counted twice', () => {
    const { bench, waiters, holder } = gather()
    const before = frames([holder, ...waiters])
    // From the back, which is the worst order for a queue that is searched.
    for (let i = waiters.length - 1; i >= 0; i--) waiters[i]!.socket.drop()
    bench.environment.endTurn()
    expect(frames([holder, ...waiters])).to.equal(before)
    expect(bench.broker.table.waitingCount).to.equal(0)
    expect(bench.broker.table.sessions.size).to.equal(1)
    expect(bench.broker.connections.size).to.equal(1)
    expect(bench.broker.stats()).to.include({ failedLocks: crowd, activeLocks: 1 })
  })

  it('all of them time out at once: one message each, in the order of asking', () => {
    const bench = new Bench()
    const holder = bench.join({ lease: 300_000 })
    holder.take('k')
    const waiter = bench.join({ lease: 300_000 })
    for (let i = 1; i < crowd; i++) waiter.lock('k', { timeout: 1_000 })
    waiter.heard()
    bench.environment.pass(1_000)
    const heard = waiter.heard()
    expect(heard.map((message) => 'id' in message && message.id)).to.deep.equal(
      Array.from({ length: crowd - 1 }, (_, i) => i + 1),
    )
    expect(heard.every((message) => message.type === 'failed')).to.equal(true)
  })

  it('shared waiters are all granted by one release, one message each', () => {
    const bench = new Bench()
    const holder = bench.join({ lease: 300_000 })
    const fence = holder.take('k')
    const waiters = Array.from({ length: crowd }, () => bench.join({ lease: 300_000 }))
    for (const waiter of waiters) waiter.lock('k', { mode: 'shared' })
    const before = frames(waiters)
    holder.unlock(fence)
    expect(frames(waiters)).to.equal(before + crowd)
    expect(bench.broker.table.heldCount).to.equal(crowd)
  })
})
