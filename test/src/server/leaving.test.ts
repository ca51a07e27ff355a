/**
 * Tests the end of a session, and how long a session and its locks outlive its connection.
 * - After `bye` the broker ends the session immediately.
 * - If the connection drops, the session lives for its grace. The client requests the grace in its
 *   hello.
 * - If the broker aborts the connection, the session lives until its lease ends.
 * The lease is the time that the broker keeps a session without a message of its client. The ttl of
 * a lock is the time after which the lock expires. A fence is the number of a grant.
 */
import { closeCodes } from '@holdfast/shared'
import { expect } from 'chai'
import { BrokerHarness, type Client, passTimeAnsweringPings } from './harness.js'
import { slowLog } from './logs.js'

/** Takes the new messages of a client. Returns whether a grant is among them. */
function gotGrant(client: Client): boolean {
  return client.takeMessages().some(({ type }) => type === 'granted')
}

/**
 * A client that holds `k`, and a client that waits for `k` with a lease longer than any test.
 */
function holderAndWaiter(hello = {}): {
  harness: BrokerHarness
  holder: Client
  waiter: Client
  fence: number
} {
  const harness = new BrokerHarness()
  const holder = harness.openSession(hello)
  const waiter = harness.openSession({ lease: 300_000 })
  const fence = holder.acquire('k')
  waiter.lock('k')
  waiter.takeMessages()
  return { harness, holder, waiter, fence }
}

describe('leaving: a bye', () => {
  it('releases the locks in the same turn in spite of a grace, and closes with 1000', () => {
    const { holder, waiter } = holderAndWaiter({ grace: 'lease' })
    holder.say({ type: 'bye' })
    expect(gotGrant(waiter)).to.equal(true)
    expect(holder.socket.closedWith).to.include({ code: closeCodes.goodbye.code })
  })

  it('withdraws the waiting requests', () => {
    const { harness, holder, waiter, fence } = holderAndWaiter({ grace: 'lease' })
    waiter.say({ type: 'bye' })
    expect(harness.broker.table.waitingCount).to.equal(0)
    holder.unlock(fence)
    expect(harness.broker.table.heldCount).to.equal(0)
  })

  it('is handled after the earlier messages of the same frame', () => {
    const { harness, holder, fence } = holderAndWaiter()
    holder.say({ type: 'unlock', id: 2, fence }, { type: 'bye' })
    expect(holder.takeMessages()).to.deep.equal([{ type: 'unlocked', id: 2 }])
    // Only the session of the waiter remains.
    expect(harness.broker.table.sessions.size).to.equal(1)
  })
})

describe('leaving: a connection that a draining broker closes', () => {
  /** A holder and a waiter. The draining broker has begun to close the connection of the holder. */
  const closingHolderAndWaiter = () => {
    const scene = holderAndWaiter()
    const { broker, environment } = scene.harness
    const [holderConnection] = broker.connections
    const drainMs = 0
    broker.startDraining(drainMs)
    broker.dismiss(holderConnection!)
    environment.endTurn()
    return scene
  }

  it('releases the locks as soon as the client has answered the close', () => {
    const { harness, holder, waiter } = closingHolderAndWaiter()
    harness.environment.advance(999)
    // The client's answer ends the connection, 1 ms before the broker would terminate the socket.
    holder.socket.drop()
    harness.environment.endTurn()
    expect(gotGrant(waiter)).to.equal(true)
  })

  it('keeps the locks for the lease if the client does not answer the close', () => {
    const { harness, holder, waiter } = closingHolderAndWaiter()
    harness.environment.advance(1_000)
    expect(holder.socket.isTerminated).to.equal(true)
    // A terminated socket closes.
    holder.socket.drop()
    // With the 1,000 ms above, this is 1 ms less than the default lease of 15 s.
    harness.environment.advance(13_999)
    expect(gotGrant(waiter)).to.equal(false)
    harness.environment.advance(1)
    expect(gotGrant(waiter)).to.equal(true)
  })
})

describe('leaving: a connection that drops', () => {
  it('releases the locks of a session without a grace in the same turn', () => {
    const { harness, holder, waiter } = holderAndWaiter()
    holder.socket.drop()
    harness.environment.endTurn()
    expect(gotGrant(waiter)).to.equal(true)
  })

  it('releases its locks when the grace is over, and not before', () => {
    const { harness, holder, waiter } = holderAndWaiter({ grace: 3_000 })
    harness.environment.advance(1_000)
    holder.socket.drop()
    harness.environment.advance(2_999)
    expect(gotGrant(waiter)).to.equal(false)
    harness.environment.advance(1)
    expect(gotGrant(waiter)).to.equal(true)
  })

  it('never keeps its session beyond the lease, which runs from the last message', () => {
    const { harness, holder, waiter } = holderAndWaiter({ grace: 'lease', lease: 6_000 })
    harness.environment.advance(5_000)
    holder.socket.drop()
    harness.environment.advance(999)
    expect(gotGrant(waiter)).to.equal(false)
    harness.environment.advance(1)
    expect(gotGrant(waiter)).to.equal(true)
  })

  it('keeps its session beyond the grace for as long as the process of the broker was stopped', () => {
    const { harness, holder, waiter } = holderAndWaiter({ grace: 3_000 })
    holder.socket.drop()
    harness.environment.advance(1_000)
    harness.environment.advanceWithoutTimers(60_000)
    // The grace does not run during the stop, so 2,000 ms of the grace are left. But the broker
    // counts a stop only from the time when its next timer was due. This time is up to 250 ms after
    // the start of the stop. So the grace may end early, by up to 250 ms.
    harness.environment.advance(1_700)
    expect(gotGrant(waiter)).to.equal(false)
    harness.environment.advance(300)
    expect(gotGrant(waiter)).to.equal(true)
  })
})

describe('leaving: a connection that the broker aborts', () => {
  it('keeps the locks until the lease ends, although the session has no grace', () => {
    const { harness, holder, waiter } = holderAndWaiter({ lease: 6_000 })
    harness.environment.advance(1_000)
    // The lease runs from this message.
    holder.say('junk')
    expect(holder.socket.closedWith?.code).to.equal(4400)
    holder.socket.drop()
    harness.environment.advance(5_999)
    expect(gotGrant(waiter)).to.equal(false)
    harness.environment.advance(1)
    expect(gotGrant(waiter)).to.equal(true)
  })

  it('keeps the locks until the lease ends, although the grace is shorter', () => {
    const { harness, holder, waiter } = holderAndWaiter({ lease: 6_000, grace: 1_000 })
    holder.say('junk')
    holder.socket.drop()
    harness.environment.advance(5_999)
    expect(gotGrant(waiter)).to.equal(false)
    harness.environment.advance(1)
    expect(gotGrant(waiter)).to.equal(true)
  })

  it('keeps the locks for the lease after an invalid WebSocket frame', () => {
    const { harness, holder, waiter } = holderAndWaiter({ lease: 6_000 })
    holder.socket.sayInvalidFrame()
    harness.environment.advance(1_000)
    expect(holder.socket.isTerminated, 'no answer to the close for a second').to.equal(true)
    holder.socket.drop()
    harness.environment.advance(4_999)
    expect(gotGrant(waiter)).to.equal(false)
    harness.environment.advance(1)
    expect(gotGrant(waiter)).to.equal(true)
  })

  it('withdraws the waiting requests of a session without a grace, because no grant can reach the client', () => {
    const { harness, holder, waiter, fence } = holderAndWaiter()
    waiter.say('junk')
    expect(harness.broker.table.waitingCount).to.equal(0)
    holder.unlock(fence)
    expect(harness.broker.table.heldCount).to.equal(0)
  })
})

/** A silent client sends nothing, or only pongs, on its open connection. */
describe('leaving: a silent client', () => {
  it('loses its session with 4410 when the lease ends, and the next waiter gets the lock', () => {
    const { harness, holder, waiter } = holderAndWaiter({ lease: 6_000 })
    harness.environment.advance(5_999)
    expect(holder.socket.closedWith).to.equal(undefined)
    harness.environment.advance(1)
    expect(holder.socket.closedWith?.code).to.equal(4410)
    expect(gotGrant(waiter)).to.equal(true)
  })

  it('renews its lease by a pong', () => {
    const { harness, holder } = holderAndWaiter({ lease: 6_000 })
    harness.environment.advance(5_000)
    holder.say({ type: 'pong', n: 7 })
    harness.environment.advance(5_999)
    expect(holder.socket.closedWith).to.equal(undefined)
    harness.environment.advance(1)
    expect(holder.socket.closedWith?.code).to.equal(4410)
  })

  it('keeps its session as long as it answers the pings', () => {
    const { harness, holder, waiter } = holderAndWaiter({ lease: 2_000 })
    passTimeAnsweringPings(harness, 60_000, holder, waiter)
    expect(holder.socket.closedWith).to.equal(undefined)
  })

  it('keeps its session if its frames waited while the process of the broker was stopped', () => {
    const { harness, holder, waiter } = holderAndWaiter({ lease: 2_000 })
    harness.environment.advance(1_900)
    harness.environment.advanceWithoutTimers(10_000)
    // After the stop, late timers fire before the broker reads the frames that waited.
    harness.environment.fireTimers()
    harness.sayAndEndTurn(holder.socket, { type: 'pong', n: 1 })
    harness.environment.advance(1_999)
    expect(gotGrant(waiter)).to.equal(false)
  })

  it('gets no ack after the broker has submitted the end of the session to the command log', () => {
    const { log, deliver } = slowLog()
    const harness = new BrokerHarness({}, { log })
    const socket = harness.connectWithHello({ lease: 2_000, grace: 'lease' })
    deliver()
    harness.environment.endTurn()
    expect(socket.takeMessagesOfType('welcome')).to.have.length(1)
    harness.environment.advance(2_000)
    // The slow command log has not applied the end of the session yet.
    harness.sayAndEndTurn(socket, { type: 'pong', n: 1 })
    expect(socket.takeMessagesOfType('ack')).to.deep.equal([])
    deliver()
    expect(socket.closedWith?.code).to.equal(4410)
  })
})

describe('leaving: the ttl of a lock', () => {
  it('ends the lock on time, tells its holder, and grants the key in the same turn', () => {
    const harness = new BrokerHarness()
    const holder = harness.openSession()
    const waiter = harness.openSession()
    const fence = holder.acquire('k', { ttl: 1_000 })
    waiter.lock('k')
    harness.environment.advance(999)
    expect(waiter.takeMessages()).to.deep.equal([])
    harness.environment.advance(1)
    expect(holder.takeMessages()).to.deep.equal([{ type: 'lost', fence, reason: 'expired' }])
    expect(gotGrant(waiter)).to.equal(true)
  })

  it('counts from the time of the grant, which is `at` in `granted`', () => {
    const harness = new BrokerHarness()
    const holder = harness.openSession()
    const waiter = harness.openSession()
    const id = holder.lock('k', { ttl: 1_000 })
    // The fake clock begins at 1,000 ms.
    expect(holder.takeMessages()).to.deep.equal([{ type: 'granted', id, fence: 1, at: 1_000 }])
    waiter.lock('k', { ttl: 1_000 })
    harness.environment.advance(400)
    holder.unlock(1)
    expect(waiter.takeMessages()).to.deep.equal([{ type: 'granted', id: 1, fence: 2, at: 1_400 }])
  })

  it('starts again at a refresh, which may change the ttl', () => {
    const harness = new BrokerHarness()
    const holder = harness.openSession()
    const fence = holder.acquire('k', { ttl: 1_000 })
    harness.environment.advance(900)
    holder.refresh(fence)
    harness.environment.advance(900)
    holder.refresh(fence, { ttl: 3_000 })
    harness.environment.advance(2_999)
    expect(harness.broker.table.heldCount).to.equal(1)
    harness.environment.advance(1)
    expect(harness.broker.table.heldCount).to.equal(0)
  })

  it('goes on while the holder is disconnected within its grace', () => {
    const harness = new BrokerHarness()
    const holder = harness.openSession({ grace: 'lease' })
    holder.acquire('k', { ttl: 1_000 })
    holder.socket.drop()
    harness.environment.advance(1_000)
    expect(harness.broker.table.heldCount).to.equal(0)
    expect(harness.broker.table.sessions.size).to.equal(1)
  })

  it('is enforced by cleanExpiredLocks if the timer is late, once for each lock', () => {
    const harness = new BrokerHarness()
    const holder = harness.openSession()
    holder.acquire('a', { ttl: 1_000 })
    holder.acquire('b', { ttl: 1_000 })
    holder.acquire('c', { ttl: 5_000 })
    harness.environment.advance(950)
    expect(harness.broker.cleanExpiredLocks()).to.equal(0)
    // The broker's timer is late, as real timers can be.
    harness.environment.advanceWithoutTimers(50)
    expect(harness.broker.cleanExpiredLocks()).to.equal(2)
    expect(harness.broker.cleanExpiredLocks()).to.equal(0)
    expect(Array.from(harness.broker.table.keys.values(), ({ key }) => key)).to.deep.equal(['c'])
  })
})
