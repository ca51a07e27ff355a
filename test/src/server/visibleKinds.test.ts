/**
 * Tests what queries, watches and the statistics (`stats`) show of scopes, upgrades and refused
 * deadlocks. A scope is one logical task of a session. An upgrade makes a shared lock exclusive.
 */
import type { Found, QueueEvent } from '@holdfast/shared'
import { expect } from 'chai'
import { BrokerHarness, type Client } from './harness.js'

/**
 * Makes a deadlock: scope 1 of `ann` and scope 2 of `bob` each hold one key and request the other
 * key. The broker refuses the second request, which is from `bob`. Returns both clients.
 */
function makeRefusedDeadlock(harness: BrokerHarness, keys: readonly [string, string]): Client[] {
  const clients = [harness.openSession({ name: 'ann' }), harness.openSession({ name: 'bob' })]
  for (const [i, client] of clients.entries()) client.acquire(keys[i]!, { scope: i + 1 })
  clients[0]!.lock(keys[1], { scope: 1 })
  clients[1]!.lock(keys[0], { scope: 2 })
  expect(clients[1]!.socket.takeMessagesOfType('failed')[0]).to.include({ code: 'DEADLOCK' })
  return clients
}

/** Sends a query with these fields, and returns the first part of the answer. */
function query(client: Client, fields: object): Found {
  // Drops the messages that the client has not read, such as later parts of an earlier answer.
  client.takeMessages()
  client.say({ type: 'query', id: 1, ...fields })
  return client.socket.takeMessagesOfType('found')[0]!
}

describe('queries and watches', () => {
  it('show the scope of a lock and of a waiting request', () => {
    const harness = new BrokerHarness()
    makeRefusedDeadlock(harness, ['a', 'b'])
    const reader = harness.openSession()
    const { held, waiting } = query(reader, {})
    expect(held.map(({ key, scope }) => [key, scope])).to.deep.equal([
      ['a', 1],
      ['b', 2],
    ])
    expect(waiting.map(({ key, scope }) => [key, scope])).to.deep.equal([['b', 1]])
    // A program that embeds the broker calls `find` instead of a query.
    expect(harness.broker.find({}, 10).waiting[0]!.extras!.scope!.number).to.equal(1)
  })

  it('list a waiting upgrade before the requests that wait for its key, and count the upgrade', () => {
    const harness = new BrokerHarness()
    const [upgrader, other, writer, reader] = [1, 2, 3, 4].map(() => harness.openSession())
    const fence = upgrader!.acquire('k', { mode: 'shared' })
    const fenceOfOther = other!.acquire('k', { mode: 'shared' })
    writer!.lock('k')
    // The id identifies the upgrade in the events of the queue.
    upgrader!.say({ type: 'upgrade', id: 900, fence })
    // Queries of all keys, of one key, and of the first page of all keys.
    for (const fields of [{}, { key: 'k' }, { after: '' }]) {
      const { waiting, waitingCount } = query(reader!, fields)
      expect(waitingCount, JSON.stringify(fields)).to.equal(2)
      const [first, queued] = waiting
      expect(first).to.include({ key: 'k', mode: 'exclusive', upgrade: true })
      expect(queued).not.to.have.property('upgrade')
    }
    reader!.say({ type: 'watch', id: 2, queue: true })
    const [watching] = reader!.socket.takeMessagesOfType('watching')
    expect(watching!.waiting![0]).to.include({ upgrade: true, request: 900 })
    expect(watching!.waitingCount).to.equal(2)
    other!.unlock(fenceOfOther)
    const [dequeued] = reader!.socket
      .takeMessagesOfType('event')
      .map(({ event }) => event)
      .filter((event): event is QueueEvent => event.event === 'dequeued')
    expect(dequeued).to.include({ request: 900, upgrade: true, reason: 'granted' })
  })
})

describe('the statistics of refused deadlocks', () => {
  it('contain the cycle of the newest refused deadlock, and its time', () => {
    const harness = new BrokerHarness()
    const [ann, bob] = makeRefusedDeadlock(harness, ['a', 'b'])
    const { refusedDeadlocks, newestDeadlock } = harness.broker.stats()
    expect(refusedDeadlocks).to.equal(1)
    // `since` is the time of the refusal.
    expect(newestDeadlock!.since).to.equal(harness.environment.clock.wall())
    const [refusedRequest, waitingRequest] = newestDeadlock!.cycle
    expect(refusedRequest).to.include({ key: 'a', session: bob!.session, name: 'bob', scope: 2 })
    expect(waitingRequest).to.include({ key: 'b', name: 'ann', scope: 1 })
    makeRefusedDeadlock(harness, ['c', 'd'])
    expect(harness.broker.stats()).to.include({ refusedDeadlocks: 2 })
    expect(harness.broker.stats().newestDeadlock!.cycle[0]!.key).to.equal('c')
    // The request of `ann` came first in its deadlock, so it still waits.
    expect(ann!.socket.takeMessagesOfType('failed')).to.deep.equal([])
  })

  it('contain the newest 20 refused deadlocks, the newest first, with their times', () => {
    const harness = new BrokerHarness()
    const { clock } = harness.environment
    const times: number[] = []
    for (let i = 0; i < 25; i++) {
      makeRefusedDeadlock(harness, [`a${i}`, `b${i}`])
      times.unshift(clock.wall())
      harness.environment.advance(10)
    }
    const { refusedDeadlocks, newestDeadlock, deadlocks } = harness.broker.stats()
    expect(refusedDeadlocks).to.equal(25)
    expect(deadlocks![0]).to.deep.equal(newestDeadlock)
    const shown = deadlocks!.map(({ since, cycle }) => [since, cycle[0]!.key])
    expect(shown).to.deep.equal(times.slice(0, 20).map((at, i) => [at, `a${24 - i}`]))
  })

  it('keep at most 32 KiB of refused deadlocks, and count these bytes as memory', () => {
    const harness = new BrokerHarness()
    /** While no connection is open, the memory of the refused deadlocks and a fixed part. */
    const memoryOutsideTable = () => {
      const { memory, table } = harness.broker
      return memory.usedBytes - table.bytes - table.keys.idleBytes
    }
    const refuse = (i: number): void => {
      const keys = ['a', 'b'].map((end) => `${i}${end}`.padEnd(500, '.')) as [string, string]
      for (const client of makeRefusedDeadlock(harness, keys)) {
        client.say({ type: 'bye' })
        client.socket.drop()
      }
    }
    const bytesBefore = memoryOutsideTable()
    refuse(0)
    const bytesOfOne = memoryOutsideTable() - bytesBefore
    // The cycle has two keys of 500 characters, and each character counts as two bytes.
    expect(bytesOfOne).to.be.within(2 * 2 * 500, 4_000)
    for (let i = 1; i < 40; i++) refuse(i)
    const { length: deadlockCount } = harness.broker.stats().deadlocks!
    // 32 KiB have room for 8 to 16 deadlocks of 2,000 to 4,000 bytes.
    expect(deadlockCount).to.be.within(8, 16)
    expect(memoryOutsideTable() - bytesBefore).to.be.within(deadlockCount * 2_000, 32 * 1024)
    const newest = harness.broker.stats().newestDeadlock!
    expect(newest.cycle[0]!.key).to.match(/^39a/)
  })

  it('hide each key that the client may not query, and the name of the session that requests this key', () => {
    let visible = new Set(['a'])
    const harness = new BrokerHarness({
      authorize: (_principal, operation, key) => operation !== 'query' || visible.has(key),
    })
    makeRefusedDeadlock(harness, ['a', 'b'])
    const reader = harness.openSession()
    const readStats = () => {
      reader.say({ type: 'stats', id: 1 })
      return reader.socket.takeMessagesOfType('stats').at(-1)!.stats
    }
    const [refusedRequest, waitingRequest] = readStats().newestDeadlock!.cycle
    expect(refusedRequest).to.include({ key: 'a', name: 'bob' })
    // Without `key` and `name`.
    expect(waitingRequest).to.have.all.keys('session', 'scope')
    // The client may query neither key of this deadlock, so the deadlock itself is hidden.
    makeRefusedDeadlock(harness, ['c', 'd'])
    const stats = readStats()
    expect(stats).to.include({ refusedDeadlocks: 2 }).and.not.have.property('newestDeadlock')
    expect(stats.deadlocks!.map(({ cycle }) => cycle)).to.deep.equal([
      [refusedRequest, waitingRequest],
    ])
    visible = new Set()
    expect(readStats()).to.deep.include({ refusedDeadlocks: 2, deadlocks: [] })
  })
})
