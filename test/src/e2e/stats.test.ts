/** Tests the counters of the broker, which `session.stats` and `broker.stats` return alike. */
import { expect } from 'chai'
import { expectRejection, Stage, untilAborted, untilMessagesHandled } from './stage.js'

describe('e2e: the counters of session.stats and broker.stats', () => {
  const stage = Stage.forEachTest()

  it('begin at 0', async () => {
    const { sessions, broker } = await stage.startBrokerWithSessions('ann')
    const zeros = {
      totalLocks: 0,
      activeLocks: 0,
      failedLocks: 0,
      expiredLocks: 0,
      refreshCount: 0,
      unlockCount: 0,
      successRate: 0,
      barriers: 0,
      barrierCalls: 0,
      keptResults: 0,
      refusedDeadlocks: 0,
    }
    expect(await sessions[0]!.stats()).to.deep.equal(zeros)
    expect(broker.stats()).to.deep.equal(zeros)
  })

  it('count the requests of all sessions, and are the same for each session', async () => {
    const { sessions, broker } = await stage.startBrokerWithSessions('ann', 'ben', 'cleo')
    const [ann, ben, cleo] = sessions
    const held = await ann!.lock('held')
    await held.refresh()
    await held.refresh()
    await (await ben!.lock('given back')).unlock()
    const expiring = await ben!.lock('expired', { ttl: 20 })
    await expectRejection(cleo!.tryLock('held'), 'LOCK_HELD')
    await expectRejection(cleo!.lock('held', { timeout: 1 }), 'LOCK_TIMEOUT')
    await untilAborted(expiring.signal)
    // This lock is granted only when the broker has expired the first lock too.
    await ben!.lock('expired')
    // Six calls requested a lock, and two of them failed.
    const expected = {
      totalLocks: 6,
      activeLocks: 2,
      failedLocks: 2,
      expiredLocks: 1,
      refreshCount: 2,
      unlockCount: 1,
      successRate: 4 / 6,
      barriers: 0,
      barrierCalls: 0,
      keptResults: 0,
      refusedDeadlocks: 0,
    }
    for (const session of sessions) expect(await session.stats()).to.deep.equal(expected)
    expect(broker.stats()).to.deep.equal(expected)
  })

  it('count a waiting request as failed if its session ends, and do not count requests with invalid keys', async () => {
    const { sessions, broker } = await stage.startBrokerWithSessions('ann', 'ben')
    const [ann, ben] = sessions
    await ann!.lock('k')
    const waiting = expectRejection(ben!.lock('k'), 'SESSION_CLOSED')
    await untilMessagesHandled(ben!)
    await expectRejection(ben!.lock(''), 'INVALID_KEY')
    await ben!.close()
    await waiting
    expect(broker.stats()).to.include({ totalLocks: 2, failedLocks: 1 })
  })
})
