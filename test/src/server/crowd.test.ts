/**
 * Tests thousands of clients that wait for one key. The tests count the frames that the broker
 * sends. All clients have the longest lease, 300 s, so that they need not answer pings.
 */
import { expect } from 'chai'
import { quickOrFull } from '../support/counts.js'
import { BrokerHarness, type Client } from './harness.js'

const waiterCount = quickOrFull(3_000, 10_000)

/** A session that holds the key, and the sessions that wait for it. */
interface Crowd {
  readonly harness: BrokerHarness
  readonly holder: Client
  /** The number of the holder's grant, which an unlock must name. */
  readonly fence: number
  readonly waiters: readonly Client[]
}

/** Makes a holder and thousands of waiters of one key. */
function startCrowd(): Crowd {
  const harness = new BrokerHarness()
  const holder = harness.openSession({ lease: 300_000 })
  const fence = holder.acquire('k')
  const waiters = Array.from({ length: waiterCount }, () => harness.openSession({ lease: 300_000 }))
  for (const waiter of waiters) waiter.lock('k')
  expect(harness.broker.table.waitingCount).to.equal(waiterCount)
  return { harness, holder, fence, waiters }
}

/** The number of frames that these clients have got so far. */
function framesOf(clients: readonly Client[]): number {
  return clients.reduce((sum, { socket }) => sum + socket.frames.length, 0)
}

describe(`crowd: with ${waiterCount} waiters on one key`, () => {
  it('a release sends the waiters only one message: the grant to the first waiter', () => {
    const { holder, fence, waiters } = startCrowd()
    const framesBefore = framesOf(waiters)
    holder.unlock(fence)
    expect(framesOf(waiters)).to.equal(framesBefore + 1)
    expect(waiters[0]!.takeMessages()).to.deep.equal([{ type: 'granted', id: 1, fence: fence + 1 }])
  })

  it('the broker sends nothing and keeps no request when all waiters disconnect at the same time', () => {
    const { harness, waiters, holder } = startCrowd()
    const framesBefore = framesOf([holder, ...waiters])
    // The last waiter drops first, because a search from the start of the queue is then slowest.
    for (let i = waiters.length - 1; i >= 0; i--) waiters[i]!.socket.drop()
    harness.environment.endTurn()
    expect(framesOf([holder, ...waiters])).to.equal(framesBefore)
    expect(harness.broker.table.waitingCount).to.equal(0)
    expect(harness.broker.table.sessions.size).to.equal(1)
    expect(harness.broker.connections.size).to.equal(1)
    expect(harness.broker.stats()).to.include({ failedLocks: waiterCount, activeLocks: 1 })
  })

  it('requests that time out together get one message each, in the order of the requests', () => {
    const harness = new BrokerHarness()
    const holder = harness.openSession({ lease: 300_000 })
    holder.acquire('k')
    const waiter = harness.openSession({ lease: 300_000 })
    // One fewer than `waiterCount`: a full run must stay below 10,000 requests of the session.
    for (let i = 1; i < waiterCount; i++) waiter.lock('k', { timeout: 1_000 })
    waiter.takeMessages()
    harness.environment.advance(1_000)
    const heard = waiter.takeMessages()
    expect(heard.map((message) => 'id' in message && message.id)).to.deep.equal(
      Array.from({ length: waiterCount - 1 }, (_, i) => i + 1),
    )
    expect(heard.every((message) => message.type === 'failed')).to.equal(true)
  })

  it('a release grants all shared requests, with one message each', () => {
    const harness = new BrokerHarness()
    const holder = harness.openSession({ lease: 300_000 })
    const fence = holder.acquire('k')
    const waiters = Array.from({ length: waiterCount }, () =>
      harness.openSession({ lease: 300_000 }),
    )
    for (const waiter of waiters) waiter.lock('k', { mode: 'shared' })
    const framesBefore = framesOf(waiters)
    holder.unlock(fence)
    expect(framesOf(waiters)).to.equal(framesBefore + waiterCount)
    expect(harness.broker.table.heldCount).to.equal(waiterCount)
  })
})
