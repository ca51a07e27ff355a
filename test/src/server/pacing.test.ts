/**
 * Tests pacing: the broker counts the work that each client causes, in units of work. If a client
 * exceeds its share of a turn of the event loop, the broker pauses the client. The broker then
 * reads the client's socket again in a later turn. No message of a paused client is lost or changes
 * its order. The lease is the time that the broker keeps a session without a message of its client.
 * The grace is the time that a session outlives its connection. The ttl of a lock is the time after
 * which the lock expires.
 */
import { costs } from '@holdfast/server/internal'
import { expect } from 'chai'
import { BrokerHarness, type Client, lockRequests } from './harness.js'

/** A broker with a client that holds this many locks, and two clients without locks. */
function brokerWithLocks(
  locks: number,
  options = {},
): { harness: BrokerHarness; busy: Client; other: Client } {
  const harness = new BrokerHarness(options)
  const hello = { lease: 60_000 }
  const holder = harness.openSession(hello)
  holder.lockMany(locks, (i) => ({ key: `held/${i}` }))
  // Lets the work budgets recover, because the requests exceeded them. With a low `workPerSecond`,
  // also lets the broker handle the requests that still wait.
  harness.environment.advance(5_000)
  holder.takeMessages()
  expect(harness.broker.table.heldCount).to.equal(locks)
  return { harness, busy: harness.openSession(hello), other: harness.openSession(hello) }
}

/** Queries with the ids from 1. Each query lists at most one lock, but counts all that match. */
const queries = (length: number, fields = {}): object[] =>
  Array.from({ length }, (_, i) => ({ type: 'query', id: i + 1, limit: 1, ...fields }))

/** A limit that a client of these tests exceeds, so the broker pauses the client for seconds. */
const lowWorkLimit = { workPerSecond: 10_000 }

/** Frames that each cause much work. */
const expensiveFrames: Record<string, object[]> = {
  'queries of everything': queries(300),
  'queries that find nothing': queries(300, { prefix: 'nothing/' }),
  watches: Array.from({ length: 300 }, (_, i) => ({ type: 'watch', id: i + 1, prefix: 'held/' })),
  'requests for locks': lockRequests(1_500, (i) => ({ key: `more/${i}` })),
  'requests for a held lock': lockRequests(1_500, () => ({ key: 'held/1', timeout: 0 })),
  'invalid requests': lockRequests(1_500, () => ({ key: 7 })),
}

describe('pacing', function () {
  this.timeout(60_000)

  for (const [name, messages] of Object.entries(expensiveFrames)) {
    it(`serves other clients while it handles a frame of ${name}`, () => {
      const { harness, busy, other } = brokerWithLocks(5_000)
      busy.socket.say(...messages)
      other.socket.say({ type: 'lock', id: 1, key: 'free' })
      // The frame of the busy client needs many more turns.
      expect(harness.turnsUntilAnswer(other, 1)).to.be.below(5)
      harness.environment.endTurn()
    })

    it(`answers a frame of ${name} and the frame after it in order`, () => {
      const { harness, busy } = brokerWithLocks(5_000)
      busy.socket.say(...messages)
      busy.socket.say({ type: 'stats', id: 5_000 })
      harness.environment.endTurn()
      const answeredIds = busy.takeMessages().flatMap((message) => {
        const isPart = 'more' in message && message.more
        return 'id' in message && !isPart ? [message.id] : []
      })
      const requestIds = messages.map((message) => (message as { id: number }).id)
      expect(answeredIds).to.deep.equal([...requestIds, 5_000])
      expect(busy.socket.isPausedByBroker).to.equal(false)
    })
  }

  it('gives paused connections equal shares', () => {
    const { harness, busy, other } = brokerWithLocks(5_000)
    const third = harness.openSession({ lease: 60_000 })
    for (const client of [busy, other, third]) client.socket.say(...queries(200))
    const answered = (client: Client): number => client.socket.takeMessagesOfType('found').length
    const counts = [0, 0, 0]
    for (let turns = 0; turns < 100; turns++) {
      harness.environment.endOneTurn()
      ;[busy, other, third].forEach((client, i) => {
        counts[i]! += answered(client)
      })
    }
    expect(Math.min(...counts)).to.be.above(0)
    // The counts differ by less than a tenth of the 200 queries of a client.
    expect(Math.max(...counts) - Math.min(...counts)).to.be.below(20)
    harness.environment.endTurn()
  })

  it('pauses a connection whose control frames have used up its share of a turn', () => {
    const { harness, busy, other } = brokerWithLocks(500)
    busy.socket.sayControlFrames(10)
    expect(busy.socket.isPausedByBroker).to.equal(false)
    busy.socket.sayControlFrames(1_000)
    expect(busy.socket.isPausedByBroker).to.equal(true)
    busy.socket.say({ type: 'stats', id: 1 })
    other.socket.say({ type: 'lock', id: 1, key: 'free' })
    // The other client has its answer within two turns, in which the busy client stays paused.
    expect(harness.turnsUntilAnswer(other, 1)).to.be.below(3)
    expect(busy.socket.isPausedByBroker).to.equal(true)
    expect(harness.turnsUntilAnswer(busy, 1)).to.be.above(1)
    expect(busy.socket.isPausedByBroker).to.equal(false)
  })

  it('pauses a hundred clients that flood control frames, and answers another client soon', () => {
    const { harness, other } = brokerWithLocks(500)
    const floodingClients = harness.openSessions(100, { lease: 60_000 })
    for (const { socket } of floodingClients) socket.sayControlFrames(10_000)
    for (const { socket } of floodingClients) expect(socket.isPausedByBroker).to.equal(true)
    other.socket.say({ type: 'lock', id: 1, key: 'free' })
    expect(harness.turnsUntilAnswer(other, 1)).to.be.below(3)
    for (const { socket } of floodingClients) socket.drop()
    harness.environment.endTurn()
  })

  it('counts control frames against the limit workPerSecond', () => {
    const { harness, busy } = brokerWithLocks(500, { limits: lowWorkLimit })
    // Refills the budget, from which the hello took units.
    harness.environment.advance(2_000)
    let frames = 0
    for (; frames < 10_000 && !busy.socket.isPausedByBroker; frames += 10) {
      busy.socket.sayControlFrames(10)
      harness.environment.endTurn()
    }
    // Before the pause, the broker does the work that the limit allows in a second. The pause then
    // lasts at most a second.
    expect(frames * costs.controlFrame).to.be.within(9_000, 10_100)
    harness.environment.advance(1_000)
    expect(busy.socket.isPausedByBroker).to.equal(false)
  })

  it('pauses the socket of a connection until the broker has handled its messages', () => {
    const { harness, busy } = brokerWithLocks(5_000)
    busy.socket.say(...queries(100))
    expect(busy.socket.isPausedByBroker).to.equal(true)
    harness.environment.endTurn()
    expect(busy.socket.isPausedByBroker).to.equal(false)
    expect(busy.socket.takeMessagesOfType('found')).to.have.length(100)
  })

  it('acknowledges only handled messages, with their time of arrival', () => {
    const { harness, busy } = brokerWithLocks(5_000)
    busy.takeMessages()
    const sentAt = harness.environment.clock.monotonic()
    busy.socket.say(...queries(300), { type: 'pong', n: 1 })
    harness.environment.endOneTurn()
    harness.environment.advanceWithoutTimers(50)
    expect(busy.socket.takeMessagesOfType('ack')).to.deep.equal([])
    harness.environment.endTurn()
    // The ack counts the hello, 300 queries and the pong.
    const ack = { type: 'ack', n: 302, at: sentAt }
    expect(busy.socket.takeMessagesOfType('ack')).to.deep.equal([ack])
  })

  it('does not end a silent session while its socket is paused', () => {
    const { harness } = brokerWithLocks(5_000, { limits: lowWorkLimit })
    const slow = harness.openSession({ lease: 2_000 })
    slow.socket.say(...queries(500))
    harness.environment.advance(5_000)
    expect(slow.socket.isPausedByBroker).to.equal(true)
    expect(slow.socket.closedWith).to.equal(undefined)
    harness.environment.advance(20_000)
    expect(slow.socket.takeMessagesOfType('found')).to.have.length(500)
    expect(slow.socket.closedWith?.code, 'silent for a lease after the pause').to.equal(4410)
  })

  it('gives a client time to send a message after the pause of its socket', () => {
    const { harness } = brokerWithLocks(5_000, { limits: lowWorkLimit })
    const slow = harness.openSession({ lease: 2_000 })
    slow.socket.say(...queries(100))
    while (slow.socket.isPausedByBroker) harness.environment.advance(1)
    // The last frame is older than the lease, but the pause does not count as silence.
    harness.environment.advance(600)
    expect(slow.socket.closedWith).to.equal(undefined)
    slow.socket.say({ type: 'pong', n: 1 })
    harness.environment.advance(1_000)
    expect(slow.socket.closedWith).to.equal(undefined)
    harness.environment.advance(2_000)
    expect(slow.socket.closedWith?.code).to.equal(4410)
  })

  it('ends no lock by its ttl while the refresh of the lock waits in a paused socket', () => {
    const { harness } = brokerWithLocks(5_000, { limits: lowWorkLimit })
    const slow = harness.openSession({ lease: 60_000 })
    const fence = slow.acquire('mine', { ttl: 1_000 })
    // `acquire` has used the id 1.
    slow.socket.say(...queries(100).map((query, i) => ({ ...query, id: 100 + i })))
    harness.environment.advance(1)
    expect(slow.socket.isPausedByBroker).to.equal(true)
    // The refresh stays unread, because the socket is paused.
    slow.socket.say({ type: 'refresh', id: 300, fence })
    for (let ms = 0; slow.socket.isPausedByBroker; ms++) {
      expect(ms, 'the pause ends').to.be.below(10_000)
      harness.environment.advance(1)
    }
    const heard = slow.takeMessages()
    expect(heard.filter(({ type }) => type === 'lost')).to.deep.equal([])
    expect(heard.filter(({ type }) => type === 'refreshed')).to.have.length(1)
  })

  it('spreads the work of a frame over several seconds if the work exceeds workPerSecond', () => {
    const { harness } = brokerWithLocks(5_000, { limits: lowWorkLimit })
    const slow = harness.openSession({ lease: 60_000 })
    // Each query costs about 320 units, so the limit allows about 31 queries a second. The broker
    // handles the first 31 at once.
    slow.socket.say(...queries(300))
    harness.environment.advance(1)
    expect(slow.socket.takeMessagesOfType('found').length).to.be.within(25, 35)
    harness.environment.advance(1_000)
    expect(slow.socket.takeMessagesOfType('found').length).to.be.within(25, 35)
    harness.environment.advance(10_000)
    expect(slow.socket.isPausedByBroker).to.equal(false)
  })

  it('handles all messages, such as a bye, that arrived before the connection closed', () => {
    const { harness } = brokerWithLocks(5_000)
    const leaving = harness.openSession({ lease: 60_000, grace: 'lease' })
    leaving.acquire('left')
    leaving.socket.say(...queries(100), { type: 'bye' })
    leaving.socket.drop()
    // After a close, a real socket passes on the frames that have arrived, even if the socket is
    // paused. The fake socket passes on these frames only after `resume`.
    leaving.socket.resume()
    expect(harness.broker.table.sessions.has(leaving.session)).to.equal(true)
    harness.environment.endTurn()
    expect(harness.broker.table.sessions.has(leaving.session)).to.equal(false)
    // The three connections of `brokerWithLocks` remain.
    expect(harness.broker.connections.size).to.equal(3)
  })

  it('handles the messages before an invalid frame, and then closes the connection', () => {
    const { harness, busy } = brokerWithLocks(5_000)
    busy.socket.say(...queries(100))
    // Resumes the socket, so that the invalid frame arrives while the queries before it wait.
    busy.socket.resume()
    busy.socket.say('{"type":')
    harness.environment.endTurn()
    expect(busy.socket.takeMessagesOfType('found')).to.have.length(100)
    expect(busy.socket.closedWith?.code).to.equal(4400)
  })

  it('drops the unhandled messages of a connection that the broker closes', () => {
    const { harness, busy } = brokerWithLocks(5_000)
    busy.socket.say(...queries(100))
    busy.socket.isClientReading = false
    for (const connection of [...harness.broker.connections]) harness.broker.dismiss(connection)
    expect(busy.socket.isPausedByBroker, 'the broker must read the close frame').to.equal(false)
    harness.environment.endTurn()
    expect(busy.socket.takeMessagesOfType('found').length).to.be.below(100)
  })
})
