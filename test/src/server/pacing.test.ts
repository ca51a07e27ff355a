/**
 * Tests pacing: the broker counts the work that each client causes, in units of work. If a client
 * exceeds its share of a turn of the event loop, the broker pauses the client. The broker then
 * reads the client's socket again in a later turn. No message of a paused client is lost or changes
 * its order. The lease is the time that the broker keeps a session without a message of its client.
 * A fence is the number of a grant. The grace is the time that a session outlives its connection.
 * The ttl of a lock is the time after which the lock expires.
 */
import { costs } from '@holdfast/server/internal'
import { expect } from 'chai'
import { quickOrFull } from '../support/counts.js'
import { BrokerHarness, type Client } from './harness.js'

/** A broker with a client that holds this many locks, and two clients without locks. */
function brokerWithLocks(
  locks: number,
  options = {},
): { harness: BrokerHarness; busy: Client; other: Client } {
  const harness = new BrokerHarness(options)
  const hello = { lease: 60_000 }
  const holder = harness.openSession(hello)
  acquireMany(holder, 'held/', locks)
  // The requests exceeded the budgets of their turns, which reduces later budgets for a while.
  harness.environment.advance(5_000)
  holder.takeMessages()
  return { harness, busy: harness.openSession(hello), other: harness.openSession(hello) }
}

/** Runs turns until the client has got the answer with this id. @returns the number of turns */
function turnsUntil({ environment }: BrokerHarness, client: Client, id: number): number {
  for (let turns = 1; turns < 10_000; turns++) {
    environment.endOneTurn()
    const heard = client.takeMessages()
    if (heard.some((message) => 'id' in message && message.id === id)) return turns
  }
  throw new Error(`The broker has not answered the request ${id} within 10,000 turns`)
}

/** Queries with the ids from 1. Each query lists at most one lock. */
const queries = (length: number, fields = {}): object[] =>
  Array.from({ length }, (_, i) => ({ type: 'query', id: i + 1, limit: 1, ...fields }))

/** Lock requests with the ids from 1. `fieldsFor` gets the number of the request, from 0. */
function lockRequests(length: number, fieldsFor: (i: number) => object): object[] {
  return Array.from({ length }, (_, i) => ({ type: 'lock', id: i + 1, ...fieldsFor(i) }))
}

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

  it('charges the sender for the report of each forbidden request to the metrics and the logs', () => {
    const harness = new BrokerHarness({ authorize: () => false })
    const client = harness.openSession({ lease: 60_000 })
    const requests = Array.from({ length: 400 }, (_, i) => ({ type: 'lock', id: i + 1, key: 'k' }))
    client.socket.say(...requests)
    harness.environment.endOneTurn()
    // Without reports, a client gets about 250 answers in one turn.
    expect(client.takeMessages().length).to.be.within(20, 100)
    harness.environment.endTurn()
    expect(client.takeMessages().at(-1)).to.include({ id: 400, code: 'FORBIDDEN' })
  })

  for (const [name, messages] of Object.entries(expensiveFrames)) {
    it(`serves other clients while it handles a frame of ${name}`, () => {
      const { harness, busy, other } = brokerWithLocks(5_000)
      busy.socket.say(...messages)
      other.socket.say({ type: 'lock', id: 1, key: 'free' })
      // The frame of the busy client needs many more turns.
      expect(turnsUntil(harness, other, 1)).to.be.below(5)
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
    expect(turnsUntil(harness, other, 1)).to.be.below(3)
    expect(busy.socket.isPausedByBroker).to.equal(true)
    expect(turnsUntil(harness, busy, 1)).to.be.above(1)
    expect(busy.socket.isPausedByBroker).to.equal(false)
  })

  it('pauses a hundred clients that flood control frames, and answers another client soon', () => {
    const { harness, other } = brokerWithLocks(500)
    const floodingClients = hundredClients(harness)
    for (const { socket } of floodingClients) socket.sayControlFrames(10_000)
    for (const { socket } of floodingClients) expect(socket.isPausedByBroker).to.equal(true)
    other.socket.say({ type: 'lock', id: 1, key: 'free' })
    expect(turnsUntil(harness, other, 1)).to.be.below(3)
    for (const { socket } of floodingClients) socket.drop()
    harness.environment.endTurn()
  })

  it('counts control frames against the limit workPerSecond', () => {
    const { harness, busy } = brokerWithLocks(500, { limits: lowWorkLimit })
    harness.environment.advance(2_000)
    let frames = 0
    for (; frames < 10_000 && !busy.socket.isPausedByBroker; frames += 10) {
      busy.socket.sayControlFrames(10)
      harness.environment.endTurn()
    }
    // Without a pause, the broker does as much work as the limit allows in a second. Then the
    // connection is paused for at most a second.
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
    // Each query costs about 320 units, so the limit allows about 31 queries a second.
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
    // When a connection has closed, a real socket passes on its frames even if the socket is
    // paused. The fake socket passes on its frames only when it resumes.
    leaving.socket.resume()
    expect(harness.broker.table.sessions.has(leaving.session)).to.equal(true)
    harness.environment.endTurn()
    expect(harness.broker.table.sessions.has(leaving.session)).to.equal(false)
    // The connections of the holder and of the two clients of `brokerWithLocks` remain.
    expect(harness.broker.connections.size).to.equal(3)
  })

  it('handles the messages before an invalid frame, and then closes the connection', () => {
    const { harness, busy } = brokerWithLocks(5_000)
    busy.socket.say(...queries(100))
    // Reads the socket again, so that the invalid frame arrives while the queries before it wait.
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

  it('serves other clients while sessions with many locks end', () => {
    const harness = new BrokerHarness()
    const crowd = Array.from({ length: 20 }, () => harness.openSession({ lease: 60_000 }))
    for (const [n, client] of crowd.entries()) {
      client.say(
        ...Array.from({ length: 1_000 }, (_, i) => ({ type: 'lock', id: i + 1, key: `${n}/${i}` })),
      )
    }
    const other = harness.openSession({ lease: 60_000 })
    for (const client of crowd) client.socket.drop()
    other.socket.say({ type: 'lock', id: 1, key: 'free' })
    expect(turnsUntil(harness, other, 1)).to.be.below(5)
    // Most of the 20,000 locks of the crowd have not ended yet.
    expect(harness.broker.table.heldCount).to.be.above(10_000)
    harness.environment.endTurn()
    // The last lock is that of `other`.
    expect(harness.broker.table.heldCount).to.equal(1)
  })

  it('serves other clients while thousands of locks expire together', () => {
    const harness = new BrokerHarness()
    const holder = harness.openSession({ lease: 60_000 })
    holder.say(
      ...Array.from({ length: 3_000 }, (_, i) => ({
        type: 'lock',
        id: i + 1,
        key: `${i}`,
        ttl: 500,
      })),
    )
    const other = harness.openSession({ lease: 60_000 })
    harness.environment.advanceWithoutTimers(600)
    harness.environment.fireTimers()
    other.socket.say({ type: 'lock', id: 1, key: 'free' })
    expect(turnsUntil(harness, other, 1)).to.be.below(5)
    // Many of the 3,000 locks have not expired yet when the other client has its answer.
    expect(harness.broker.table.heldCount).to.be.above(1_000)
    harness.environment.advance(1_000)
    expect(harness.broker.table.heldCount).to.equal(1)
  })
})

/** Connects a hundred clients. */
const hundredClients = (harness: BrokerHarness, hello = {}): Client[] =>
  Array.from({ length: 100 }, () => harness.openSession({ lease: 60_000, ...hello }))

/** Acquires `lockCount` locks for a client. */
function acquireMany(client: Client, prefix: string, lockCount: number, fields = {}): void {
  for (let i = 0; i < lockCount; i += 500) {
    const ids = Array.from({ length: 500 }, (_, j) => i + j + 1)
    client.say(...ids.map((id) => ({ type: 'lock', id, key: `${prefix}${id}`, ...fields })))
  }
  client.takeMessages()
}

describe('pacing of expensive messages', function () {
  this.timeout(60_000)

  it('ends only a few sessions with thousands of locks in the turn of their byes', () => {
    const harness = new BrokerHarness()
    const leaving = Array.from({ length: 10 }, () => harness.openSession({ lease: 60_000 }))
    for (const [n, client] of leaving.entries()) acquireMany(client, `${n}/`, 10_000)
    for (const client of leaving) client.socket.say({ type: 'bye' })
    // Fewer than two of the ten sessions, with 10,000 locks each, have ended.
    expect(harness.broker.table.heldCount).to.be.above(80_000)
    harness.environment.endTurn()
    expect(harness.broker.table.heldCount).to.equal(0)
  })

  it('ends only a few sessions in one turn when many leases end together', () => {
    const harness = new BrokerHarness()
    const leaving = Array.from({ length: 10 }, () => harness.openSession({ lease: 2_000 }))
    for (const [n, client] of leaving.entries()) acquireMany(client, `${n}/`, 5_000)
    let held = harness.broker.table.heldCount
    let mostReleased = 0
    for (let ms = 0; ms < 4_000; ms += 50) {
      harness.environment.advanceWithoutTimers(50)
      harness.environment.fireTimers()
      while (harness.environment.endOneTurn()) {
        mostReleased = Math.max(mostReleased, held - harness.broker.table.heldCount)
        held = harness.broker.table.heldCount
      }
    }
    expect(held).to.equal(0)
    // At most two sessions, of 5,000 locks each, end in one turn.
    expect(mostReleased).to.be.below(10_001)
  })

  it('resumes only a few sessions with thousands of locks in one turn', () => {
    const harness = new BrokerHarness()
    const hello = { lease: 60_000, grace: 60_000 }
    const clients = Array.from({ length: 20 }, () => harness.openSession(hello))
    // This number of locks is below the limit of unacknowledged answers.
    for (const [n, client] of clients.entries()) acquireMany(client, `${n}/`, 1_000)
    for (const client of clients) client.socket.drop()
    harness.environment.endTurn()
    const resumed = clients.map((client) => {
      const socket = harness.connect()
      socket.say({ type: 'hello', ...client.resumeHello(hello) })
      return socket
    })
    const openCount = (): number =>
      [...harness.broker.connections].filter(({ state }) => state === 'open').length
    // Some of the 20 sessions wait for a later turn.
    expect(openCount()).to.be.within(1, 15)
    harness.environment.endTurn()
    expect(openCount()).to.equal(20)
    for (const socket of resumed) expect(socket.takeMessagesOfType('welcome')).to.have.length(1)
  })

  it('charges the sender for a frame with an invalid message', () => {
    const harness = new BrokerHarness()
    const hostile = hundredClients(harness)
    // An ack may have 1,024 ids. The last of them is invalid, so the check reads all ids. The first
    // ack closes the connection. The others only make the frame expensive to parse.
    const ids = Array.from({ length: 1_023 }, (_, i) => i + 1)
    const invalid = Array.from({ length: 12 }, () => ({ type: 'ack', ids: [...ids, 'x'] }))
    for (const { socket } of hostile) socket.say(...invalid)
    const closed = hostile.filter(({ socket }) => socket.closedWith !== undefined)
    // Parsing and checking some frames uses up the turn, so most of the 100 frames wait.
    expect(closed.length).to.be.within(1, 20)
    harness.environment.endTurn()
    for (const { socket } of hostile) expect(socket.closedWith?.code).to.equal(4400)
  })

  it('charges the sender for each nested array of a frame', () => {
    const harness = new BrokerHarness()
    const hostile = hundredClients(harness)
    const deep = '['.repeat(30_000) + ']'.repeat(30_000)
    for (const { socket } of hostile) {
      socket.say(`[{"type":"lock","id":1,"key":"a","metadata":${deep}}]`)
    }
    // Nearly all of the 100 clients have used up their share of the turn.
    expect(hostile.filter(({ socket }) => !socket.isPausedByBroker).length).to.be.below(5)
    harness.environment.endTurn()
    for (const { socket } of hostile) expect(socket.takeMessagesOfType('failed')).to.have.length(1)
  })

  it('charges the sender for metadata, which the broker must serialize again', () => {
    const harness = new BrokerHarness()
    const hostile = hundredClients(harness)
    const metadata = Array.from({ length: 1_500 }, () => 1)
    const frame = lockRequests(20, () => ({ key: 'm', timeout: 0, metadata }))
    for (const { socket } of hostile) socket.say(...frame)
    const answeredCount = (): number =>
      hostile
        .flatMap(({ socket }) => socket.takeMessages())
        .filter(({ type }) => type === 'granted' || type === 'failed').length
    harness.environment.endOneTurn()
    // The first turn answers at most a tenth of the 2,000 requests.
    expect(answeredCount()).to.be.within(1, 200)
    harness.environment.endTurn()
    // Later turns answer the others.
    expect(answeredCount()).to.be.above(1_700)
  })

  it('charges the sender of a query for the holders that the requested page skips', () => {
    const harness = new BrokerHarness()
    // These locks have the fences 1 to 500, and the locks of `crowd` have 501 to 10,500.
    acquireMany(harness.openSession({ lease: 60_000 }), '', 500)
    const holder = harness.openSession({ lease: 60_000 })
    for (let i = 0; i < 10_000; i += 500) {
      holder.say(
        ...Array.from({ length: 500 }, (_, j) => ({
          type: 'lock',
          id: i + j + 1,
          key: 'crowd',
          mode: 'shared',
        })),
      )
    }
    const hostile = hundredClients(harness)
    for (const { socket } of hostile) {
      socket.say({
        type: 'query',
        id: 1,
        key: 'crowd',
        after: 'crowd',
        afterFence: 5_000,
        limit: 1,
      })
    }
    harness.environment.endOneTurn()
    const answered = hostile.filter(({ socket }) => socket.takeMessagesOfType('found').length > 0)
    // Each query skips thousands of holders, so a turn answers only some of the 100 queries.
    expect(answered.length).to.be.within(1, 30)
    harness.environment.endTurn()
  })

  it('charges the sender of a request for each connection that gets an event of the request', () => {
    const harness = new BrokerHarness()
    const watching = hundredClients(harness)
    for (const client of watching) client.say({ type: 'watch', id: 1, prefix: '' })
    const busy = harness.openSession({ lease: 60_000 })
    // The watches cost more than the budget of one turn. The excess reduces later budgets, so the
    // test lets several turns pass.
    for (let n = 1; n <= 3; n++) {
      busy.socket.say({ type: 'pong', n })
      harness.environment.endTurn()
    }
    const steal = { type: 'lock', key: 'churn', steal: true }
    busy.socket.say(...Array.from({ length: 200 }, (_, i) => ({ ...steal, id: i + 1 })))
    // Each steal has one grant, so the newest fence is the number of handled steals. The turn of
    // the frame handles only some of the 200 steals.
    expect(harness.broker.table.fence).to.be.within(10, 100)
    harness.environment.endTurn()
    expect(harness.broker.table.fence).to.equal(200)
  })

  it('drops no client that reads, even if thousands of watched events happen in one turn', () => {
    const harness = new BrokerHarness()
    const watching = hundredClients(harness)
    const leaving = harness.openSession({ lease: 60_000 })
    const eventCount = quickOrFull(3_000, 10_000)
    acquireMany(leaving, 'held/', eventCount)
    for (const client of watching) client.say({ type: 'watch', id: 1, prefix: '' })
    for (const client of watching) client.takeMessages()
    leaving.say({ type: 'bye' })
    for (const { socket } of watching) {
      expect(socket.closedWith).to.equal(undefined)
      expect(socket.takeMessagesOfType('event')).to.have.length(eventCount)
    }
  })
})
