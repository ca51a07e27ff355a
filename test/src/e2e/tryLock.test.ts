/**
 * Tests `session.tryLock`, which resolves with the lock immediately, or rejects immediately with an
 * error that names the holder. A fence is the number of a grant.
 */
import { expect } from 'chai'
import { expectRejection, Stage, untilMessagesHandled } from './stage.js'

describe('e2e: session.tryLock', () => {
  const stage = Stage.forEachTest()

  it('acquires a free lock', async () => {
    const { sessions, broker } = await stage.startBrokerWithSessions('ann')
    const lock = await sessions[0]!.tryLock('orders:42', { ttl: 60_000 })
    expect(lock).to.include({ key: 'orders:42', mode: 'exclusive', held: true })
    expect(lock.fence).to.be.a('number').that.is.above(0)
    expect(broker.query().held).to.have.length(1)
  })

  it('rejects with LOCK_HELD immediately if the lock is held, and names the holder', async () => {
    const { sessions, broker } = await stage.startBrokerWithSessions('ann', 'ben')
    const [ann, ben] = sessions
    const lock = await ann!.tryLock('orders:42', { ttl: 60_000, metadata: { job: 7 } })
    const { holders, message } = await expectRejection(ben!.tryLock('orders:42'), 'LOCK_HELD')
    const [holder] = holders ?? []
    expect(holders).to.have.length(1)
    expect(holder).to.deep.include({
      session: ann!.id,
      name: 'ann',
      metadata: { job: 7 },
      fence: lock.fence,
    })
    expect(holder?.since).to.equal(broker.query().held[0]?.since)
    expect(message).to.be.a('string').that.is.not.empty
    expect(broker.query().waitingCount, 'the request does not wait').to.equal(0)
  })

  it('names all holders of a shared lock', async () => {
    const { sessions } = await stage.startBrokerWithSessions('ann', 'ben', 'cleo')
    const [ann, ben, cleo] = sessions
    await ann!.tryLock('k', { mode: 'shared' })
    await ben!.tryLock('k', { mode: 'shared' })
    const { holders } = await expectRejection(cleo!.tryLock('k'), 'LOCK_HELD')
    expect(holders?.map(({ name }) => name)).to.deep.equal(['ann', 'ben'])
  })

  it('does not overtake waiting requests, even if its mode is compatible with the held lock', async () => {
    const { sessions } = await stage.startBrokerWithSessions('ann', 'ben', 'cleo')
    const [ann, ben, cleo] = sessions
    await ann!.tryLock('k', { mode: 'shared' })
    const waiting = ben!.lock('k')
    await untilMessagesHandled(ben!)
    await expectRejection(cleo!.tryLock('k', { mode: 'shared' }), 'LOCK_HELD')
    await ann!.close()
    expect((await waiting).held).to.equal(true)
  })
})
