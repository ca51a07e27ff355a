/**
 * Tests `lock.refresh` and `lock.autoRefresh`. A refresh checks that the lock is still held, and
 * restarts its ttl, which is how long the lock lasts. `autoRefresh` repeats the refresh until the
 * unlock, or until a refresh fails.
 */
import { expect } from 'chai'
import {
  expectRejection,
  nextEvent,
  recordingWebSocket,
  Stage,
  untilAborted,
  untilMessagesHandled,
} from './stage.js'

describe('e2e: lock.refresh', () => {
  const stage = Stage.forEachTest()

  it('keeps the lock, and increases the counter of refreshes', async () => {
    const { sessions, broker } = await stage.startBrokerWithSessions('ann')
    const lock = await sessions[0]!.lock('k', { ttl: 60_000 })
    await lock.refresh()
    await lock.refresh(30_000)
    expect(broker.stats().refreshCount).to.equal(2)
    expect(lock.held).to.equal(true)
  })

  it('sets a new ttl', async () => {
    const { sessions } = await stage.startBrokerWithSessions('ann')
    const lock = await sessions[0]!.lock('k', { ttl: 60_000 })
    const lost = nextEvent(sessions[0]!, 'lost')
    // On a slow machine the new ttl is over before the answer arrives, and the refresh fails.
    await lock.refresh(20).catch(() => {})
    expect((await lost).reason).to.equal('expired')
    expect(lock.held).to.equal(false)
  })

  it('gives a ttl to a lock without a ttl', async () => {
    const { sessions } = await stage.startBrokerWithSessions('ann')
    const lock = await sessions[0]!.lock('k')
    const lost = nextEvent(sessions[0]!, 'lost')
    // Without an argument, a refresh leaves the lock without a ttl.
    await lock.refresh()
    // As above, this refresh may fail on a slow machine.
    await lock.refresh(20).catch(() => {})
    expect((await lost).reason).to.equal('expired')
  })

  it('rejects with LOCK_NOT_HELD after the lock expired, was stolen or was unlocked', async () => {
    const { sessions } = await stage.startBrokerWithSessions('ann', 'ben')
    const [ann, ben] = sessions
    const expired = await ann!.lock('expired', { ttl: 20 })
    await untilAborted(expired.signal)
    await expectRejection(expired.refresh(), 'LOCK_NOT_HELD')
    const stolen = await ann!.lock('stolen')
    const lost = nextEvent(ann!, 'lost')
    await ben!.lock('stolen', { steal: true })
    await lost
    await expectRejection(stolen.refresh(), 'LOCK_NOT_HELD')
    const unlocked = await ann!.lock('unlocked')
    await unlocked.unlock()
    await expectRejection(unlocked.refresh(), 'LOCK_NOT_HELD')
  })

  it('rejects with ABORTED if its signal is already aborted', async () => {
    const { sessions } = await stage.startBrokerWithSessions('ann')
    const lock = await sessions[0]!.lock('k', { ttl: 60_000 })
    await expectRejection(lock.refresh(undefined, { signal: AbortSignal.abort() }), 'ABORTED')
    expect(lock.held).to.equal(true)
  })
})

describe('e2e: lock.autoRefresh', () => {
  const stage = Stage.forEachTest()

  it('keeps the lock beyond its ttl, and resolves at unlock', async () => {
    const { broker, url } = await stage.startBroker()
    const { frames, WebSocket } = recordingWebSocket()
    const ann = await stage.openSession(url, { WebSocket })
    const ben = await stage.openSession(url)
    const lock = await ann.lock('k', { ttl: 1_500 })
    const refreshing = lock.autoRefresh({ interval: 40, timeout: 1_000 })
    const waiting = ben.lock('k')
    // 40 refreshes, 40 ms apart, take 1,600 ms, which is longer than the ttl.
    await frames.waitUntil(
      (sent) => sent.filter((frame) => frame.includes('"refresh"')).length >= 40,
    )
    expect(lock.held).to.equal(true)
    await lock.unlock()
    await refreshing
    const { refreshCount } = broker.stats()
    expect(refreshCount).to.be.at.least(40)
    await waiting
    // The broker has now counted any refresh that came after the unlock. There was none.
    await untilMessagesHandled(ann)
    expect(broker.stats()).to.include({ refreshCount, expiredLocks: 0, unlockCount: 1 })
  })

  it('rejects at the first refresh that fails', async () => {
    const { sessions } = await stage.startBrokerWithSessions('ann', 'ben')
    const [ann, ben] = sessions
    const lock = await ann!.lock('k', { ttl: 60_000 })
    const refreshing = lock.autoRefresh({ interval: 1, timeout: 1_000 })
    const codeOrResolved = refreshing.then(
      () => 'resolved',
      (error) => error.code,
    )
    await ben!.lock('k', { steal: true })
    // The code depends on which message arrives first: the loss, or the refusal of a refresh.
    expect(await codeOrResolved).to.be.oneOf(['LOCK_LOST', 'LOCK_NOT_HELD'])
    expect(await untilAborted(lock.signal)).to.include({ code: 'LOCK_LOST' })
  })

  it('checks periodically that a lock without a ttl is still held', async () => {
    const { broker, url } = await stage.startBroker()
    const { frames, WebSocket } = recordingWebSocket()
    const session = await stage.openSession(url, { WebSocket })
    const lock = await session.lock('k')
    const refreshing = lock.autoRefresh({ interval: 1, timeout: 60_000 })
    await frames.waitUntil(
      (sent) => sent.filter((frame) => frame.includes('"refresh"')).length >= 3,
    )
    await lock.unlock()
    await refreshing
    expect(broker.stats().refreshCount).to.be.at.least(3)
  })

  it('rejects an interval or a timeout of 0, and a sum of the two that reaches the ttl', async () => {
    const { sessions } = await stage.startBrokerWithSessions('ann')
    const lock = await sessions[0]!.lock('k', { ttl: 1_000 })
    await expectRejection(lock.autoRefresh({ interval: 500, timeout: 500 }), 'INVALID_INTERVAL')
    await expectRejection(lock.autoRefresh({ interval: 0, timeout: 500 }), 'INVALID_INTERVAL')
    await expectRejection(lock.autoRefresh({ interval: 500, timeout: 0 }), 'INVALID_TIMEOUT')
    // The sum is 1 ms less than the ttl.
    const refreshing = lock.autoRefresh({ interval: 500, timeout: 499 })
    await lock.unlock()
    await refreshing
  })

  it('ends immediately on an unlocked lock, and rejects with LOCK_NOT_HELD on a lost lock', async () => {
    const { sessions } = await stage.startBrokerWithSessions('ann')
    const unlocked = await sessions[0]!.lock('a')
    await unlocked.unlock()
    await unlocked.autoRefresh({ interval: 1, timeout: 1 })
    const lost = await sessions[0]!.lock('b', { ttl: 50 })
    await untilAborted(lost.signal)
    await expectRejection(lost.autoRefresh({ interval: 1, timeout: 1 }), 'LOCK_NOT_HELD')
  })
})
