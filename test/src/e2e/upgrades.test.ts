/**
 * Tests upgrades and downgrades over a real broker. By an upgrade, a shared lock becomes exclusive
 * when its key has no other lock. By a downgrade, an exclusive lock becomes shared immediately. A
 * fence is the number of a grant.
 */
import type { QueuedInfo } from '@holdfast/client'
import { expect } from 'chai'
import { expectRejection, Stage, untilMessagesHandled } from './stage.js'

const shared = { mode: 'shared' } as const

describe('e2e: upgrades', () => {
  const stage = Stage.forEachTest()

  it('make a shared lock exclusive with a higher fence, until a downgrade', async () => {
    const { sessions } = await stage.startBrokerWithSessions('a', 'b')
    const [a, b] = sessions
    const lock = await a!.lock('k', shared)
    const fenceBefore = lock.fence
    await lock.upgrade()
    expect(lock.mode).to.equal('exclusive')
    expect(lock.fence).to.be.above(fenceBefore)
    const error = await expectRejection(b!.tryLock('k', shared), 'LOCK_HELD')
    expect(error.holders?.map(({ fence }) => fence)).to.deep.equal([lock.fence])
    await lock.downgrade()
    expect(lock.mode).to.equal('shared')
    await b!.tryLock('k', shared)
    await lock.unlock()
  })

  it('wait for the other readers, and keep new readers out', async () => {
    const { sessions } = await stage.startBrokerWithSessions('a', 'b', 'c')
    const [a, b, c] = sessions
    const lock = await a!.lock('k', shared)
    const other = await b!.lock('k', shared)
    const upgraded = lock.upgrade()
    await untilMessagesHandled(a!)
    await expectRejection(c!.tryLock('k', shared), 'LOCK_HELD')
    expect(lock.mode).to.equal('shared')
    await other.unlock()
    await upgraded
    expect(lock.mode).to.equal('exclusive')
  })

  it('fail with a deadlock error if another reader of the key waits for an upgrade', async () => {
    const { sessions } = await stage.startBrokerWithSessions('a', 'b')
    const [a, b] = sessions
    const first = await a!.lock('k', shared)
    const second = await b!.lock('k', shared)
    const upgraded = first.upgrade()
    await untilMessagesHandled(a!)
    const error = await expectRejection(second.upgrade(), 'DEADLOCK')
    expect([error.key, error.retryable]).to.deep.equal(['k', false])
    await second.unlock()
    await upgraded
  })

  it('leave the lock shared after a timeout, an abort and a refusal', async () => {
    const { sessions } = await stage.startBrokerWithSessions('a', 'b', 'c')
    const [a, b, c] = sessions
    const lock = await a!.lock('k', shared)
    await b!.lock('k', shared)
    await expectRejection(lock.upgrade({ timeout: 1 }), 'LOCK_TIMEOUT')
    await expectRejection(lock.upgrade({ signal: AbortSignal.abort() }), 'ABORTED')
    const error = await expectRejection(lock.upgrade({ timeout: 0 }), 'LOCK_HELD')
    expect(error.holders).to.have.length(1)
    // No upgrade waits any longer, so a new reader is admitted.
    await c!.tryLock('k', shared)
    expect([lock.mode, lock.held]).to.deep.equal(['shared', true])
  })

  it('and downgrades are refused with the reason if the lock has the new mode already', async () => {
    const { sessions, broker } = await stage.startBrokerWithSessions('a')
    const [a] = sessions
    const exclusive = await a!.lock('k')
    const sharedLock = await a!.lock('s', shared)
    const fences = [exclusive.fence, sharedLock.fence]
    const errors = [
      await expectRejection(exclusive.upgrade(), 'INVALID_OPTION'),
      await expectRejection(sharedLock.downgrade(), 'INVALID_OPTION'),
    ]
    expect(errors.map(({ message }) => message)).to.deep.equal([
      'the mode of this lock cannot change: the lock is exclusive already',
      'the mode of this lock cannot change: the lock is shared already',
    ])
    expect([exclusive.mode, sharedLock.mode]).to.deep.equal(['exclusive', 'shared'])
    expect(broker.query().held.map(({ fence }) => fence)).to.have.members(fences)
  })

  it('and downgrades are refused for permits, sets, leaderships and locks of singleflightLock', async () => {
    const { sessions } = await stage.startBrokerWithSessions('a')
    const [a] = sessions
    // The capacity 2 makes the lock one of two permits of its key.
    const permit = await a!.lock('p', { capacity: 2 })
    // A set is one lock on several keys.
    const set = await a!.lockAll(['x', 'y'])
    const single = await a!.singleflightLock('s', shared)
    const leadership = await a!.campaign('e')
    for (const lock of [permit, set, single, leadership]) {
      await expectRejection(lock.upgrade(), 'INVALID_OPTION')
      await expectRejection(lock.downgrade(), 'INVALID_OPTION')
    }
    // The client checks the options before it checks the lock.
    await expectRejection(single.upgrade({ timeout: -1 }), 'INVALID_TIMEOUT')
    expect([leadership.mode, leadership.held]).to.deep.equal(['exclusive', true])
  })

  it('are listed before the other waiting requests by a query, and are in the queue of a new watch', async () => {
    const { sessions, broker } = await stage.startBrokerWithSessions('a', 'b', 'c')
    const [a, b, c] = sessions
    const lock = await a!.lock('k', shared)
    const other = await b!.lock('k', shared)
    const queued = b!.lock('k')
    await untilMessagesHandled(b!)
    const upgraded = lock.upgrade()
    await untilMessagesHandled(a!)
    const sessionIds = [a!.id, b!.id]
    // The queries ask for a key, for a prefix, and for a page of results.
    for (const query of [{ key: 'k' }, { prefix: '' }, { prefix: '', limit: 5, after: '' }]) {
      const { waiting, waitingCount } = await c!.query(query)
      expect(waiting.map(({ session }) => session)).to.deep.equal(sessionIds)
      expect(waitingCount).to.equal(2)
    }
    expect(broker.query({ key: 'k' }).waitingCount).to.equal(2)
    const queue = new Set<string>()
    const idOf = (info: QueuedInfo) => `${info.session}#${info.request}`
    const watch = c!.watch({ key: 'k', queue: true }, (event) => {
      if (event.event === 'state') for (const info of event.waiting!) queue.add(idOf(info))
      if (event.event === 'dequeued') expect(queue.delete(idOf(event))).to.equal(true)
    })
    await untilMessagesHandled(c!)
    expect(queue.size).to.equal(2)
    await other.unlock()
    await upgraded
    const [held] = broker.query({ key: 'k' }).held
    expect(held?.fence).to.equal(lock.fence)
    await lock.unlock()
    await (await queued).unlock()
    await untilMessagesHandled(c!)
    watch.close()
    expect(queue.size).to.equal(0)
  })

  it('reach watchers as events with the new mode and the new fence', async () => {
    const { sessions } = await stage.startBrokerWithSessions('a', 'b')
    const [a, b] = sessions
    const seen: unknown[] = []
    const watch = b!.watch('k', (event) => {
      if ('mode' in event) seen.push([event.event, event.mode, event.fence])
    })
    await untilMessagesHandled(b!)
    const lock = await a!.lock('k', shared)
    const fenceBefore = lock.fence
    await lock.upgrade()
    await lock.downgrade()
    await lock.unlock()
    await untilMessagesHandled(b!)
    watch.close()
    expect(seen).to.deep.equal([
      ['locked', 'shared', fenceBefore],
      ['upgraded', 'exclusive', lock.fence],
      ['downgraded', 'shared', lock.fence],
      ['unlocked', 'shared', lock.fence],
    ])
  })
})
