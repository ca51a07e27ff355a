/**
 * Tests scopes over a real broker. A scope is one logical task of a session, run by a callback.
 * Scopes are re-entrant: a scope may lock a key again that it holds. A request that would cause a
 * deadlock is refused. When the callback settles, all locks of the scope are released. A set is one
 * lock on several keys. A fence is the number of a grant.
 */
import type { HoldfastError, Scope } from '@holdfast/client'
import { expect } from 'chai'
import { expectRejection, Stage, untilMessagesHandled } from './stage.js'

describe('e2e: scopes', () => {
  const stage = Stage.forEachTest()

  it('release all their locks before they settle, also if the callback throws', async () => {
    const { sessions, broker } = await stage.startBrokerWithSessions('a')
    const [a] = sessions
    const result = await a!.scope(async (scope) => {
      await scope.lock('k')
      await scope.lockAll(['l', 'm'])
      expect(broker.query().heldCount).to.equal(3)
      return 7
    })
    expect([result, broker.query().heldCount]).to.deep.equal([7, 0])
    const failing = a!.scope(async (scope) => {
      await scope.lock('k')
      throw new Error('stop')
    })
    expect(await failing.catch((error: Error) => error.message)).to.equal('stop')
    expect(broker.query().heldCount).to.equal(0)
  })

  it('are re-entrant: the last unlock releases the lock', async () => {
    const { sessions, broker } = await stage.startBrokerWithSessions('a')
    await sessions[0]!.scope(async (scope) => {
      const first = await scope.lock('k')
      const again = await scope.lock('k', { mode: 'shared' })
      expect(again.fence).to.equal(first.fence)
      await first.unlock()
      expect([first.held, again.held, broker.query().heldCount]).to.deep.equal([false, true, 1])
      await again.unlock()
      expect(broker.query().heldCount).to.equal(0)
      await scope.lock('s', { mode: 'shared' })
      // An exclusive request would wait for the shared lock of its own scope.
      const error = await expectRejection(scope.lock('s'), 'DEADLOCK')
      expect(error.message).to.match(/upgrade that lock/)
    })
  })

  it('are re-entrant for each key of a set, and for the same set with its keys in any order', async () => {
    const { sessions, broker } = await stage.startBrokerWithSessions('a')
    await sessions[0]!.scope(async (scope) => {
      const sharedY = { key: 'y', mode: 'shared' } as const
      const set = await scope.lockAll(['x', sharedY, { key: 'z', capacity: 2 }])
      const handles = [
        await scope.lockAll([{ key: 'z', capacity: 2, permits: 1 }, sharedY, 'x']),
        await scope.lock('x', { mode: 'shared' }),
        await scope.lock('x'),
        await scope.lock('y', { mode: 'shared' }),
      ]
      for (const { fence, keys } of handles)
        expect([fence, keys]).to.deep.equal([set.fence, ['x', 'y', 'z']])
      // The following requests would wait for the set of their own scope. A request cannot share
      // the set if its mode is stronger, or if it is a `lockAll` with other keys or modes.
      const error = await expectRejection(scope.lock('y'), 'DEADLOCK')
      expect(error.message).to.match(/unlock that lock, or ask for all keys at once/)
      await expectRejection(scope.lockAll(['x']), 'DEADLOCK')
      await expectRejection(scope.lockAll(['x', 'y', { key: 'z', capacity: 2 }]), 'DEADLOCK')
      await expectRejection(scope.lockAll(['x', 'free']), 'DEADLOCK')
      await expectRejection(scope.lock('z'), 'DEADLOCK')
      // The set has one of the two permits of `z`, so this request gets a lock of its own.
      const permit = await scope.lock('z', { capacity: 2 })
      expect(permit.fence).to.be.above(set.fence)
      await permit.unlock()
      for (const handle of [set, ...handles]) {
        expect(broker.query().heldCount).to.equal(3)
        await handle.unlock()
      }
      expect(broker.query().heldCount).to.equal(0)
    })
  })

  it('are refused a lock that could never be granted, with the cycle in the error', async () => {
    const { sessions } = await stage.startBrokerWithSessions('a', 'b')
    const [a, b] = sessions
    const order: string[] = []
    let settledScope: Scope | undefined
    await a!.scope(async (first) => {
      settledScope = first
      await first.lock('k')
      await b!.scope(
        async (second) => {
          await second.lock('l')
          void first.lock('l').then(() => order.push('granted'))
          await untilMessagesHandled(a!)
          const error: HoldfastError = await expectRejection(second.lock('k'), 'DEADLOCK')
          // The key and the session of each request in the cycle.
          expect(error.cycle?.map(({ key, session }) => [key, session])).to.deep.equal([
            ['k', b!.id],
            ['l', a!.id],
          ])
          // The end of this scope unlocks `l`, which grants the waiting request of the first scope.
        },
        { name: 'transfer' },
      )
      await untilMessagesHandled(a!)
      order.push('second scope settled')
    })
    expect(order).to.deep.equal(['granted', 'second scope settled'])
    // A scope that has settled refuses each call.
    await expectRejection(settledScope!.lock('k'), 'ABORTED')
  })

  it('send one request at a time, in the order of the calls', async () => {
    const { sessions, broker } = await stage.startBrokerWithSessions('a', 'b')
    const [a, b] = sessions
    const held = await b!.lock('k')
    await a!.scope(async (scope) => {
      const first = scope.lock('k')
      const second = scope.lock('free')
      const otherTimedOut = expectRejection(scope.lock('other', { timeout: 1 }), 'LOCK_TIMEOUT')
      await untilMessagesHandled(a!)
      // While the request for `k` waits, the client does not send the other requests. So only the
      // lock of the other session is held.
      expect(broker.query().heldCount).to.equal(1)
      await otherTimedOut
      await held.unlock()
      expect((await second).fence).to.be.above((await first).fence)
    })
  })

  it('reject the calls that still wait when the callback settles', async () => {
    const { sessions, broker } = await stage.startBrokerWithSessions('a', 'b')
    const [a, b] = sessions
    const held = await b!.lock('k')
    const rejections: Promise<HoldfastError>[] = []
    await a!.scope(async (scope) => {
      await scope.lock('own')
      rejections.push(
        expectRejection(scope.lock('k'), 'ABORTED'),
        expectRejection(scope.lock('l'), 'ABORTED'),
      )
      await untilMessagesHandled(a!)
    })
    await Promise.all(rejections)
    expect(broker.query()).to.include({ heldCount: 1, waitingCount: 0 })
    await held.unlock()
  })

  it('abort their signal when one of their locks is lost', async () => {
    const { sessions } = await stage.startBrokerWithSessions('a', 'stealer')
    const [a, stealer] = sessions
    await a!.scope(async (scope) => {
      await scope.lock('k')
      expect(scope.signal.aborted).to.equal(false)
      await stealer!.lock('k', { steal: true })
      await untilMessagesHandled(a!)
      expect((scope.signal.reason as HoldfastError).code).to.equal('LOCK_LOST')
    })
  })

  it('can upgrade their locks and call withLock, but refuse a steal and unknown options', async () => {
    const { sessions } = await stage.startBrokerWithSessions('a')
    const [a] = sessions
    await a!.scope(async (scope) => {
      const lock = await scope.lock('k', { mode: 'shared' })
      await lock.upgrade()
      expect((await scope.lock('k')).fence).to.equal(lock.fence)
      await expectRejection(scope.lock('l', { steal: true } as object), 'INVALID_OPTION')
      expect(await scope.withLock('w', () => 3)).to.equal(3)
    })
    await expectRejection(
      a!.scope(() => 1, { nmae: 'typo' } as object),
      'INVALID_OPTION',
    )
    await expectRejection(a!.scope(undefined as never), 'INVALID_OPTION')
  })
})
