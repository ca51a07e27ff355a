/**
 * Tests the heartbeat of the client: when the client sends `pong` by itself, so that the broker
 * need not send `ping`. The lease is how long the broker keeps a silent session; it is 10,000 ms
 * here. A session is idle while it holds nothing and no request of it waits. The grace is how long
 * the broker keeps a session without a connection.
 */
import { expect } from 'chai'
import {
  acknowledge,
  acquireLock,
  openScene,
  type Scene,
  turn,
  welcomeWithGrace,
} from '../support/scriptedSession.js'

/** The `pong` that a client sends by itself has the number 0, and answers no `ping`. */
const pong = { type: 'pong', n: 0 }
/** The client must send a `pong` after this time, if its session holds or waits for a lock. */
const engagedMs = 4_000
/** As {@link engagedMs}, for an idle session. */
const idleMs = 6_000

/** Lets time pass, and returns the messages that the client sent meanwhile. */
async function sentWithin(scene: Scene, ms: number): Promise<unknown[]> {
  scene.socket.newMessages()
  scene.clock.advance(ms)
  await turn()
  return scene.socket.newMessages()
}

describe('heartbeat', () => {
  it('is sent every 0.6 of the lease by an idle session', async () => {
    const scene = await openScene()
    for (let beat = 0; beat < 5; beat++) {
      expect(await sentWithin(scene, idleMs - 1)).to.deep.equal([])
      expect(await sentWithin(scene, 1)).to.deep.equal([pong])
      acknowledge(scene)
    }
    expect(scene.events).to.deep.equal([])
  })

  it('is sent every 0.4 of the lease by a session that holds a lock', async () => {
    const scene = await openScene()
    const lock = await acquireLock(scene)
    for (let beat = 0; beat < 5; beat++) {
      expect(await sentWithin(scene, engagedMs - 1)).to.deep.equal([])
      expect(await sentWithin(scene, 1)).to.deep.equal([pong])
      acknowledge(scene)
    }
    expect(lock.held).to.equal(true)
  })

  it('is sent every 0.4 of the lease by a session that waits for a lock', async () => {
    const scene = await openScene()
    const request = scene.session.lock('k')
    request.catch(() => {})
    await turn()
    expect(await sentWithin(scene, engagedMs - 1)).to.deep.equal([])
    expect(await sentWithin(scene, 1)).to.deep.equal([pong])
  })

  it('is sent at 0.6 of the lease if an idle session requests a lock at 0.4 of the lease', async () => {
    const scene = await openScene()
    expect(await sentWithin(scene, engagedMs)).to.deep.equal([])
    scene.session.lock('k').catch(() => {})
    await turn()
    expect(await sentWithin(scene, idleMs - engagedMs)).to.deep.equal([pong])
  })

  it('is not sent while answers show that messages of the client arrive', async () => {
    const scene = await openScene()
    for (let round = 0; round < 5; round++) {
      expect(await sentWithin(scene, 3_000)).to.deep.equal([])
      const lock = await acquireLock(scene, { fence: round + 1 })
      void lock.unlock().catch(() => {})
      await turn()
      // Each round has a lock request with an odd id and an unlock with the next id.
      scene.socket.deliver({ type: 'unlocked', id: 2 * round + 2 })
    }
  })

  it('is postponed by a ping, which the client answers with a pong', async () => {
    const scene = await openScene()
    await acquireLock(scene)
    scene.clock.advance(3_000)
    scene.socket.deliver({ type: 'ping', n: 7 })
    await turn()
    expect(scene.socket.newMessages().at(-1)).to.deep.equal({ type: 'pong', n: 7 })
    acknowledge(scene)
    expect(await sentWithin(scene, engagedMs - 1)).to.deep.equal([])
    expect(await sentWithin(scene, 1)).to.deep.equal([pong])
  })

  it('is not sent in addition to the answer to a ping that arrives before the late timers fire', async () => {
    const scene = await openScene()
    scene.clock.stop(7_000)
    scene.socket.deliver({ type: 'ping', n: 1 })
    await turn()
    expect(scene.socket.newMessages()).to.deep.equal([{ type: 'pong', n: 1 }])
  })

  it('is repeated while the broker acknowledges nothing, until the lease is over', async () => {
    const scene = await openScene()
    const lock = await acquireLock(scene)
    expect(await sentWithin(scene, 9_000)).to.deep.equal([pong, pong])
    expect(lock.held).to.equal(true)
    scene.clock.advance(1_000)
    expect([lock.held, scene.events]).to.deep.equal([false, ['lost session']])
  })

  it('must be acknowledged within a tenth of the lease, or the client drops the connection', async () => {
    const scene = await openScene({ reconnect: [0] }, welcomeWithGrace())
    const { socket } = scene
    expect(await sentWithin(scene, idleMs)).to.deep.equal([pong])
    scene.clock.advance(999)
    expect(socket.dropped).to.equal(false)
    scene.clock.advance(1)
    expect(socket.dropped).to.equal(true)
  })

  it('ends with the connection', async () => {
    const scene = await openScene({ reconnect: [100_000] }, welcomeWithGrace())
    const { socket } = scene
    socket.end()
    socket.newMessages()
    scene.clock.advance(idleMs)
    await turn()
    expect(socket.newMessages()).to.deep.equal([])
  })
})
