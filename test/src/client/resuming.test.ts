/**
 * Tests a client that loses the connection of a session with a grace. The grace is the time for
 * which the broker keeps a session without a connection. The client resumes the session, or opens a
 * new session. The lease is how long the broker keeps a silent session. The option
 * `grace: 'lease'` sets a grace as long as the lease. A session in jeopardy has lost its
 * connection, but the broker still keeps the session. A fence is the number of a grant.
 */
import { fixedInterval, type Lock } from '@holdfast/client'
import { connectIn } from '@holdfast/client/internal'
import type { Hello } from '@holdfast/shared'
import { expect } from 'chai'
import { zeroStats } from '../protocol/brokerMessages.js'
import {
  emptyAck,
  heldLock,
  openScriptedSessionWithGrace,
  resumedWelcome,
  resumeSession,
  snapshot,
} from '../support/resuming.js'
import {
  acknowledge,
  acquireLock,
  makeClientFakes,
  openScriptedSession,
  reconnect,
  untilTurnEnds,
  welcome,
  welcomeWithGrace,
} from '../support/scriptedSession.js'

/**
 * How long the client relies on a lease of 10,000 ms, in ms. The client subtracts 1 %, and a margin
 * of 2 % and 1 ms, so that it gives up a lock before the broker does (see `lease.test.ts`).
 */
const safeLeaseMs = 9_699

describe('a client that resumes a session', () => {
  it('sends the newest secret, acknowledges immediately, and keeps its locks', async () => {
    const scene = await openScriptedSessionWithGrace()
    const lock = await acquireLock(scene, { fence: 7 })
    scene.socket.end()
    expect([scene.session.state, lock.held]).to.deep.equal(['disconnected', true])
    scene.clock.advance(50)
    scene.socket.accept()
    expect(scene.socket.newMessages()).to.deep.equal([
      { type: 'hello', grace: 'lease', resume: { session: 's1', secret: 'first', try: 1 } },
    ])
    scene.socket.deliver(resumedWelcome)
    await untilTurnEnds()
    expect(scene.socket.newMessages()).to.deep.equal([{ type: 'ack', ids: [1] }])
    expect(scene.session.state).to.equal('disconnected')
    scene.socket.deliver(snapshot({ held: [heldLock({ id: 1, fence: 7 })] }))
    expect([scene.session.state, lock.held]).to.deep.equal(['connected', true])
    expect(scene.events).to.deep.equal(['jeopardy', 'resumed'])
    expect(await reconnect(scene)).to.deep.include({
      resume: { session: 's1', secret: 'second', try: 2 },
    })
  })

  for (const grace of ['lease', 0] as const) {
    it(`reports each dropped connection once, after the other events: grace ${grace}`, async () => {
      const scene =
        grace === 0
          ? await openScriptedSession({ reconnect: fixedInterval({ interval: 50 }) })
          : await openScriptedSessionWithGrace()
      await acquireLock(scene)
      scene.session.on('disconnected', ({ code }) => {
        scene.events.push(`disconnected: code ${code}, state ${scene.session.state}`)
      })
      scene.socket.end()
      scene.clock.advance(1_000)
      // The try to reconnect fails.
      scene.network.lastSocket.end()
      expect(scene.events).to.deep.equal([
        grace === 0 ? 'lost session' : 'jeopardy',
        'disconnected: code UNAVAILABLE, state disconnected',
      ])
    })
  }

  it('reports no dropped connection if a listener has closed the session', async () => {
    const scene = await openScriptedSession()
    await acquireLock(scene)
    scene.session.on('lost', () => void scene.session.close())
    scene.session.on('disconnected', () => scene.events.push('disconnected'))
    scene.socket.end()
    expect(scene.events).to.deep.equal(['lost session', 'closed'])
  })

  it('counts its tries, so that the broker can tell a late hello from a new hello', async () => {
    const { clock, socket, network } = await openScriptedSessionWithGrace()
    socket.end()
    const tries: unknown[] = []
    for (let i = 0; i < 3; i++) {
      clock.advance(1_000)
      network.lastSocket.accept()
      tries.push((network.lastSocket.newMessages()[0] as Hello).resume?.try)
      network.lastSocket.end()
    }
    expect(tries).to.deep.equal([1, 2, 3])
  })

  it('sends an empty acknowledgement if there is no response to acknowledge', async () => {
    const scene = await openScriptedSessionWithGrace()
    expect(await resumeSession(scene)).to.deep.equal([emptyAck])
  })

  it('reaches the last broker of a list within the lease if all others are silent', async () => {
    const { clock, network, environment } = makeClientFakes()
    const urls = ['ws://a.test', 'ws://b.test', 'ws://c.test']
    const strategy = fixedInterval({ interval: 0 })
    const connecting = connectIn(
      urls,
      { lease: 3_000, grace: 'lease', reconnect: strategy },
      environment,
    )
    await untilTurnEnds()
    network.lastSocket.accept()
    network.lastSocket.deliver(welcome({ lease: 3_000, grace: 3_000, secret: 'first' }))
    const session = await connecting
    const events: string[] = []
    session.on('lost', () => events.push('lost'))
    session.on('resumed', () => events.push('resumed'))
    const requesting = session.lock('k')
    await untilTurnEnds()
    network.lastSocket.deliver({ type: 'granted', id: 1, fence: 7 })
    const lock = await requesting
    // The first broker falls silent, and no socket opens during the loop. The client relies on
    // 2,909 ms of the lease of 3,000 ms.
    for (let passed = 0; passed < 2_900 && network.lastSocket.url !== urls[2]; passed += 10) {
      clock.advance(10)
      await untilTurnEnds()
    }
    expect(network.lastSocket.url).to.equal(urls[2])
    network.lastSocket.accept()
    network.lastSocket.deliver(resumedWelcome, snapshot({ held: [heldLock({ id: 1, fence: 7 })] }))
    await untilTurnEnds()
    expect([events, lock.held]).to.deep.equal([['resumed'], true])
  })

  it('doubles the time for each broker after a round in which no broker answered', async () => {
    const { clock, network, environment } = makeClientFakes()
    const urls = ['ws://a.test', 'ws://b.test']
    const strategy = fixedInterval({ interval: 0 })
    const connecting = connectIn(urls, { lease: 2_000, reconnect: strategy }, environment)
    await untilTurnEnds()
    network.lastSocket.accept()
    network.lastSocket.deliver(welcome({ lease: 2_000 }))
    const session = await connecting
    network.lastSocket.end()
    clock.advance(1)
    const waits: number[] = []
    for (let i = 0; i < 8; i++) {
      const tried = network.lastSocket
      let waited = 0
      for (; network.lastSocket === tried && waited < 20_000; waited += 50) {
        clock.advance(50)
        await untilTurnEnds()
      }
      waits.push(waited)
    }
    expect(waits).to.deep.equal([500, 500, 1_000, 1_000, 2_000, 2_000, 4_000, 4_000])
    expect(session.state).to.equal('disconnected')
  })

  it('repeats an acknowledgement that the client sent on the dropped connection', async () => {
    const scene = await openScriptedSessionWithGrace()
    await acquireLock(scene, { fence: 7 })
    scene.socket.newMessages()
    scene.socket.deliver({ type: 'ping', n: 1 })
    await untilTurnEnds()
    expect(scene.socket.newMessages()).to.deep.equal([
      { type: 'pong', n: 1 },
      { type: 'ack', ids: [1] },
    ])
    expect(await resumeSession(scene)).to.deep.equal([{ type: 'ack', ids: [1] }])
  })

  it('acknowledges a response once on each connection, although each resume repeats the response', async () => {
    const scene = await openScriptedSessionWithGrace()
    await acquireLock(scene, { fence: 7 })
    const repeatedGrant = { type: 'granted', id: 1, fence: 7 } as const
    for (let i = 0; i < 3; i++) {
      await reconnect(scene)
      scene.socket.deliver(resumedWelcome, repeatedGrant)
      await untilTurnEnds()
      expect(scene.socket.newMessages()).to.deep.equal([{ type: 'ack', ids: [1] }])
    }
  })

  it('does not extend the lease before the last part of the snapshot', async () => {
    const scene = await openScriptedSessionWithGrace()
    const [lock, lockInSnapshot] = [
      await acquireLock(scene),
      await acquireLock(scene, { key: 'l' }),
    ]
    scene.clock.advance(4_000)
    await reconnect(scene)
    scene.socket.deliver(resumedWelcome)
    await untilTurnEnds()
    scene.clock.advance(4_000)
    // The broker received the hello at 90,000 (`resumedWelcome`), and the newest message 4 s later.
    acknowledge(scene, { at: 94_000 })
    // 8,050 ms have passed since the grant: twice 4,000 ms, and the 50 ms of `reconnect`.
    scene.clock.advance(safeLeaseMs - 1 - 8_050)
    expect(lock.held).to.equal(true)
    scene.clock.advance(1)
    expect([lock.held, lockInSnapshot.held]).to.deep.equal([false, false])
    expect(scene.socket.closedByClient).to.equal(false)
    scene.socket.deliver(snapshot({ held: [heldLock({ id: 2, fence: 2, key: 'l' })] }))
    await untilTurnEnds()
    // The broker has kept a lock that the client has given up, so the client unlocks the lock.
    expect(scene.socket.newMessages().at(-1)).to.deep.equal({ type: 'unlock', id: 3, fence: 2 })
    expect(scene.events).to.deep.equal(['jeopardy', 'lost session', 'lost session', 'resumed'])
    // The lease now counts from the hello, so it ends 4,050 + 9,699 ms after the first grant. The
    // expectation below is 50 ms before this end.
    const next = await acquireLock(scene)
    scene.clock.advance(4_000)
    expect(next.held).to.equal(true)
  })

  it('neither loses a lock nor reports "connected" before the last part of the snapshot', async () => {
    const scene = await openScriptedSessionWithGrace()
    const a = await acquireLock(scene, { key: 'a', fence: 7 })
    const b = await acquireLock(scene, { key: 'b', fence: 8 })
    await resumeSession(
      scene,
      snapshot({ held: [heldLock({ id: 2, fence: 8, key: 'b' })], more: true }),
    )
    expect([a.held, b.held, scene.session.state]).to.deep.equal([true, true, 'disconnected'])
    scene.socket.deliver(snapshot({ held: [heldLock({ id: 1, fence: 7, key: 'a' })] }))
    expect([a.held, b.held, scene.session.state]).to.deep.equal([true, true, 'connected'])
  })

  it('repeats an undelivered lock request with the same id, and a query with a new id', async () => {
    const scene = await openScriptedSessionWithGrace()
    const requesting = [
      scene.session.lock('waits'),
      scene.session.lock('undelivered', { timeout: 20_000 }),
      scene.session.query({ key: 'q' }),
    ]
    await untilTurnEnds()
    scene.clock.advance(1_000)
    await reconnect(scene)
    requesting.push(scene.session.lock('new'))
    scene.socket.deliver(resumedWelcome, snapshot({ waiting: [1] }))
    await untilTurnEnds()
    // The timeout is 20,000 ms minus the 1,000 ms above and the 50 ms of `reconnect`.
    expect(scene.socket.newMessages()).to.deep.equal([
      emptyAck,
      { type: 'lock', id: 2, key: 'undelivered', timeout: 18_950 },
      { type: 'lock', id: 4, key: 'new' },
      { type: 'query', id: 5, key: 'q' },
    ])
    scene.socket.deliver({ type: 'granted', id: 1, fence: 70 })
    expect(((await requesting[0]) as Lock).fence).to.equal(70)
  })

  it('counts a whole lease from the hello, and extends the lease with each acknowledgement of the broker', async () => {
    const scene = await openScriptedSessionWithGrace()
    const { session, clock } = scene
    const lock = await acquireLock(scene, { fence: 7 })
    clock.advance(3_000)
    await resumeSession(scene, snapshot({ held: [heldLock({ id: 1, fence: 7 })] }))
    expect(session.leaseLeft).to.equal(safeLeaseMs)
    for (let n = 1; n <= 5; n++) {
      clock.advance(3_000)
      scene.socket.deliver({ type: 'ping', n })
      await untilTurnEnds()
      acknowledge(scene)
      expect(session.leaseLeft).to.equal(safeLeaseMs)
    }
    expect(lock.held).to.equal(true)
  })

  it('counts a whole lease if a new session replaces an unfinished resume', async () => {
    const scene = await openScriptedSessionWithGrace()
    // The snapshot of this resume never arrives.
    await resumeSession(scene)
    await reconnect(scene)
    scene.socket.deliver(welcomeWithGrace({ session: 's2', secret: 'third' }))
    await untilTurnEnds()
    expect(scene.session.leaseLeft).to.equal(safeLeaseMs)
  })

  it('repeats no request that was answered', async () => {
    const scene = await openScriptedSessionWithGrace()
    const { session, socket } = scene
    const lock = await acquireLock(scene)
    const answered = [
      lock.refresh(),
      session.stats(),
      session.revoke('x', { fence: 9, reason: 'r' }),
    ]
    await untilTurnEnds()
    socket.deliver(
      { type: 'refreshed', id: 2 },
      { type: 'stats', id: 3, stats: zeroStats },
      { type: 'revoked', id: 4 },
    )
    await Promise.all(answered)
    await resumeSession(scene, snapshot({ held: [heldLock({ id: 1, fence: 1 })] }))
    expect(scene.socket.sent.map(({ type }) => type)).to.deep.equal(['hello', 'ack'])
    expect(lock.held).to.equal(true)
  })

  it('resumes again when the connection drops during a resume', async () => {
    const scene = await openScriptedSessionWithGrace()
    const requesting = scene.session.lock('k')
    await untilTurnEnds()
    await resumeSession(scene, { type: 'granted', id: 1, fence: 7 }, snapshot({ more: true }))
    // The client acknowledges the grant of the former connection, although this resume does not
    // repeat the grant.
    expect(
      await resumeSession(scene, snapshot({ held: [heldLock({ id: 1, fence: 7 })] })),
    ).to.deep.equal([{ type: 'ack', ids: [1] }])
    expect((await requesting).fence).to.equal(7)
    expect(scene.events).to.deep.equal(['jeopardy', 'resumed'])
  })

  it('loses its locks when the broker no longer knows the session', async () => {
    const scene = await openScriptedSessionWithGrace()
    const lock = await acquireLock(scene, { fence: 7 })
    const waiting = scene.session.lock('w')
    const unlocking = (await acquireLock(scene, { key: 'u', fence: 8 })).unlock()
    await untilTurnEnds()
    await reconnect(scene)
    scene.socket.deliver(welcomeWithGrace({ session: 's2', secret: 'new' }))
    await untilTurnEnds()
    expect(lock.held).to.equal(false)
    await unlocking
    expect(scene.events).to.deep.equal(['jeopardy', 'lost session', 'newSession'])
    expect(scene.socket.newMessages()).to.deep.equal([{ type: 'lock', id: 2, key: 'w' }])
    scene.socket.deliver({ type: 'granted', id: 2, fence: 20 })
    expect((await waiting).fence).to.equal(20)
    // The count of tries does not begin anew with a new session.
    expect(await reconnect(scene)).to.deep.include({
      resume: { session: 's2', secret: 'new', try: 2 },
    })
  })

  it('does not resume a session that the broker has ended', async () => {
    const scene = await openScriptedSessionWithGrace()
    const lock = await acquireLock(scene, { fence: 7 })
    // The close code for an expired session.
    scene.socket.end(4410)
    expect(lock.held).to.equal(false)
    scene.clock.advance(50)
    scene.socket.accept()
    expect(scene.socket.newMessages()).to.deep.equal([{ type: 'hello', grace: 'lease' }])
  })

  it('forgets aborted requests when the broker no longer knows the session', async () => {
    const scene = await openScriptedSessionWithGrace()
    const controller = new AbortController()
    void scene.session.lock('k', { signal: controller.signal }).catch(() => {})
    await untilTurnEnds()
    scene.socket.end()
    controller.abort()
    scene.clock.advance(50)
    scene.socket.accept()
    scene.socket.newMessages()
    scene.socket.deliver(welcomeWithGrace({ session: 's2' }))
    await untilTurnEnds()
    expect(scene.socket.newMessages()).to.deep.equal([])
  })
})
