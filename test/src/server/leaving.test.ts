/**
 * The end of a session, and how long its locks outlive its connection: not at all after `bye`, for
 * the grace after a drop, for the lease after the broker has aborted the connection, and for the
 * lease after the client's last message.
 */
import { closeCodes } from '@holdfast/shared'
import { expect } from 'chai'
import { BrokerHarness, type Client, passAlive } from './harness.js'
import { slowLog } from './logs.js'

function isGranted(client: Client): boolean {
  return client.heard().some(({ type }) => type === 'granted')
}

/**
 * A client that holds `k`, and a client that waits for `k` with a lease longer than any test.
 */
function pair(hello = {}): { harness: BrokerHarness; holder: Client; next: Client; fence: number } {
  const harness = new BrokerHarness()
  const holder = harness.join(hello)
  const next = harness.join({ lease: 300_000 })
  const fence = holder.acquire('k')
  next.lock('k')
  next.heard()
  return { harness, holder, next, fence }
}

describe('leaving: a bye', () => {
  it('releases the locks in the same turn, for any grace, and closes with 1000', () => {
    const { holder, next } = pair({ grace: 'lease' })
    holder.say({ type: 'bye' })
    expect(isGranted(next)).to.equal(true)
    expect(holder.socket.closedWith).to.include({ code: closeCodes.goodbye.code })
  })

  it('withdraws the waiting requests', () => {
    const { harness, holder, next, fence } = pair({ grace: 'lease' })
    next.say({ type: 'bye' })
    expect(harness.broker.table.waitingCount).to.equal(0)
    holder.unlock(fence)
    expect(harness.broker.table.heldCount).to.equal(0)
  })

  it('is handled after the messages before it in the same frame', () => {
    const { harness, holder, fence } = pair()
    holder.say({ type: 'unlock', id: 2, fence }, { type: 'bye' })
    expect(holder.heard()).to.deep.equal([{ type: 'unlocked', id: 2 }])
    expect(harness.broker.table.sessions.size).to.equal(1)
  })
})

describe('leaving: a connection that a draining broker closes', () => {
  const dismissed = () => {
    const created = pair()
    const [connection] = created.harness.broker.connections
    created.harness.broker.startDraining(0)
    created.harness.broker.dismiss(connection!)
    created.harness.environment.endTurn()
    return created
  }

  it('releases its locks as soon as the client has answered the close', () => {
    const { harness, holder, next } = dismissed()
    harness.environment.pass(999)
    holder.socket.drop()
    harness.environment.endTurn()
    expect(isGranted(next)).to.equal(true)
  })

  it('keeps its locks for the lease if the client does not answer and may not know', () => {
    const { harness, holder, next } = dismissed()
    harness.environment.pass(1_000)
    expect(holder.socket.terminated).to.equal(true)
    holder.socket.drop()
    harness.environment.pass(13_999)
    expect(isGranted(next)).to.equal(false)
    harness.environment.pass(1)
    expect(isGranted(next)).to.equal(true)
  })
})

describe('leaving: a connection that drops', () => {
  it('releases its locks in the same turn without a grace', () => {
    const { harness, holder, next } = pair()
    holder.socket.drop()
    harness.environment.endTurn()
    expect(isGranted(next)).to.equal(true)
  })

  it('releases its locks when the grace is over, and not before', () => {
    const { harness, holder, next } = pair({ grace: 3_000 })
    harness.environment.pass(1_000)
    holder.socket.drop()
    harness.environment.pass(2_999)
    expect(isGranted(next)).to.equal(false)
    harness.environment.pass(1)
    expect(isGranted(next)).to.equal(true)
  })

  it('never keeps its session beyond the lease, which runs from the last message', () => {
    const { harness, holder, next } = pair({ grace: 'lease', lease: 6_000 })
    harness.environment.pass(5_000)
    holder.socket.drop()
    harness.environment.pass(999)
    expect(isGranted(next)).to.equal(false)
    harness.environment.pass(1)
    expect(isGranted(next)).to.equal(true)
  })

  it('keeps its session while the broker is stopped, although the grace is over', () => {
    const { harness, holder, next } = pair({ grace: 3_000 })
    holder.socket.drop()
    harness.environment.pass(1_000)
    harness.environment.stopFor(60_000)
    harness.environment.pass(1_700)
    expect(isGranted(next)).to.equal(false)
    harness.environment.pass(300)
    expect(isGranted(next)).to.equal(true)
  })
})

describe('leaving: a connection that the broker aborts', () => {
  it('leaves its session the locks for the lease, although it has no grace', () => {
    const { harness, holder, next } = pair({ lease: 6_000 })
    harness.environment.pass(1_000)
    holder.say('junk')
    expect(holder.socket.closedWith?.code).to.equal(4400)
    holder.socket.drop()
    harness.environment.pass(5_999)
    expect(isGranted(next)).to.equal(false)
    harness.environment.pass(1)
    expect(isGranted(next)).to.equal(true)
  })

  it('leaves its session the locks for the lease, and not only for a shorter grace', () => {
    const { harness, holder, next } = pair({ lease: 6_000, grace: 1_000 })
    holder.say('junk')
    holder.socket.drop()
    harness.environment.pass(5_999)
    expect(isGranted(next)).to.equal(false)
    harness.environment.pass(1)
    expect(isGranted(next)).to.equal(true)
  })

  it('leaves its session the locks for the lease also after an invalid WebSocket frame', () => {
    const { harness, holder, next } = pair({ lease: 6_000 })
    holder.socket.sayInvalidFrame()
    harness.environment.pass(1_000)
    expect(holder.socket.terminated, 'after a second').to.equal(true)
    holder.socket.drop()
    harness.environment.pass(4_999)
    expect(isGranted(next)).to.equal(false)
    harness.environment.pass(1)
    expect(isGranted(next)).to.equal(true)
  })

  it('withdraws the waiting requests without a grace, because no grant could reach them', () => {
    const { harness, holder, next, fence } = pair()
    next.say('junk')
    expect(harness.broker.table.waitingCount).to.equal(0)
    holder.unlock(fence)
    expect(harness.broker.table.heldCount).to.equal(0)
  })
})

describe('leaving: a silent client', () => {
  it('loses its session when the lease is over: 4410, and a grant in the same turn', () => {
    const { harness, holder, next } = pair({ lease: 6_000 })
    harness.environment.pass(5_999)
    expect(holder.socket.closedWith).to.equal(undefined)
    harness.environment.pass(1)
    expect(holder.socket.closedWith?.code).to.equal(4410)
    expect(isGranted(next)).to.equal(true)
  })

  it('renews its lease by any message', () => {
    const { harness, holder } = pair({ lease: 6_000 })
    harness.environment.pass(5_000)
    holder.say({ type: 'pong', n: 7 })
    harness.environment.pass(5_999)
    expect(holder.socket.closedWith).to.equal(undefined)
    harness.environment.pass(1)
    expect(holder.socket.closedWith?.code).to.equal(4410)
  })

  it('keeps its session as long as it answers the pings', () => {
    const { harness, holder, next } = pair({ lease: 2_000 })
    passAlive(harness, 60_000, holder, next)
    expect(holder.socket.closedWith).to.equal(undefined)
  })

  it('keeps its session if its frames waited while the broker was stopped', () => {
    const { harness, holder, next } = pair({ lease: 2_000 })
    harness.environment.pass(1_900)
    harness.environment.stopFor(10_000)
    harness.environment.fireTimers()
    harness.say(holder.socket, { type: 'pong', n: 1 })
    harness.environment.pass(1_999)
    expect(isGranted(next)).to.equal(false)
  })

  it('gets no ack after the end of its session was submitted to the log', () => {
    // The log is slow: the end of the session is submitted and not applied yet.
    const { log, deliver } = slowLog()
    const harness = new BrokerHarness({}, log)
    const socket = harness.connectWithHello({ lease: 2_000, grace: 'lease' })
    deliver()
    harness.environment.endTurn()
    expect(socket.heardOf('welcome')).to.have.length(1)
    harness.environment.pass(2_000)
    harness.say(socket, { type: 'pong', n: 1 })
    expect(socket.heardOf('ack')).to.deep.equal([])
    deliver()
    expect(socket.closedWith?.code).to.equal(4410)
  })
})

describe('leaving: the ttl of a lock', () => {
  it('ends the lock on time, tells its holder, and grants the key in the same turn', () => {
    const harness = new BrokerHarness()
    const holder = harness.join()
    const next = harness.join()
    const fence = holder.acquire('k', { ttl: 1_000 })
    next.lock('k')
    harness.environment.pass(999)
    expect(next.heard()).to.deep.equal([])
    harness.environment.pass(1)
    expect(holder.heard()).to.deep.equal([{ type: 'lost', fence, reason: 'expired' }])
    expect(isGranted(next)).to.equal(true)
  })

  it('begins at the time that the grant tells', () => {
    const harness = new BrokerHarness()
    const holder = harness.join()
    const next = harness.join()
    const first = holder.lock('k', { ttl: 1_000 })
    expect(holder.heard()).to.deep.equal([{ type: 'granted', id: first, fence: 1, at: 1_000 }])
    next.lock('k', { ttl: 1_000 })
    harness.environment.pass(400)
    holder.unlock(1)
    expect(next.heard()).to.deep.equal([{ type: 'granted', id: 1, fence: 2, at: 1_400 }])
  })

  it('starts again at a refresh, with the ttl of the refresh if it has one', () => {
    const harness = new BrokerHarness()
    const holder = harness.join()
    const fence = holder.acquire('k', { ttl: 1_000 })
    harness.environment.pass(900)
    holder.refresh(fence)
    harness.environment.pass(900)
    holder.refresh(fence, { ttl: 3_000 })
    harness.environment.pass(2_999)
    expect(harness.broker.table.heldCount).to.equal(1)
    harness.environment.pass(1)
    expect(harness.broker.table.heldCount).to.equal(0)
  })

  it('goes on while the holder is disconnected within its grace', () => {
    const harness = new BrokerHarness()
    const holder = harness.join({ grace: 'lease' })
    holder.acquire('k', { ttl: 1_000 })
    holder.socket.drop()
    harness.environment.pass(1_000)
    expect(harness.broker.table.heldCount).to.equal(0)
    expect(harness.broker.table.sessions.size).to.equal(1)
  })

  it('is applied by cleanExpiredLocks, on time and once', () => {
    const harness = new BrokerHarness()
    const holder = harness.join()
    holder.acquire('a', { ttl: 1_000 })
    holder.acquire('b', { ttl: 1_000 })
    holder.acquire('c', { ttl: 5_000 })
    harness.environment.pass(950)
    expect(harness.broker.cleanExpiredLocks()).to.equal(0)
    // The broker's timer is late, as real timers can be.
    harness.environment.stopFor(50)
    expect(harness.broker.cleanExpiredLocks()).to.equal(2)
    expect(harness.broker.cleanExpiredLocks()).to.equal(0)
    expect(Array.from(harness.broker.table.keys.values(), ({ key }) => key)).to.deep.equal(['c'])
  })
})
