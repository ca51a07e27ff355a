/**
 * Tests `session.singleflightLock`. Callers that ask for the same lock before the grant share one
 * request, and then the granted lock. The lock is released when every caller has unlocked. A caller
 * that comes after the grant sends a new request. A fence is the number of a grant. A ttl is how
 * long a lock lasts without a refresh.
 */
import { expect } from 'chai'
import { expectRejection, Stage, untilMessagesHandled } from './stage.js'

describe('e2e: session.singleflightLock', () => {
  const stage = Stage.forEachTest()

  it('sends one request for many concurrent callers, which share the granted lock', async () => {
    const { sessions, broker } = await stage.startBrokerWithSessions('ann', 'ben')
    const [ann, ben] = sessions
    const blocking = await ben!.lock('report')
    const calls = Array.from({ length: 10 }, () => ann!.singleflightLock('report'))
    await untilMessagesHandled(ann!)
    expect(broker.query().waitingCount).to.equal(1)
    await blocking.unlock()
    const locks = await Promise.all(calls)
    expect(new Set(locks.map(({ fence }) => fence)).size).to.equal(1)
    expect(new Set(locks).size, 'each caller has a handle of its own').to.equal(10)
    // The lock of Ben, and the one shared lock of Ann.
    expect(broker.stats().totalLocks).to.equal(2)
  })

  it('releases the lock at the last unlock only', async () => {
    const { sessions, broker } = await stage.startBrokerWithSessions('ann')
    const [ann] = sessions
    const calls = [1, 2, 3].map(() => ann!.singleflightLock('report'))
    const [first, second, third] = await Promise.all(calls)
    await first!.unlock()
    // A second unlock of one handle must not count for another caller.
    await first!.unlock()
    await second!.unlock()
    expect([first!.held, second!.held, third!.held]).to.deep.equal([false, false, true])
    expect(broker.query().heldCount).to.equal(1)
    await third!.unlock()
    expect(broker.query().heldCount).to.equal(0)
    expect(broker.stats().unlockCount).to.equal(1)
  })

  it('sends a new request for a caller after the grant, so that other clients do not starve', async () => {
    const { sessions } = await stage.startBrokerWithSessions('ann', 'ben')
    const [ann, ben] = sessions
    const first = await ann!.singleflightLock('report')
    const order: string[] = []
    const bensTurn = ben!.lock('report').then((lock) => {
      order.push('ben')
      return lock.unlock()
    })
    await untilMessagesHandled(ben!)
    const annsLateTurn = ann!.singleflightLock('report').then((lock) => {
      order.push('ann again')
      return lock.unlock()
    })
    await untilMessagesHandled(ann!)
    await first.unlock()
    await Promise.all([bensTurn, annsLateTurn])
    expect(order).to.deep.equal(['ben', 'ann again'])
  })

  it('shares no request between different modes or ttls', async () => {
    const { sessions, broker } = await stage.startBrokerWithSessions('ann', 'ben')
    const [ann, ben] = sessions
    const blocking = await ben!.lock('report')
    const calls = [
      ann!.singleflightLock('report'),
      ann!.singleflightLock('report', { ttl: 60_000 }),
      ann!.singleflightLock('report', { ttl: 30_000 }),
      ann!.singleflightLock('report', { mode: 'shared' }),
      ann!.singleflightLock('report', { mode: 'shared' }),
    ]
    await untilMessagesHandled(ann!)
    // Only the last two calls have the same mode and ttl, and so one request together.
    expect(broker.query().waitingCount).to.equal(4)
    await blocking.unlock()
    for (const call of calls) await (await call).unlock()
  })

  it('applies the timeout and the signal of each caller to that caller alone', async () => {
    const { sessions, broker } = await stage.startBrokerWithSessions('ann', 'ben')
    const [ann, ben] = sessions
    const blocking = await ben!.lock('report')
    const controller = new AbortController()
    const withoutLimit = ann!.singleflightLock('report')
    const withTimeout = ann!.singleflightLock('report', { timeout: 10 })
    const withSignal = ann!.singleflightLock('report', { signal: controller.signal })
    await expectRejection(withTimeout, 'LOCK_TIMEOUT')
    controller.abort('changed my mind')
    expect((await expectRejection(withSignal, 'ABORTED')).cause).to.equal('changed my mind')
    expect(broker.query().waitingCount).to.equal(1)
    await blocking.unlock()
    expect((await withoutLimit).held).to.equal(true)
  })

  it('cancels the request when its last caller gives up', async () => {
    const { sessions, broker } = await stage.startBrokerWithSessions('ann', 'ben')
    const [ann, ben] = sessions
    await ben!.lock('report')
    const controllers = [new AbortController(), new AbortController()]
    const calls = controllers.map(({ signal }) =>
      expectRejection(ann!.singleflightLock('report', { signal }), 'ABORTED'),
    )
    await untilMessagesHandled(ann!)
    for (const controller of controllers) controller.abort()
    await Promise.all(calls)
    await untilMessagesHandled(ann!)
    expect(broker.query().waitingCount).to.equal(0)
  })
})
