/**
 * Tests a broker that cannot reach its shared command log, which orders all changes of the lock
 * table. The self-lease is the time for which a broker knows that it is still a member of the log,
 * here 5.8 s. Before its self-lease ends, the broker queues requests. Afterwards the broker answers
 * no message and closes all connections.
 *
 * The lease is how long a broker keeps a session without a message of its client. The owner broker
 * of a session keeps the timers of the session. The grace is how long a session survives the loss
 * of its connection. The ttl of a lock is the time after which the lock expires.
 */
import type { BrokerGauges } from '@holdfast/server'
import { BrokerLogger } from '@holdfast/server/internal'
import { closeCodes } from '@holdfast/shared'
import { expect } from 'chai'
import { Cluster } from './cluster.js'

describe('a broker whose self-lease has ended', () => {
  it('has closed every connection, and accepts no new connection', async () => {
    const cluster = new Cluster()
    const a = await cluster.startBroker()
    await cluster.startBroker()
    const alice = await cluster.connectClient(a, { grace: 'lease' })
    a.source.cut()
    // The self-lease ends after 5.8 s.
    await cluster.passTimeAnsweringPings(5_900, alice)
    expect(a.broker.isServing).to.equal(false)
    expect(alice.socket.closedWith?.code).to.equal(closeCodes.restart.code)
    expect(a.connect().closedWith?.code).to.equal(closeCodes.restart.code)
    a.source.mend()
    await cluster.passTime(1_000)
    expect(a.broker.isServing).to.equal(true)
    expect(a.connect().closedWith).to.equal(undefined)
  })

  /** Messages of a client, each with its name and with the type of the usual answer. */
  const cases: [string, object, string][] = [
    ['a pong', { type: 'pong', n: 1 }, 'ack'],
    ['a request for statistics', { type: 'stats', id: 1 }, 'stats'],
    ['a query', { type: 'query', id: 1, key: 'k' }, 'found'],
    ['a watch', { type: 'watch', id: 1, key: 'k' }, 'watching'],
    ['a token', { type: 'auth', id: 1, token: 'x' }, 'authenticated'],
    ['an invalid request', { type: 'lock', id: 1, key: '' }, 'failed'],
  ]
  for (const [name, message, answer] of cases) {
    it(`does not answer ${name} directly after a pause of its process, before any timer runs`, async () => {
      const cluster = new Cluster()
      const a = await cluster.startBroker()
      const alice = await cluster.connectClient(a)
      alice.say(message)
      expect(alice.takeMessages().map(({ type }) => type)).to.deep.equal([answer])
      // The process stops for longer than the self-lease, and no overdue timer has run yet.
      cluster.environment.advanceWithoutTimers(5_900)
      alice.say(message)
      expect(alice.takeMessages()).to.deep.equal([])
      expect(alice.socket.closedWith?.code).to.equal(closeCodes.restart.code)
    })
  }

  it('is not ready directly after a pause of its process, before any timer runs', async () => {
    const cluster = new Cluster()
    const a = await cluster.startBroker()
    expect(a.broker.isServing).to.equal(true)
    cluster.environment.advanceWithoutTimers(5_900)
    expect(a.broker.isServing).to.equal(false)
  })

  it('does not let a lock expire whose session has moved to another broker', async () => {
    const cluster = new Cluster()
    const [a, b] = [await cluster.startBroker(), await cluster.startBroker()]
    const alice = await cluster.connectClient(a, { grace: 'lease' })
    await cluster.lock(alice, { id: 1, key: 'k', ttl: 8_000 })
    a.source.cut()
    await cluster.passTime(9_500)
    // The ttl is over at broker `a`. But broker `b` has declared broker `a` dead, and now owns the
    // session.
    a.source.mend()
    await cluster.passTime(3_000)
    // Broker `b` counts the ttl again from its takeover. Broker `a` must not end the lock.
    expect(b.broker.table.heldCount).to.equal(1)
    await cluster.passTime(8_000)
    expect(b.broker.table.heldCount).to.equal(0)
  })
})

describe('a broker that has become a member again', () => {
  it('keeps its former sessions for one whole lease', async () => {
    const cluster = new Cluster()
    const [a, b] = [await cluster.startBroker(), await cluster.startBroker()]
    const alice = await cluster.connectClient(a, { grace: 'lease' })
    await cluster.lock(alice, { id: 1, key: 'k', ttl: 20_000 })
    a.source.cut()
    b.source.cut()
    // Both self-leases end.
    await cluster.passTime(7_000)
    a.source.mend()
    b.source.mend()
    // The lease, by default 15 s, begins again when the brokers are members again.
    await cluster.passTime(14_000)
    expect([...b.broker.table.sessions.keys()]).to.deep.equal([alice.session])
    await cluster.passTime(4_000)
    expect(b.broker.table.sessions.size).to.equal(0)
    expect(a.broker.table.heldCount).to.equal(0)
  })

  it('keeps no deadline of a session that has moved to another broker', async () => {
    const cluster = new Cluster()
    const [a, b] = [await cluster.startBroker(), await cluster.startBroker()]
    const alice = await cluster.connectClient(a, { grace: 'lease' })
    await cluster.lock(alice, { id: 1, key: 'k', ttl: 60_000 })
    await cluster.send(alice, { type: 'lock', id: 2, key: 'k', timeout: 30_000 })
    a.source.cut()
    await cluster.passTime(6_000)
    const moved = await cluster.connectClient(b, alice.resumeHello())
    expect(moved.welcome.resumed).to.equal(true)
    a.source.mend()
    const entryCountBefore = cluster.store.allTexts.length
    // At the former owner broker `a`, the lease of 15 s and the timeout of 30 s would be over.
    await cluster.passTimeAnsweringPings(26_000, moved)
    expect(a.broker.isServing).to.equal(true)
    expect(cluster.store.allTexts.slice(entryCountBefore).join()).not.to.match(
      /"(end|expire|timeout)"/,
    )
    expect([...a.broker.table.sessions.keys()]).to.deep.equal([alice.session])
  })
})

describe('a broker with an unreachable log', () => {
  it('grants nothing, queues requests, and continues when the log is back in time', async () => {
    const cluster = new Cluster()
    const a = await cluster.startBroker()
    const alice = await cluster.connectClient(a)
    a.source.cut()
    await cluster.send(alice, { type: 'lock', id: 1, key: 'k' })
    await cluster.passTimeAnsweringPings(3_000, alice)
    expect(alice.socket.takeMessagesOfType('granted')).to.deep.equal([])
    a.source.mend()
    await cluster.passTime(1_000)
    expect(alice.socket.takeMessagesOfType('granted')).to.have.length(1)
    expect(alice.socket.closedWith).to.equal(undefined)
  })

  it('refuses new requests and sessions if its queue is long, and disconnects a client that sends more', async () => {
    const cluster = new Cluster()
    const a = await cluster.startBroker()
    const [alice, bob] = [await cluster.connectClient(a), await cluster.connectClient(a)]
    a.source.cut()
    // A client sends `ack` for answers that it received, and the broker queues one command for
    // each `ack`. From 100,000 queued commands on, the broker refuses new requests. So
    // Alice sends 103,000 acks, and later 103,000 more.
    const ack = { type: 'ack', ids: [] }
    for (let i = 0; i < 103; i++) alice.socket.say(...Array.from({ length: 1_000 }, () => ack))
    // The broker limits its work in one turn of the event loop, so it needs several turns.
    await cluster.settle()
    await cluster.send(bob, { type: 'lock', id: 1, key: 'k' })
    expect(bob.takeMessages()[0]).to.deep.include({ type: 'failed', id: 1, code: 'UNAVAILABLE' })
    // The broker does not refuse an unlock, but queues it.
    await cluster.send(bob, { type: 'unlock', id: 2, fence: 1 })
    expect(bob.takeMessages()).to.deep.equal([])
    const carol = a.connectWithHello()
    await cluster.settle()
    expect(carol.closedWith?.code).to.equal(closeCodes.overloaded.code)
    // From 200,000 commands on, the broker disconnects a client that sends more.
    for (let i = 0; i < 103; i++) alice.socket.say(...Array.from({ length: 1_000 }, () => ack))
    await cluster.send(alice, ack)
    expect(alice.socket.closedWith?.code).to.equal(closeCodes.overloaded.code)
    a.source.mend()
    await cluster.passTime(2_000)
    await cluster.send(bob, { type: 'lock', id: 3, key: 'k' })
    expect(bob.socket.takeMessagesOfType('granted')).to.have.length(1)
  })
})

describe('the logger of a broker with a failing shared log', () => {
  /**
   * Starts two brokers, and attaches a logger to the first broker. `newLines` returns the lines
   * that the logger has written since the last call. `close` closes the logger.
   */
  async function loggedBroker() {
    const cluster = new Cluster()
    const member = await cluster.startBroker()
    await cluster.startBroker()
    const lines: [string, object][] = []
    const ignore = (): void => {}
    const warn = (fields: object, message: string) => void lines.push([message, fields])
    const logger = { debug: ignore, info: ignore, error: ignore, warn }
    const brokerLogger = new BrokerLogger(logger, cluster.environment.clock)
    const { broker } = member
    brokerLogger.attach(() => ({ log: broker.logStatus }) as BrokerGauges)
    const newLines = () => lines.splice(0)
    return { cluster, member, newLines, close: () => brokerLogger.close() }
  }

  it('writes a line when the log fails, when the broker stops serving, and at the recovery', async () => {
    const { cluster, member, newLines, close } = await loggedBroker()
    await cluster.passTime(20_000)
    expect(newLines()).to.deep.equal([])
    member.source.cut()
    await cluster.passTime(4_000)
    const problem = 'no answer'
    expect(newLines()).to.deep.equal([['Replicated log has a problem', { problem, serves: true }]])
    await cluster.passTime(30_000)
    expect(newLines()).to.deep.equal([['Replicated log has a problem', { problem, serves: false }]])
    member.source.mend()
    await cluster.passTime(4_000)
    const [[message, { lastedMs }]] = newLines() as [[string, { lastedMs: number }]]
    expect(message).to.equal('Replicated log recovered')
    // The outage lasted 34 s. The logger notices its beginning and its end a little later.
    expect(lastedMs).to.be.within(30_000, 36_000)
    const timersBefore = cluster.environment.timerCount
    close()
    // The close of the logger stops its timer.
    expect(cluster.environment.timerCount).to.equal(timersBefore - 1)
  })

  it('writes no line for a short failure, nor for the start of a broker', async () => {
    const { cluster, member, newLines } = await loggedBroker()
    member.source.cut()
    await cluster.passTime(900)
    member.source.mend()
    await cluster.passTime(10_000)
    expect(newLines()).to.deep.equal([])
  })

  it('writes a line for a missed entry, although the broker serves again immediately', async () => {
    const { cluster, member, newLines } = await loggedBroker()
    await cluster.passTime(3_000)
    let otherEntryCount = 0
    const ownName = `"broker":"${member.log.name}"`
    // Drops the first entry of the other broker.
    member.source.faults.drops = (text) => !text.includes(ownName) && ++otherEntryCount === 1
    await cluster.passTime(5_000)
    const lines = newLines() as [string, { problem: string; serves: boolean }][]
    expect(lines.map(([message]) => message)).to.deep.equal(['Replicated log has a problem'])
    expect(lines[0]![1].problem).to.match(/did not receive entry \d+ of broker/)
    expect(lines[0]![1].serves).to.equal(true)
    await cluster.passTime(60_000)
    expect((newLines() as [string, object][]).map(([message]) => message)).to.deep.equal([
      'Replicated log recovered',
    ])
  })

  it('writes that the log is slow, and then that the broker is not a member', async () => {
    const { cluster, member, newLines } = await loggedBroker()
    member.source.faults.delayMs = 60_000
    await cluster.passTime(12_000)
    const lines = newLines() as [string, { problem: string; serves: boolean }][]
    expect(lines.map(([, { serves }]) => serves)).to.deep.equal([true, false])
    expect(lines[0]![1].problem).to.match(/^the shared log is slow: an entry of this broker takes/)
    expect(lines[1]![1].problem).to.match(/^this broker is not a member/)
  })
})
