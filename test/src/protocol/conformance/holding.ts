/**
 * Tests of PROTOCOL.md over a socket: `maxHold` (the longest time that a lock is held), notices,
 * and watches that show waiting requests. A notice is a message `queued` or `contended` that a lock
 * request asks for. A fence is the number of a grant, which identifies a lock. The ttl is the time
 * after which a lock expires without a refresh. A peer is a client without the client library.
 */
import type { LockEvent, QueueEvent } from '@holdfast/shared'
import { expect } from 'chai'
import { queryAll, type Stage } from './stage.js'

/** Defines the tests of `maxHold`, of notices, and of a watch with the queue. */
export function holding(stage: Stage): void {
  describe('maxHold: the broker', () => longestHolds(stage))
  describe('notices: the broker', () => notices(stage))
  describe('watch with queue: the broker', () => queueWatches(stage))
}

function longestHolds(stage: Stage): void {
  it('ends a lock after its maxHold although it is refreshed, and grants the next waiter', async () => {
    const [a, b] = await stage.openSessions(2)
    const key = stage.key()
    const fence = await a!.acquire(key, { ttl: 60_000, maxHold: 300 })
    const waiting = b!.lock(key)
    await a!.hearAnswer('refreshed', a!.request({ type: 'refresh', fence, ttl: 60_000 }))
    expect(await a!.hear('lost')).to.deep.equal({ type: 'lost', fence, reason: 'maxHold' })
    await b!.hearAnswer('granted', waiting)
  })

  it('sends in the grant the time from which the maxHold counts, and shows other clients the maxHold', async () => {
    const [a, b] = await stage.openSessions(2)
    const key = stage.key()
    const granted = await a!.hearAnswer('granted', a!.lock(key, { maxHold: 60_000 }))
    expect(granted.at).to.be.a('number')
    expect((await queryAll(b!, { key })).held[0]).to.include({ maxHold: 60_000 })
    const failed = await b!.hearAnswer('failed', b!.lock(key, { timeout: 0 }))
    expect(failed.holders?.[0]).to.include({ fence: granted.fence, maxHold: 60_000 })
  })

  it('lists the ttl and the remaining times of a lock, also after a refresh', async () => {
    const [a, b] = await stage.openSessions(2)
    const key = stage.key()
    const watch = b!.request({ type: 'watch', key })
    await b!.hearAnswerParts('watching', watch)
    const fence = await a!.acquire(key, { ttl: 60_000, maxHold: 90_000 })
    const event = (await b!.hear('event')).event as LockEvent
    expect(event).to.include({ ttl: 60_000, maxHold: 90_000 })
    // An event may wait before the broker sends it, so an event has no remaining times.
    expect(event).not.to.have.any.keys('ttlRemaining', 'maxHoldRemaining')
    const [lock] = (await queryAll(b!, { key })).held
    expect(lock).to.include({ ttl: 60_000, maxHold: 90_000 })
    // A broker of a cluster may leave out the remaining times. The checks then accept 1 instead.
    expect(lock!.ttlRemaining ?? 1).to.be.within(1, 60_000)
    expect(lock!.maxHoldRemaining ?? 1).to.be.within(1, 90_000)
    await a!.hearAnswer('refreshed', a!.request({ type: 'refresh', fence, ttl: 5_000 }))
    const [refreshed] = (await queryAll(b!, { key })).held
    expect(refreshed).to.include({ ttl: 5_000, maxHold: 90_000 })
    expect(refreshed!.ttlRemaining ?? 1).to.be.within(1, 5_000)
  })

  it('lists no ttl and no remaining time of a lock without a ttl and a maxHold', async () => {
    const [a, b] = await stage.openSessions(2)
    const key = stage.key()
    await a!.acquire(key)
    // A broker that announces `maxHoldMs` limits every lock.
    if (a!.welcome.maxHoldMs !== undefined) return
    const [lock] = (await queryAll(b!, { key })).held
    expect(lock).to.have.all.keys('key', 'mode', 'session', 'fence', 'since')
  })

  it('ends a lock of several keys on all its keys after its maxHold', async () => {
    const [a, b] = await stage.openSessions(2)
    const items = [{ key: stage.key() }, { key: stage.key() }]
    await a!.hearAnswer('granted', a!.request({ type: 'lockAll', items, maxHold: 50 }))
    await a!.hear('lost')
    await b!.hearAnswer('granted', b!.request({ type: 'lockAll', items, timeout: 0 }))
  })
}

function notices(stage: Stage): void {
  it('sends `queued` once, with the holders and the number of requests ahead', async () => {
    const [a, b, c] = await stage.openSessions(3)
    const key = stage.key()
    const fence = await a!.acquire(key, { metadata: { job: 7 } })
    const first = b!.lock(key, { notify: ['queued'] })
    const queued = await b!.hear('queued')
    expect(queued).to.include({ id: first, ahead: 0 })
    expect(queued.holders.map((holder) => [holder.fence, holder.metadata])).to.deep.equal([
      [fence, { job: 7 }],
    ])
    const second = c!.lock(key, { notify: ['queued'] })
    expect(await c!.hear('queued')).to.include({ id: second, ahead: 1 })
    await a!.release(fence)
    await b!.hearAnswer('granted', first)
    expect(await c!.unreadMessages()).to.deep.equal([])
  })

  it('sends no `queued` for a request that is granted immediately, is refused, or asks for no notice', async () => {
    const [a, b] = await stage.openSessions(2)
    const key = stage.key()
    await a!.acquire(key, { notify: ['queued'] })
    await b!.hearAnswer('failed', b!.lock(key, { timeout: 0, notify: ['queued'] }))
    b!.lock(key)
    expect(await a!.unreadMessages()).to.deep.equal([])
    expect(await b!.unreadMessages()).to.deep.equal([])
  })

  it('sends `contended` when a request begins to wait behind the lock', async () => {
    const [a, b] = await stage.openSessions(2)
    const key = stage.key()
    const fence = await a!.acquire(key, { notify: ['contended'] })
    b!.lock(key)
    expect(await a!.hear('contended')).to.deep.equal({ type: 'contended', fence, waiting: 1 })
  })

  it('sends `contended` after the grant if requests wait already', async () => {
    const [a, b, c] = await stage.openSessions(3)
    const key = stage.key()
    const fenceOfA = await a!.acquire(key)
    const id = b!.lock(key, { notify: ['contended'] })
    await b!.settle()
    c!.lock(key)
    await c!.settle()
    await a!.release(fenceOfA)
    const { fence } = await b!.hearAnswer('granted', id)
    expect(await b!.hear('contended')).to.deep.equal({ type: 'contended', fence, waiting: 1 })
  })

  it('sends `contended` again when more requests wait, with the new number of requests', async () => {
    const [a, b] = await stage.openSessions(2)
    const key = stage.key()
    const fence = await a!.acquire(key, { notify: ['contended'] })
    b!.lock(key)
    await a!.hear('contended')
    // The broker sends at most one `contended` a second. So the next one counts the first
    // request and these three.
    for (let i = 0; i < 3; i++) b!.lock(key)
    expect(await a!.hear('contended')).to.deep.equal({ type: 'contended', fence, waiting: 4 })
  })
}

function queueWatches(stage: Stage): void {
  it('lists the waiting requests, and reports when a request begins and ceases to wait', async () => {
    const [watcher, a, b] = await stage.openSessions(3)
    const key = stage.key()
    const fence = await a!.acquire(key)
    const first = b!.lock(key)
    await b!.settle()
    const watch = watcher!.request({ type: 'watch', key, queue: true })
    const [state] = await watcher!.hearAnswerParts('watching', watch)
    expect(state).to.include({ heldCount: 1, waitingCount: 1, more: false })
    expect(state!.waiting!.map(({ request, mode }) => [request, mode])).to.deep.equal([
      [first, 'exclusive'],
    ])
    const aborted = b!.lock(key)
    const timedOut = b!.lock(key, { timeout: 20 })
    await b!.hearAnswer('failed', timedOut)
    b!.say({ type: 'cancel', request: aborted })
    await b!.hearAnswer('failed', aborted)
    const shared = b!.lock(key, { mode: 'shared' })
    await b!.settle()
    await a!.release(fence)
    await b!.hearAnswer('granted', first)
    // The end of the session ends the request for a shared lock, and the lock of the first request.
    b!.drop()
    const events: string[] = []
    while (events.length < 10) {
      const { event } = await watcher!.hear('event')
      const { request, reason = '' } = event as QueueEvent
      events.push(`${event.event} ${request ?? ''} ${reason}`.trim())
    }
    expect(events).to.deep.equal([
      `queued ${aborted}`,
      `queued ${timedOut}`,
      `dequeued ${timedOut} timeout`,
      `dequeued ${aborted} aborted`,
      `queued ${shared}`,
      'unlocked',
      `dequeued ${first} granted`,
      'locked',
      `dequeued ${shared} ended`,
      'lost',
    ])
  })

  it('sends no event of a queue to a watch without the field `queue`', async () => {
    const [watcher, a, b] = await stage.openSessions(3)
    const key = stage.key()
    await a!.acquire(key)
    const watch = watcher!.request({ type: 'watch', key })
    const [state] = await watcher!.hearAnswerParts('watching', watch)
    expect(state).to.not.have.any.keys('waiting', 'waitingCount')
    b!.lock(key)
    await b!.settle()
    expect(await watcher!.unreadMessages()).to.deep.equal([])
  })
}
