/**
 * Tests a connection whose messages are more work than the broker does in one turn of its event
 * loop. The broker pauses such a connection and continues in a later turn. The broker handles all
 * messages in order, and acknowledges only handled messages. The lease is how long the broker keeps
 * a silent session; a fence is the number of a grant. A bystander is a well-behaved second client.
 */
import type { ServerMessage } from '@holdfast/shared'
import { expect } from 'chai'
import { quickOrFull } from '../support/counts.js'
import { framesOf, openHostileClient, startHostileStage } from './hostileStage.js'
import type { RawClient } from './raw.js'
import { Stage } from './stage.js'

/** The number of locks in the table. A query costs more work with more locks. */
const tableLocks = quickOrFull(4_000, 50_000)
/**
 * For the test with a lease of 2 s. The queries cost about 75,000 units of work, which take nearly
 * 4 s at this limit.
 */
const limitedWork = { locks: 2_000, queries: 600, unitsPerSecond: 20_000 }

/** Receives messages until `isLast` returns true, and returns all of them. */
async function receiveUntil(client: RawClient, isLast: (message: ServerMessage) => boolean) {
  const received: ServerMessage[] = []
  for (;;) {
    const message = await client.next()
    received.push(message)
    if (isLast(message)) return received
  }
}

/** Requests of different types, with ascending ids from 1. */
function mixedRequests(length: number): object[] {
  return Array.from({ length }, (_, i) => {
    const id = i + 1
    switch (i % 5) {
      case 0:
        return { type: 'query', id, limit: 1 }
      case 1:
        return { type: 'lock', id, key: `mine:${id}` }
      case 2:
        return { type: 'stats', id }
      case 3:
        // No lock has this fence, so the response is `failed`.
        return { type: 'unlock', id, fence: 1 }
      default:
        return { type: 'query', id, prefix: 'none:' }
    }
  })
}

/** The type of the response to each type of request in `mixedRequests`. */
const responseTypes: Readonly<Record<string, string>> = {
  query: 'found',
  lock: 'granted',
  stats: 'stats',
  unlock: 'failed',
}

describe('e2e: a paused connection', function () {
  this.timeout(quickOrFull(60_000, 300_000))
  const stage = Stage.forEachTest()

  it('gets its responses in order, and one response to each message', async () => {
    const { url } = await startHostileStage(stage, tableLocks)
    const client = await openHostileClient(stage, url)
    const messages = mixedRequests(quickOrFull(300, 3_000)) as { type: string; id: number }[]
    for (const frame of framesOf(messages)) client.send(...frame)
    const isLast = (message: ServerMessage) => 'id' in message && message.id === messages.length
    const received = await receiveUntil(client, isLast)
    const responses = received.flatMap((message) =>
      'id' in message ? [`${message.type} ${message.id}`] : [],
    )
    expect(responses).to.deep.equal(messages.map(({ type, id }) => `${responseTypes[type]} ${id}`))
  })

  it('gets its responses in order when further frames arrive during the pause', async () => {
    const { url, bystander } = await startHostileStage(stage, tableLocks)
    const client = await openHostileClient(stage, url)
    const queries = Array.from({ length: 150 }, (_, i) => ({ type: 'query', id: i + 1, limit: 1 }))
    client.send(...queries)
    await client.receive('found')
    const lockCount = 50
    for (let i = 0; i < lockCount; i++) {
      client.send({ type: 'lock', id: 1_000 + i, key: 'mine', steal: true })
      // The answers to the bystander let time pass between the frames.
      if (i % 10 === 0) await bystander.lockAndUnlock(1)
    }
    const lastId = 1_000 + lockCount - 1
    const isLast = (message: ServerMessage) => message.type === 'granted' && message.id === lastId
    const received = await receiveUntil(client, isLast)
    const ids = received.flatMap((message) => ('id' in message ? [message.id] : []))
    expect(ids).to.deep.equal([...ids].sort((a, b) => a - b))
    // The response to one query was received above.
    expect(ids).to.have.length(queries.length - 1 + lockCount)
    const fences = received.flatMap((message) =>
      message.type === 'granted' ? [message.fence] : [],
    )
    expect(fences).to.deep.equal([...fences].sort((a, b) => a - b))
  })

  it('gets acknowledgements only of handled messages, after the responses to them', async () => {
    const { url } = await startHostileStage(stage, tableLocks)
    const client = await openHostileClient(stage, url)
    // The hello was message 1 of the connection. The id of each query is its message number.
    const messages = Array.from({ length: quickOrFull(360, 1_200) }, (_, i) => {
      const id = i + 2
      // Of every six messages, the last two have no response.
      if (i % 6 === 5) return { type: 'ack', ids: [] }
      if (i % 6 === 4) return { type: 'pong', n: 1 }
      return { type: 'query', id, limit: 1 }
    })
    for (const frame of framesOf(messages, 600)) client.send(...frame)
    const lastNumber = messages.length + 1
    const received = await receiveUntil(
      client,
      (message) => message.type === 'ack' && message.n === lastNumber,
    )
    let lastAnswered = 1
    for (const message of received) {
      if (message.type === 'found') lastAnswered = message.id
      else if (message.type === 'ack') {
        // Up to two messages without a response follow the query that was answered last.
        expect(message.n, `acknowledged after the response to ${lastAnswered}`).to.be.at.most(
          lastAnswered + 2,
        )
        expect(message.n).to.be.at.least(lastAnswered)
      }
    }
  })

  it('keeps its session while its messages wait longer than its lease', async () => {
    // With this limit the queries take longer than the lease, and the broker reads no pongs
    // meanwhile.
    const flags = ['--limit', `workPerSecond=${limitedWork.unitsPerSecond}`]
    const { url, bystander } = await startHostileStage(stage, limitedWork.locks, ...flags)
    const client = await openHostileClient(stage, url, { lease: 2_000 })
    client.send({ type: 'lock', id: 1, key: 'mine' })
    const { fence } = await client.receive('granted')
    const queries = Array.from({ length: limitedWork.queries }, (_, i) => ({
      type: 'query',
      id: i + 2,
      limit: 1,
    }))
    client.send(...queries)
    // Also answers the pings of the broker.
    const receiving = receiveUntil(client, (message) => {
      if (message.type === 'ping') client.send({ type: 'pong', n: message.n })
      return message.type === 'found' && message.id === queries.at(-1)!.id
    })
    await bystander.lockAndUnlock(5)
    const received = await receiving
    expect(received.map(({ type }) => type)).not.to.include('lost')
    client.send({ type: 'unlock', id: 2_000, fence })
    await client.receive('unlocked')
  })

  it('frees its locks when it drops while it is paused', async () => {
    const { url, bystander } = await startHostileStage(stage, tableLocks)
    const client = await openHostileClient(stage, url)
    client.send({ type: 'lock', id: 1, key: 'mine' })
    await client.receive('granted')
    const waiting = bystander.session.lock('mine')
    // These queries are more work than a turn allows, but fit into one frame.
    client.send(
      ...Array.from({ length: 1_700 }, (_, i) => ({ type: 'query', id: i + 2, limit: 1 })),
    )
    await client.receive('found')
    client.drop()
    await (await waiting).unlock()
    await bystander.expectUnharmed()
  })
})
