/**
 * Tests queries that list the calls at barriers, or the kept results of `once`. A barrier ends, and
 * its calls pass, when enough calls (the parties) have arrived. `once` lets one caller of a key do
 * the work for all callers, and may keep the result for later callers. The tests check permissions
 * and limits. In some tests the client reads slowly, so barriers begin and end between two parts of
 * its answer.
 */
import type { Found } from '@holdfast/shared'
import { expect } from 'chai'
import { BrokerHarness, type Client } from './harness.js'

/** Discards earlier messages, sends a query, and returns the parts of its answer that arrived. */
function ask(client: Client, query: object): Found[] {
  client.takeMessages()
  client.say({ type: 'query', id: 1, ...query })
  return client.socket.takeMessagesOfType('found')
}

/**
 * Makes one call at each of `count` barriers, which need two calls. The keys are `<prefix>0`,
 * `<prefix>1` and so on.
 */
function arriveAt(client: Client, prefix: string, count: number, firstId = 1): void {
  for (let i = 0; i < count; i++) {
    client.say({ type: 'barrier', id: firstId + i, key: `${prefix}${i}`, parties: 2 })
  }
}

/** Calls `once` for a key, and keeps the result for `keep` ms. Uses the ids `id` and `id + 1`. */
function keepResult(client: Client, id: number, key: string, value: unknown, keep: number): void {
  client.say({ type: 'once', id, key })
  const { fence } = client.socket
    .takeMessagesOfType('granted')
    .find((granted) => granted.id === id)!
  client.say({ type: 'complete', id: id + 1, fence, value, keep })
}

const keysOf = (parts: readonly Found[]) =>
  parts.flatMap(({ arrived = [], kept = [] }) => [...arrived, ...kept]).map(({ key }) => key)

describe('a query for barriers or kept results', () => {
  it('shows and counts only the keys that the client may query', () => {
    const harness = new BrokerHarness({
      authorize: (_principal, operation, key) => operation !== 'query' || key.startsWith('mine'),
    })
    const client = harness.openSession()
    arriveAt(client, 'mine', 1, 1)
    arriveAt(client, 'theirs', 1, 2)
    keepResult(client, 3, 'mine', 1, 1_000)
    keepResult(client, 5, 'theirs', 1, 1_000)
    for (const kind of ['barriers', 'results']) {
      const [found] = ask(client, { kind })
      expect([keysOf([found!]), found!.arrivedCount ?? found!.keptCount]).to.deep.equal([
        [kind === 'barriers' ? 'mine0' : 'mine'],
        1,
      ])
      client.takeMessages()
      client.say({ type: 'query', id: 9, kind, key: 'theirs' })
      expect(client.socket.takeMessagesOfType('failed')[0]).to.include({ id: 9, code: 'FORBIDDEN' })
    }
  })

  it('lists at most `limit` items and counts all', () => {
    const client = new BrokerHarness().openSession()
    arriveAt(client, 'b', 5)
    for (let i = 0; i < 3; i++) keepResult(client, 10 + 2 * i, `r${i}`, i, 1_000)
    const [barriers] = ask(client, { kind: 'barriers', limit: 2 })
    expect([keysOf([barriers!]), barriers!.arrivedCount]).to.deep.equal([['b0', 'b1'], 5])
    const [results] = ask(client, { kind: 'results', limit: 2 })
    expect([keysOf([results!]), results!.keptCount]).to.deep.equal([['r0', 'r1'], 3])
    expect(keysOf(ask(client, { kind: 'results', prefix: 'r2' }))).to.deep.equal(['r2'])
  })

  it('encodes only the calls that the answer lists, even of a large barrier', () => {
    const harness = new BrokerHarness()
    const client = harness.openSession()
    for (let id = 1; id <= 900; id++) client.say({ type: 'barrier', id, key: 'b', parties: 1_000 })
    const [call] = harness.broker.table.barriers.get('b')!.calls
    // All calls have one session, whose name the broker reads once for each call that it encodes.
    let encodedCalls = 0
    Object.defineProperty(call!.session, 'name', {
      get: () => {
        encodedCalls++
        return 'caller'
      },
    })
    const [found] = ask(client, { kind: 'barriers', key: 'b', limit: 3 })
    expect([found!.arrived!.length, found!.arrivedCount, encodedCalls]).to.deep.equal([3, 900, 3])
  })

  it('encodes the calls of a large barrier only as far as the client reads', () => {
    const harness = new BrokerHarness()
    const [caller, other, reader] = [
      harness.openSession(),
      harness.openSession(),
      harness.openSession(),
    ]
    const key = 'b'.repeat(500)
    for (let id = 1; id <= 900; id++) caller.say({ type: 'barrier', id, key, parties: 901 })
    let encodedCalls = 0
    const [call] = harness.broker.table.barriers.get(key)!.calls
    Object.defineProperty(call!.session, 'name', { get: () => void encodedCalls++ })
    reader.takeMessages()
    reader.socket.isClientReading = false
    ask(reader, { kind: 'barriers', key })
    // The socket has room for only a part of the 900 calls.
    expect(encodedCalls).to.be.within(1, 200)
    // The barrier ends. The answer has begun to list its calls, so it still lists all of them.
    other.say({ type: 'barrier', id: 1, key, parties: 901 })
    reader.socket.isClientReading = true
    reader.socket.letClientRead()
    // Lets the broker send the rest of the answer.
    harness.environment.advance(0)
    expect(reader.socket.takeMessagesOfType('found').at(-1)).to.include({
      arrivedCount: 900,
      more: false,
    })
    expect(encodedCalls).to.equal(900)
  })

  it('shows how long a result is still kept, and lists no result whose time is over', () => {
    const harness = new BrokerHarness()
    const client = harness.openSession({ lease: 300_000 })
    keepResult(client, 1, 'r', { a: 1 }, 1_000)
    harness.environment.advance(400)
    const [found] = ask(client, { kind: 'results', key: 'r' })
    expect(found!.kept![0]).to.include({ size: '{"a":1}'.length, keep: 1_000, remaining: 600 })
    harness.environment.advance(600)
    expect(ask(client, { kind: 'results' })[0]).to.deep.include({ kept: [], keptCount: 0 })
  })

  it('pauses a long answer while the client does not read, and omits barriers that begin or end meanwhile', () => {
    const harness = new BrokerHarness()
    const [first, second, reader] = [
      harness.openSession(),
      harness.openSession(),
      harness.openSession(),
    ]
    arriveAt(first, 'b', 600)
    // The socket of the reader has no room.
    reader.socket.bufferedBytes = 1024 * 1024
    expect(ask(reader, { kind: 'barriers' })).to.deep.equal([])
    // The answer has listed no barrier yet. The second call at each of 300 barriers ends these
    // barriers. Five barriers are new.
    arriveAt(second, 'b', 300)
    arriveAt(second, 'new', 5, 1_000)
    reader.socket.letClientRead()
    harness.environment.advance(0)
    const parts = reader.socket.takeMessagesOfType('found')
    expect(parts.length).to.be.greaterThan(1)
    expect(parts.at(-1)!.more).to.equal(false)
    const keys = keysOf(parts)
    expect(new Set(keys).size).to.equal(keys.length)
    // The answer has no barrier that began after the query.
    expect(keys).to.deep.equal(Array.from({ length: 300 }, (_, i) => `b${300 + i}`))
  })
})
