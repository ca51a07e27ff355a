/**
 * Tests `maxHold`, `onQueued`, `onContended` and watches with `queue`, which also report waiting
 * requests. A scripted broker answers. The tests check what the client sends, when it gives up a
 * lock, and when it calls the callbacks. The client calls `onQueued` when a request must wait, and
 * `onContended` when requests wait for a held lock. `maxHold` is the longest time for which a lock
 * may be held. The ttl is how long a lock lasts without a refresh. The client ends a lock after the
 * `safeDuration` of its ttl or `maxHold`, a little before the broker does. A fence is the number of
 * a grant.
 */
import type { ContendedNotice, QueuedNotice, QueueEvent, WatchEvent } from '@holdfast/client'
import { safeDuration } from '@holdfast/shared'
import { expect } from 'chai'
import {
  heldLock,
  openScriptedSessionWithGrace,
  resumedWelcome,
  resumeSession,
  snapshot,
} from '../support/resuming.js'
import {
  acknowledge,
  acquireLock,
  openScriptedSession,
  reconnect,
  untilTurnEnds,
  welcome,
  welcomeWithGrace,
} from '../support/scriptedSession.js'

describe('maxHold at the client', () => {
  it('is sent, and ends the lock after its safe duration, counted from the request', async () => {
    const scene = await openScriptedSession({}, welcome({ lease: 60_000 }))
    const lock = await acquireLock(scene, { maxHold: 5_000 })
    expect(scene.socket.newMessages()).to.deep.equal([
      { type: 'lock', id: 1, key: 'k', maxHold: 5_000 },
    ])
    scene.clock.advance(safeDuration(5_000) - 1)
    expect(lock.held).to.equal(true)
    scene.clock.advance(1)
    expect(lock.lost).to.include({ code: 'LOCK_LOST', reason: 'maxHold' })
    expect(scene.events).to.deep.equal(['lost maxHold'])
  })

  it('ends a lock in spite of its refreshes', async () => {
    const scene = await openScriptedSession({}, welcome({ lease: 60_000 }))
    const lock = await acquireLock(scene, { ttl: 3_000, maxHold: 5_000, at: 50_000 })
    for (let id = 2; id <= 3; id++) {
      scene.clock.advance(2_000)
      const refreshing = lock.refresh()
      await untilTurnEnds()
      scene.socket.deliver({ type: 'refreshed', id })
      await refreshing
    }
    scene.clock.advance(1_000)
    expect(lock.lost?.reason).to.equal('maxHold')
  })

  it('counts from the grant, by the clock of the broker, if the request waited for long', async () => {
    const scene = await openScriptedSession({}, welcome({ lease: 60_000, at: 50_000 }))
    const requesting = scene.session.lock('k', { maxHold: 1_000 })
    await untilTurnEnds()
    scene.clock.advance(4_000)
    // The broker's clock showed 50,000 when the request arrived.
    acknowledge(scene)
    scene.clock.advance(4_000)
    scene.socket.deliver({ type: 'granted', id: 1, fence: 7, at: 58_000 })
    const lock = await requesting
    expect(lock.held).to.equal(true)
    scene.clock.advance(1_000)
    expect(lock.lost?.reason).to.equal('maxHold')
  })

  it('is at most the limit in `welcome`, also for a lock without maxHold', async () => {
    const scene = await openScriptedSession({}, welcome({ lease: 60_000, maxHoldMs: 2_000 }))
    const [first, second] = [
      await acquireLock(scene),
      await acquireLock(scene, { key: 'l', maxHold: 9_000 }),
    ]
    scene.clock.advance(2_000)
    expect([first.lost?.reason, second.lost?.reason]).to.deep.equal(['maxHold', 'maxHold'])
  })

  it('is not extended by a resume', async () => {
    const scene = await openScriptedSessionWithGrace()
    const lock = await acquireLock(scene, { maxHold: 5_000, fence: 1 })
    scene.clock.advance(3_000)
    // Counted from this `at`, `maxHold` would end later. The client must keep the earlier end.
    await resumeSession(
      scene,
      snapshot({ held: [{ ...heldLock({ id: 1, fence: 1 }), at: 90_000 }] }),
    )
    expect(lock.held).to.equal(true)
    scene.clock.advance(2_000)
    expect(lock.lost?.reason).to.equal('maxHold')
  })

  it('is the reason of a loss if a lock was granted and lost during an outage', async () => {
    const scene = await openScriptedSessionWithGrace()
    const requesting = scene.session.lock('k', { maxHold: 5_000 }).catch((reason) => reason)
    await untilTurnEnds()
    scene.clock.advance(5_000)
    await resumeSession(scene, { type: 'granted', id: 1, fence: 3 }, snapshot())
    expect(await requesting).to.include({ code: 'LOCK_LOST', reason: 'maxHold' })
  })

  it('is the reason of a loss during an outage, even without maxHold in the request', async () => {
    // The operator's limit is 5 s. A lock that is gone after 1 s was stolen.
    for (const [outageMs, reason] of [
      [5_000, 'maxHold'],
      [1_000, 'stolen'],
    ] as const) {
      const scene = await openScriptedSessionWithGrace()
      const requesting = scene.session.lock('k').catch((error) => error)
      await untilTurnEnds()
      scene.clock.advance(outageMs)
      await reconnect(scene)
      const grant = { type: 'granted', id: 1, fence: 3 }
      scene.socket.deliver({ ...resumedWelcome, maxHoldMs: 5_000 }, grant, snapshot())
      await untilTurnEnds()
      expect(await requesting).to.include({ code: 'LOCK_LOST', reason })
    }
  })

  it('is the reason of a loss that the broker reports before the client ends the lock', async () => {
    const scene = await openScriptedSession()
    const lock = await acquireLock(scene, { maxHold: 5_000 })
    scene.socket.deliver({ type: 'lost', fence: 1, reason: 'maxHold' })
    expect(lock.lost).to.include({ reason: 'maxHold' })
    expect(lock.lost?.message).to.equal('the lock was lost: its maxHold ran out')
  })

  it('makes callers of singleflightLock with different values send separate requests', async () => {
    const { session, socket } = await openScriptedSession()
    for (const maxHold of [5_000, 5_000, undefined]) void session.singleflightLock('k', { maxHold })
    await untilTurnEnds()
    expect(socket.newMessages()).to.deep.equal([
      { type: 'lock', id: 1, key: 'k', maxHold: 5_000 },
      { type: 'lock', id: 2, key: 'k' },
    ])
  })
})

describe('onQueued', () => {
  const holders = [{ session: 'other', fence: 3, since: 4 }]

  it('is called once, also if a new session sends the request again', async () => {
    const scene = await openScriptedSession()
    const notices: QueuedNotice[] = []
    void scene.session.lock('k', { onQueued: (notice) => notices.push(notice) })
    await untilTurnEnds()
    expect(scene.socket.newMessages()).to.deep.equal([
      { type: 'lock', id: 1, key: 'k', notify: ['queued'] },
    ])
    scene.socket.deliver({ type: 'queued', id: 1, ahead: 2, holders })
    await reconnect(scene)
    scene.socket.deliver(welcome({ session: 's2' }))
    await untilTurnEnds()
    scene.socket.deliver({ type: 'queued', id: 1, ahead: 0, holders: [] })
    expect(notices).to.deep.equal([{ ahead: 2, holders }])
  })

  it('is not called for a request that was given up, or for an unknown request', async () => {
    const { session, socket } = await openScriptedSession()
    let calls = 0
    const controller = new AbortController()
    const requesting = session.lock('k', { onQueued: () => calls++, signal: controller.signal })
    await untilTurnEnds()
    controller.abort()
    await requesting.catch(() => {})
    socket.deliver({ type: 'queued', id: 1, ahead: 0, holders })
    socket.deliver({ type: 'queued', id: 9, ahead: 0, holders })
    expect(calls).to.equal(0)
  })
})

describe('onContended', () => {
  it('is called after the call of lock has resolved, even if the notice comes with the grant', async () => {
    const { session, socket, clock } = await openScriptedSession()
    const order: string[] = []
    const notices: ContendedNotice[] = []
    const onContended = (notice: ContendedNotice) => {
      notices.push(notice)
      order.push('contended')
    }
    const requesting = session.lockAll(['k', 'l'], { onContended }).then(() => order.push('lock'))
    await untilTurnEnds()
    expect(socket.newMessages()).to.deep.equal([
      { type: 'lockAll', id: 1, items: [{ key: 'k' }, { key: 'l' }], notify: ['contended'] },
    ])
    socket.deliver(
      { type: 'granted', id: 1, fence: 7 },
      { type: 'contended', fence: 7, waiting: 3 },
    )
    await requesting
    // The client calls the callback by a timer, so that the caller gets the lock first.
    clock.advance(1)
    expect(order).to.deep.equal(['lock', 'contended'])
    expect(notices).to.deep.equal([{ waiting: 3 }])
  })

  it('is not called after the unlock, even for an earlier notice', async () => {
    const scene = await openScriptedSession()
    let calls = 0
    const lock = await acquireLock(scene, { onContended: () => calls++ })
    scene.socket.deliver({ type: 'contended', fence: 1, waiting: 1 })
    void lock.unlock()
    scene.clock.advance(1)
    scene.socket.deliver({ type: 'contended', fence: 1, waiting: 1 })
    scene.clock.advance(1)
    expect(calls).to.equal(0)
  })

  it('is called for requests that began to wait while the connection was gone', async () => {
    const scene = await openScriptedSessionWithGrace()
    let calls = 0
    await acquireLock(scene, { onContended: () => calls++ })
    await reconnect(scene)
    scene.socket.deliver(resumedWelcome, snapshot({ held: [heldLock({ id: 1, fence: 1 })] }), {
      type: 'contended',
      fence: 1,
      waiting: 1,
    })
    scene.clock.advance(1)
    expect(calls).to.equal(1)
    // Another check of this resume: the session keeps its grace.
    expect(scene.session.grace).to.equal(welcomeWithGrace().grace)
  })
})

describe('a watch of a queue', () => {
  const waitingRequest = { key: 'k', mode: 'shared', session: 's', since: 2, request: 5 } as const

  it('reports the waiting requests of all parts of the answer in one `state` event, and then the changes', async () => {
    const { session, socket } = await openScriptedSession()
    const events: (WatchEvent | QueueEvent)[] = []
    session.watch({ prefix: 'k', queue: true }, (event) => events.push(event))
    await untilTurnEnds()
    expect(socket.newMessages()).to.deep.equal([{ type: 'watch', id: 1, prefix: 'k', queue: true }])
    const part = { type: 'watching', id: 1, held: [], heldCount: 0, waiting: [waitingRequest] }
    socket.deliver(
      { ...part, waitingCount: 1, more: true },
      { ...part, waitingCount: 2, more: false },
    )
    const event = { event: 'dequeued', reason: 'granted', ...waitingRequest }
    socket.deliver({ type: 'event', watch: 1, event })
    const counts = { heldCount: 0, waitingCount: 2 }
    expect(events).to.deep.equal([
      {
        event: 'state',
        held: [],
        ...counts,
        waiting: [waitingRequest, waitingRequest],
        resync: false,
      },
      event,
    ])
  })
})
