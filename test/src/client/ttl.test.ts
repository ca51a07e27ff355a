/** A lock with a ttl: until when it may be believed in, and how it is kept. */
import { expect } from 'chai'
import {
  acknowledge,
  codeOf,
  openScene,
  stateOf,
  takeLock,
  turn,
} from '../support/scriptedSession.js'

describe('holding a lock with a ttl', () => {
  it('counts an immediate grant from its asking', async () => {
    const scene = await openScene()
    scene.clock.advance(3_000)
    const lock = await takeLock(scene, { ttl: 1_000, at: 53_000 })
    scene.clock.advance(938)
    expect(lock.held).to.equal(true)
    scene.clock.advance(1)
    expect(lock.held).to.equal(false)
    expect(scene.events).to.deep.equal(['lost expired'])
    expect(scene.session.state).to.equal('connected')
  })

  it('counts a grant that was waited for by the newest exchange', async () => {
    const scene = await openScene()
    const asking = scene.session.lock('k', { ttl: 1_000 })
    await turn()
    scene.clock.advance(4_000)
    scene.socket.say({ type: 'ping', n: 1 })
    await turn()
    // The pong of 4,000 arrived at 54,010; the grant was made at 55,000, which is 4,990 or later.
    acknowledge(scene, 54_010)
    scene.clock.advance(1_000)
    scene.socket.say({ type: 'granted', id: 1, fence: 1, at: 55_000 })
    const lock = await asking
    const bound = 4_000 + (990 + 1_000) * 0.99 - 51
    scene.clock.advance(Math.floor(bound - 5_000))
    expect(lock.held).to.equal(true)
    scene.clock.advance(1)
    expect(lock.held).to.equal(false)
  })

  it('is refreshed from the sending of the refresh', async () => {
    const scene = await openScene()
    const lock = await takeLock(scene, { ttl: 1_000, at: 50_000 })
    scene.clock.advance(500)
    const refreshing = lock.refresh()
    await turn()
    expect(scene.socket.take().at(-1)).to.deep.equal({ type: 'refresh', id: 2, fence: 1 })
    scene.clock.advance(300)
    scene.socket.say({ type: 'refreshed', id: 2 })
    await refreshing
    scene.clock.advance(638)
    expect(lock.held).to.equal(true)
    scene.clock.advance(1)
    expect(lock.held).to.equal(false)
  })

  it('is given back if a refresh succeeded of which we heard too late', async () => {
    const scene = await openScene()
    const lock = await takeLock(scene, { ttl: 1_000, at: 50_000 })
    scene.clock.advance(900)
    const refreshing = codeOf(lock.refresh())
    await turn()
    scene.clock.advance(100)
    expect(await refreshing).to.equal('LOCK_NOT_HELD')
    scene.socket.take()
    scene.socket.say({ type: 'refreshed', id: 2 })
    await turn()
    expect(lock.held).to.equal(false)
    expect(scene.socket.take()).to.deep.equal([{ type: 'unlock', id: 3, fence: 1 }])
  })

  it('may be as short as a refresh wants it, answered or not, and as long again if that is refused', async () => {
    const scene = await openScene()
    const [lock, other] = [
      await takeLock(scene, { ttl: 5_000, at: 50_000 }),
      await takeLock(scene, { ttl: 5_000, at: 50_000 }),
    ]
    const refused = codeOf(lock.refresh(1_000))
    void other.refresh(1_000).catch(() => {})
    await turn()
    scene.socket.say({ type: 'failed', id: 3, code: 'QUOTA_EXCEEDED', message: '' })
    expect(await refused).to.equal('QUOTA_EXCEEDED')
    scene.clock.advance(938)
    expect([lock.held, other.held]).to.deep.equal([true, true])
    scene.clock.advance(1)
    expect([lock.held, other.held]).to.deep.equal([true, false])
    scene.clock.advance(4_849 - 939 - 1)
    expect(lock.held).to.equal(true)
    scene.clock.advance(1)
    expect(lock.held).to.equal(false)
  })

  it('is lost when the broker says that a refresh came too late', async () => {
    const scene = await openScene()
    const lock = await takeLock(scene, { ttl: 1_000, at: 50_000 })
    const refreshing = codeOf(lock.refresh(2_000))
    await turn()
    expect(scene.socket.take().at(-1)).to.deep.include({ ttl: 2_000 })
    scene.socket.say({ type: 'failed', id: 2, code: 'LOCK_NOT_HELD', message: '' })
    expect(await refreshing).to.equal('LOCK_NOT_HELD')
    expect(scene.events).to.deep.equal(['lost expired'])
  })

  it('refreshes by itself until it is unlocked', async () => {
    const scene = await openScene()
    const lock = await takeLock(scene, { ttl: 1_000, at: 50_000 })
    scene.socket.take()
    const running = lock.autoRefresh({ interval: 300, timeout: 600 })
    for (let id = 2; id <= 8; id++) {
      scene.clock.advance(300)
      await turn()
      expect(scene.socket.take()).to.deep.equal([{ type: 'refresh', id, fence: 1 }])
      scene.socket.say({ type: 'refreshed', id })
      await turn()
    }
    expect(lock.held).to.equal(true)
    expect(await stateOf(running)).to.equal('pending')
    void lock.unlock()
    expect(await stateOf(running)).to.equal('resolved')
    scene.clock.advance(1_000)
    await turn()
    expect(scene.socket.take()).to.deep.equal([{ type: 'unlock', id: 9, fence: 1 }])
  })

  it('refreshes when the broker is heard, where no timer fires', async () => {
    const scene = await openScene()
    const lock = await takeLock(scene, { ttl: 6_000, at: 50_000 })
    void lock.autoRefresh({ interval: 2_000, timeout: 3_000 })
    scene.socket.take()
    scene.clock.stop(3_000)
    scene.socket.say({ type: 'ping', n: 1 })
    await turn()
    expect(scene.socket.take()).to.deep.equal([
      { type: 'pong', n: 1 },
      { type: 'refresh', id: 2, fence: 1 },
    ])
  })

  it('stops refreshing at the first refresh that is not answered in time', async () => {
    const scene = await openScene()
    const lock = await takeLock(scene, { ttl: 1_000, at: 50_000 })
    const running = codeOf(lock.autoRefresh({ interval: 300, timeout: 400 }))
    scene.clock.advance(700)
    expect(await running).to.equal('LOCK_TIMEOUT')
    expect(lock.held).to.equal(true)
  })

  it('leaves no deadline behind when it is unlocked with a refresh on its way', async () => {
    const scene = await openScene()
    const lock = await takeLock(scene, { ttl: 1_000, at: 50_000 })
    const refreshing = lock.refresh()
    const unlocking = lock.unlock()
    await turn()
    scene.socket.say({ type: 'refreshed', id: 2 }, { type: 'unlocked', id: 3 })
    await Promise.all([refreshing, unlocking])
    scene.clock.advance(2_000)
    expect(scene.events).to.deep.equal([])
  })

  it('asks for no other refresh when it is unlocked while one is on its way', async () => {
    const scene = await openScene()
    const lock = await takeLock(scene, { ttl: 1_000, at: 50_000 })
    const running = lock.autoRefresh({ interval: 300, timeout: 400 })
    scene.clock.advance(300)
    void lock.unlock()
    await running
    scene.socket.say({ type: 'refreshed', id: 2 }, { type: 'unlocked', id: 3 })
    await turn()
    scene.socket.take()
    scene.clock.advance(1_000)
    await turn()
    expect(scene.socket.take()).to.deep.equal([])
  })

  it('does not wait for the answer to a refresh of what is known to be lost', async () => {
    const scene = await openScene()
    const lock = await takeLock(scene)
    const refreshing = codeOf(lock.refresh())
    await turn()
    scene.socket.say({ type: 'lost', fence: 1, reason: 'stolen' })
    expect(await refreshing).to.equal('LOCK_NOT_HELD')
  })

  it('stops refreshing when the lock is lost', async () => {
    const scene = await openScene()
    const lock = await takeLock(scene, { ttl: 1_000, at: 50_000 })
    const running = codeOf(lock.autoRefresh({ interval: 300, timeout: 400 }))
    scene.socket.say({ type: 'lost', fence: 1, reason: 'stolen' })
    expect(await running).to.equal('LOCK_LOST')
  })

  it('does not refresh what interval and timeout cannot keep', async () => {
    const scene = await openScene()
    const lock = await takeLock(scene, { ttl: 1_000, at: 50_000 })
    const codeFor = (interval: unknown, timeout: unknown) =>
      codeOf(lock.autoRefresh({ interval, timeout } as { interval: number; timeout: number }))
    expect(await codeFor(500, 500)).to.equal('INVALID_INTERVAL')
    expect(await codeFor(0, 500)).to.equal('INVALID_INTERVAL')
    expect(await codeFor('1', 500)).to.equal('INVALID_INTERVAL')
    expect(await codeFor(100, 0)).to.equal('INVALID_TIMEOUT')
    expect(await codeFor(100, undefined)).to.equal('INVALID_TIMEOUT')
    expect(await codeOf(lock.refresh(0))).to.equal('INVALID_TTL')
    void lock.unlock()
    expect(await codeFor(400, 500)).to.equal('none')
  })

  it('refreshes every third of the ttl when it is told nothing', async () => {
    const scene = await openScene()
    const lock = await takeLock(scene, { ttl: 900, at: 50_000 })
    const running = lock.autoRefresh()
    scene.clock.advance(299)
    await turn()
    expect(scene.socket.sent).to.have.length(2)
    scene.clock.advance(1)
    await turn()
    expect(scene.socket.sent.at(-1)).to.deep.equal({ type: 'refresh', id: 2, fence: 1 })
    scene.clock.advance(300)
    expect(await stateOf(running)).to.equal('LOCK_TIMEOUT')
  })

  it('refreshes every third also of the shortest ttl that has one', async () => {
    const lock = await takeLock(await openScene(), { ttl: 3, at: 50_000 })
    expect(await stateOf(lock.autoRefresh())).to.equal('pending')
    void lock.unlock()
  })

  it('without a ttl has to be told what to refresh by', async () => {
    const lock = await takeLock(await openScene())
    const error: Error = await lock.autoRefresh().then(
      () => expect.fail('it did not reject'),
      (error) => error,
    )
    expect(error.message).to.include('the lock has no ttl')
    expect(error).to.include({ code: 'INVALID_INTERVAL' })
  })

  it('only verifies without a ttl', async () => {
    const scene = await openScene()
    const lock = await takeLock(scene)
    const running = lock.autoRefresh({ interval: 1_000, timeout: 50_000 })
    scene.clock.advance(1_000)
    await turn()
    scene.socket.say({ type: 'refreshed', id: 2 })
    expect(await stateOf(running)).to.equal('pending')
    scene.clock.advance(1_000)
    await turn()
    scene.socket.say({ type: 'failed', id: 3, code: 'LOCK_NOT_HELD', message: '' })
    expect(await stateOf(running)).to.not.equal('pending')
    expect(lock.held).to.equal(false)
  })
})
