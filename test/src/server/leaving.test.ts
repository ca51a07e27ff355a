/**
 * How a session comes to its end, and how long what it holds outlives its connection: not at all
 * after a goodbye, for the grace after a drop, for the lease after a cut, for the lease of silence.
 */
import { closeCodes } from '@holdfast/shared'
import { expect } from 'chai'
import { Bench, type Client, passAlive } from './bench.js'
import { slowLog } from './logs.js'

function isGranted(client: Client): boolean {
  return client.heard().some(({ type }) => type === 'granted')
}

/**
 * A client that holds `k`, and one that waits for it with a lease that outlives everything here.
 */
function pair(hello = {}): { bench: Bench; holder: Client; next: Client; fence: number } {
  const bench = new Bench()
  const holder = bench.join(hello)
  const next = bench.join({ lease: 300_000 })
  const fence = holder.take('k')
  next.lock('k')
  next.heard()
  return { bench, holder, next, fence }
}

describe('leaving: goodbye', () => {
  it('releases in the same turn, whatever the grace, and closes with 1000', () => {
    const { holder, next } = pair({ grace: 'lease' })
    holder.say({ type: 'bye' })
    expect(isGranted(next)).to.equal(true)
    expect(holder.socket.closedWith).to.include({ code: closeCodes.goodbye.code })
  })

  it('takes its waits with it', () => {
    const { bench, holder, next, fence } = pair({ grace: 'lease' })
    next.say({ type: 'bye' })
    expect(bench.broker.table.waitingCount).to.equal(0)
    holder.unlock(fence)
    expect(bench.broker.table.heldCount).to.equal(0)
  })

  it('answers first what came before it in the same frame', () => {
    const { bench, holder, fence } = pair()
    holder.say({ type: 'unlock', id: 2, fence }, { type: 'bye' })
    expect(holder.heard()).to.deep.equal([{ type: 'unlocked', id: 2 }])
    expect(bench.broker.table.sessions.size).to.equal(1)
  })
})

describe('leaving: a connection that the broker closes because it goes away', () => {
  const dismissed = () => {
    const made = pair()
    const [connection] = made.bench.broker.connections
    made.bench.broker.startDraining(0)
    made.bench.broker.dismiss(connection!)
    made.bench.environment.endTurn()
    return made
  }

  it('releases as soon as its client has closed it too', () => {
    const { bench, holder, next } = dismissed()
    bench.environment.pass(999)
    holder.socket.drop()
    bench.environment.endTurn()
    expect(isGranted(next)).to.equal(true)
  })

  it('keeps its locks for the lease if its client does not answer, and so may not know', () => {
    const { bench, holder, next } = dismissed()
    bench.environment.pass(1_000)
    expect(holder.socket.terminated).to.equal(true)
    holder.socket.drop()
    bench.environment.pass(13_999)
    expect(isGranted(next)).to.equal(false)
    bench.environment.pass(1)
    expect(isGranted(next)).to.equal(true)
  })
})

describe('leaving: a connection that drops', () => {
  it('releases in the same turn without a grace', () => {
    const { bench, holder, next } = pair()
    holder.socket.drop()
    bench.environment.endTurn()
    expect(isGranted(next)).to.equal(true)
  })

  it('releases when the grace is over, and not before', () => {
    const { bench, holder, next } = pair({ grace: 3_000 })
    bench.environment.pass(1_000)
    holder.socket.drop()
    bench.environment.pass(2_999)
    expect(isGranted(next)).to.equal(false)
    bench.environment.pass(1)
    expect(isGranted(next)).to.equal(true)
  })

  it('never keeps a session beyond its lease, which ran from the last that was heard', () => {
    const { bench, holder, next } = pair({ grace: 'lease', lease: 6_000 })
    bench.environment.pass(5_000)
    holder.socket.drop()
    bench.environment.pass(999)
    expect(isGranted(next)).to.equal(false)
    bench.environment.pass(1)
    expect(isGranted(next)).to.equal(true)
  })

  it('does not end a grace while the broker is stopped', () => {
    const { bench, holder, next } = pair({ grace: 3_000 })
    holder.socket.drop()
    bench.environment.pass(1_000)
    bench.environment.stopFor(60_000)
    bench.environment.pass(1_700)
    expect(isGranted(next)).to.equal(false)
    bench.environment.pass(300)
    expect(isGranted(next)).to.equal(true)
  })
})

describe('leaving: a connection that the broker cuts', () => {
  it('leaves the session its locks for the lease, although it has no grace', () => {
    const { bench, holder, next } = pair({ lease: 6_000 })
    bench.environment.pass(1_000)
    holder.say('junk')
    expect(holder.socket.closedWith?.code).to.equal(4400)
    holder.socket.drop()
    bench.environment.pass(5_999)
    expect(isGranted(next)).to.equal(false)
    bench.environment.pass(1)
    expect(isGranted(next)).to.equal(true)
  })

  it('leaves them for the lease and not only for a shorter grace', () => {
    const { bench, holder, next } = pair({ lease: 6_000, grace: 1_000 })
    holder.say('junk')
    holder.socket.drop()
    bench.environment.pass(5_999)
    expect(isGranted(next)).to.equal(false)
    bench.environment.pass(1)
    expect(isGranted(next)).to.equal(true)
  })

  it('or that WebSocket itself cuts leaves them just so', () => {
    const { bench, holder, next } = pair({ lease: 6_000 })
    holder.socket.sayNonsense()
    bench.environment.pass(1_000)
    expect(holder.socket.terminated, 'after a second').to.equal(true)
    holder.socket.drop()
    bench.environment.pass(4_999)
    expect(isGranted(next)).to.equal(false)
    bench.environment.pass(1)
    expect(isGranted(next)).to.equal(true)
  })

  it('withdraws what a session without a grace waits for: nobody could be granted it', () => {
    const { bench, holder, next, fence } = pair()
    next.say('junk')
    expect(bench.broker.table.waitingCount).to.equal(0)
    holder.unlock(fence)
    expect(bench.broker.table.heldCount).to.equal(0)
  })
})

describe('leaving: silence', () => {
  it('ends the session with its lease, tells it 4410 and grants in the same turn', () => {
    const { bench, holder, next } = pair({ lease: 6_000 })
    bench.environment.pass(5_999)
    expect(holder.socket.closedWith).to.equal(undefined)
    bench.environment.pass(1)
    expect(holder.socket.closedWith?.code).to.equal(4410)
    expect(isGranted(next)).to.equal(true)
  })

  it('is broken by anything that is heard, and the lease runs from there', () => {
    const { bench, holder } = pair({ lease: 6_000 })
    bench.environment.pass(5_000)
    holder.say({ type: 'pong', n: 7 })
    bench.environment.pass(5_999)
    expect(holder.socket.closedWith).to.equal(undefined)
    bench.environment.pass(1)
    expect(holder.socket.closedWith?.code).to.equal(4410)
  })

  it('never comes over a client that answers its pings', () => {
    const { bench, holder, next } = pair({ lease: 2_000 })
    passAlive(bench, 60_000, holder, next)
    expect(holder.socket.closedWith).to.equal(undefined)
  })

  it('is not that of a client whose frames waited while the broker was stopped', () => {
    const { bench, holder, next } = pair({ lease: 2_000 })
    bench.environment.pass(1_900)
    bench.environment.stopFor(10_000)
    bench.environment.fireTimers()
    bench.say(holder.socket, { type: 'pong', n: 1 })
    bench.environment.pass(1_999)
    expect(isGranted(next)).to.equal(false)
  })

  it('acknowledges nothing of a session whose end was proposed', () => {
    // A log that takes its time: the end is proposed, and not yet applied.
    const { log, deliver } = slowLog()
    const bench = new Bench({}, log)
    const socket = bench.greet({ lease: 2_000, grace: 'lease' })
    deliver()
    bench.environment.endTurn()
    expect(socket.heardOf('welcome')).to.have.length(1)
    bench.environment.pass(2_000)
    bench.say(socket, { type: 'pong', n: 1 })
    expect(socket.heardOf('ack')).to.deep.equal([])
    deliver()
    expect(socket.closedWith?.code).to.equal(4410)
  })
})

describe('leaving: the ttl of a lock', () => {
  it('ends the lock on time, tells its holder, and grants in the same turn', () => {
    const bench = new Bench()
    const holder = bench.join()
    const next = bench.join()
    const fence = holder.take('k', { ttl: 1_000 })
    next.lock('k')
    bench.environment.pass(999)
    expect(next.heard()).to.deep.equal([])
    bench.environment.pass(1)
    expect(holder.heard()).to.deep.equal([{ type: 'lost', fence, reason: 'expired' }])
    expect(isGranted(next)).to.equal(true)
  })

  it('says when it began to run', () => {
    const bench = new Bench()
    const holder = bench.join()
    const next = bench.join()
    const first = holder.lock('k', { ttl: 1_000 })
    expect(holder.heard()).to.deep.equal([{ type: 'granted', id: first, fence: 1, at: 1_000 }])
    next.lock('k', { ttl: 1_000 })
    bench.environment.pass(400)
    holder.unlock(1)
    expect(next.heard()).to.deep.equal([{ type: 'granted', id: 1, fence: 2, at: 1_400 }])
  })

  it('runs anew from a refresh, with the ttl that it asks for', () => {
    const bench = new Bench()
    const holder = bench.join()
    const fence = holder.take('k', { ttl: 1_000 })
    bench.environment.pass(900)
    holder.refresh(fence)
    bench.environment.pass(900)
    holder.refresh(fence, { ttl: 3_000 })
    bench.environment.pass(2_999)
    expect(bench.broker.table.heldCount).to.equal(1)
    bench.environment.pass(1)
    expect(bench.broker.table.heldCount).to.equal(0)
  })

  it('runs while the holder is away within its grace', () => {
    const bench = new Bench()
    const holder = bench.join({ grace: 'lease' })
    holder.take('k', { ttl: 1_000 })
    holder.socket.drop()
    bench.environment.pass(1_000)
    expect(bench.broker.table.heldCount).to.equal(0)
    expect(bench.broker.table.sessions.size).to.equal(1)
  })

  it('can be run out by hand, on time and once', () => {
    const bench = new Bench()
    const holder = bench.join()
    holder.take('a', { ttl: 1_000 })
    holder.take('b', { ttl: 1_000 })
    holder.take('c', { ttl: 5_000 })
    bench.environment.pass(950)
    expect(bench.broker.cleanExpiredLocks()).to.equal(0)
    // The timer is a little late, as timers are.
    bench.environment.stopFor(50)
    expect(bench.broker.cleanExpiredLocks()).to.equal(2)
    expect(bench.broker.cleanExpiredLocks()).to.equal(0)
    expect(Array.from(bench.broker.table.keys.values(), ({ key }) => key)).to.deep.equal(['c'])
  })
})
