/**
 * Tests that only the holder may unlock. The session and the fence (the number of a grant) identify
 * a lock. An unlock with a wrong or old fence has no effect. Other lock libraries use a random
 * unique value for this purpose.
 */
import { expect } from 'chai'
import { RawClient } from './raw.js'
import { next, rejection, Stage, untilHandled } from './stage.js'

describe('e2e: the ownership check of the broker', () => {
  const stage = Stage.forEachTest()

  it('rejects an old fence of the same session with LOCK_NOT_HELD, and keeps the new lock', async () => {
    const { broker, url } = await stage.brokerWithSessions()
    const client = await RawClient.open(url)
    stage.onClear(() => client.drop())
    client.send({ type: 'lock', id: 1, key: 'k' })
    const { fence: oldFence } = await client.receive('granted')
    client.send({ type: 'unlock', id: 2, fence: oldFence }, { type: 'lock', id: 3, key: 'k' })
    const { fence } = await client.receive('granted')
    expect(fence).to.be.above(oldFence)
    client.send({ type: 'unlock', id: 4, fence: oldFence })
    expect(await client.receive('failed')).to.include({ id: 4, code: 'LOCK_NOT_HELD' })
    expect(broker.query().held[0]).to.include({ fence })
  })

  it("rejects an unlock after a loss with LOCK_NOT_HELD, and keeps the next holder's lock", async () => {
    const { sessions, broker } = await stage.brokerWithSessions('ann', 'ben')
    const [ann, ben] = sessions
    const lost = next(ann!, 'lost')
    const lockOfAnn = await ann!.lock('k', { ttl: 50 })
    expect(await lost).to.deep.equal({ key: 'k', fence: lockOfAnn.fence, reason: 'expired' })
    const lockOfBen = await ben!.lock('k')
    expect((await rejection(lockOfAnn.unlock(), 'LOCK_NOT_HELD')).cause).to.include({
      code: 'LOCK_LOST',
    })
    await untilHandled(ann!)
    expect(broker.query().held[0]).to.include({ fence: lockOfBen.fence })
  })
})
