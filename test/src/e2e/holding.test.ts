/**
 * Tests `maxHold`, notices, and watches that also report the queue, over a real broker. `maxHold`
 * limits how long a lock is held. A notice tells a waiter of the holders, or a holder of the
 * waiters. A fence is the number of a grant. A set is one lock on several keys. A journal is
 * the broker's log of commands on disk, from which the broker restarts. The grace is how long the
 * broker keeps a session without a connection. The grace 'lease' is as long as the lease, which is
 * how long the broker keeps a silent session.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ContendedNotice, QueuedNotice, QueueEvent, WatchEvent } from '@holdfast/client'
import { journalLog } from '@holdfast/server'
import { expect } from 'chai'
import { RawClient } from './raw.js'
import {
  Collector,
  expectRejection,
  nextEvent,
  Stage,
  untilAborted,
  untilMessagesHandled,
} from './stage.js'

describe('e2e: maxHold', () => {
  const stage = Stage.forEachTest()

  it('ends a lock in spite of refreshes, before the next session gets the lock', async () => {
    const { sessions } = await stage.startBrokerWithSessions('ann', 'ben')
    const [ann, ben] = sessions
    const lockOfAnn = await ann!.lock('k', { ttl: 60_000, maxHold: 400 })
    void lockOfAnn.autoRefresh({ interval: 50, timeout: 5_000 })
    const isHeldTwice = ben!.lock('k').then(() => lockOfAnn.held)
    expect(await untilAborted(lockOfAnn.signal)).to.include({
      code: 'LOCK_LOST',
      reason: 'maxHold',
    })
    expect(await isHeldTwice).to.equal(false)
    await expectRejection(lockOfAnn.unlock(), 'LOCK_NOT_HELD')
  })

  it('ends a set as a whole, and withLockAll rejects with LOCK_LOST', async () => {
    const { sessions } = await stage.startBrokerWithSessions('ann')
    const lost = sessions[0]!.withLockAll(['a', 'b'], (set) => untilAborted(set.signal), {
      maxHold: 100,
    })
    expect(await expectRejection(lost, 'LOCK_LOST')).to.include({ reason: 'maxHold' })
    // The broker ends the set a little later than the client does, so this request may wait.
    expect((await sessions[0]!.lockAll(['b', 'a'])).held).to.equal(true)
  })

  it('is the limit of the operator if the request has no maxHold', async () => {
    const { url, broker } = await stage.startBroker({ limits: { maxHoldMs: 200 } })
    const session = await stage.openSession(url)
    const lost = nextEvent(session, 'lost')
    const lock = await session.lock('k')
    expect(broker.query().held[0]).to.include({ maxHold: 200 })
    expect(await lost).to.deep.equal({ key: 'k', fence: lock.fence, reason: 'maxHold' })
  })

  it('begins anew at a broker that restarts from its journal', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'holdfast-hold-'))
    stage.onCleanUp(() => rmSync(dir, { recursive: true, force: true }))
    const first = await stage.startBroker({ log: journalLog({ dir }) })
    // This client neither ends the lock nor reconnects, so only the second broker can end the lock.
    const holder = await RawClient.open(first.url, { lease: 60_000, grace: 'lease' })
    stage.onCleanUp(() => holder.drop())
    holder.send({ type: 'lock', id: 1, key: 'k', maxHold: 300, notify: ['contended'] })
    await holder.receive('granted')
    await first.broker.close()
    const second = await stage.startBroker({ log: journalLog({ dir }) })
    expect(second.broker.query().held[0]).to.include({ key: 'k', maxHold: 300 })
    const session = await stage.openSession(second.url)
    expect((await session.lock('k')).held).to.equal(true)
  })
})

describe('e2e: invalid options of lock', () => {
  const stage = Stage.forEachTest()
  const invalidOptions: [string, object, RegExp][] = [
    [
      'a maxHold of 0',
      { maxHold: 0 },
      /maxHold must be an integer of ms from 1 to 2\^31 - 1, not 0/,
    ],
    ['a maxHold that is a text', { maxHold: '1m' }, /maxHold must be an integer/],
    ['a maxHold that is too long', { maxHold: 2 ** 31 }, /maxHold must be an integer/],
    ['an onQueued that is no function', { onQueued: 7 }, /onQueued must be a function/],
    ['an onContended that is no function', { onContended: {} }, /onContended must be a function/],
  ]
  for (const [name, options, message] of invalidOptions) {
    it(`are refused, and no lock is granted: ${name}`, async () => {
      const { sessions, broker } = await stage.startBrokerWithSessions('ann')
      const error = await expectRejection(sessions[0]!.lock('k', options), 'INVALID_OPTION')
      expect(error.message).to.match(message)
      expect(broker.query().heldCount).to.equal(0)
    })
  }
})

describe('e2e: notices', () => {
  const stage = Stage.forEachTest()

  it('tell a waiter who holds the key, and tell the holder that others wait, so that the holder unlocks', async () => {
    const { sessions } = await stage.startBrokerWithSessions('ann', 'ben')
    const [ann, ben] = sessions
    const contended: ContendedNotice[] = []
    const lock = await ann!.lock('k', {
      onContended: (notice) => {
        contended.push(notice)
        void lock.unlock()
      },
    })
    const queued: QueuedNotice[] = []
    const granted = await ben!.lock('k', { onQueued: (notice) => queued.push(notice) })
    expect(granted.fence).to.be.above(lock.fence)
    expect(contended).to.deep.equal([{ waiting: 1 }])
    expect(queued.map(({ ahead, holders }) => [ahead, holders[0]?.name])).to.deep.equal([
      [0, 'ann'],
    ])
  })

  it('reach a holder that has resumed its session at a restarted broker', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'holdfast-notices-'))
    stage.onCleanUp(() => rmSync(dir, { recursive: true, force: true }))
    const first = await stage.startBroker({ log: journalLog({ dir }) })
    const holder = await stage.openSession(first.url, { grace: 'lease' })
    const contended = new Promise((resolve) => {
      void holder.lockAll(['k', 'l'], { onContended: resolve })
    })
    await untilMessagesHandled(holder)
    const resumed = nextEvent(holder, 'resumed')
    await first.broker.close()
    await stage.startBroker({ log: journalLog({ dir }) }, first.port)
    await resumed
    void (await stage.openSession(first.url)).lock('l').catch(() => {})
    expect(await contended).to.deep.equal({ waiting: 1 })
  })

  it('cannot be requested from singleflightLock, whose callers share one request', async () => {
    const { sessions } = await stage.startBrokerWithSessions('ann')
    const options = { onContended: () => {} } as object
    const error = await expectRejection(
      sessions[0]!.singleflightLock('k', options),
      'INVALID_OPTION',
    )
    expect(error.message).to.match(/no option "onContended"/)
  })
})

describe('e2e: a watch with the queue', () => {
  const stage = Stage.forEachTest()

  it('first reports the waiting requests, and then each change of the queue and the holders', async () => {
    const { sessions } = await stage.startBrokerWithSessions('ann', 'ben', 'watcher')
    const [ann, ben, watcher] = sessions
    const held = await ann!.lock('doc:1')
    const waiting = ben!.lock('doc:1', { mode: 'shared' })
    await untilMessagesHandled(ben!)
    const events = new Collector<WatchEvent | QueueEvent>()
    watcher!.watch({ prefix: 'doc:', queue: true }, events.add)
    const [state] = await events.waitForCount(1)
    expect(state).to.include({ event: 'state', heldCount: 1, waitingCount: 1 })
    expect(state).to.have.nested.property('waiting[0].name', 'ben')
    await expectRejection(ben!.lock('doc:1', { timeout: 1 }), 'LOCK_TIMEOUT')
    await held.unlock()
    await waiting
    // The state and five changes.
    const [, ...changes] = await events.waitForCount(6)
    expect(
      changes.map((change) =>
        'reason' in change ? `${change.event} ${change.reason}` : change.event,
      ),
    ).to.deep.equal(['queued', 'dequeued timeout', 'unlocked', 'dequeued granted', 'locked'])
  })
})
