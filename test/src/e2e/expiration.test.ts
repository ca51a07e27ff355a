/**
 * Expiration by ttl, counted from the grant or the last refresh. The broker ends a lock on time,
 * not in a later sweep. The holder knows of the loss first, and the next waiter is granted the lock
 * in the same turn.
 */
import { expect } from 'chai'
import { aborted, next, Stage, untilHandled, watching } from './stage.js'

describe('e2e: expiration -> ttl', () => {
  const stage = Stage.forEachTest()

  it('ends a lock on time, and grants it to the next waiter without a request', async () => {
    const { sessions, broker } = await stage.brokerWith('ann', 'ben')
    const [ann, ben] = sessions
    const first = await ann!.lock('k', { ttl: 100 })
    const second = await ben!.lock('k')
    expect(second.fence).to.be.above(first.fence)
    expect(broker.stats()).to.include({ expiredLocks: 1, activeLocks: 1 })
  })

  it('is known to the holder before the lock is granted again', async () => {
    const { sessions } = await stage.brokerWith('ann', 'ben')
    const [ann, ben] = sessions
    for (let round = 0; round < 5; round++) {
      const order: string[] = []
      const first = await ann!.lock('k', { ttl: 100 })
      first.signal.addEventListener('abort', () => order.push('lost'))
      const second = await ben!.lock('k').then((lock) => {
        order.push(`granted, held by the other: ${first.held}`)
        return lock
      })
      expect(order).to.deep.equal(['lost', 'granted, held by the other: false'])
      await second.unlock()
    }
  })

  it('is reported with its reason, by event and by signal', async () => {
    const { sessions } = await stage.brokerWith('ann')
    const [ann] = sessions
    const lost = next(ann!, 'lost')
    const lock = await ann!.lock('k', { ttl: 50 })
    const reason = await aborted(lock.signal)
    expect(reason).to.include({ code: 'LOCK_LOST', reason: 'expired' })
    expect(lock.lost).to.equal(reason)
    expect(await lost).to.deep.equal({ key: 'k', fence: lock.fence, reason: 'expired' })
  })

  it('does not end a lock without a ttl', async () => {
    const { sessions, broker } = await stage.brokerWith('ann')
    const forever = await sessions[0]!.lock('forever')
    const brief = await sessions[0]!.lock('brief', { ttl: 50 })
    await aborted(brief.signal)
    expect(forever.held).to.equal(true)
    expect(broker.query({ key: 'forever' }).heldCount).to.equal(1)
  })

  it('ends locks in the order of their deadlines, not of their requests', async () => {
    const { sessions } = await stage.brokerWith('ann')
    const [ann] = sessions
    const lost: string[] = []
    ann!.on('lost', ({ key }) => lost.push(key))
    const locks = [300, 100, 200].map((ttl) => ann!.lock(`ttl ${ttl}`, { ttl }))
    await Promise.all((await Promise.all(locks)).map(({ signal }) => aborted(signal)))
    expect(lost).to.deep.equal(['ttl 100', 'ttl 200', 'ttl 300'])
  })
})

describe('e2e: CleanExpiredLocks -> broker.cleanExpiredLocks', () => {
  const stage = Stage.forEachTest()

  it('expires what is due, and returns the count', async () => {
    const { sessions, broker } = await stage.brokerWith('ann')
    const [ann] = sessions
    await ann!.lock('long', { ttl: 60_000 })
    expect(broker.cleanExpiredLocks()).to.equal(0)
    await Promise.all(Array.from({ length: 5 }, (_, i) => ann!.lock(`k${i}`, { ttl: 40 })))
    let cleaned = 0
    const giveUpAt = performance.now() + 10_000
    // A busy loop, so that the timer of the broker cannot run first.
    while (cleaned < 5 && performance.now() < giveUpAt) cleaned += broker.cleanExpiredLocks()
    expect(cleaned).to.equal(5)
    expect(broker.stats()).to.include({ expiredLocks: 5, activeLocks: 1 })
    await untilHandled(ann!)
    expect(broker.cleanExpiredLocks()).to.equal(0)
  })

  it('need not be called, because locks and sessions expire on time', async () => {
    const { sessions, broker } = await stage.brokerWith('ann', 'ben')
    const [ann, ben] = sessions
    const events = await watching(ben!, 'k')
    await ann!.lock('k', { ttl: 30 })
    const [, locked, expired] = await events.count(3)
    expect([locked?.event, expired?.event]).to.deep.equal(['locked', 'expired'])
    expect(broker.stats()).to.include({ expiredLocks: 1, activeLocks: 0 })
  })
})
