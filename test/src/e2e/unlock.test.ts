/**
 * Tests the ways to release a lock: `unlock`, `await using` and `withLock`. Also tests `watch`,
 * which reports locks and unlocks to any client. A fence is the number of a grant.
 */
import type { WatchEvent } from '@holdfast/client'
import { expect } from 'chai'
import {
  Collector,
  collectWatchEvents,
  expectRejection,
  Stage,
  untilAborted,
  untilMessagesHandled,
} from './stage.js'

describe('e2e: lock.unlock', () => {
  const stage = Stage.forEachTest()

  it('releases the lock, and resolves when the broker has confirmed the release', async () => {
    const { sessions, broker } = await stage.startBrokerWithSessions('ann')
    const lock = await sessions[0]!.lock('k')
    const unlocking = lock.unlock()
    expect(lock.held, 'not held after the call of unlock').to.equal(false)
    await unlocking
    expect(broker.query().heldCount).to.equal(0)
    expect(lock.signal.aborted, 'an unlock is no loss').to.equal(false)
    expect(lock.lost).to.equal(undefined)
  })

  it('has no effect when it is called again', async () => {
    const { sessions, broker } = await stage.startBrokerWithSessions('ann', 'ben')
    const [ann, ben] = sessions
    const lock = await ann!.lock('k')
    await Promise.all([lock.unlock(), lock.unlock()])
    await ben!.lock('k')
    // This unlock must not release the lock of ben.
    await lock.unlock()
    expect(broker.stats()).to.include({ unlockCount: 1, activeLocks: 1 })
  })
})

describe('e2e: await using', () => {
  const stage = Stage.forEachTest()

  it('releases the lock at every exit of the block', async () => {
    const { sessions, broker } = await stage.startBrokerWithSessions('ann')
    const [ann] = sessions
    {
      await using lock = await ann!.lock('k')
      expect(lock.held).to.equal(true)
      expect(broker.query().heldCount).to.equal(1)
    }
    expect(broker.query().heldCount).to.equal(0)
    const failing = async () => {
      await using _lock = await ann!.tryLock('k')
      throw new Error('error of the caller')
    }
    const error = await failing().catch((thrown: Error) => thrown)
    expect(error).to.include({ message: 'error of the caller' })
    expect(broker.query().heldCount).to.equal(0)
  })

  it('does not throw for a lost or an unlocked lock', async () => {
    const { sessions, broker } = await stage.startBrokerWithSessions('ann', 'ben')
    const [ann, ben] = sessions
    {
      await using lock = await ann!.lock('a', { ttl: 20 })
      await untilAborted(lock.signal)
      expect(lock.held).to.equal(false)
    }
    {
      await using lock = await ann!.lock('b')
      await lock.unlock()
    }
    for (const key of ['a', 'b']) await (await ben!.lock(key)).unlock()
    expect(broker.query().heldCount).to.equal(0)
  })

  it('closes a session, which releases all its locks', async () => {
    const { broker, url } = await stage.startBroker()
    {
      await using session = await stage.openSession(url)
      await session.lock('a')
      await session.lock('b')
      expect(broker.query().heldCount).to.equal(2)
    }
    expect(broker.query().heldCount).to.equal(0)
  })
})

describe('e2e: session.withLock', () => {
  const stage = Stage.forEachTest()

  it("holds the lock during the callback, and returns the callback's result after the release", async () => {
    const { sessions, broker } = await stage.startBrokerWithSessions('ann')
    const result = await sessions[0]!.withLock(
      'k',
      async (lock) => {
        expect(lock.held).to.equal(true)
        expect(broker.query().held[0]).to.include({ fence: lock.fence })
        return 42
      },
      { ttl: 60_000 },
    )
    expect(result).to.equal(42)
    expect(broker.query().heldCount).to.equal(0)
  })

  it('rejects with the error of the callback after the release', async () => {
    const { sessions, broker } = await stage.startBrokerWithSessions('ann')
    const failing = sessions[0]!.withLock('k', () => {
      throw new RangeError('error of the caller')
    })
    expect(await failing.catch((error: Error) => error)).to.be.instanceOf(RangeError)
    expect(broker.query().heldCount).to.equal(0)
  })

  it('rejects with LOCK_LOST if the lock was lost, unless the callback threw', async () => {
    const { sessions } = await stage.startBrokerWithSessions('ann')
    const [ann] = sessions
    const afterLoss = ann!.withLock('k', (lock) => untilAborted(lock.signal), { ttl: 20 })
    await expectRejection(afterLoss, 'LOCK_LOST')
    const afterLossAndError = ann!.withLock(
      'k',
      async (lock) => {
        await untilAborted(lock.signal)
        throw new RangeError('error of the caller')
      },
      { ttl: 20 },
    )
    expect(await afterLossAndError.catch((error: Error) => error)).to.be.instanceOf(RangeError)
  })

  it('does not run the callback if the lock is refused', async () => {
    const { sessions } = await stage.startBrokerWithSessions('ann', 'ben')
    await sessions[0]!.lock('k')
    let calls = 0
    const refused = sessions[1]!.withLock('k', () => calls++, { timeout: 0 })
    await expectRejection(refused, 'LOCK_HELD')
    expect(calls).to.equal(0)
  })
})

describe('e2e: session.watch', () => {
  const stage = Stage.forEachTest()

  it('reports the state first and then every event, also to a client without locks', async () => {
    const { sessions } = await stage.startBrokerWithSessions('ann', 'ben', 'eve')
    const [ann, ben, eve] = sessions
    const lockOfAnn = await ann!.lock('k', { metadata: 'first' })
    const events = await collectWatchEvents(eve!, 'k')
    const requestOfBen = ben!.lock('k')
    await untilMessagesHandled(ben!)
    await lockOfAnn.unlock()
    await (await requestOfBen).unlock()
    await events.waitForCount(4)
    // `resync` is true only for a state after a reconnect.
    const lines = events.items.map((event) =>
      event.event === 'state'
        ? `state ${event.held.map(({ name, metadata }) => `${name} ${metadata}`)} ${event.resync}`
        : `${event.event} ${'name' in event ? event.name : ''}`,
    )
    expect(lines).to.deep.equal([
      'state ann first false',
      'unlocked ann',
      'locked ben',
      'unlocked ben',
    ])
  })

  it('reports the events of keys with a prefix, until it is closed', async () => {
    const { sessions } = await stage.startBrokerWithSessions('ann', 'eve')
    const [ann, eve] = sessions
    const events = new Collector<WatchEvent>()
    const watch = eve!.watch({ prefix: 'orders:' }, events.add)
    await events.waitForCount(1)
    await ann!.lock('orders:1')
    await ann!.lock('invoices:1')
    await ann!.lock('orders:2')
    await untilMessagesHandled(eve!)
    watch.close()
    await ann!.lock('orders:3')
    await untilMessagesHandled(eve!)
    const keys = events.items.map((event) => ('key' in event ? event.key : event.event))
    expect(keys).to.deep.equal(['state', 'orders:1', 'orders:2'])
  })
})
