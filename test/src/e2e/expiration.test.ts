/**
 * Tests the expiration of locks. The ttl is how long a lock lasts from its grant or its last
 * refresh. The broker ends a lock on time, not in a later sweep, and grants the lock to the next
 * waiter immediately. The holder knows of the loss before that grant. A fence is the number of a
 * grant.
 */
import { expect } from 'chai'
import {
  collectWatchEvents,
  nextEvent,
  Stage,
  untilAborted,
  untilMessagesHandled,
} from './stage.js'

describe('e2e: the ttl of a lock', () => {
  const stage = Stage.forEachTest()

  it('ends a lock after its ttl, and passes the lock to the next waiter', async () => {
    const { sessions, broker } = await stage.startBrokerWithSessions('ann', 'ben')
    const [ann, ben] = sessions
    const lockOfAnn = await ann!.lock('k', { ttl: 100 })
    const lockOfBen = await ben!.lock('k')
    expect(lockOfBen.fence).to.be.above(lockOfAnn.fence)
    expect(broker.stats()).to.include({ expiredLocks: 1, activeLocks: 1 })
  })

  it('ends a lock at the holder before the broker grants the lock again', async () => {
    const { sessions } = await stage.startBrokerWithSessions('ann', 'ben')
    const [ann, ben] = sessions
    for (let round = 0; round < 5; round++) {
      const order: string[] = []
      const lockOfAnn = await ann!.lock('k', { ttl: 100 })
      void untilAborted(lockOfAnn.signal).then(() => order.push('lost'))
      const lockOfBen = await ben!.lock('k').then((lock) => {
        order.push(`granted, ann holds it: ${lockOfAnn.held}`)
        return lock
      })
      expect(order).to.deep.equal(['lost', 'granted, ann holds it: false'])
      await lockOfBen.unlock()
    }
  })

  it('reports the expiration by the event "lost" and by the signal of the lock', async () => {
    const { sessions } = await stage.startBrokerWithSessions('ann')
    const [ann] = sessions
    const lost = nextEvent(ann!, 'lost')
    const lock = await ann!.lock('k', { ttl: 50 })
    const reason = await untilAborted(lock.signal)
    expect(reason).to.include({ code: 'LOCK_LOST', reason: 'expired' })
    expect(lock.lost).to.equal(reason)
    expect(await lost).to.deep.equal({ key: 'k', fence: lock.fence, reason: 'expired' })
  })

  it('does not end a lock without a ttl', async () => {
    const { sessions, broker } = await stage.startBrokerWithSessions('ann')
    const untimed = await sessions[0]!.lock('untimed')
    const brief = await sessions[0]!.lock('brief', { ttl: 50 })
    await untilAborted(brief.signal)
    expect(untimed.held).to.equal(true)
    expect(broker.query({ key: 'untimed' }).heldCount).to.equal(1)
  })

  it('ends locks in the order of their deadlines, not of their requests', async () => {
    const { sessions } = await stage.startBrokerWithSessions('ann')
    const [ann] = sessions
    const lost: string[] = []
    ann!.on('lost', ({ key }) => lost.push(key))
    const locks = [300, 100, 200].map((ttl) => ann!.lock(`ttl ${ttl}`, { ttl }))
    await Promise.all((await Promise.all(locks)).map(({ signal }) => untilAborted(signal)))
    expect(lost).to.deep.equal(['ttl 100', 'ttl 200', 'ttl 300'])
  })
})

describe('e2e: broker.cleanExpiredLocks', () => {
  const stage = Stage.forEachTest()

  it('expires the locks whose ttl is over, and returns their count', async () => {
    const { sessions, broker } = await stage.startBrokerWithSessions('ann')
    const [ann] = sessions
    await ann!.lock('long', { ttl: 60_000 })
    expect(broker.cleanExpiredLocks()).to.equal(0)
    // The ttl is long enough that all grants arrive before the first expiration. A longer ttl would
    // need a longer loop below. The broker would count that loop as a pause, and extend the ttl.
    await Promise.all(Array.from({ length: 5 }, (_, i) => ann!.lock(`k${i}`, { ttl: 200 })))
    let cleaned = 0
    // Without this limit, the loop would never end if `cleanExpiredLocks` ended no locks.
    const giveUpAt = performance.now() + 10_000
    // This loop does not yield, so that the timer of the broker cannot expire the locks first.
    while (cleaned < 5 && performance.now() < giveUpAt) cleaned += broker.cleanExpiredLocks()
    expect(cleaned).to.equal(5)
    expect(broker.stats()).to.include({ expiredLocks: 5, activeLocks: 1 })
    // A later call does not count the same locks again.
    await untilMessagesHandled(ann!)
    expect(broker.cleanExpiredLocks()).to.equal(0)
  })

  it('need not be called, because locks expire on time', async () => {
    const { sessions, broker } = await stage.startBrokerWithSessions('ann', 'ben')
    const [ann, ben] = sessions
    const events = await collectWatchEvents(ben!, 'k')
    await ann!.lock('k', { ttl: 30 })
    // The first event is the state before the lock.
    const [, locked, expired] = await events.waitForCount(3)
    expect([locked?.event, expired?.event]).to.deep.equal(['locked', 'expired'])
    expect(broker.stats()).to.include({ expiredLocks: 1, activeLocks: 0 })
  })
})
