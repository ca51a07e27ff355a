/**
 * Tests of the sections 6 and 10 of PROTOCOL.md over a socket: query, watch and stats. A fence is
 * the number of a grant, which identifies a lock. A peer is a client without the client library.
 * The ttl of a lock is the time after which the lock expires. A barrier lets its parties wait until
 * all of them have arrived. A kept result is a value of `once` that the broker stores for a time.
 */
import { type LockEvent, maxOutputFrameBytes } from '@holdfast/shared'
import { expect } from 'chai'
import type { Peer } from './peer.js'
import { queryAll, type Stage } from './stage.js'

/** Defines the tests of queries, watches and statistics. */
export function looking(stage: Stage): void {
  describe('a query', () => queries(stage))
  describe('a query for barriers or kept results', () => queriesForBarriersAndResults(stage))
  describe('a query for a session', () => queriesForSessions(stage))
  describe('a watch', () => watches(stage))
  describe('stats: the broker', () => statistics(stage))
}

function queries(stage: Stage): void {
  it('lists holders and waiters by key and by prefix', async () => {
    const holder = await stage.openSession({ name: 'worker' })
    const [waiter, other] = await stage.openSessions(2)
    const [key, otherKey] = [stage.key('one'), stage.key('two')]
    const fence = await holder.acquire(key, { metadata: 'why' })
    waiter!.lock(key, { mode: 'shared' })
    await waiter!.settle()
    await other!.acquire(otherKey, { mode: 'shared' })
    const { session } = holder.welcome
    const seen = await queryAll(other!, { key })
    expect(seen).to.include({ heldCount: 1, waitingCount: 1 })
    expect(seen.held[0]).to.deep.include({ key, mode: 'exclusive', session, fence })
    expect(seen.held[0]).to.deep.include({ name: 'worker', metadata: 'why' })
    expect(seen.held[0]!.since).to.be.a('number')
    expect(seen.waiting[0]).to.have.all.keys('key', 'mode', 'session', 'since')
    expect(seen.waiting[0]).to.include({ key, mode: 'shared', session: waiter!.welcome.session })
    const underPrefix = await queryAll(other!, { prefix: stage.prefix })
    expect(underPrefix.held.map((lock) => lock.key)).to.have.members([key, otherKey])
    expect(await queryAll(other!, { key: stage.key() })).to.include({
      heldCount: 0,
      waitingCount: 0,
    })
    const underLongPrefix = await queryAll(other!, { prefix: key.slice(0, -1) })
    expect(underLongPrefix.held.map((lock) => lock.key)).to.deep.equal([key])
    const everything = await queryAll(other!, {})
    expect(everything.heldCount).to.be.at.least(2)
  })

  it('may have any id, which later requests may use again', async () => {
    const peer = await stage.openSession()
    const key = stage.key()
    for (const id of [900, 7, 7]) {
      peer.say({ type: 'query', id, key })
      expect(await peer.hearAnswer('found', id)).to.include({ heldCount: 0 })
    }
    peer.say({ type: 'lock', id: 1, key })
    await peer.hearAnswer('granted', 1)
    peer.say({ type: 'stats', id: 1 })
    await peer.hearAnswer('stats', 1)
  })

  it('lists at most `limit` items, and counts all items', async () => {
    const peer = await stage.openSession()
    const prefix = stage.key('limited')
    for (let i = 0; i < 5; i++) await peer.acquire(`${prefix}:${i}`)
    const seen = await queryAll(peer, { prefix, limit: 2 })
    expect(seen.held).to.have.length(2)
    expect(seen).to.include({ heldCount: 5, waitingCount: 0 })
  })

  it('lists keys in order over several pages, and the holders of one key by fence', async () => {
    const [peer, waiter] = await stage.openSessions(2)
    const prefix = stage.key('paged')
    for (const name of ['c', 'a', 'é', 'b']) await peer!.acquire(`${prefix}:${name}`)
    const [ann, bob, cyd] = await stage.openSessions(3)
    const sharedKey = `${prefix}:d`
    const fences: number[] = []
    for (const session of [ann, bob, cyd]) {
      fences.push(await session!.acquire(sharedKey, { mode: 'shared' }))
    }
    waiter!.lock(sharedKey)
    await waiter!.settle()
    const page = (after: string, fields = {}) =>
      queryAll(peer!, { prefix, after, limit: 2, ...fields })
    const names = ({ held }: { held: readonly { key: string }[] }) =>
      held.map(({ key }) => key.slice(prefix.length + 1))
    const first = await page('')
    expect(names(first)).to.deep.equal(['a', 'b'])
    // `peer` holds four locks, and `ann`, `bob` and `cyd` hold one each.
    expect(first).to.include({ heldCount: 7, waitingCount: 1 })
    const second = await page(`${prefix}:b`)
    expect([names(second), second.waiting]).to.deep.equal([['c'], []])
    const third = await page(`${prefix}:c`)
    expect([names(third), third.waiting.length]).to.deep.equal([['d', 'd'], 1])
    expect(third.held.map(({ fence }) => fence)).to.deep.equal(fences.slice(0, 2))
    const fourth = await page(sharedKey, { afterFence: fences[1] })
    expect([names(fourth), fourth.waiting]).to.deep.equal([['d', 'é'], []])
    // The counts leave out all locks and requests before the page.
    expect(fourth).to.include({ heldCount: 2, waitingCount: 0 })
    expect(await page(`${prefix}:é`)).to.include({ heldCount: 0, waitingCount: 0 })
    const pageOfKey = await queryAll(peer!, {
      key: sharedKey,
      after: sharedKey,
      afterFence: fences[0]!,
    })
    expect(pageOfKey.held.map(({ fence }) => fence)).to.deep.equal(fences.slice(1))
  })

  it('lists one lock on each page if the limit is 1, in the order of the keys', async () => {
    const peer = await stage.openSession()
    const prefix = stage.key('single')
    const fences: number[] = []
    for (const name of ['a', 'b', 'c']) fences.push(await peer.acquire(`${prefix}:${name}`))
    const listed: number[] = []
    for (let start: object = { after: '' }; listed.length < 3; ) {
      const { held } = await queryAll(peer, { prefix, limit: 1, ...start })
      expect(held).to.have.length(1)
      listed.push(held[0]!.fence)
      start = { after: held[0]!.key, afterFence: held[0]!.fence }
    }
    expect(listed).to.deep.equal(fences)
  })

  it('is answered in parts within the frame limit if its result is long', async () => {
    const peer = await stage.openSession()
    const prefix = stage.key('much')
    // 100 locks with this metadata need more than two frames of the greatest size.
    const metadata = 'm'.repeat(900)
    for (let i = 0; i < 100; i++) await peer.acquire(`${prefix}:${i}`, { metadata })
    const parts = await peer.hearAnswerParts('found', peer.request({ type: 'query', prefix }))
    expect(parts.length).to.be.greaterThan(2)
    expect(parts.map((part) => part.more)).to.deep.equal(parts.map((_, i) => i < parts.length - 1))
    expect(parts.at(-1)!.heldCount).to.equal(100)
    expect(new Set(parts.flatMap((part) => part.held.map((lock) => lock.key))).size).to.equal(100)
    const longest = Math.max(...peer.frames.map((frame) => Buffer.byteLength(frame)))
    expect(longest).to.be.at.most(maxOutputFrameBytes)
  })
}

/** Asks for barriers or kept results, not for locks. Returns the last part of the answer. */
async function queryBarriersOrResults(peer: Peer, kind: 'barriers' | 'results', filter: object) {
  const parts = await peer.hearAnswerParts(
    'found',
    peer.request({ type: 'query', kind, ...filter }),
  )
  const { heldCount, waitingCount } = parts.at(-1)!
  expect({ heldCount, waitingCount }).to.deep.equal({ heldCount: 0, waitingCount: 0 })
  return parts.at(-1)!
}

function queriesForBarriersAndResults(stage: Stage): void {
  it('lists the calls that wait at barriers, in order of arrival', async () => {
    const [peer, other] = [await stage.openSession({ name: 'worker' }), await stage.openSession()]
    const [key, otherKey] = [stage.key('one'), stage.key('two')]
    peer.request({ type: 'barrier', key, parties: 4 })
    await peer.settle()
    other.request({ type: 'barrier', key, parties: 4 })
    other.request({ type: 'barrier', key: otherKey, parties: 2 })
    await other.settle()
    const { arrived, arrivedCount } = await queryBarriersOrResults(other, 'barriers', { key })
    expect(arrivedCount).to.equal(2)
    const barrierFields = { key, parties: 4, waiting: 2 }
    const [first, second] = arrived!
    const { session } = peer.welcome
    expect(first).to.deep.include({ ...barrierFields, session, name: 'worker' })
    expect(second).to.deep.include({ ...barrierFields, session: other.welcome.session })
    expect(second).to.have.all.keys('key', 'parties', 'waiting', 'session', 'since')
    const limited = await queryBarriersOrResults(other, 'barriers', {
      prefix: stage.prefix,
      limit: 1,
    })
    expect(limited.arrived).to.have.length(1)
    expect(limited.arrivedCount).to.equal(3)
    peer.drop()
    // A call of a session without a grace leaves its barrier when the connection drops.
    for (let count = 2; count > 1; ) {
      count = (await queryBarriersOrResults(other, 'barriers', { key })).arrivedCount!
    }
  })

  it('lists kept results with their size and the time of `keep`, but without their values', async () => {
    const peer = await stage.openSession()
    const [key, unkept] = [stage.key('kept'), stage.key('not kept')]
    for (const [resultKey, keepField] of [
      [key, { keep: 60_000 }] as const,
      [unkept, {}] as const,
    ]) {
      const { fence } = await peer.hearAnswer(
        'granted',
        peer.request({ type: 'once', key: resultKey }),
      )
      await peer.hearAnswer(
        'unlocked',
        peer.request({ type: 'complete', fence, value: 'é😀', ...keepField }),
      )
    }
    const { kept, keptCount } = await queryBarriersOrResults(peer, 'results', {
      prefix: stage.prefix,
    })
    expect(keptCount).to.equal(1)
    // The size counts two quotation marks and three UTF-16 units.
    expect(kept![0]).to.include({ key, size: 5, keep: 60_000 })
    expect(kept![0]).not.to.have.property('value')
    // A broker of a cluster may leave out the remaining time. The check then accepts 0 instead.
    expect(kept![0]!.remaining ?? 0).to.be.within(0, 60_000)
    expect(await queryBarriersOrResults(peer, 'results', { key: unkept })).to.deep.include({
      kept: [],
      keptCount: 0,
    })
    expect(await queryBarriersOrResults(peer, 'results', { key })).to.include({ keptCount: 1 })
  })

  it('counts barriers, their calls and kept results in stats', async () => {
    const peer = await stage.openSession()
    peer.request({ type: 'barrier', key: stage.key(), parties: 3 })
    const { fence } = await peer.hearAnswer(
      'granted',
      peer.request({ type: 'once', key: stage.key() }),
    )
    await peer.hearAnswer('unlocked', peer.request({ type: 'complete', fence, keep: 60_000 }))
    const { stats } = await peer.hearAnswer('stats', peer.request({ type: 'stats' }))
    for (const count of [stats.barriers, stats.barrierCalls, stats.keptResults])
      expect(count).to.be.at.least(1)
  })
}

function queriesForSessions(stage: Stage): void {
  const ask = async (peer: Peer, session: string) =>
    peer.hearAnswer('found', peer.request({ type: 'query', kind: 'sessions', session }))

  it('shows the lease and the grace of a session, and whether it is connected', async () => {
    const [peer, other] = [await stage.openSession({ grace: 5_000 }), await stage.openSession()]
    const { session, lease, grace } = peer.welcome
    const found = await ask(other, session)
    expect(found).to.include({ heldCount: 0, waitingCount: 0, sessionsCount: 1, more: false })
    expect(found.sessions![0]).to.include({ session, lease, grace, connected: true })
    peer.drop()
    for (let connected = true; connected; ) {
      connected = (await ask(other, session)).sessions![0]!.connected
    }
  })

  it('finds no session that has ended', async () => {
    const [peer, other] = await stage.openSessions(2)
    const { session } = peer!.welcome
    peer!.say({ type: 'bye' })
    for (let count = 1; count > 0; ) count = (await ask(other!, session)).sessionsCount!
    expect((await ask(other!, session)).sessions).to.deep.equal([])
  })
}

function watches(stage: Stage): void {
  it('sends the held locks first, then the events of all changes in order', async () => {
    const [watcher, a, b] = await stage.openSessions(3)
    const key = stage.key()
    // The four locks end by an unlock, by the ttl, by a steal, and by the end of the session.
    const first = await a!.acquire(key)
    const watch = watcher!.request({ type: 'watch', key })
    const [state] = await watcher!.hearAnswerParts('watching', watch)
    expect(state).to.include({ heldCount: 1, more: false })
    expect(state!.held[0]).to.include({ key, fence: first })
    const id = b!.lock(key, { ttl: 30 })
    await a!.release(first)
    const { fence: second } = await b!.hearAnswer('granted', id)
    await b!.hear('lost')
    const third = await a!.acquire(key)
    const fourth = await b!.acquire(key, { steal: true })
    b!.drop()
    const events: string[] = []
    while (events.length < 7) {
      const { event, ...rest } = await watcher!.hear('event')
      expect(rest).to.deep.equal({ type: 'event', watch })
      expect(event).to.include({ key, mode: 'exclusive' })
      events.push(`${event.event} ${(event as LockEvent).fence}`)
    }
    expect(events).to.deep.equal([
      `unlocked ${first}`,
      `locked ${second}`,
      `expired ${second}`,
      `locked ${third}`,
      `lost ${third}`,
      `locked ${fourth}`,
      `lost ${fourth}`,
    ])
  })

  it('reports all keys with the prefix, and no other keys', async () => {
    const [watcher, peer] = await stage.openSessions(2)
    const prefix = stage.key('watched')
    const watch = watcher!.request({ type: 'watch', prefix })
    await watcher!.hearAnswerParts('watching', watch)
    await peer!.acquire(stage.key('elsewhere'))
    await peer!.acquire(`${prefix}:a`)
    await peer!.acquire(prefix)
    for (const key of [`${prefix}:a`, prefix]) {
      expect((await watcher!.hear('event')).event).to.include({ key, event: 'locked' })
    }
    expect(await watcher!.unreadMessages()).to.deep.equal([])
  })

  it('sends one event for all matching watches of a connection', async () => {
    const [watcher, peer] = await stage.openSessions(2)
    const key = stage.key()
    const watchIds = [{ key }, { key }, { prefix: key }].map((filter) =>
      watcher!.request({ type: 'watch', ...filter }),
    )
    for (const watch of watchIds) await watcher!.hearAnswerParts('watching', watch)
    await peer!.acquire(key)
    // An event for several watches has a list of their ids.
    const { watch } = await watcher!.hear('event')
    expect([watch].flat().sort()).to.deep.equal(watchIds)
    expect(await watcher!.unreadMessages()).to.deep.equal([])
  })

  it('replaces an earlier watch with the same id', async () => {
    const [watcher, peer] = await stage.openSessions(2)
    const [formerKey, newKey] = [stage.key(), stage.key()]
    const watch = watcher!.request({ type: 'watch', key: formerKey })
    await watcher!.hearAnswerParts('watching', watch)
    watcher!.say({ type: 'watch', id: watch, key: newKey })
    await watcher!.hearAnswerParts('watching', watch)
    await peer!.acquire(formerKey)
    await peer!.acquire(newKey)
    expect((await watcher!.hear('event')).event).to.include({ key: newKey, event: 'locked' })
    expect(await watcher!.unreadMessages()).to.deep.equal([])
  })

  it('sends no event after an unwatch', async () => {
    const [watcher, peer] = await stage.openSessions(2)
    const key = stage.key()
    const watch = watcher!.request({ type: 'watch', key })
    await watcher!.hearAnswerParts('watching', watch)
    watcher!.say({ type: 'unwatch', watch })
    await watcher!.settle()
    await peer!.release(await peer!.acquire(key))
    expect(await watcher!.unreadMessages()).to.deep.equal([])
  })

  it('is refused if the session has 1,000 watches already', async () => {
    const peer = await stage.openSession()
    const key = stage.key()
    for (let i = 0; i < 1_000; i++) peer.request({ type: 'watch', key })
    const failed = await peer.hearAnswer('failed', peer.request({ type: 'watch', key }))
    expect(failed).to.include({ code: 'QUOTA_EXCEEDED' })
    // The id of the first watch is 1.
    peer.say({ type: 'unwatch', watch: 1 })
    await peer.hearAnswerParts('watching', peer.request({ type: 'watch', key }))
  })
}

function statistics(stage: Stage): void {
  it('counts lock requests and their outcomes', async () => {
    const [a, b] = await stage.openSessions(2)
    const stats = async () => (await a!.hearAnswer('stats', a!.request({ type: 'stats' }))).stats
    const statsBefore = await stats()
    const key = stage.key()
    const fence = await a!.acquire(key, { ttl: 60_000 })
    await b!.hearAnswer('failed', b!.lock(key, { timeout: 0 }))
    await b!.hearAnswer('failed', b!.lock(key, { timeout: 1 }))
    await a!.hearAnswer('refreshed', a!.request({ type: 'refresh', fence }))
    await a!.release(fence)
    await a!.acquire(key, { ttl: 1 })
    await a!.hear('lost')
    // The two clients have requested four locks, and two of these requests have failed.
    const statsAfter = await stats()
    // Other clients may use the broker at the same time, so the counts may be higher.
    expect(statsAfter.totalLocks - statsBefore.totalLocks).to.be.at.least(4)
    expect(statsAfter.failedLocks - statsBefore.failedLocks).to.be.at.least(2)
    expect(statsAfter.refreshCount - statsBefore.refreshCount).to.be.at.least(1)
    expect(statsAfter.unlockCount - statsBefore.unlockCount).to.be.at.least(1)
    expect(statsAfter.expiredLocks - statsBefore.expiredLocks).to.be.at.least(1)
    const rate = (statsAfter.totalLocks - statsAfter.failedLocks) / statsAfter.totalLocks
    expect(statsAfter.successRate).to.be.closeTo(rate, 1e-9)
    expect(statsAfter.activeLocks).to.be.a('number')
  })
}
