/**
 * Tests sets over a real broker. A set is one lock on several keys: the broker grants a set in one
 * step, and a client loses a set as a whole. The `key` and the mode of a set are those of its first
 * key. A fence is the number of a grant.
 */
import type { Lock, WatchEvent } from '@holdfast/client'
import { createBroker } from '@holdfast/server'
import { expect } from 'chai'
import { expectRejection, nextEvent, Stage, untilAborted, untilMessagesHandled } from './stage.js'

describe('e2e: sets', () => {
  const stage = Stage.forEachTest()

  it('lock several keys with one fence, and unlock them together', async () => {
    const { sessions, broker } = await stage.startBrokerWithSessions('ann')
    const [ann] = sessions
    const lockSet = await ann!.lockAll(['account:1', { key: 'account:2', mode: 'shared' }])
    expect([lockSet.key, lockSet.keys, lockSet.mode, lockSet.held]).to.deep.equal([
      'account:1',
      ['account:1', 'account:2'],
      'exclusive',
      true,
    ])
    const { held } = broker.query()
    expect(
      held.map(({ key, mode, fence, keyCount }) => [key, mode, fence, keyCount]),
    ).to.deep.equal([
      ['account:1', 'exclusive', lockSet.fence, 2],
      ['account:2', 'shared', lockSet.fence, 2],
    ])
    await lockSet.unlock()
    expect(broker.query().heldCount).to.equal(0)
  })

  it('let transfers run in both directions at the same time without a deadlock', async () => {
    const { sessions } = await stage.startBrokerWithSessions('ann', 'ben')
    const balance = new Map([
      ['account:1', 100],
      ['account:2', 100],
    ])
    const transfer = (session: (typeof sessions)[number], from: string, to: string) =>
      session.withLockAll([from, to], async () => {
        const [a, b] = [balance.get(from)!, balance.get(to)!]
        // During this wait, a transfer without the locks would read the same balances.
        await untilMessagesHandled(session)
        balance.set(from, a - 10)
        balance.set(to, b + 10)
      })
    const transfers = Array.from({ length: 20 }, (_, i) =>
      i % 2 === 0
        ? transfer(sessions[0]!, 'account:1', 'account:2')
        : transfer(sessions[1]!, 'account:2', 'account:1'),
    )
    await Promise.all(transfers)
    expect([...balance.values()]).to.deep.equal([100, 100])
  })

  it('block later requests for their free keys while the sets wait for a held key', async () => {
    const { sessions } = await stage.startBrokerWithSessions('holder', 'set', 'late')
    const [holder, setSession, lateSession] = sessions
    const held = await holder!.lock('busy')
    const waiting = setSession!.lockAll(['busy', 'free'], { timeout: 200 })
    await untilMessagesHandled(setSession!)
    await expectRejection(lateSession!.tryLock('free'), 'LOCK_HELD')
    const lateLock = lateSession!.lock('free')
    const error = await expectRejection(waiting, 'LOCK_TIMEOUT')
    expect(error.holders?.map(({ key, fence }) => [key, fence])).to.deep.equal([
      ['busy', held.fence],
    ])
    expect((await lateLock).held).to.equal(true)
  })

  it('fail immediately in tryLockAll if one key is held, take nothing, and name the holder with its key', async () => {
    const { sessions, broker } = await stage.startBrokerWithSessions('ann', 'ben')
    const [ann, ben] = sessions
    const held = await ann!.lock('b')
    const error = await expectRejection(ben!.tryLockAll(['a', 'b', 'c']), 'LOCK_HELD')
    expect(error.holders?.map(({ key, fence, name }) => [key, fence, name])).to.deep.equal([
      ['b', held.fence, 'ann'],
    ])
    expect(broker.query().heldCount).to.equal(1)
    await held.unlock()
    expect((await ben!.tryLockAll(['a', 'b', 'c'])).keys).to.deep.equal(['a', 'b', 'c'])
  })

  it('are lost as a whole when one key is stolen: one report, and the next waiter of the other key gets its lock', async () => {
    const { sessions } = await stage.startBrokerWithSessions('ann', 'stealer', 'waiter')
    const [ann, stealer, waiter] = sessions
    const losses: unknown[] = []
    ann!.on('lost', (lost) => losses.push(lost))
    const set = await ann!.lockAll(['a', 'b'])
    const waiting = waiter!.lock('b')
    await untilMessagesHandled(waiter!)
    const stolen = await stealer!.lock('a', { steal: true })
    expect(await untilAborted(set.signal)).to.include({ code: 'LOCK_LOST', reason: 'stolen' })
    expect((await waiting).fence).to.be.above(stolen.fence)
    await untilMessagesHandled(ann!)
    expect(losses).to.deep.equal([{ key: 'a', fence: set.fence, reason: 'stolen' }])
  })

  it('can be revoked with any of their keys', async () => {
    const { sessions, broker } = await stage.startBrokerWithSessions('ann', 'operator')
    const [ann, operator] = sessions
    const set = await ann!.lockAll(['a', 'b'])
    const lost = nextEvent(ann!, 'lost')
    await operator!.revoke('b', { fence: set.fence, reason: 'stuck' })
    // The event names the first key of the set.
    expect(await lost).to.include({ key: 'a', reason: 'revoked' })
    expect(broker.query().heldCount).to.equal(0)
  })

  it('expire as a whole after a refresh with a short ttl', async () => {
    const { sessions, broker } = await stage.startBrokerWithSessions('ann', 'ben')
    const set = await sessions[0]!.lockAll(['a', 'b'], { ttl: 60_000 })
    const waiting = sessions[1]!.lockAll(['b', 'a'])
    const lost = nextEvent(sessions[0]!, 'lost')
    await set.refresh(50)
    expect(await lost).to.deep.equal({ key: 'a', fence: set.fence, reason: 'expired' })
    const { fence } = await waiting
    expect(broker.query().held.map((lock) => [lock.key, lock.fence])).to.deep.equal([
      ['a', fence],
      ['b', fence],
    ])
  })

  it('leave all queues when their signal aborts', async () => {
    const { sessions, broker } = await stage.startBrokerWithSessions('ann', 'ben')
    const [ann, ben] = sessions
    await ann!.lock('a')
    const controller = new AbortController()
    const waiting = ben!.lockAll(['a', 'b'], { signal: controller.signal })
    await untilMessagesHandled(ben!)
    // The request waits for both keys.
    expect(broker.query().waitingCount).to.equal(2)
    controller.abort()
    await expectRejection(waiting, 'ABORTED')
    await untilMessagesHandled(ben!)
    expect(broker.query().waitingCount).to.equal(0)
  })

  it('give a watch one event for each key', async () => {
    const { sessions } = await stage.startBrokerWithSessions('ann', 'watcher')
    const [ann, watcher] = sessions
    const events: string[] = []
    const seen = new Promise<void>((resolve) => {
      watcher!.watch({ prefix: '' }, (event: WatchEvent) => {
        if (event.event === 'locked' || event.event === 'unlocked')
          events.push(`${event.event} ${event.key} of ${event.keyCount}`)
        if (events.length === 4) resolve()
      })
    })
    await untilMessagesHandled(watcher!)
    await (await ann!.lockAll(['a', 'b'])).unlock()
    await seen
    expect(events).to.deep.equal([
      'locked a of 2',
      'locked b of 2',
      'unlocked a of 2',
      'unlocked b of 2',
    ])
  })

  it('count once in totalLocks, and once for each key in activeLocks', async () => {
    const { sessions } = await stage.startBrokerWithSessions('ann')
    await sessions[0]!.lockAll(['a', 'b', 'c'])
    expect(await sessions[0]!.stats()).to.include({ totalLocks: 1, activeLocks: 3 })
  })

  it('may take permits on some of their keys', async () => {
    const { sessions } = await stage.startBrokerWithSessions('ann', 'ben')
    const items = [{ key: 'gpu', permits: 2, capacity: 3 }, 'job']
    const set: Lock = await sessions[0]!.lockAll(items)
    expect([set.mode, set.permits, set.capacity]).to.deep.equal(['permits', 2, 3])
    await expectRejection(sessions[1]!.tryLock('gpu', { capacity: 3, permits: 2 }), 'LOCK_HELD')
    expect((await sessions[1]!.tryLock('gpu', { capacity: 3 })).held).to.equal(true)
  })

  const invalidKeys: [
    title: string,
    keys: unknown,
    code: 'INVALID_OPTION' | 'INVALID_KEY',
    message: RegExp,
  ][] = [
    ['no keys', [], 'INVALID_OPTION', /takes 1 to 64 keys, not 0/],
    ['65 keys', Array.from({ length: 65 }, (_, i) => `k${i}`), 'INVALID_OPTION', /not 65/],
    ['the same key twice', ['a', 'b', { key: 'a' }], 'INVALID_OPTION', /got the key "a" twice/],
    ['a text in place of an array', 'ab', 'INVALID_OPTION', /takes an array of keys/],
    ['an empty key', ['a', ''], 'INVALID_KEY', /invalid key/],
    ['a number', ['a', 7], 'INVALID_OPTION', /takes keys, or objects with a key/],
    ['a reserved key', ['~name:a'], 'INVALID_KEY', /reserved/],
    ['a wrong mode', [{ key: 'a', mode: 'both' }], 'INVALID_OPTION', /mode must be/],
    ['permits without a capacity', [{ key: 'a', permits: 1 }], 'INVALID_OPTION', /need a capacity/],
    ['an unknown field', [{ key: 'a', ttl: 5 }], 'INVALID_OPTION', /has no option "ttl"/],
  ]
  for (const [title, keys, code, message] of invalidKeys) {
    it(`refuse ${title}, and lock nothing`, async () => {
      const { sessions, broker } = await stage.startBrokerWithSessions('ann')
      const error = await expectRejection(sessions[0]!.lockAll(keys as string[]), code)
      expect(error.message).to.match(message)
      expect(broker.query().heldCount).to.equal(0)
    })
  }

  it('refuse a steal', async () => {
    const { sessions } = await stage.startBrokerWithSessions('ann')
    const stealing = sessions[0]!.lockAll(['a', 'b'], { steal: true } as object)
    expect((await expectRejection(stealing, 'INVALID_OPTION')).message).to.match(
      /no option "steal"/,
    )
  })

  it('need the permission to lock each key, and the refusal names the key', async () => {
    const broker = createBroker({
      authorize: (_principal, operation, key) => operation !== 'lock' || key.startsWith('mine:'),
    })
    stage.onCleanUp(() => broker.close())
    const { url } = await broker.listen({ port: 0 })
    const session = await stage.openSession(url)
    const error = await expectRejection(session.lockAll(['mine:1', 'yours']), 'FORBIDDEN')
    expect(error.message).to.equal('"yours": you may not lock this key')
    await expectRejection(
      session.lockAll(['mine:1', { key: 'yours', mode: 'shared' }]),
      'FORBIDDEN',
    )
    expect(broker.query().heldCount).to.equal(0)
    expect((await session.lockAll(['mine:1', 'mine:2'])).keys).to.have.length(2)
  })
})
