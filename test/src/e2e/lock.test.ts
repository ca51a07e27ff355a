/**
 * Tests `session.lock`, the counterpart of `Lock(key, expiration, timeout, retryStrategy)` in other
 * lock libraries. The broker grants requests first come, first served. A request waits at the
 * broker until its grant, its timeout or its abort, and no client polls. A fence is the number of a
 * grant; a later grant has a higher fence.
 */
import type { Lock } from '@holdfast/client'
import { expect } from 'chai'
import { expectRejection, recordingWebSocket, Stage, untilMessagesHandled } from './stage.js'

describe('e2e: session.lock', () => {
  const stage = Stage.forEachTest()

  it('acquires a free lock', async () => {
    const { sessions } = await stage.startBrokerWithSessions('ann')
    const lock = await sessions[0]!.lock('k', { ttl: 60_000, timeout: 10_000 })
    expect(lock.held).to.equal(true)
    expect(lock.signal.aborted).to.equal(false)
  })

  it('waits for a held lock, and is granted the lock when the holder unlocks', async () => {
    const { sessions } = await stage.startBrokerWithSessions('ann', 'ben')
    const [ann, ben] = sessions
    const first = await ann!.lock('k')
    const order: string[] = []
    const waiting = ben!.lock('k').then((lock) => {
      order.push('granted')
      return lock
    })
    await untilMessagesHandled(ben!)
    order.push('unlock')
    await first.unlock()
    const second = await waiting
    expect(order).to.deep.equal(['unlock', 'granted'])
    expect(second.fence).to.be.above(first.fence)
    expect(first.held).to.equal(false)
  })

  it('serves requests first come, first served, over all sessions', async () => {
    const { sessions } = await stage.startBrokerWithSessions('holder', 'a', 'b', 'c')
    const [holder, ...others] = sessions
    const first = await holder!.lock('k')
    const served: string[] = []
    const requests: Promise<Lock>[] = []
    // Each of the three sessions requests the lock three times, in rotation.
    for (let round = 0; round < 3; round++) {
      for (const session of others) {
        requests.push(session.lock('k'))
        await untilMessagesHandled(session)
      }
    }
    const unlockings = requests.map(async (request, i) => {
      const lock = await request
      served.push(`${others[i % others.length]!.name}${i}`)
      await lock.unlock()
    })
    await first.unlock()
    await Promise.all(unlockings)
    expect(served).to.deep.equal(['a0', 'b1', 'c2', 'a3', 'b4', 'c5', 'a6', 'b7', 'c8'])
  })

  it('sends one message for a wait of any length, because it does not poll', async () => {
    const { broker, url } = await stage.startBroker()
    const holder = await stage.openSession(url)
    const { frames, WebSocket } = recordingWebSocket()
    const waiter = await stage.openSession(url, { WebSocket })
    const first = await holder.lock('k')
    const waiting = waiter.lock('k')
    // A client that polls would send further messages while the holder uses a hundred other locks.
    for (let i = 0; i < 100; i++) await (await holder.lock(`other ${i}`)).unlock()
    expect(broker.query({ key: 'k' }).waitingCount).to.equal(1)
    await first.unlock()
    await waiting
    const [hello, ...requests] = frames.items
    expect(hello).to.include('"hello"')
    expect(requests).to.have.length(1)
    expect(requests[0]).to.include('"lock"')
  })

  it('rejects with LOCK_TIMEOUT when its timeout is over, and is not granted later', async () => {
    const { sessions, broker } = await stage.startBrokerWithSessions('ann', 'ben')
    const [ann, ben] = sessions
    const first = await ann!.lock('k')
    await expectRejection(ben!.lock('k', { timeout: 20 }), 'LOCK_TIMEOUT')
    await untilMessagesHandled(ben!)
    expect(broker.query().waitingCount).to.equal(0)
    await first.unlock()
    await untilMessagesHandled(ben!)
    expect(broker.query().heldCount).to.equal(0)
    // `totalLocks` counts the decided requests: the grant of Ann and the timeout of Ben.
    expect(broker.stats()).to.include({ totalLocks: 2, failedLocks: 1, unlockCount: 1 })
  })

  it('rejects immediately with a timeout of 0, as tryLock does', async () => {
    const { sessions } = await stage.startBrokerWithSessions('ann', 'ben')
    const [ann, ben] = sessions
    await ann!.lock('k', { timeout: 0 })
    const { holders } = await expectRejection(ben!.lock('k', { timeout: 0 }), 'LOCK_HELD')
    expect(holders).to.have.length(1)
  })

  it('leaves the queue when its timeout is over, and the waiters behind the request move up', async () => {
    const { sessions } = await stage.startBrokerWithSessions('ann', 'ben', 'cleo')
    const [ann, ben, cleo] = sessions
    const first = await ann!.lock('k')
    const timeoutOfBen = expectRejection(ben!.lock('k', { timeout: 20 }), 'LOCK_TIMEOUT')
    await untilMessagesHandled(ben!)
    const requestOfCleo = cleo!.lock('k')
    await timeoutOfBen
    await first.unlock()
    expect((await requestOfCleo).held).to.equal(true)
  })

  it('rejects with ABORTED and the reason when its signal aborts, and leaves the queue', async () => {
    const { sessions, broker } = await stage.startBrokerWithSessions('ann', 'ben')
    const [ann, ben] = sessions
    const first = await ann!.lock('k')
    const controller = new AbortController()
    const waiting = expectRejection(ben!.lock('k', { signal: controller.signal }), 'ABORTED')
    await untilMessagesHandled(ben!)
    expect(broker.query().waitingCount).to.equal(1)
    const reason = new Error('the user went away')
    controller.abort(reason)
    expect((await waiting).cause).to.equal(reason)
    await untilMessagesHandled(ben!)
    expect(broker.query().waitingCount).to.equal(0)
    await first.unlock()
    expect(broker.query().heldCount).to.equal(0)
  })

  it('sends no request and rejects with ABORTED if its signal is already aborted', async () => {
    const { sessions, broker } = await stage.startBrokerWithSessions('ann')
    const locking = sessions[0]!.lock('k', { signal: AbortSignal.abort('no') })
    expect((await expectRejection(locking, 'ABORTED')).cause).to.equal('no')
    await untilMessagesHandled(sessions[0]!)
    expect(broker.stats().totalLocks).to.equal(0)
  })

  it('unlocks a lock whose grant crosses the abort on the wire', async () => {
    const { sessions, broker } = await stage.startBrokerWithSessions('ann', 'ben')
    const [ann, ben] = sessions
    // The test has many rounds, because the grant comes before the cancel only in some rounds.
    for (let i = 0; i < 20; i++) {
      const first = await ann!.lock('k')
      const controller = new AbortController()
      const waiting = ben!.lock('k', { signal: controller.signal })
      await untilMessagesHandled(ben!)
      // Unlock and cancel are sent in the same turn of the event loop. Therefore the broker may
      // grant the lock to Ben before the cancel arrives.
      void first.unlock()
      controller.abort()
      await expectRejection(waiting, 'ABORTED')
      await untilMessagesHandled(ann!)
      // During this wait, Ben's client receives any grant that crossed the abort, and sends the
      // unlock.
      await untilMessagesHandled(ben!)
      // During this wait, the broker handles that unlock.
      await untilMessagesHandled(ben!)
      expect(broker.query().heldCount).to.equal(0)
    }
  })
})
