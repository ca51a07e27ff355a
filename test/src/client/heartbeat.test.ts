/**
 * Tests the heartbeat of the client: when the client sends `pong` by itself, so that the broker
 * need not send `ping`. The lease is how long the broker keeps a silent session; it is 10,000 ms
 * here. A session is idle while it holds nothing and none of its requests waits. An idle session
 * without a watch may ask for the idle lease, if the broker has this feature. The broker then keeps
 * the session for twice its lease. The grace is how long the broker keeps a session without a
 * connection.
 */
import { expect } from 'chai'
import {
  acknowledge,
  acquireLock,
  openScriptedSession,
  type ScriptedSession,
  untilTurnEnds,
  welcome,
  welcomeWithGrace,
} from '../support/scriptedSession.js'

/** The `pong` that a client sends by itself has the number 0, and answers no `ping`. */
const pong = { type: 'pong', n: 0 }
const idlePong = { type: 'pong', n: 0, idle: true }
/**
 * The time from the newest acknowledgement to the next `pong`, if the session holds or waits for a
 * lock.
 */
const engagedMs = 4_000
/** As {@link engagedMs}, for an idle session. */
const idleMs = 6_000

/** Lets time pass, and returns the messages that the client sent meanwhile. */
async function sentWithin(scene: ScriptedSession, ms: number): Promise<unknown[]> {
  scene.socket.newMessages()
  scene.clock.advance(ms)
  await untilTurnEnds()
  return scene.socket.newMessages()
}

describe('heartbeat', () => {
  it('is sent every 0.6 of the lease by an idle session', async () => {
    const scene = await openScriptedSession()
    for (let beat = 0; beat < 5; beat++) {
      expect(await sentWithin(scene, idleMs - 1)).to.deep.equal([])
      expect(await sentWithin(scene, 1)).to.deep.equal([pong])
      acknowledge(scene)
    }
    expect(scene.events).to.deep.equal([])
  })

  it('is sent every 0.4 of the lease by a session that holds a lock', async () => {
    const scene = await openScriptedSession()
    const lock = await acquireLock(scene)
    for (let beat = 0; beat < 5; beat++) {
      expect(await sentWithin(scene, engagedMs - 1)).to.deep.equal([])
      expect(await sentWithin(scene, 1)).to.deep.equal([pong])
      acknowledge(scene)
    }
    expect(lock.held).to.equal(true)
  })

  it('is sent every 0.4 of the lease by a session that waits for a lock', async () => {
    const scene = await openScriptedSession()
    const request = scene.session.lock('k')
    request.catch(() => {})
    await untilTurnEnds()
    expect(await sentWithin(scene, engagedMs - 1)).to.deep.equal([])
    expect(await sentWithin(scene, 1)).to.deep.equal([pong])
  })

  it('is still sent at 0.6 of the lease if an idle session requests a lock before that time', async () => {
    const scene = await openScriptedSession()
    expect(await sentWithin(scene, engagedMs)).to.deep.equal([])
    scene.session.lock('k').catch(() => {})
    await untilTurnEnds()
    expect(await sentWithin(scene, idleMs - engagedMs)).to.deep.equal([pong])
  })

  it('is not sent while the broker answers the messages of the client', async () => {
    const scene = await openScriptedSession()
    for (let round = 0; round < 5; round++) {
      expect(await sentWithin(scene, 3_000)).to.deep.equal([])
      const lock = await acquireLock(scene, { fence: round + 1 })
      void lock.unlock().catch(() => {})
      await untilTurnEnds()
      // Each round has a lock request with an odd id and an unlock with the next id.
      scene.socket.deliver({ type: 'unlocked', id: 2 * round + 2 })
    }
  })

  it('is postponed by a ping, which the client answers with a pong', async () => {
    const scene = await openScriptedSession()
    await acquireLock(scene)
    scene.clock.advance(3_000)
    scene.socket.deliver({ type: 'ping', n: 7 })
    await untilTurnEnds()
    expect(scene.socket.newMessages().at(-1)).to.deep.equal({ type: 'pong', n: 7 })
    acknowledge(scene)
    expect(await sentWithin(scene, engagedMs - 1)).to.deep.equal([])
    expect(await sentWithin(scene, 1)).to.deep.equal([pong])
  })

  it('is not sent if the client answers a ping before the overdue timer of the heartbeat fires', async () => {
    const scene = await openScriptedSession()
    // The process is stopped beyond the time of the timer.
    scene.clock.advanceWithoutTimers(7_000)
    scene.socket.deliver({ type: 'ping', n: 1 })
    await untilTurnEnds()
    expect(scene.socket.newMessages()).to.deep.equal([{ type: 'pong', n: 1 }])
  })

  it('is repeated without acknowledgements until the lease is over, if the session has no grace', async () => {
    const scene = await openScriptedSession()
    const lock = await acquireLock(scene)
    expect(await sentWithin(scene, 9_000)).to.deep.equal([pong, pong])
    expect(lock.held).to.equal(true)
    scene.clock.advance(1_000)
    expect([lock.held, scene.events]).to.deep.equal([false, ['lost session']])
  })

  it('must be acknowledged within a tenth of the lease, or a client with a grace drops the connection', async () => {
    const scene = await openScriptedSession({ reconnect: [0] }, welcomeWithGrace())
    const { socket } = scene
    expect(await sentWithin(scene, idleMs)).to.deep.equal([pong])
    scene.clock.advance(999)
    expect(socket.closedByClient).to.equal(false)
    scene.clock.advance(1)
    expect(socket.closedByClient).to.equal(true)
  })

  it('requests the idle lease if the broker has it, and is then sent every 1.2 of the lease', async () => {
    const scene = await openScriptedSession({}, welcome({ features: ['idleLease'] }))
    expect(await sentWithin(scene, idleMs)).to.deep.equal([idlePong])
    acknowledge(scene)
    for (let beat = 0; beat < 5; beat++) {
      expect(await sentWithin(scene, 2 * idleMs - 1)).to.deep.equal([])
      expect(await sentWithin(scene, 1)).to.deep.equal([idlePong])
      acknowledge(scene)
    }
    expect(scene.events).to.deep.equal([])
  })

  it('does not ask for the idle lease while the session has a watch, holds or waits', async () => {
    const watching = await openScriptedSession({}, welcome({ features: ['idleLease'] }))
    watching.session.watch({ prefix: '' }, () => {})
    await untilTurnEnds()
    expect(await sentWithin(watching, idleMs)).to.deep.equal([pong])
    const holding = await openScriptedSession({}, welcome({ features: ['idleLease'] }))
    await acquireLock(holding)
    expect(await sentWithin(holding, engagedMs)).to.deep.equal([pong])
    const waiting = await openScriptedSession({}, welcome({ features: ['idleLease'] }))
    waiting.session.lock('k').catch(() => {})
    await untilTurnEnds()
    expect(await sentWithin(waiting, engagedMs)).to.deep.equal([pong])
  })

  it('is sent after 0.4 of the lease when a grant has ended the idle lease', async () => {
    const scene = await openScriptedSession({}, welcome({ features: ['idleLease'] }))
    expect(await sentWithin(scene, idleMs)).to.deep.equal([idlePong])
    acknowledge(scene)
    scene.clock.advance(5_000)
    const lock = await acquireLock(scene)
    expect(await sentWithin(scene, engagedMs - 1)).to.deep.equal([])
    expect(await sentWithin(scene, 1)).to.deep.equal([pong])
    expect(lock.held).to.equal(true)
  })

  it('is sent within 0.4 of the lease when a waiting request has ended the idle lease', async () => {
    const scene = await openScriptedSession({}, welcome({ features: ['idleLease'] }))
    expect(await sentWithin(scene, idleMs)).to.deep.equal([idlePong])
    acknowledge(scene)
    scene.clock.advance(2_000)
    scene.session.lock('k').catch(() => {})
    await untilTurnEnds()
    expect(await sentWithin(scene, engagedMs)).to.deep.equal([pong])
  })

  it('keeps an idle session for the idle lease, and a lock only for the lease', async () => {
    const scene = await openScriptedSession({}, welcome({ features: ['idleLease'] }))
    expect(await sentWithin(scene, idleMs)).to.deep.equal([idlePong])
    acknowledge(scene)
    // The client counts a lease a little shorter than the broker: the ordinary lease as 9,699 ms,
    // and the idle lease as 19,399 ms.
    scene.clock.advance(19_398)
    expect(scene.events).to.deep.equal([])
    const lock = await acquireLock(scene)
    scene.clock.advance(9_698)
    expect([lock.held, scene.events]).to.deep.equal([true, []])
    scene.clock.advance(1)
    expect([lock.held, scene.events]).to.deep.equal([false, ['lost session']])
  })

  it('must be acknowledged within a tenth of the ordinary lease, even during the idle lease', async () => {
    const scene = await openScriptedSession(
      { reconnect: [0] },
      welcomeWithGrace({ features: ['idleLease'] }),
    )
    const { socket } = scene
    expect(await sentWithin(scene, idleMs)).to.deep.equal([idlePong])
    acknowledge(scene)
    expect(await sentWithin(scene, 2 * idleMs)).to.deep.equal([idlePong])
    scene.clock.advance(999)
    expect(socket.closedByClient).to.equal(false)
    scene.clock.advance(1)
    expect(socket.closedByClient).to.equal(true)
  })

  it('keeps a lock only for the ordinary lease if it was requested before the ack of the idle pong', async () => {
    const scene = await openScriptedSession({}, welcome({ features: ['idleLease'] }))
    scene.socket.newMessages()
    scene.clock.advance(idleMs)
    // The client sends the pong and the request in one write. The lease begins at this write.
    const request = scene.session.lock('k')
    await untilTurnEnds()
    expect(scene.socket.newMessages()).to.have.length(2)
    // Acknowledges the first two messages: the hello and the pong.
    scene.socket.deliver({ type: 'ack', n: 2, at: 50_000 })
    scene.socket.deliver({ type: 'granted', id: 1, fence: 1, at: 50_000 })
    const lock = await request
    scene.clock.advance(9_698)
    expect(lock.held).to.equal(true)
    scene.clock.advance(1)
    expect(lock.held).to.equal(false)
  })

  it('keeps a session only for the ordinary lease if it requested a lock before the ack of the idle pong', async () => {
    const scene = await openScriptedSession({}, welcome({ features: ['idleLease'] }))
    expect(await sentWithin(scene, idleMs)).to.deep.equal([idlePong])
    scene.session.lock('k').catch(() => {})
    await untilTurnEnds()
    // Acknowledges the hello and the pong, but not the request.
    scene.socket.deliver({ type: 'ack', n: 2, at: 50_000 })
    scene.clock.advance(9_698)
    expect(scene.socket.closedByClient).to.equal(false)
    scene.clock.advance(1)
    expect(scene.socket.closedByClient).to.equal(true)
  })

  it('ends with the connection', async () => {
    const scene = await openScriptedSession({ reconnect: [100_000] }, welcomeWithGrace())
    const { socket } = scene
    socket.end()
    socket.newMessages()
    scene.clock.advance(idleMs)
    await untilTurnEnds()
    expect(socket.newMessages()).to.deep.equal([])
  })
})
