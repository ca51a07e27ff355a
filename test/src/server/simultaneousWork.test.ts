/**
 * Tests work of a single moment: many sessions or locks end at the same time, or many sessions
 * resume at the same time. The broker divides this work among several turns of the event loop, and
 * meanwhile serves other clients. The lease is the time that the broker keeps a session without a
 * message of its client. The grace is the time that a session outlives its connection. The ttl of a
 * lock is the time after which the lock expires.
 */
import { expect } from 'chai'
import { quickOrFull } from '../support/counts.js'
import { BrokerHarness, lockRequests } from './harness.js'

describe('work that many sessions or locks cause at the same time', function () {
  this.timeout(60_000)

  it('serves other clients while sessions with many locks end', () => {
    const harness = new BrokerHarness()
    const crowd = harness.openSessions(20, { lease: 60_000 })
    for (const [n, client] of crowd.entries()) {
      client.say(...lockRequests(1_000, (i) => ({ key: `${n}/${i}` })))
    }
    const other = harness.openSession({ lease: 60_000 })
    for (const client of crowd) client.socket.drop()
    other.socket.say({ type: 'lock', id: 1, key: 'free' })
    expect(harness.turnsUntilAnswer(other, 1)).to.be.below(5)
    // Most of the 20,000 locks of the crowd have not ended yet.
    expect(harness.broker.table.heldCount).to.be.above(10_000)
    harness.environment.endTurn()
    // The last lock is that of `other`.
    expect(harness.broker.table.heldCount).to.equal(1)
  })

  it('serves other clients while thousands of locks expire together', () => {
    const harness = new BrokerHarness()
    const holder = harness.openSession({ lease: 60_000 })
    holder.say(...lockRequests(3_000, (i) => ({ key: `${i}`, ttl: 500 })))
    const other = harness.openSession({ lease: 60_000 })
    harness.environment.advanceWithoutTimers(600)
    harness.environment.fireTimers()
    other.socket.say({ type: 'lock', id: 1, key: 'free' })
    expect(harness.turnsUntilAnswer(other, 1)).to.be.below(5)
    // Many of the 3,000 locks have not expired yet when the other client has its answer.
    expect(harness.broker.table.heldCount).to.be.above(1_000)
    harness.environment.advance(1_000)
    expect(harness.broker.table.heldCount).to.equal(1)
  })

  it('ends only a few sessions with thousands of locks in the turn of their byes', () => {
    const harness = new BrokerHarness()
    const leaving = harness.openSessions(10, { lease: 60_000 })
    for (const [n, client] of leaving.entries())
      client.lockMany(10_000, (i) => ({ key: `${n}/${i}` }))
    for (const client of leaving) client.socket.say({ type: 'bye' })
    // Fewer than two of the ten sessions, with 10,000 locks each, have ended.
    expect(harness.broker.table.heldCount).to.be.above(80_000)
    harness.environment.endTurn()
    expect(harness.broker.table.heldCount).to.equal(0)
  })

  it('ends only a few sessions in one turn when many leases end together', () => {
    const harness = new BrokerHarness()
    const leaving = harness.openSessions(10, { lease: 2_000 })
    for (const [n, client] of leaving.entries())
      client.lockMany(5_000, (i) => ({ key: `${n}/${i}` }))
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
    const clients = harness.openSessions(20, hello)
    // This number of locks is below the limit of unacknowledged answers.
    for (const [n, client] of clients.entries())
      client.lockMany(1_000, (i) => ({ key: `${n}/${i}` }))
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

  it('drops no client that reads, even if thousands of watched events happen in one turn', () => {
    const harness = new BrokerHarness()
    const watching = harness.openSessions(100, { lease: 60_000 })
    const leaving = harness.openSession({ lease: 60_000 })
    const eventCount = quickOrFull(3_000, 10_000)
    leaving.lockMany(eventCount, (i) => ({ key: `held/${i}` }))
    for (const client of watching) client.say({ type: 'watch', id: 1, prefix: '' })
    for (const client of watching) client.takeMessages()
    leaving.say({ type: 'bye' })
    for (const { socket } of watching) {
      expect(socket.closedWith).to.equal(undefined)
      expect(socket.takeMessagesOfType('event')).to.have.length(eventCount)
    }
  })
})
