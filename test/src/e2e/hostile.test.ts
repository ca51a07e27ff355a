/**
 * Tests hostile clients over real sockets, within the default limits of the broker. Meanwhile a
 * bystander, which is a well-behaved client, keeps its session and its lock, and the broker grants
 * the requests of the bystander. A fence is the number of a grant, by which clients name a lock.
 */
import { expect } from 'chai'
import { quickOrFull } from '../support/counts.js'
import {
  addDescribedHolders,
  framesOf,
  openHostileClient,
  startHostileStage,
} from './hostileStage.js'
import type { RawClient } from './raw.js'
import { Stage } from './stage.js'

/**
 * The number of locks that the broker keeps. An earlier version of the broker took many seconds for
 * a frame of queries over so many locks.
 */
const tableLocks = quickOrFull(5_000, 100_000)
/** The size of a frame in bytes, a little below the limit of 64 KiB. */
const frameBytes = 65_000
/** How often the bystander locks and unlocks during an attack. */
const lockRounds = 20

describe('e2e: a hostile client does not disturb a bystander', function () {
  this.timeout(quickOrFull(60_000, 300_000))
  const stage = Stage.forEachTest()

  // For each of these queries the broker visits all locks, but returns one lock or none.
  const expensiveQueries: readonly (readonly [title: string, message: object])[] = [
    ['queries that return one lock', { type: 'query', id: 1, limit: 1 }],
    ['queries that find nothing', { type: 'query', id: 1, prefix: 'none:' }],
  ]
  for (const [title, message] of expensiveQueries) {
    it(`with one frame of ${title}`, async () => {
      const { url, bystander } = await startHostileStage(stage, tableLocks)
      const client = await openHostileClient(stage, url)
      const messagesPerFrame = Math.floor(frameBytes / (JSON.stringify(message).length + 1))
      client.send(...Array.from({ length: messagesPerFrame }, () => message))
      await client.receive('found')
      await bystander.lockAndUnlock(lockRounds)
      await bystander.expectUnharmed()
    })
  }

  it('with pipelined queries that visit the locks of all keys', async () => {
    const { url, bystander } = await startHostileStage(stage, tableLocks)
    const clients: RawClient[] = []
    for (let i = 0; i < 10; i++) clients.push(await openHostileClient(stage, url))
    for (const client of clients) {
      client.send(...Array.from({ length: 1_000 }, () => ({ type: 'query', id: 1 })))
      await client.receive('found')
    }
    await bystander.lockAndUnlock(lockRounds)
    await bystander.expectUnharmed()
  })

  it('with watches that the client opens and closes again and again', async () => {
    const { url, bystander } = await startHostileStage(stage, tableLocks)
    const client = await openHostileClient(stage, url)
    const watchAndUnwatch = [
      { type: 'watch', id: 1, prefix: 'none:' },
      { type: 'unwatch', watch: 1 },
    ]
    const messages = Array.from({ length: 6_000 }, (_, i) => watchAndUnwatch[i % 2]!)
    for (const frame of framesOf(messages, 1_000)) client.send(...frame)
    await client.receive('watching')
    await bystander.lockAndUnlock(lockRounds)
    await bystander.expectUnharmed()
  })

  it('with many tries to lock a key whose 16 holders have large metadata', async () => {
    const { url, bystander } = await startHostileStage(stage, 0)
    await addDescribedHolders(stage, url, 'described')
    for (let i = 0; i < 4; i++) {
      const client = await openHostileClient(stage, url)
      const tries = Array.from({ length: 4_000 }, (_, j) => {
        return { type: 'lock', id: j + 1, key: 'described', timeout: 0 }
      })
      for (const frame of framesOf(tries, 1_000)) client.send(...frame)
      await client.receive('failed')
    }
    await bystander.lockAndUnlock(lockRounds)
    await bystander.expectUnharmed()
  })

  it('with a thousand identical watches and many changes', async () => {
    const { url, bystander } = await startHostileStage(stage, 0)
    const client = await openHostileClient(stage, url)
    const ids = Array.from({ length: 1_000 }, (_, i) => i + 1)
    for (const frame of framesOf(ids)) {
      client.send(...frame.map((id) => ({ type: 'watch', id })))
      for (const _ of frame) await client.receive('watching')
    }
    const steals = Array.from({ length: 200 }, (_, i) => {
      return { type: 'lock', id: i + 1, key: 'churn', steal: true }
    })
    client.send(...steals)
    await client.receive('granted')
    await bystander.lockAndUnlock(lockRounds)
    await bystander.expectUnharmed()
  })

  it('with revocations, tries and a steal of a key with many shared holders', async () => {
    const { url, bystander } = await startHostileStage(stage, 0)
    const client = await openHostileClient(stage, url)
    // A session may hold 10,000 locks.
    const ids = Array.from({ length: 9_000 }, (_, i) => i + 1)
    let fence = 0
    for (const frame of framesOf(ids)) {
      client.send(...frame.map((id) => ({ type: 'lock', id, key: 'crowd', mode: 'shared' })))
      for (const _ of frame) fence = (await client.receive('granted')).fence
      // The broker keeps each `granted` message until the client acknowledges it.
      client.send({ type: 'ack', ids: frame })
    }
    const attacker = await openHostileClient(stage, url)
    // The attacker revokes every second lock, beginning with the newest lock, which has `fence`.
    const attacks = Array.from({ length: 1_000 }, (_, i) => {
      const id = i + 1
      return i % 2 === 0
        ? { type: 'revoke', id, key: 'crowd', fence: fence - i, reason: 'hostile' }
        : { type: 'lock', id, key: 'crowd', timeout: 0 }
    })
    for (const frame of framesOf(attacks)) attacker.send(...frame)
    await attacker.receive('revoked')
    attacker.send({ type: 'lock', id: 2_000, key: 'crowd', steal: true })
    await bystander.lockAndUnlock(lockRounds)
    await bystander.expectUnharmed()
    expect((await client.receive('lost')).fence).to.be.above(0)
  })

  it('with a queue of 9,999 requests that the client cancels', async () => {
    const { url, bystander } = await startHostileStage(stage, 0)
    const holder = await openHostileClient(stage, url)
    holder.send({ type: 'lock', id: 1, key: 'queue' })
    await holder.receive('granted')
    const client = await openHostileClient(stage, url)
    // One request below the limit of a session.
    const ids = Array.from({ length: 9_999 }, (_, i) => i + 1)
    for (const frame of framesOf(ids)) {
      client.send(...frame.map((id) => ({ type: 'lock', id, key: 'queue' })))
    }
    for (const frame of framesOf(ids.slice().reverse())) {
      client.send(...frame.map((request) => ({ type: 'cancel', request })))
    }
    await bystander.lockAndUnlock(lockRounds)
    // The broker answers the cancels in their order.
    for (const id of ids.slice().reverse()) {
      expect(await client.receive('failed')).to.include({ id, code: 'ABORTED' })
    }
    await bystander.expectUnharmed()
  })
})
