/** A dropped connection with a grace: taking the session up again, and making both sides agree. */
import type { Lock } from '@holdfast/client'
import { expect } from 'chai'
import {
  codeOf,
  comeBack,
  graced,
  openScene,
  type Scene,
  stateOf,
  turn,
} from '../support/scriptedSession.js'

const resumed = graced({ resumed: true, secret: 'second', at: 90_000 })

function open(): Promise<Scene> {
  return openScene({ grace: 'lease' }, graced())
}

async function take(scene: Scene, key: string, fence: number): Promise<Lock> {
  const asking = scene.session.lock(key)
  await turn()
  const { id } = scene.socket.sent.at(-1) as { id: number }
  scene.socket.say({ type: 'granted', id, fence })
  return asking
}

function held(id: number, fence: number, key = 'k') {
  return { id, key, mode: 'exclusive', fence }
}

function snapshot(heldItems: object[] = [], waiting: number[] = [], more = false) {
  return { type: 'snapshot', held: heldItems, waiting, more }
}

/** Takes the session up again; what the broker says after its welcome. Returns what the client did. */
async function resume(scene: Scene, ...messages: object[]): Promise<object[]> {
  await comeBack(scene)
  scene.socket.say(resumed, ...(messages as Record<string, unknown>[]))
  await turn()
  return scene.socket.take()
}

const nothingToAck = { type: 'ack', ids: [] }

describe('resuming a session', () => {
  it('shows the newest secret, acknowledges at once, and keeps what is still held', async () => {
    const scene = await open()
    const lock = await take(scene, 'k', 7)
    scene.socket.end()
    expect([scene.session.state, lock.held]).to.deep.equal(['away', true])
    scene.clock.advance(50)
    scene.socket.accept()
    expect(scene.socket.take()).to.deep.equal([
      { type: 'hello', grace: 'lease', resume: { session: 's1', secret: 'first' } },
    ])
    scene.socket.say(resumed)
    await turn()
    expect(scene.socket.take()).to.deep.equal([{ type: 'ack', ids: [1] }])
    expect(scene.session.state).to.equal('away')
    scene.socket.say(snapshot([held(1, 7)]))
    expect([scene.session.state, lock.held]).to.deep.equal(['connected', true])
    expect(scene.events).to.deep.equal(['jeopardy', 'resumed'])
    expect(await comeBack(scene)).to.deep.include({ resume: { session: 's1', secret: 'second' } })
  })

  it('acknowledges even if it has nothing to say', async () => {
    const scene = await open()
    expect(await resume(scene)).to.deep.equal([nothingToAck])
  })

  it('says again what it had acknowledged on a connection that is gone', async () => {
    const scene = await open()
    await take(scene, 'k', 7)
    scene.socket.take()
    scene.socket.say({ type: 'ping', n: 1 })
    await turn()
    expect(scene.socket.take()).to.deep.equal([
      { type: 'pong', n: 1 },
      { type: 'ack', ids: [1] },
    ])
    expect(await resume(scene)).to.deep.equal([{ type: 'ack', ids: [1] }])
  })

  it('loses what is not in the snapshot', async () => {
    const scene = await open()
    const lost = await take(scene, 'k', 7)
    const kept = await take(scene, 'l', 8)
    await resume(scene, snapshot([held(2, 8, 'l')]))
    expect([lost.held, kept.held]).to.deep.equal([false, true])
    expect(scene.events).to.deep.equal(['jeopardy', 'lost stolen', 'resumed'])
  })

  it('settles nothing before the last part of the snapshot', async () => {
    const scene = await open()
    const a = await take(scene, 'a', 7)
    const b = await take(scene, 'b', 8)
    await resume(scene, snapshot([held(2, 8, 'b')], [], true))
    expect([a.held, b.held, scene.session.state]).to.deep.equal([true, true, 'away'])
    scene.socket.say(snapshot([held(1, 7, 'a')]))
    expect([a.held, b.held, scene.session.state]).to.deep.equal([true, true, 'connected'])
  })

  it('asks again, in order and under the same ids, what the broker never heard', async () => {
    const scene = await open()
    const asking = [
      scene.session.lock('waits'),
      scene.session.lock('unheard', { timeout: 20_000 }),
      scene.session.query({ key: 'q' }),
    ]
    await turn()
    scene.clock.advance(1_000)
    await comeBack(scene)
    asking.push(scene.session.lock('new'))
    scene.socket.say(resumed, snapshot([], [1]))
    await turn()
    expect(scene.socket.take()).to.deep.equal([
      nothingToAck,
      { type: 'lock', id: 2, key: 'unheard', timeout: 18_950 },
      { type: 'lock', id: 4, key: 'new' },
      { type: 'query', id: 5, key: 'q' },
    ])
    scene.socket.say({ type: 'granted', id: 1, fence: 70 })
    expect(((await asking[0]) as Lock).fence).to.equal(70)
  })

  it('delivers a grant that fell due while it was away', async () => {
    const scene = await open()
    const asking = scene.session.lock('k')
    await turn()
    const granted = { type: 'granted', id: 1, fence: 7 }
    await comeBack(scene)
    scene.socket.say(resumed, granted)
    expect(await stateOf(asking)).to.equal('pending')
    scene.socket.say(snapshot([held(1, 7)]))
    expect((await asking).held).to.equal(true)
    await turn()
    expect(scene.socket.take()).to.deep.equal([nothingToAck])
  })

  it('delivers a grant of which only the snapshot tells', async () => {
    const scene = await open()
    const asking = scene.session.lock('k', { ttl: 1_000 })
    await turn()
    scene.clock.advance(2_000)
    await resume(scene, snapshot([{ ...held(1, 7), ttl: 1_000, at: 89_900 }]))
    const lock = await asking
    // Granted 100 ms before the hello that was sent just now arrived.
    scene.clock.advance(839)
    expect(lock.held).to.equal(true)
    scene.clock.advance(1)
    expect(lock.held).to.equal(false)
  })

  it('does not deliver a grant that was lost again while it was away', async () => {
    const scene = await open()
    const asking = codeOf(scene.session.lock('k'))
    await turn()
    await resume(scene, { type: 'granted', id: 1, fence: 7 }, snapshot())
    expect(await asking).to.equal('LOCK_LOST')
    expect(scene.socket.take()).to.deep.equal([])
  })

  it('delivers a grant that is made while the snapshot is on its way', async () => {
    const scene = await open()
    const asking = scene.session.lock('k')
    await turn()
    await resume(scene, snapshot([], [1], true), { type: 'granted', id: 1, fence: 7 }, snapshot())
    expect((await asking).fence).to.equal(7)
  })

  it('hears of a loss while the snapshot is on its way', async () => {
    const scene = await open()
    const lock = await take(scene, 'a', 6)
    const asking = codeOf(scene.session.lock('k'))
    await turn()
    await resume(
      scene,
      snapshot([held(1, 6, 'a'), held(2, 7)], [], true),
      { type: 'lost', fence: 7, reason: 'stolen' },
      { type: 'lost', fence: 6, reason: 'stolen' },
      snapshot(),
    )
    expect(await asking).to.equal('LOCK_LOST')
    expect(lock.held).to.equal(false)
  })

  it('cancels what waits and unlocks what is held, if nobody wants it any more', async () => {
    const scene = await open()
    const controllers = [1, 2, 3].map(() => new AbortController())
    for (const { signal } of controllers) void scene.session.lock('k', { signal }).catch(() => {})
    await turn()
    scene.socket.end()
    for (const controller of controllers) controller.abort()
    scene.clock.advance(50)
    scene.socket.accept()
    scene.socket.take()
    scene.socket.say(resumed, { type: 'granted', id: 2, fence: 7 }, snapshot([held(2, 7)], [1]))
    await turn()
    // The answer 2 is acknowledged later; 3 never arrived, and is forgotten.
    expect(scene.socket.take()).to.deep.equal([
      nothingToAck,
      { type: 'unlock', id: 4, fence: 7 },
      { type: 'cancel', request: 1 },
    ])
  })

  it('unlocks what it knows nothing of', async () => {
    const scene = await open()
    const lock = await take(scene, 'k', 7)
    // Its own deadline passes; the broker was slower.
    scene.socket.end()
    scene.clock.stop(9_800)
    expect(lock.held).to.equal(false)
    scene.clock.advance(0)
    scene.socket.accept()
    scene.socket.take()
    scene.socket.say(resumed, snapshot([held(1, 7)]))
    await turn()
    expect(scene.socket.take()).to.deep.equal([
      { type: 'ack', ids: [1] },
      { type: 'unlock', id: 2, fence: 7 },
    ])
    expect(scene.events).to.deep.equal(['jeopardy', 'lost session', 'resumed'])
  })

  it('learns of an unlock that was done, and repeats one that was not', async () => {
    const scene = await open()
    const a = await take(scene, 'a', 7)
    const b = await take(scene, 'b', 8)
    const done = a.unlock()
    const undone = b.unlock()
    await turn()
    const sent = await resume(scene, { type: 'unlocked', id: 3 }, snapshot([held(2, 8, 'b')]))
    await done
    expect(await stateOf(undone)).to.equal('pending')
    expect(sent.slice(1)).to.deep.equal([{ type: 'unlock', id: 4, fence: 8 }])
    scene.socket.say({ type: 'unlocked', id: 4 })
    await undone
    expect(scene.events).to.deep.equal(['jeopardy', 'resumed'])
  })

  it('unlocks while it is away, once it is back', async () => {
    const scene = await open()
    const lock = await take(scene, 'k', 7)
    scene.socket.end()
    const unlocking = lock.unlock()
    expect([lock.held, await stateOf(unlocking)]).to.deep.equal([false, 'pending'])
    scene.clock.advance(50)
    scene.socket.accept()
    scene.socket.take()
    scene.socket.say(resumed, snapshot([held(1, 7)]))
    await turn()
    expect(scene.socket.take().at(-1)).to.deep.equal({ type: 'unlock', id: 2, fence: 7 })
    scene.socket.say({ type: 'unlocked', id: 2 })
    await unlocking
  })

  it('repeats a refresh, and counts it from the sending that arrived', async () => {
    const scene = await open()
    const asking = scene.session.lock('k', { ttl: 5_000 })
    await turn()
    scene.socket.say({ type: 'granted', id: 1, fence: 7, at: 50_000 })
    const lock = await asking
    const refreshing = lock.refresh(9_000)
    await turn()
    scene.clock.advance(1_000)
    const sent = await resume(scene, snapshot([{ ...held(1, 7), ttl: 5_000, at: 89_000 }]))
    expect(sent.slice(1)).to.deep.equal([{ type: 'refresh', id: 2, fence: 7, ttl: 9_000 }])
    scene.socket.say({ type: 'refreshed', id: 2 })
    await refreshing
    scene.clock.advance(4_999)
    expect(lock.held).to.equal(true)
  })

  it('starts again when it is cut off in the middle of a resume', async () => {
    const scene = await open()
    const asking = scene.session.lock('k')
    await turn()
    await resume(scene, { type: 'granted', id: 1, fence: 7 }, snapshot([], [], true))
    // The answer is acknowledged on the next connection, and so is not repeated.
    expect(await resume(scene, snapshot([held(1, 7)]))).to.deep.equal([{ type: 'ack', ids: [1] }])
    expect((await asking).fence).to.equal(7)
    expect(scene.events).to.deep.equal(['jeopardy', 'resumed'])
  })

  it('gives up what it had when the broker does not know the session any more', async () => {
    const scene = await open()
    const lock = await take(scene, 'k', 7)
    const waiting = scene.session.lock('w')
    const unlocking = (await take(scene, 'u', 8)).unlock()
    await turn()
    await comeBack(scene)
    scene.socket.say(graced({ session: 's2', secret: 'new' }))
    await turn()
    expect(lock.held).to.equal(false)
    await unlocking
    expect(scene.events).to.deep.equal(['jeopardy', 'lost session', 'renewed'])
    expect(scene.socket.take()).to.deep.equal([{ type: 'lock', id: 2, key: 'w' }])
    scene.socket.say({ type: 'granted', id: 2, fence: 20 })
    expect((await waiting).fence).to.equal(20)
    expect(await comeBack(scene)).to.deep.include({ resume: { session: 's2', secret: 'new' } })
  })

  it('does not ask for a session that the broker has ended', async () => {
    const scene = await open()
    const lock = await take(scene, 'k', 7)
    scene.socket.end(4410)
    expect(lock.held).to.equal(false)
    scene.clock.advance(50)
    scene.socket.accept()
    expect(scene.socket.take()).to.deep.equal([{ type: 'hello', grace: 'lease' }])
  })

  it('forgets what nobody wants when the session is gone', async () => {
    const scene = await open()
    const controller = new AbortController()
    void scene.session.lock('k', { signal: controller.signal }).catch(() => {})
    await turn()
    scene.socket.end()
    controller.abort()
    scene.clock.advance(50)
    scene.socket.accept()
    scene.socket.take()
    scene.socket.say(graced({ session: 's2' }))
    await turn()
    expect(scene.socket.take()).to.deep.equal([])
  })
})
