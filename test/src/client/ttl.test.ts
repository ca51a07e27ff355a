/**
 * Tests the expiry and the refreshes of a lock with a ttl, which is how long the lock lasts without
 * a refresh. The client subtracts 1 % and a margin from the ttl, so that it ends the lock before
 * the broker does. A fence is the number of a grant. `at` is a time by the clock of the broker,
 * which shows 50,000 when the client connects.
 */
import { expect } from 'chai'
import {
  acknowledge,
  acquireLock,
  errorCodeOf,
  openScriptedSession,
  stateOf,
  untilTurnEnds,
} from '../support/scriptedSession.js'

/** How long the client relies on a ttl of 1,000 ms, in ms: less 1 % and a margin of 51 ms. */
const countedTtlMs = 939
/** How long the client relies on a ttl of 5,000 ms, in ms: less 1 % and a margin of 101 ms. */
const countedLongTtlMs = 4_849

describe('a client that holds a lock with a ttl', () => {
  it('counts the ttl of an immediate grant from when the client sent the request', async () => {
    const scene = await openScriptedSession()
    scene.clock.advance(3_000)
    const lock = await acquireLock(scene, { ttl: 1_000, at: 53_000 })
    scene.clock.advance(countedTtlMs - 1)
    expect(lock.held).to.equal(true)
    scene.clock.advance(1)
    expect(lock.held).to.equal(false)
    expect(scene.events).to.deep.equal(['lost expired'])
    expect(scene.session.state).to.equal('connected')
  })

  it('after a wait, counts the ttl from the grant, whose time it computes from the newest ack', async () => {
    const scene = await openScriptedSession()
    const requesting = scene.session.lock('k', { ttl: 1_000 })
    await untilTurnEnds()
    scene.clock.advance(4_000)
    scene.socket.deliver({ type: 'ping', n: 1 })
    await untilTurnEnds()
    // The client sent the pong at 4,000 by its own clock. By the clock of the broker, the pong
    // arrived at 54,010, and the grant follows 990 ms later. So by the clock of the client, the
    // grant is at 4,990 or later.
    acknowledge(scene, { at: 54_010 })
    scene.clock.advance(1_000)
    scene.socket.deliver({ type: 'granted', id: 1, fence: 1, at: 55_000 })
    const lock = await requesting
    // The ttl ends 990 + 1,000 ms after the pong. The client subtracts 1 % of this time, and then
    // the margin of 51 ms.
    const expiry = 4_000 + (990 + 1_000) * 0.99 - 51
    scene.clock.advance(Math.floor(expiry - 5_000))
    expect(lock.held).to.equal(true)
    scene.clock.advance(1)
    expect(lock.held).to.equal(false)
  })

  it('counts the ttl of a refresh from when the client sent the refresh', async () => {
    const scene = await openScriptedSession()
    const lock = await acquireLock(scene, { ttl: 1_000, at: 50_000 })
    scene.clock.advance(500)
    const refreshing = lock.refresh()
    await untilTurnEnds()
    expect(scene.socket.newMessages().at(-1)).to.deep.equal({ type: 'refresh', id: 2, fence: 1 })
    scene.clock.advance(300)
    scene.socket.deliver({ type: 'refreshed', id: 2 })
    await refreshing
    // 300 ms have passed since the refresh.
    scene.clock.advance(countedTtlMs - 300 - 1)
    expect(lock.held).to.equal(true)
    scene.clock.advance(1)
    expect(lock.held).to.equal(false)
  })

  it('unlocks a lock that expired at the client before a refresh was confirmed', async () => {
    const scene = await openScriptedSession()
    const lock = await acquireLock(scene, { ttl: 1_000, at: 50_000 })
    scene.clock.advance(900)
    const refreshing = errorCodeOf(lock.refresh())
    await untilTurnEnds()
    scene.clock.advance(100)
    expect(await refreshing).to.equal('LOCK_NOT_HELD')
    scene.socket.newMessages()
    // The broker has restarted the ttl, so the lock would block other sessions.
    scene.socket.deliver({ type: 'refreshed', id: 2 })
    await untilTurnEnds()
    expect(lock.held).to.equal(false)
    expect(scene.socket.newMessages()).to.deep.equal([{ type: 'unlock', id: 3, fence: 1 }])
  })

  it('uses the shorter ttl while a refresh is pending, and the former ttl again after a refusal', async () => {
    const scene = await openScriptedSession()
    const [lock, other] = [
      await acquireLock(scene, { ttl: 5_000, at: 50_000 }),
      await acquireLock(scene, { ttl: 5_000, at: 50_000 }),
    ]
    const refused = errorCodeOf(lock.refresh(1_000))
    void other.refresh(1_000).catch(() => {})
    await untilTurnEnds()
    scene.socket.deliver({ type: 'failed', id: 3, code: 'QUOTA_EXCEEDED', message: '' })
    expect(await refused).to.equal('QUOTA_EXCEEDED')
    scene.clock.advance(countedTtlMs - 1)
    expect([lock.held, other.held]).to.deep.equal([true, true])
    scene.clock.advance(1)
    expect([lock.held, other.held]).to.deep.equal([true, false])
    scene.clock.advance(countedLongTtlMs - countedTtlMs - 1)
    expect(lock.held).to.equal(true)
    scene.clock.advance(1)
    expect(lock.held).to.equal(false)
  })

  it('loses the lock when the broker answers a refresh with LOCK_NOT_HELD', async () => {
    const scene = await openScriptedSession()
    const lock = await acquireLock(scene, { ttl: 1_000, at: 50_000 })
    const refreshing = errorCodeOf(lock.refresh(2_000))
    await untilTurnEnds()
    expect(scene.socket.newMessages().at(-1)).to.deep.include({ ttl: 2_000 })
    scene.socket.deliver({ type: 'failed', id: 2, code: 'LOCK_NOT_HELD', message: '' })
    expect(await refreshing).to.equal('LOCK_NOT_HELD')
    expect(scene.events).to.deep.equal(['lost expired'])
  })

  it('refreshes periodically until the lock is unlocked', async () => {
    const scene = await openScriptedSession()
    const lock = await acquireLock(scene, { ttl: 1_000, at: 50_000 })
    scene.socket.newMessages()
    const running = lock.autoRefresh({ interval: 300, timeout: 600 })
    // Seven refreshes last 2,100 ms, which is longer than the ttl.
    for (let id = 2; id <= 8; id++) {
      scene.clock.advance(300)
      await untilTurnEnds()
      expect(scene.socket.newMessages()).to.deep.equal([{ type: 'refresh', id, fence: 1 }])
      scene.socket.deliver({ type: 'refreshed', id })
      await untilTurnEnds()
    }
    expect(lock.held).to.equal(true)
    expect(await stateOf(running)).to.equal('pending')
    void lock.unlock()
    expect(await stateOf(running)).to.equal('resolved')
    scene.clock.advance(1_000)
    await untilTurnEnds()
    expect(scene.socket.newMessages()).to.deep.equal([{ type: 'unlock', id: 9, fence: 1 }])
  })

  it('refreshes when a message arrives, if no timer fires', async () => {
    const scene = await openScriptedSession()
    const lock = await acquireLock(scene, { ttl: 6_000, at: 50_000 })
    void lock.autoRefresh({ interval: 2_000, timeout: 3_000 })
    scene.socket.newMessages()
    scene.clock.advanceWithoutTimers(3_000)
    scene.socket.deliver({ type: 'ping', n: 1 })
    await untilTurnEnds()
    expect(scene.socket.newMessages()).to.deep.equal([
      { type: 'pong', n: 1 },
      { type: 'refresh', id: 2, fence: 1 },
    ])
  })

  it('stops refreshing when the response to a refresh does not arrive in time', async () => {
    const scene = await openScriptedSession()
    const lock = await acquireLock(scene, { ttl: 1_000, at: 50_000 })
    const running = errorCodeOf(lock.autoRefresh({ interval: 300, timeout: 400 }))
    // The sum of the interval and the timeout.
    scene.clock.advance(700)
    expect(await running).to.equal('LOCK_TIMEOUT')
    expect(lock.held).to.equal(true)
  })

  it('reports no expiry after an unlock during a refresh', async () => {
    const scene = await openScriptedSession()
    const lock = await acquireLock(scene, { ttl: 1_000, at: 50_000 })
    const refreshing = lock.refresh()
    const unlocking = lock.unlock()
    await untilTurnEnds()
    scene.socket.deliver({ type: 'refreshed', id: 2 }, { type: 'unlocked', id: 3 })
    await Promise.all([refreshing, unlocking])
    scene.clock.advance(2_000)
    expect(scene.events).to.deep.equal([])
  })

  it('sends no further refresh when the lock is unlocked during a refresh', async () => {
    const scene = await openScriptedSession()
    const lock = await acquireLock(scene, { ttl: 1_000, at: 50_000 })
    const running = lock.autoRefresh({ interval: 300, timeout: 400 })
    scene.clock.advance(300)
    void lock.unlock()
    await running
    scene.socket.deliver({ type: 'refreshed', id: 2 }, { type: 'unlocked', id: 3 })
    await untilTurnEnds()
    scene.socket.newMessages()
    scene.clock.advance(1_000)
    await untilTurnEnds()
    expect(scene.socket.newMessages()).to.deep.equal([])
  })

  it('does not wait for the response to a refresh of a lost lock', async () => {
    const scene = await openScriptedSession()
    const lock = await acquireLock(scene)
    const refreshing = errorCodeOf(lock.refresh())
    await untilTurnEnds()
    scene.socket.deliver({ type: 'lost', fence: 1, reason: 'stolen' })
    expect(await refreshing).to.equal('LOCK_NOT_HELD')
  })

  it('stops refreshing when the lock is lost', async () => {
    const scene = await openScriptedSession()
    const lock = await acquireLock(scene, { ttl: 1_000, at: 50_000 })
    const running = errorCodeOf(lock.autoRefresh({ interval: 300, timeout: 400 }))
    scene.socket.deliver({ type: 'lost', fence: 1, reason: 'stolen' })
    expect(await running).to.equal('LOCK_LOST')
  })

  it('refuses an invalid interval, timeout or ttl', async () => {
    const scene = await openScriptedSession()
    const lock = await acquireLock(scene, { ttl: 1_000, at: 50_000 })
    const codeFor = (interval: unknown, timeout: unknown) =>
      errorCodeOf(lock.autoRefresh({ interval, timeout } as { interval: number; timeout: number }))
    // The sum of the interval and the timeout must be less than the ttl.
    expect(await codeFor(500, 500)).to.equal('INVALID_INTERVAL')
    expect(await codeFor(0, 500)).to.equal('INVALID_INTERVAL')
    expect(await codeFor('1', 500)).to.equal('INVALID_INTERVAL')
    expect(await codeFor(100, 0)).to.equal('INVALID_TIMEOUT')
    expect(await codeFor(100, undefined)).to.equal('INVALID_TIMEOUT')
    expect(await errorCodeOf(lock.refresh(0))).to.equal('INVALID_TTL')
    void lock.unlock()
    // For an unlocked lock, the call resolves immediately.
    expect(await codeFor(400, 500)).to.equal('none')
  })

  it('without options, refreshes after a third of the ttl', async () => {
    const scene = await openScriptedSession()
    const lock = await acquireLock(scene, { ttl: 900, at: 50_000 })
    const running = lock.autoRefresh()
    scene.clock.advance(299)
    await untilTurnEnds()
    // The client has sent only its hello and the request for the lock.
    expect(scene.socket.sent).to.have.length(2)
    scene.clock.advance(1)
    await untilTurnEnds()
    expect(scene.socket.sent.at(-1)).to.deep.equal({ type: 'refresh', id: 2, fence: 1 })
    // By default, the timeout is also a third of the ttl.
    scene.clock.advance(300)
    expect(await errorCodeOf(running)).to.equal('LOCK_TIMEOUT')
  })

  it('accepts autoRefresh without options for a ttl of 3 ms, the shortest that it allows', async () => {
    const lock = await acquireLock(await openScriptedSession(), { ttl: 3, at: 50_000 })
    expect(await stateOf(lock.autoRefresh())).to.equal('pending')
    void lock.unlock()
  })

  it('needs an interval and a timeout for a lock without a ttl', async () => {
    const lock = await acquireLock(await openScriptedSession())
    const error: Error = await lock.autoRefresh().then(
      () => expect.fail('autoRefresh did not reject'),
      (error) => error,
    )
    expect(error.message).to.include('the lock has no ttl')
    expect(error).to.include({ code: 'INVALID_INTERVAL' })
  })

  it('refreshes a lock without a ttl to learn whether the session still holds the lock', async () => {
    const scene = await openScriptedSession()
    const lock = await acquireLock(scene)
    const running = lock.autoRefresh({ interval: 1_000, timeout: 50_000 })
    scene.clock.advance(1_000)
    await untilTurnEnds()
    scene.socket.deliver({ type: 'refreshed', id: 2 })
    expect(await stateOf(running)).to.equal('pending')
    scene.clock.advance(1_000)
    await untilTurnEnds()
    scene.socket.deliver({ type: 'failed', id: 3, code: 'LOCK_NOT_HELD', message: '' })
    expect(await stateOf(running)).to.not.equal('pending')
    expect(lock.held).to.equal(false)
  })
})
