/**
 * A connection whose messages are more work than the broker does in one turn. The broker handles
 * all messages in order, and acknowledges only handled messages.
 */
import type { ServerMessage } from '@holdfast/shared'
import { expect } from 'chai'
import { count } from '../support/counts.js'
import { framesOf, hostile, hostileStage } from './hostileStage.js'
import type { RawClient } from './raw.js'
import { Stage } from './stage.js'

const tableLocks = count(4_000, 50_000)
/** 600 queries of so many locks are some 75,000 units of work. */
const slowLocks = 2_000

/** Reads all messages until `last` returns true. */
async function hearAll(client: RawClient, last: (message: ServerMessage) => boolean) {
  const heard: ServerMessage[] = []
  for (;;) {
    const message = await client.next()
    heard.push(message)
    if (last(message)) return heard
  }
}

/** A mixture of requests. */
function mixture(length: number): object[] {
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
        return { type: 'unlock', id, fence: 1 }
      default:
        return { type: 'query', id, prefix: 'none:' }
    }
  })
}

const answers: Readonly<Record<string, string>> = {
  query: 'found',
  lock: 'granted',
  stats: 'stats',
  unlock: 'failed',
}

describe('e2e: a paused connection', function () {
  this.timeout(60_000)
  const stage = Stage.forEachTest()

  it('gets its answers in order, and every message is handled once', async () => {
    const { url } = await hostileStage(stage, tableLocks)
    const client = await hostile(stage, url)
    const messages = mixture(count(300, 3_000)) as { type: string; id: number }[]
    for (const frame of framesOf(messages)) client.send(...frame)
    const isLast = (message: ServerMessage) => 'id' in message && message.id === messages.length
    const heard = (await hearAll(client, isLast)).filter((message) => 'id' in message)
    const said = heard.map((message) => `${message.type} ${'id' in message ? message.id : ''}`)
    expect(said).to.deep.equal(messages.map(({ type, id }) => `${answers[type]} ${id}`))
  })

  it('keeps its order when frames arrive while it is paused', async () => {
    const { url, bystander } = await hostileStage(stage, tableLocks)
    const client = await hostile(stage, url)
    const queries = Array.from({ length: 150 }, (_, i) => ({ type: 'query', id: i + 1, limit: 1 }))
    client.send(...queries)
    await client.receive('found')
    for (let i = 0; i < 50; i++) {
      client.send({ type: 'lock', id: 1_000 + i, key: 'mine', steal: true })
      if (i % 10 === 0) await bystander.lockAndUnlock(1)
    }
    const isLast = (message: ServerMessage) => message.type === 'granted' && message.id === 1_049
    const heard = await hearAll(client, isLast)
    const ids = heard.flatMap((message) => ('id' in message ? [message.id] : []))
    expect(ids).to.deep.equal([...ids].sort((a, b) => a - b))
    expect(ids).to.have.length(queries.length - 1 + 50)
    const fences = heard.flatMap((message) => (message.type === 'granted' ? [message.fence] : []))
    expect(fences).to.deep.equal([...fences].sort((a, b) => a - b))
  })

  it('gets acknowledgements only of handled messages, after their answers', async () => {
    const { url } = await hostileStage(stage, tableLocks)
    const client = await hostile(stage, url)
    // The hello is the first message of a connection; these follow.
    const messages = Array.from({ length: count(360, 1_200) }, (_, i) => {
      const id = i + 2
      if (i % 6 === 5) return { type: 'ack', ids: [] }
      if (i % 6 === 4) return { type: 'pong', n: 1 }
      return { type: 'query', id, limit: 1 }
    })
    for (const frame of framesOf(messages, 600)) client.send(...frame)
    const whole = messages.length + 1
    const heard = await hearAll(client, (message) => message.type === 'ack' && message.n === whole)
    let answered = 1
    for (const message of heard) {
      if (message.type === 'found') answered = message.id
      else if (message.type === 'ack') {
        // Two messages are between the query that was answered last and the next query.
        expect(message.n, `acknowledged after the answer to ${answered}`).to.be.at.most(
          answered + 2,
        )
        expect(message.n).to.be.at.least(answered)
      }
    }
  })

  it('keeps its session while its messages wait, within its lease', async () => {
    // So low that the queries take longer than the lease, and the broker does not read pongs
    // meanwhile.
    const slow = ['--limit', 'workPerSecond=20000']
    const { url, bystander } = await hostileStage(stage, slowLocks, ...slow)
    const client = await hostile(stage, url, { lease: 2_000 })
    client.send({ type: 'lock', id: 1, key: 'mine' })
    const { fence } = await client.receive('granted')
    const queries = Array.from({ length: 600 }, (_, i) => ({
      type: 'query',
      id: i + 2,
      limit: 1,
    }))
    client.send(...queries)
    const answering = hearAll(client, (message) => {
      if (message.type === 'ping') client.send({ type: 'pong', n: message.n })
      return message.type === 'found' && message.id === 601
    })
    await bystander.lockAndUnlock(5)
    const heard = await answering
    expect(heard.map(({ type }) => type)).not.to.include('lost')
    client.send({ type: 'unlock', id: 2_000, fence })
    await client.receive('unlocked')
  })

  it('leaves nothing behind when it drops while paused', async () => {
    const { url, bystander } = await hostileStage(stage, tableLocks)
    const client = await hostile(stage, url)
    client.send({ type: 'lock', id: 1, key: 'mine' })
    await client.receive('granted')
    const wanted = bystander.session.lock('mine')
    client.send(
      ...Array.from({ length: 1_700 }, (_, i) => ({ type: 'query', id: i + 2, limit: 1 })),
    )
    await client.receive('found')
    client.drop()
    await (await wanted).unlock()
    await bystander.expectUnharmed()
  })
})
