/**
 * Tests what clients see of brokers that share a command log: brokers die, and sessions move with
 * their locks and requests to other brokers.
 * - The command log orders all changes of the lock table, so each broker has the same table.
 * - The owner broker of a session keeps the timers of the session.
 * - The lease is how long a broker keeps a session without a message of its client.
 * - The grace is how long a session survives the loss of its connection.
 * - A fence is the number of a grant. A ttl is the time after which a lock expires.
 * - The dead time, here 6 s, is the silence after which other brokers declare a broker dead.
 */
import { createBroker, type Observer } from '@holdfast/server'
import type { Effect } from '@holdfast/server/core'
import { closeCodes, HoldfastError } from '@holdfast/shared'
import { expect } from 'chai'
import { Cluster, type Member } from './cluster.js'

/** The ids of the sessions in the table of a broker. */
function sessions({ broker }: Member): string[] {
  return [...broker.table.sessions.keys()]
}

describe('brokers that share a log', () => {
  it('refuse a lock that a client of another broker holds', async () => {
    const cluster = new Cluster()
    const [a, b] = [await cluster.startBroker(), await cluster.startBroker()]
    const [alice, bob] = [await cluster.connectClient(a), await cluster.connectClient(b)]
    const fence = await cluster.lock(alice, { id: 1, key: 'k' })
    await cluster.send(bob, { type: 'lock', id: 1, key: 'k', timeout: 0 })
    expect(bob.takeMessages()[0]).to.deep.include({ type: 'failed', code: 'LOCK_HELD' })
    await cluster.send(bob, { type: 'lock', id: 2, key: 'k' })
    expect(bob.takeMessages()).to.deep.equal([])
    await cluster.send(alice, { type: 'unlock', id: 2, fence })
    const [granted] = bob.takeMessages()
    expect(granted).to.deep.include({ type: 'granted', id: 2 })
    expect(granted).to.have.property('fence').greaterThan(fence)
    expect(a.broker.stats()).to.deep.equal(b.broker.stats())
    expect(a.broker.find({}, 10).held.map(({ key }) => key)).to.deep.equal(['k'])
  })

  it('send events of one broker to the watchers of the other broker', async () => {
    const cluster = new Cluster()
    const [a, b] = [await cluster.startBroker(), await cluster.startBroker()]
    const [alice, bob] = [await cluster.connectClient(a), await cluster.connectClient(b)]
    await cluster.send(bob, { type: 'watch', id: 1, key: 'k' })
    await cluster.lock(alice, { id: 1, key: 'k' })
    expect(bob.socket.takeMessagesOfType('event').map(({ event }) => event.event)).to.deep.equal([
      'locked',
    ])
  })

  it('keep each deadline only at the owner broker of the session', async () => {
    const cluster = new Cluster()
    const [a, b] = [await cluster.startBroker(), await cluster.startBroker()]
    const [alice, bob] = [await cluster.connectClient(a), await cluster.connectClient(b)]
    await cluster.lock(alice, { id: 1, key: 'k', ttl: 2_000 })
    await cluster.send(bob, { type: 'lock', id: 1, key: 'k', timeout: 1_000 })
    await cluster.send(bob, { type: 'lock', id: 2, key: 'k' })
    const entriesBefore = cluster.store.entries.length
    // Longer than the ttl of 2 s and the timeout of 1 s.
    await cluster.passTimeAnsweringPings(3_000, alice, bob)
    const texts = cluster.store.entries.slice(entriesBefore).map(({ text }) => text)
    const writtenTypes = texts.flatMap((text) => text.match(/"type":"(expire|timeout)"/g) ?? [])
    // For each deadline, only one broker wrote a command to the log, although both brokers have the
    // lock and the request.
    expect(writtenTypes.sort()).to.deep.equal(['"type":"expire"', '"type":"timeout"'])
    // After the expiry, the request of bob without a timeout got the lock.
    expect(a.broker.table.heldCount).to.equal(1)
  })

  it('report each effect to the observer of one broker only', async () => {
    const effects: [string, string][] = []
    const observerOf = (name: string): Observer => ({
      onEffect: ({ kind }: Effect) => void effects.push([name, kind]),
      onSessionMoved: () => void effects.push([name, 'moved']),
      onMessage: () => {},
      onFlushed: () => {},
      onRefused: () => {},
    })
    const cluster = new Cluster()
    const a = await cluster.startBroker({ observer: observerOf('a') })
    const b = await cluster.startBroker({ observer: observerOf('b') })
    const alice = await cluster.connectClient(a, { grace: 'lease' })
    const fence = await cluster.lock(alice, { id: 1, key: 'k' })
    await cluster.send(alice, { type: 'unlock', id: 2, fence })
    expect(effects.filter(([name]) => name === 'a').map(([, kind]) => kind)).to.deep.equal([
      'opened',
      'granted',
      'released',
      'answer',
    ])
    expect(effects.filter(([name]) => name === 'b')).to.deep.equal([])
    // `alice.resume()` returns the hello that resumes the session.
    await cluster.connectClient(b, alice.resumeHello())
    // The first four are the effects above.
    expect(effects.slice(4)).to.have.deep.members([
      ['a', 'moved'],
      ['b', 'resumed'],
    ])
  })

  it('report the state of their log', async () => {
    const cluster = new Cluster()
    const [a, b] = [await cluster.startBroker(), await cluster.startBroker()]
    const status = a.broker.logStatus!
    expect(status.members).to.deep.equal([status.name, b.broker.logStatus!.name])
    expect(status.position).to.equal(cluster.store.position)
    expect(status.lagMs).to.be.at.least(0)
    // The self-lease is how long a broker stays a member if the log falls silent: nearly 6 s.
    expect(status.selfLeaseMs).to.be.greaterThan(5_000)
    expect(status).to.deep.include({ waiting: 0, snapshot: undefined, problem: undefined })
  })

  it('refuse the option `quietStart`', () => {
    const { log } = new Cluster().newLog()
    expect(() => createBroker({ log, quietStart: true })).to.throw(HoldfastError, 'quietStart')
  })
})

describe('a session that moves to another broker', () => {
  it('keeps its locks, fences, requests and answers, and loses its old connection', async () => {
    const cluster = new Cluster()
    const [a, b] = [await cluster.startBroker(), await cluster.startBroker()]
    const [alice, bob] = [
      await cluster.connectClient(a, { grace: 'lease' }),
      await cluster.connectClient(b),
    ]
    const fenceOfBob = await cluster.lock(bob, { id: 1, key: 'bobs' })
    const fence = await cluster.lock(alice, { id: 1, key: 'k', ttl: 60_000 })
    await cluster.send(alice, { type: 'lock', id: 2, key: 'bobs' })
    await cluster.send(alice, { type: 'lock', id: 3, key: 'k', timeout: 0 })
    const socket = b.connectWithHello(alice.resumeHello())
    await cluster.settle()
    // After the welcome, the broker repeats the answers that the client has not acknowledged, and
    // then sends the snapshot of the session. A snapshot has no id, so its pair has `false`.
    const [welcome, ...rest] = socket.takeMessages()
    expect(welcome).to.deep.include({ resumed: true, session: alice.session })
    expect(rest.map((message) => [message.type, 'id' in message && message.id])).to.deep.equal([
      ['granted', 1],
      ['failed', 3],
      ['snapshot', false],
    ])
    // The ttl of the lock began again at the time of the welcome.
    const at = (welcome as { at: number }).at
    const held = [{ id: 1, key: 'k', mode: 'exclusive', fence, ttl: 60_000, at }]
    expect(rest.at(-1)).to.deep.include({ held, waiting: [2] })
    expect(alice.socket.closedWith?.code).to.equal(closeCodes.replaced.code)
    await cluster.send(bob, { type: 'unlock', id: 2, fence: fenceOfBob })
    expect(socket.takeMessagesOfType('granted').map(({ id }) => id)).to.deep.equal([2])
    // The end of the old connection does not end the session.
    alice.socket.drop()
    await cluster.settle()
    expect(sessions(a)).to.have.members([alice.session, bob.session])
    expect(a.broker.table.heldCount).to.equal(2)
  })

  it('keeps a lock for its full ttl after the move, and ignores an expiry that the former broker wrote', async () => {
    const cluster = new Cluster()
    const [a, b] = [await cluster.startBroker(), await cluster.startBroker()]
    const alice = await cluster.connectClient(a, { grace: 'lease' })
    await cluster.lock(alice, { id: 1, key: 'k', ttl: 8_000 })
    await cluster.passTimeAnsweringPings(7_000, alice)
    // From now on, each write of broker `a` to the log and each entry for broker `a` takes 1 s.
    a.source.faults.delayMs = 1_000
    // Broker `a` writes an expiry when the ttl of 8 s ends, 0.1 s before the session moves. Because
    // of the delay, the expiry reaches the log after the move.
    await cluster.passTime(1_100)
    const socket = b.connectWithHello(alice.resumeHello())
    await cluster.settle()
    expect(socket.takeMessagesOfType('welcome')[0]).to.deep.include({ resumed: true })
    await cluster.passTime(4_000)
    const texts = cluster.store.entries.map(({ text }) => text)
    expect(texts.findIndex((text) => text.includes('"expire"'))).to.be.greaterThan(
      texts.findIndex((text) => text.includes('"resume"')),
    )
    expect(b.broker.table.heldCount).to.equal(1)
    expect(socket.takeMessagesOfType('lost')).to.deep.equal([])
    // The ttl of 8 s started again with the move. After this step, the move is 8.5 s ago.
    await cluster.passTime(4_500)
    expect(socket.takeMessagesOfType('lost')).to.have.length(1)
    expect(b.broker.table.heldCount).to.equal(0)
  })

  it('stays at its broker when an abandoned resume at another broker reaches the log late', async () => {
    const cluster = new Cluster()
    const [a, b] = [await cluster.startBroker(), await cluster.startBroker()]
    const alice = await cluster.connectClient(b, { grace: 'lease' })
    const fence = await cluster.lock(alice, { id: 1, key: 'k' })
    alice.socket.drop()
    a.source.faults.delayMs = 150
    // The second argument of `resume` is the number of the attempt.
    const abandoned = a.connectWithHello(alice.resumeHello({ attempt: 1 }))
    await cluster.settle()
    const socket = b.connectWithHello(alice.resumeHello({ attempt: 2 }))
    // Long enough for all delayed writes and entries of broker `a`.
    await cluster.passTime(600)
    expect(socket.closedWith).to.equal(undefined)
    expect(abandoned.takeMessagesOfType('welcome').map(({ resumed }) => resumed)).to.deep.equal([
      false,
    ])
    const resumedClient = b.clientOn(socket)
    await cluster.send(resumedClient, { type: 'unlock', id: 2, fence })
    expect(socket.takeMessagesOfType('unlocked')).to.have.length(1)
  })

  it('has no deadline at the former broker', async () => {
    const cluster = new Cluster()
    const [a, b] = [await cluster.startBroker(), await cluster.startBroker()]
    const alice = await cluster.connectClient(a, { grace: 'lease', lease: 4_000 })
    await cluster.lock(alice, { id: 1, key: 'k' })
    // The session moves 1 s before its lease of 4 s would end at broker `a`.
    await cluster.passTime(3_000)
    const moved = await cluster.connectClient(b, alice.resumeHello())
    await cluster.passTimeAnsweringPings(20_000, moved)
    expect(sessions(a)).to.deep.equal([alice.session])
    expect(a.broker.table.heldCount).to.equal(1)
  })

  it('may return to the first broker', async () => {
    const cluster = new Cluster()
    const [a, b] = [await cluster.startBroker(), await cluster.startBroker()]
    let client = await cluster.connectClient(a, { grace: 'lease', lease: 4_000 })
    await cluster.lock(client, { id: 1, key: 'k', ttl: 30_000 })
    for (const broker of [b, a, b, a]) {
      client = await cluster.connectClient(broker, client.resumeHello())
      expect(client.welcome.resumed).to.equal(true)
      // With any message, the client confirms that it has the new secret for its next resume.
      await cluster.send(client, { type: 'ack', ids: [] })
      await cluster.passTimeAnsweringPings(5_000, client)
    }
    expect(b.broker.table.heldCount).to.equal(1)
    await cluster.passTimeAnsweringPings(30_000, client)
    expect(b.broker.table.heldCount).to.equal(0)
  })
})

describe('a broker that stops or loses its log', () => {
  it('loses its sessions to another broker, where each session has its whole lease', async () => {
    const cluster = new Cluster()
    const [a, b] = [await cluster.startBroker(), await cluster.startBroker()]
    const [alice, bob] = [
      await cluster.connectClient(a, { grace: 'lease' }),
      await cluster.connectClient(b),
    ]
    const fence = await cluster.lock(alice, { id: 1, key: 'k', ttl: 40_000 })
    await cluster.send(bob, { type: 'lock', id: 1, key: 'k' })
    a.source.cut()
    // Broker `b` declares broker `a` dead after 6 to 9 s. The lease of 15 s then begins again.
    await cluster.passTimeAnsweringPings(20_000, bob)
    expect(b.broker.table.sessions.get(alice.session)).to.deep.include({ suspended: true })
    expect(b.broker.table.keys.get('k')?.holders.first?.fence).to.equal(fence)
    const socket = b.connectWithHello(alice.resumeHello())
    await cluster.settle()
    expect(socket.takeMessagesOfType('snapshot')[0]?.held.map(({ key }) => key)).to.deep.equal([
      'k',
    ])
    socket.drop()
    // Longer than the grace, which is the lease of 15 s.
    await cluster.passTimeAnsweringPings(16_000, bob)
    expect(sessions(b)).to.deep.equal([bob.session])
    expect(b.broker.table.keys.get('k')?.holders.first?.session.id).to.equal(bob.session)
  })

  it('passes its sessions to another broker immediately if it leaves the log', async () => {
    const cluster = new Cluster()
    const [a, b] = [await cluster.startBroker(), await cluster.startBroker()]
    const alice = await cluster.connectClient(a, { grace: 'lease' })
    await cluster.lock(alice, { id: 1, key: 'k' })
    // A drain of 0 ms: the broker disconnects the client, but does not end the session.
    a.broker.startDraining(0)
    for (const connection of a.broker.connections) a.broker.dismiss(connection)
    alice.socket.drop()
    await cluster.runUntilSettled(a.broker.stop())
    const { name } = b.broker.logStatus!
    expect(b.broker.table.sessions.get(alice.session)).to.deep.include({
      ownerBroker: name,
      suspended: true,
    })
    expect(b.broker.logStatus!.members).to.deep.equal([name])
    // Longer than the lease of 15 s.
    await cluster.passTime(16_000)
    expect(sessions(b)).to.deep.equal([])
  })

  it('owns its sessions again after its return if no other broker owns them', async () => {
    const cluster = new Cluster()
    const [a, b] = [await cluster.startBroker(), await cluster.startBroker()]
    const alice = await cluster.connectClient(a, { grace: 'lease' })
    await cluster.lock(alice, { id: 1, key: 'k' })
    // Both brokers are cut off from the log, so neither broker can declare the other broker dead.
    a.source.cut()
    b.source.cut()
    // Longer than the self-lease, after which each broker closes its connections.
    await cluster.passTime(7_000)
    expect(alice.socket.closedWith?.code).to.equal(closeCodes.restart.code)
    a.source.mend()
    b.source.mend()
    await cluster.passTime(2_000)
    const { name } = a.broker.logStatus!
    expect(a.broker.table.sessions.get(alice.session)).to.deep.include({
      ownerBroker: name,
      suspended: true,
    })
    const resumedClient = await cluster.connectClient(a, alice.resumeHello())
    expect(resumedClient.welcome.resumed).to.equal(true)
    await cluster.passTimeAnsweringPings(20_000, resumedClient)
    expect(b.broker.table.heldCount).to.equal(1)
  })
})
