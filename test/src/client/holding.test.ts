/**
 * Tests how long the client regards a lock as held, and what the client does at the end of that
 * time. The lease is how long the broker keeps a silent session; the grace is how long the broker
 * keeps a session without a connection. A session with a grace is in jeopardy while its connection
 * is down. A fence is the number of a grant. The clock of the broker shows 50,000 ms when the
 * client connects.
 */
import type { HoldfastError, ServerMessage } from '@holdfast/shared'
import { expect } from 'chai'
import {
  acknowledge,
  acquireLock,
  errorCodeOf,
  openScriptedSession,
  stateOf,
  untilTurnEnds,
  welcomeWithGrace,
} from '../support/scriptedSession.js'

/**
 * How long the client relies on a lease of 10,000 ms, in ms. The client subtracts 1 % and a margin
 * of 201 ms, so that it gives up a lock before the broker does (see `lease.test.ts`).
 */
const leaseMs = 9_699

describe('holding a lock', () => {
  it('lasts for one lease, counted from when the client sent the last acknowledged message', async () => {
    const scene = await openScriptedSession()
    scene.clock.advance(1_000)
    const lock = await acquireLock(scene)
    scene.clock.advance(leaseMs - 1)
    expect(lock.held).to.equal(true)
    scene.clock.advance(1)
    expect(lock.held).to.equal(false)
    expect(scene.events).to.deep.equal(['lost session'])
    expect(lock.signal.reason).to.include({ code: 'LOCK_LOST', reason: 'session' })
    expect(scene.socket.closedByClient).to.equal(true)
  })

  it('is extended by acknowledged pongs, and not by pongs alone', async () => {
    const scene = await openScriptedSession()
    const lock = await acquireLock(scene)
    for (let n = 1; n <= 5; n++) {
      scene.clock.advance(3_000)
      scene.socket.deliver({ type: 'ping', n })
      await untilTurnEnds()
      acknowledge(scene)
    }
    expect(lock.held).to.equal(true)
    // 4 * 2,424 ms are 3 ms less than `leaseMs`.
    for (let n = 6; n <= 9; n++) {
      scene.clock.advance(2_424)
      scene.socket.deliver({ type: 'ping', n })
      await untilTurnEnds()
    }
    expect(lock.held).to.equal(true)
    scene.clock.advance(3)
    expect(lock.held).to.equal(false)
  })

  it('counts the lease from when the client sent a message, even if its ack is late', async () => {
    const scene = await openScriptedSession()
    const lock = await acquireLock(scene)
    scene.socket.deliver({ type: 'ping', n: 1 })
    await untilTurnEnds()
    scene.clock.advance(9_000)
    acknowledge(scene)
    // The lease ends 9,699 ms after the pong.
    scene.clock.advance(698)
    expect(lock.held).to.equal(true)
    scene.clock.advance(1)
    expect(lock.held).to.equal(false)
  })

  it('ends after a pause of the process, before any timer fires', async () => {
    const scene = await openScriptedSession()
    const lock = await acquireLock(scene)
    const abortEvents: string[] = []
    lock.signal.addEventListener('abort', () => abortEvents.push('aborted'))
    scene.clock.advanceWithoutTimers(leaseMs)
    expect(lock.held).to.equal(false)
    expect(abortEvents).to.deep.equal(['aborted'])
    expect(scene.events).to.deep.equal(['lost session'])
  })

  it('ends when only the wall clock advances by the lease', async () => {
    const scene = await openScriptedSession()
    const lock = await acquireLock(scene)
    scene.clock.moveWallClock(leaseMs)
    expect(lock.held).to.equal(false)
  })

  it('ends in time although the wall clock was set back', async () => {
    const scene = await openScriptedSession()
    const lock = await acquireLock(scene)
    scene.clock.moveWallClock(-86_400_000)
    expect(lock.held).to.equal(true)
    scene.clock.advanceWithoutTimers(leaseMs)
    expect(lock.held).to.equal(false)
  })

  it('ends before the client handles a frame that arrived after the lease', async () => {
    const scene = await openScriptedSession()
    const lock = await acquireLock(scene)
    const requesting = scene.session.lock('other')
    await untilTurnEnds()
    scene.clock.advanceWithoutTimers(leaseMs)
    const order: string[] = []
    lock.signal.addEventListener('abort', () => order.push('aborted'))
    void requesting.then(() => order.push('granted'))
    scene.socket.deliver({ type: 'ack', n: 3, at: 50_001 }, {
      type: 'granted',
      id: 2,
      fence: 2,
    } satisfies ServerMessage)
    await untilTurnEnds()
    expect(order).to.deep.equal(['aborted'])
    expect(await stateOf(requesting)).to.equal('pending')
  })

  it('ends for all locks before the client calls a listener', async () => {
    const scene = await openScriptedSession()
    const a = await acquireLock(scene)
    const b = await acquireLock(scene)
    let isOtherHeld: boolean | undefined
    a.signal.addEventListener('abort', () => {
      isOtherHeld = b.held
    })
    scene.clock.advance(leaseMs)
    expect(isOtherHeld).to.equal(false)
  })

  it('lasts as long as session.leaseLeft shows', async () => {
    const { session, clock, socket } = await openScriptedSession()
    expect(session.leaseLeft).to.equal(leaseMs)
    // The client uses the clock that has advanced more: first the wall clock, and after this clock
    // was set back, the monotonic clock.
    clock.advance(1_000)
    clock.moveWallClock(500)
    expect(session.leaseLeft).to.equal(leaseMs - 1_500)
    clock.moveWallClock(-9_000)
    expect(session.leaseLeft).to.equal(leaseMs - 1_000)
    socket.end()
    expect(session.leaseLeft).to.equal(0)
  })

  it('ends immediately when the connection drops, if the session has no grace', async () => {
    const scene = await openScriptedSession()
    const lock = await acquireLock(scene)
    scene.socket.end()
    expect([lock.held, lock.signal.aborted]).to.deep.equal([false, true])
    expect(scene.lost).to.deep.equal([{ key: 'k', fence: 1, reason: 'session' }])
  })

  it('ends with a loss, after which an unlock rejects with LOCK_NOT_HELD and the reason', async () => {
    const scene = await openScriptedSession()
    const lock = await acquireLock(scene)
    scene.socket.deliver({ type: 'lost', fence: 1, reason: 'stolen' })
    expect(scene.events).to.deep.equal(['lost stolen'])
    const error = (await lock.unlock().catch((e: HoldfastError) => e)) as HoldfastError
    expect(error.code).to.equal('LOCK_NOT_HELD')
    expect((error.cause as HoldfastError).code).to.equal('LOCK_LOST')
    await lock[Symbol.asyncDispose]()
    expect(await errorCodeOf(lock.refresh())).to.equal('LOCK_NOT_HELD')
  })

  it('ends with the reason of a loss, even if the loss came before the caller had the lock', async () => {
    const scene = await openScriptedSession()
    const locking = scene.session.lock('k')
    const withLockError = scene.session
      .withLock('l', () => {})
      .catch((error: HoldfastError) => error)
    await untilTurnEnds()
    const lost = { type: 'lost', reason: 'stolen' }
    scene.socket.deliver({ type: 'granted', id: 1, fence: 7 }, { ...lost, fence: 7 })
    scene.socket.deliver({ type: 'granted', id: 2, fence: 8 }, { ...lost, fence: 8 })
    const lock = await locking
    expect(await errorCodeOf(lock.unlock())).to.equal('LOCK_NOT_HELD')
    expect(lock.lost).to.include({ code: 'LOCK_LOST', reason: 'stolen' })
    expect(lock.signal.aborted).to.equal(true)
    expect(await withLockError).to.include({ code: 'LOCK_LOST', reason: 'stolen' })
  })

  it('ends without a reported loss if the lock expires while the unlock is under way', async () => {
    const scene = await openScriptedSession()
    const lock = await acquireLock(scene)
    const unlocking = errorCodeOf(lock.unlock())
    scene.socket.deliver({ type: 'lost', fence: 1, reason: 'expired' })
    scene.socket.deliver({ type: 'failed', id: 2, code: 'LOCK_NOT_HELD', message: '' })
    expect(await unlocking).to.equal('LOCK_NOT_HELD')
    expect(scene.events).to.deep.equal([])
    expect(lock.signal.aborted).to.equal(false)
  })

  it('causes no unhandled rejection when no listener hears of the loss', async () => {
    const scene = await openScriptedSession()
    const lock = await acquireLock(scene, { ttl: 1_000, at: 50_000 })
    void lock.autoRefresh({ interval: 100, timeout: 100 })
    scene.socket.end()
    void lock.unlock()
    // An unhandled rejection would fail the test.
    await untilTurnEnds()
    expect(lock.held).to.equal(false)
  })
})

describe('a lock of a session with a grace', () => {
  it('is in jeopardy when the connection drops, and lost when the lease is over', async () => {
    const scene = await openScriptedSession({ reconnect: [100_000] }, welcomeWithGrace())
    const lock = await acquireLock(scene)
    scene.clock.advance(1_000)
    scene.socket.end()
    expect([lock.held, scene.session.state]).to.deep.equal([true, 'disconnected'])
    scene.clock.advance(leaseMs - 1_001)
    expect(lock.held).to.equal(true)
    scene.clock.advance(1)
    expect(lock.held).to.equal(false)
    expect(scene.events).to.deep.equal(['jeopardy', 'lost session'])
  })

  it('is lost immediately when the connection drops, if the lease is over', async () => {
    const scene = await openScriptedSession({}, welcomeWithGrace())
    const lock = await acquireLock(scene)
    scene.clock.advanceWithoutTimers(leaseMs)
    scene.socket.end()
    expect(lock.signal.aborted).to.equal(true)
    expect(scene.events).to.deep.equal(['lost session', 'jeopardy'])
  })

  it('is lost after the grace, if the grace is shorter than the lease', async () => {
    const scene = await openScriptedSession(
      { reconnect: [100_000] },
      welcomeWithGrace({ grace: 1_000 }),
    )
    const lock = await acquireLock(scene)
    scene.socket.end()
    // The client subtracts 1 % and a margin of 51 ms from the grace of 1,000 ms.
    expect(scene.session.leaseLeft).to.equal(939)
    scene.clock.advance(938)
    expect(lock.held).to.equal(true)
    scene.clock.advance(1)
    expect(lock.held).to.equal(false)
  })

  it('is held while the client reconnects because no message has come from the broker for half a lease', async () => {
    const scene = await openScriptedSession({ reconnect: [0] }, welcomeWithGrace())
    const lock = await acquireLock(scene)
    const first = scene.socket
    scene.clock.advance(4_999)
    expect(first.closedByClient).to.equal(false)
    scene.clock.advance(1)
    expect(first.closedByClient).to.equal(true)
    expect([lock.held, scene.events]).to.deep.equal([true, ['jeopardy']])
    scene.clock.advance(1)
    expect(scene.network.sockets.length).to.equal(2)
  })

  it('is held while the client reconnects because no new acknowledgement has come for half a lease', async () => {
    const scene = await openScriptedSession({ reconnect: [0] }, welcomeWithGrace())
    const lock = await acquireLock(scene)
    const first = scene.socket
    scene.clock.advance(3_000)
    first.deliver({ type: 'ping', n: 1 })
    await untilTurnEnds()
    acknowledge(scene, { at: 53_000 })
    scene.clock.advance(4_999)
    // A repeated acknowledgement and a ping do not show that the broker has got a new message.
    first.deliver({ type: 'ping', n: 2 })
    first.deliver({ type: 'ack', n: 3, at: 53_000 })
    await untilTurnEnds()
    expect(first.closedByClient).to.equal(false)
    scene.clock.advance(1)
    expect(first.closedByClient).to.equal(true)
    expect([lock.held, scene.events]).to.deep.equal([true, ['jeopardy']])
  })

  it('is held without a reconnect if the client reads frames soon after a pause', async () => {
    const scene = await openScriptedSession({}, welcomeWithGrace())
    const lock = await acquireLock(scene)
    scene.clock.advanceWithoutTimers(8_000)
    // Fires the timers that are late.
    scene.clock.advance(0)
    expect(scene.socket.closedByClient).to.equal(false)
    scene.socket.deliver({ type: 'ping', n: 1 })
    await untilTurnEnds()
    acknowledge(scene)
    scene.clock.advance(4_000)
    expect([lock.held, scene.socket.closedByClient]).to.deep.equal([true, false])
  })

  it('is held when the client drops the connection after a pause in which no frame arrived', async () => {
    const scene = await openScriptedSession({}, welcomeWithGrace())
    const lock = await acquireLock(scene)
    scene.clock.advanceWithoutTimers(8_000)
    // After the pause, the client waits for a tenth of the lease until it drops the connection.
    scene.clock.advance(999)
    expect(scene.socket.closedByClient).to.equal(false)
    scene.clock.advance(1)
    expect([lock.held, scene.socket.closedByClient]).to.deep.equal([true, true])
  })
})
