/**
 * Tests that only the holder may unlock. The session and the fence (the number of a grant) identify
 * a lock; other lock libraries identify it by a random unique value. An unlock with a wrong or old
 * fence has no effect.
 */
import { expect } from 'chai'
import { RawClient } from './raw.js'
import { expectRejection, nextEvent, Stage, untilMessagesHandled } from './stage.js'

describe('e2e: an unlock of a lock that is not held', () => {
  const stage = Stage.forEachTest()

  it('is rejected with LOCK_NOT_HELD for an old fence of the same session, and the new lock remains', async () => {
    const { broker, url } = await stage.startBroker()
    const client = await RawClient.open(url)
    stage.onCleanUp(() => client.drop())
    client.send({ type: 'lock', id: 1, key: 'k' })
    const { fence: oldFence } = await client.receive('granted')
    client.send({ type: 'unlock', id: 2, fence: oldFence }, { type: 'lock', id: 3, key: 'k' })
    const { fence } = await client.receive('granted')
    expect(fence).to.be.above(oldFence)
    client.send({ type: 'unlock', id: 4, fence: oldFence })
    expect(await client.receive('failed')).to.include({ id: 4, code: 'LOCK_NOT_HELD' })
    expect(broker.query().held[0]).to.include({ fence })
  })

  it('is rejected with LOCK_NOT_HELD after a loss, and the lock of the next holder remains', async () => {
    const { sessions, broker } = await stage.startBrokerWithSessions('ann', 'ben')
    const [ann, ben] = sessions
    const lost = nextEvent(ann!, 'lost')
    const lockOfAnn = await ann!.lock('k', { ttl: 50 })
    expect(await lost).to.deep.equal({ key: 'k', fence: lockOfAnn.fence, reason: 'expired' })
    const lockOfBen = await ben!.lock('k')
    expect((await expectRejection(lockOfAnn.unlock(), 'LOCK_NOT_HELD')).cause).to.include({
      code: 'LOCK_LOST',
    })
    await untilMessagesHandled(ann!)
    expect(broker.query().held[0]).to.include({ fence: lockOfBen.fence })
  })
})
