/**
 * Tests exclusive locks, shared locks and steals: their order in the queue, and the loss that a
 * steal causes. Also tests queries. A fence is the number of a grant; a later grant has a higher
 * fence.
 */
import type { Lock } from '@holdfast/client'
import { expect } from 'chai'
import { nextEvent, Stage, untilAborted, untilMessagesHandled } from './stage.js'

describe('e2e: shared and exclusive requests', () => {
  const stage = Stage.forEachTest()

  it('let readers hold a lock together, and let a writer wait for the last reader', async () => {
    const { sessions, broker } = await stage.startBrokerWithSessions('a', 'b', 'writer')
    const [a, b, writer] = sessions
    const lockOfA = await a!.lock('k', { mode: 'shared' })
    const lockOfB = await b!.lock('k', { mode: 'shared' })
    expect(broker.query().heldCount).to.equal(2)
    const order: string[] = []
    const writing = writer!.lock('k').then(() => order.push('writer'))
    await untilMessagesHandled(writer!)
    await lockOfA.unlock()
    await untilMessagesHandled(writer!)
    order.push('last reader')
    await lockOfB.unlock()
    await writing
    expect(order).to.deep.equal(['last reader', 'writer'])
  })

  it('do not let a reader pass a waiting writer, so that no writer starves', async () => {
    const { sessions } = await stage.startBrokerWithSessions('a', 'writer', 'b', 'c')
    const [a, writer, b, c] = sessions
    const readLock = await a!.lock('k', { mode: 'shared' })
    const order: string[] = []
    const recordGrant = async (name: string, locking: Promise<Lock>) => {
      const lock = await locking
      order.push(name)
      return lock
    }
    const writing = recordGrant('writer', writer!.lock('k'))
    await untilMessagesHandled(writer!)
    const reading = [b!, c!].map((session) =>
      recordGrant('reader', session.lock('k', { mode: 'shared' })),
    )
    await Promise.all([untilMessagesHandled(b!), untilMessagesHandled(c!)])
    await readLock.unlock()
    await (await writing).unlock()
    await Promise.all(reading)
    expect(order).to.deep.equal(['writer', 'reader', 'reader'])
  })
})

describe('e2e: steal', () => {
  const stage = Stage.forEachTest()

  it('gets the lock immediately with a higher fence, and the former holder gets the reason', async () => {
    const { sessions } = await stage.startBrokerWithSessions('ann', 'ben')
    const [ann, ben] = sessions
    const lost = nextEvent(ann!, 'lost')
    const lockOfAnn = await ann!.lock('k')
    const lockOfBen = await ben!.lock('k', { steal: true })
    expect(lockOfBen.fence).to.be.above(lockOfAnn.fence)
    expect(await untilAborted(lockOfAnn.signal)).to.include({ code: 'LOCK_LOST', reason: 'stolen' })
    expect(await lost).to.deep.equal({ key: 'k', fence: lockOfAnn.fence, reason: 'stolen' })
    expect([lockOfAnn.held, lockOfBen.held]).to.deep.equal([false, true])
  })
})

describe('e2e: query', () => {
  const stage = Stage.forEachTest()

  it('shows holders and waiters by key, by prefix, and of all keys', async () => {
    const { sessions } = await stage.startBrokerWithSessions('ann', 'ben')
    const [ann, ben] = sessions
    const held = await ann!.lock('orders:1', { metadata: [1, null] })
    await ann!.lock('invoices:1')
    const waiting = ben!.lock('orders:1', { mode: 'shared' })
    await untilMessagesHandled(ben!)
    const orders = await ann!.query({ prefix: 'orders:' })
    expect(orders.heldCount).to.equal(1)
    expect(orders.held[0]).to.deep.include({
      key: 'orders:1',
      mode: 'exclusive',
      session: ann!.id,
      name: 'ann',
      fence: held.fence,
      metadata: [1, null],
    })
    expect(orders.waiting).to.have.length(1)
    expect(orders.waiting[0]).to.include({ key: 'orders:1', mode: 'shared', name: 'ben' })
    expect(await ann!.query({ key: 'unused' })).to.deep.equal({
      held: [],
      waiting: [],
      heldCount: 0,
      waitingCount: 0,
    })
    await held.unlock()
    await waiting
    const allLocks = await ben!.query()
    expect(allLocks.held.map(({ key }) => key).sort()).to.deep.equal(['invoices:1', 'orders:1'])
  })

  it('shows at most a thousand locks, and the number of all locks', async () => {
    const { sessions } = await stage.startBrokerWithSessions('ann')
    const [ann] = sessions
    await Promise.all(Array.from({ length: 1_500 }, (_, i) => ann!.lock(`k${i}`)))
    const firstThousand = await ann!.query()
    expect(firstThousand.held).to.have.length(1_000)
    expect(firstThousand.heldCount).to.equal(1_500)
    expect((await ann!.query({ limit: 3 })).held).to.have.length(3)
  })
})
