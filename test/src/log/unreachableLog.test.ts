/**
 * A broker whose shared log is unreachable: what it still accepts, and that it acknowledges nothing
 * after its self-lease has ended.
 */
import type { BrokerGauges } from '@holdfast/server'
import { BrokerLogger } from '@holdfast/server/internal'
import { closeCodes } from '@holdfast/shared'
import { expect } from 'chai'
import { Cluster } from './cluster.js'

describe('a broker whose self-lease has ended', () => {
  it('closes every connection in time, and accepts no new one', async () => {
    const cluster = new Cluster()
    const [a] = [await cluster.broker(), await cluster.broker()]
    const alice = await cluster.client(a, { grace: 'lease' })
    a.source.cut()
    await cluster.passAlive(5_900, alice)
    expect(a.broker.isServing).to.equal(false)
    expect(alice.socket.closedWith?.code).to.equal(closeCodes.restart.code)
    expect(a.connect().closedWith?.code).to.equal(closeCodes.restart.code)
    a.source.mend()
    await cluster.pass(1_000)
    expect(a.broker.isServing).to.equal(true)
    expect(a.connect().closedWith).to.equal(undefined)
  })

  const heard: [string, object, string][] = [
    ['a pong', { type: 'pong', n: 1 }, 'ack'],
    ['a request for statistics', { type: 'stats', id: 1 }, 'stats'],
    ['a query', { type: 'query', id: 1, key: 'k' }, 'found'],
    ['a watch', { type: 'watch', id: 1, key: 'k' }, 'watching'],
    ['a token', { type: 'auth', id: 1, token: 'x' }, 'authenticated'],
    ['what it refuses', { type: 'lock', id: 1, key: '' }, 'failed'],
  ]
  for (const [what, message, answer] of heard) {
    it(`does not answer ${what}, not even before its timers run`, async () => {
      const cluster = new Cluster()
      const a = await cluster.broker()
      const alice = await cluster.client(a)
      alice.say(message)
      expect(alice.heard().map(({ type }) => type)).to.deep.equal([answer])
      cluster.machine.stopFor(5_900)
      alice.say(message)
      expect(alice.heard()).to.deep.equal([])
      expect(alice.socket.closedWith?.code).to.equal(closeCodes.restart.code)
    })
  }

  it('does not report that it is ready, not even before its timers run', async () => {
    const cluster = new Cluster()
    const a = await cluster.broker()
    expect(a.broker.isServing).to.equal(true)
    cluster.machine.stopFor(5_900)
    expect(a.broker.isServing).to.equal(false)
  })

  it('proposes nothing any more', async () => {
    const cluster = new Cluster()
    const [a, b] = [await cluster.broker(), await cluster.broker()]
    const alice = await cluster.client(a, { grace: 'lease' })
    await cluster.lock(alice, 1, 'k', { ttl: 8_000 })
    a.source.cut()
    await cluster.pass(9_500)
    a.source.mend()
    await cluster.pass(3_000)
    // By the former deadline the lock would have expired, but not by the new owner's.
    expect(b.broker.table.heldCount).to.equal(1)
    await cluster.pass(8_000)
    expect(b.broker.table.heldCount).to.equal(0)
  })
})

describe('a broker that has become a member again', () => {
  it('gives the sessions that it had before their whole lease, and no more', async () => {
    const cluster = new Cluster()
    const [a, b] = [await cluster.broker(), await cluster.broker()]
    const alice = await cluster.client(a, { grace: 'lease' })
    await cluster.lock(alice, 1, 'k', { ttl: 20_000 })
    a.source.cut()
    b.source.cut()
    await cluster.pass(7_000)
    a.source.mend()
    b.source.mend()
    await cluster.pass(14_000)
    expect([...b.broker.table.sessions.keys()]).to.deep.equal([alice.session])
    await cluster.pass(4_000)
    expect(b.broker.table.sessions.size).to.equal(0)
    expect(a.broker.table.heldCount).to.equal(0)
  })

  it('keeps no deadline of a session that has moved to another broker', async () => {
    const cluster = new Cluster()
    const [a, b] = [await cluster.broker(), await cluster.broker()]
    const alice = await cluster.client(a, { grace: 'lease' })
    await cluster.lock(alice, 1, 'k', { ttl: 60_000 })
    await cluster.send(alice, { type: 'lock', id: 2, key: 'k', timeout: 30_000 })
    a.source.cut()
    await cluster.pass(6_000)
    const moved = await cluster.client(b, alice.resume())
    expect(moved.welcome.resumed).to.equal(true)
    a.source.mend()
    const before = cluster.store.allTexts.length
    await cluster.passAlive(26_000, moved)
    expect(a.broker.isServing).to.equal(true)
    expect(cluster.store.allTexts.slice(before).join()).not.to.match(/"(end|expire|timeout)"/)
    expect([...a.broker.table.sessions.keys()]).to.deep.equal([alice.session])
  })
})

describe('a broker with an unreachable log', () => {
  it('grants nothing, queues requests, and continues when the log is back in time', async () => {
    const cluster = new Cluster()
    const a = await cluster.broker()
    const alice = await cluster.client(a)
    a.source.cut()
    await cluster.send(alice, { type: 'lock', id: 1, key: 'k' })
    await cluster.passAlive(3_000, alice)
    expect(alice.socket.heardOf('granted')).to.deep.equal([])
    a.source.mend()
    await cluster.pass(1_000)
    expect(alice.socket.heardOf('granted')).to.have.length(1)
    expect(alice.socket.closedWith).to.equal(undefined)
  })

  it('first refuses new requests, then all but releases, and at last disconnects', async () => {
    const cluster = new Cluster()
    const a = await cluster.broker({ limits: { locksPerSession: 300_000 } })
    const [alice, bob] = [await cluster.client(a), await cluster.client(a)]
    a.source.cut()
    const ack = { type: 'ack', ids: [] }
    for (let i = 0; i < 103; i++) alice.socket.say(...Array.from({ length: 1_000 }, () => ack))
    // All messages were handled, which is rate-limited.
    await cluster.settle()
    await cluster.send(bob, { type: 'lock', id: 1, key: 'k' })
    expect(bob.heard()[0]).to.deep.include({ type: 'failed', id: 1, code: 'UNAVAILABLE' })
    await cluster.send(bob, { type: 'unlock', id: 2, fence: 1 })
    expect(bob.heard()).to.deep.equal([])
    const carol = a.connectWithHello()
    await cluster.settle()
    expect(carol.closedWith?.code).to.equal(closeCodes.overloaded.code)
    for (let i = 0; i < 103; i++) alice.socket.say(...Array.from({ length: 1_000 }, () => ack))
    await cluster.send(alice, ack)
    expect(alice.socket.closedWith?.code).to.equal(closeCodes.overloaded.code)
    a.source.mend()
    await cluster.pass(2_000)
    await cluster.send(bob, { type: 'lock', id: 3, key: 'k' })
    expect(bob.socket.heardOf('granted')).to.have.length(1)
  })
})

describe('the logger of a broker with a failing shared log', () => {
  /** One of two brokers, and the lines of its logger. */
  async function watched() {
    const cluster = new Cluster()
    const [member] = [await cluster.broker(), await cluster.broker()]
    const lines: [string, object][] = []
    const ignore = (): void => {}
    const warn = (fields: object, message: string) => void lines.push([message, fields])
    const logger = { debug: ignore, info: ignore, error: ignore, warn }
    const logLines = new BrokerLogger(logger, cluster.machine.clock)
    const { broker } = member
    logLines.attach(() => ({ log: broker.logStatus }) as BrokerGauges)
    const read = () => lines.splice(0)
    return { cluster, member, read, close: () => logLines.close() }
  }

  it('has a line at the beginning, when clients are disconnected, and at the end', async () => {
    const { cluster, member, read, close } = await watched()
    await cluster.pass(20_000)
    expect(read()).to.deep.equal([])
    member.source.cut()
    await cluster.pass(4_000)
    const problem = 'no answer'
    expect(read()).to.deep.equal([['Replicated log has a problem', { problem, serves: true }]])
    await cluster.pass(30_000)
    expect(read()).to.deep.equal([['Replicated log has a problem', { problem, serves: false }]])
    member.source.mend()
    await cluster.pass(4_000)
    const [[message, { lastedMs }]] = read() as [[string, { lastedMs: number }]]
    expect(message).to.equal('Replicated log recovered')
    expect(lastedMs).to.be.within(30_000, 36_000)
    const { timers } = cluster.machine
    close()
    expect(cluster.machine.timers).to.equal(timers - 1)
  })

  it('has no line for a short failure, nor for a start', async () => {
    const { cluster, member, read } = await watched()
    member.source.cut()
    await cluster.pass(900)
    member.source.mend()
    await cluster.pass(10_000)
    expect(read()).to.deep.equal([])
  })

  it('has a line for an entry that did not arrive, although the broker serves again at once', async () => {
    const { cluster, member, read } = await watched()
    await cluster.pass(3_000)
    let drops = 0
    const own = `"broker":"${member.log.name}"`
    member.source.faults.drops = (text) => !text.includes(own) && ++drops === 1
    await cluster.pass(5_000)
    const lines = read() as [string, { problem: string; serves: boolean }][]
    expect(lines.map(([message]) => message)).to.deep.equal(['Replicated log has a problem'])
    expect(lines[0]![1].problem).to.match(/did not receive entry \d+ of broker/)
    expect(lines[0]![1].serves).to.equal(true)
    await cluster.pass(60_000)
    expect((read() as [string, object][]).map(([message]) => message)).to.deep.equal([
      'Replicated log recovered',
    ])
  })

  it('reports the failure if no other problem is known', async () => {
    const { cluster, member, read } = await watched()
    member.source.faults.delayMs = 60_000
    await cluster.pass(12_000)
    const [[, { problem }]] = read() as [[string, { problem: string }]]
    expect(problem).to.match(/^this broker is not a member/)
  })
})
