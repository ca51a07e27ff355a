/**
 * Tests which lock requests the table grants, queues or refuses, and what an unlock does. An unused
 * key must leave nothing in the table. A `TableDriver` applies commands to a lock table and returns
 * the effects as short texts: `granted b#1 k f2` means that request 1 of session `b` got the key
 * `k` with the fence 2, the number of the grant.
 */
import { restore } from '@holdfast/server/core'
import { maxHoldersNamed } from '@holdfast/shared'
import { expect } from 'chai'
import { TableDriver } from './tableDriver.js'
import { plainEffect } from './tableToPlain.js'

describe('table: a command of a newer version', () => {
  it('is an error, because a table that skips a command differs from the tables of other brokers', () => {
    const apply = () => new TableDriver().table.apply({ type: 'later', at: 0 } as never)
    expect(apply).to.throw('unknown type "later": update Holdfast')
  })
})

describe('table: grant', () => {
  it('grants a free key immediately', () => {
    expect(TableDriver.withSessions('a').lock('a', 'k')).to.deep.equal(['granted a#1 k f1'])
  })

  it('reports everything about the granted lock', () => {
    const driver = new TableDriver()
    driver.open('a', { name: 'worker 7' })
    const [effect] = driver.table.apply({
      type: 'lock',
      at: 12_345,
      session: 'a',
      attachEpoch: 1,
      id: 3,
      key: 'k',
      mode: 'shared',
      ttl: 500,
      timeout: 1_000,
      steal: false,
      metadata: '{"job":1}',
    })
    expect(plainEffect(effect!)).to.deep.equal({
      kind: 'granted',
      waited: false,
      lock: {
        session: 'a',
        id: 3,
        key: 'k',
        mode: 'shared',
        fence: 1,
        presentFence: 1,
        scope: undefined,
        ttl: 500,
        generation: 0,
        metadata: '{"job":1}',
        since: 12_345,
        permits: undefined,
        capacity: undefined,
        maxHold: undefined,
        notify: undefined,
        once: undefined,
        election: undefined,
        set: undefined,
      },
    })
  })

  it('distinguishes keys that are not exactly equal, with no normalization and no special names', () => {
    const driver = TableDriver.withSessions('a', 'b')
    const spellings = ['\u00e9', 'e\u0301', 'E', 'e', ' e', '__proto__', 'constructor']
    for (const key of spellings) expect(driver.lock('a', key)).to.have.length(1)
    expect(driver.table.keys.size).to.equal(spellings.length)
  })

  it('is not re-entrant: a second request of the holder waits', () => {
    const driver = TableDriver.withSessions('a')
    driver.lock('a', 'k')
    expect(driver.lock('a', 'k')).to.deep.equal(['queued a#2 k'])
    expect(driver.unlock('a', 1)).to.deep.equal([
      'released a k f1 unlocked',
      'granted a#2 k f2',
      'answer a#3 unlocked',
    ])
  })

  it('shares a key among any number of shared locks', () => {
    const driver = TableDriver.withSessions('a', 'b')
    driver.lock('a', 'k', { mode: 'shared' })
    expect(driver.lock('b', 'k', { mode: 'shared' })).to.deep.equal(['granted b#1 k f2'])
    expect(driver.lock('a', 'k', { mode: 'shared' })).to.deep.equal(['granted a#2 k f3'])
  })

  it('keeps an exclusive request waiting until the last shared lock is released', () => {
    const driver = TableDriver.withSessions('a', 'b', 'c')
    driver.lock('a', 'k', { mode: 'shared' })
    driver.lock('b', 'k', { mode: 'shared' })
    expect(driver.lock('c', 'k')).to.deep.equal(['queued c#1 k'])
    expect(driver.unlock('a', 1)).to.deep.equal(['released a k f1 unlocked', 'answer a#2 unlocked'])
    expect(driver.unlock('b', 2)).to.include('granted c#1 k f3')
  })
})

describe('table: first come, first served', () => {
  it('grants exclusive requests in the order of arrival', () => {
    const driver = TableDriver.withSessions('a', 'b', 'c', 'd')
    for (const session of ['a', 'b', 'c', 'd']) driver.lock(session, 'k')
    expect(driver.unlock('a', 1)).to.include('granted b#1 k f2')
    expect(driver.unlock('b', 2)).to.include('granted c#1 k f3')
    expect(driver.unlock('c', 3)).to.include('granted d#1 k f4')
  })

  it('grants no shared request past a waiting exclusive request', () => {
    const driver = TableDriver.withSessions('a', 'b', 'c')
    driver.lock('a', 'k', { mode: 'shared' })
    driver.lock('b', 'k')
    expect(driver.lock('c', 'k', { mode: 'shared' })).to.deep.equal(['queued c#1 k'])
  })

  it('grants adjacent shared requests together, up to the next exclusive request', () => {
    const driver = TableDriver.withSessions('a', 'b', 'c', 'd', 'e')
    driver.lock('a', 'k')
    driver.lock('b', 'k', { mode: 'shared' })
    driver.lock('c', 'k', { mode: 'shared' })
    driver.lock('d', 'k')
    driver.lock('e', 'k', { mode: 'shared' })
    expect(driver.unlock('a', 1)).to.deep.equal([
      'released a k f1 unlocked',
      'granted b#1 k f2',
      'granted c#1 k f3',
      'answer a#2 unlocked',
    ])
  })

  it('grants shared requests as soon as the exclusive request before them leaves the queue', () => {
    const driver = TableDriver.withSessions('a', 'b', 'c', 'd')
    driver.lock('a', 'k', { mode: 'shared' })
    driver.lock('b', 'k')
    driver.lock('c', 'k', { mode: 'shared' })
    driver.lock('d', 'k', { mode: 'shared' })
    expect(driver.cancel('b', 1)).to.deep.equal([
      'withdrawn b#1 k aborted',
      'granted c#1 k f2',
      'granted d#1 k f3',
      'answer b#1 ABORTED',
    ])
  })

  it('keeps the order when a request in the middle leaves', () => {
    const driver = TableDriver.withSessions('a', 'b', 'c', 'd')
    for (const session of ['a', 'b', 'c', 'd']) driver.lock(session, 'k')
    expect(driver.timeOutRequest('c', 1)).to.deep.equal([
      'withdrawn c#1 k timeout',
      'answer c#1 LOCK_TIMEOUT by a f1',
    ])
    expect(driver.unlock('a', 1)).to.include('granted b#1 k f2')
    expect(driver.unlock('b', 2)).to.include('granted d#1 k f3')
  })

  it('does not delay requests for other keys', () => {
    const driver = TableDriver.withSessions('a', 'b')
    driver.lock('a', 'k')
    driver.lock('b', 'k')
    expect(driver.lock('b', 'l')).to.deep.equal(['granted b#2 l f2'])
  })
})

describe('table: timeout 0', () => {
  it('fails immediately with the holders, and leaves no request in the queue', () => {
    const driver = new TableDriver()
    driver.open('a', { name: 'worker' })
    driver.open('b')
    // The driver gives the time 1,000 to its first command, so this third command has 1,002.
    driver.lock('a', 'k', { metadata: '"why"' })
    const effects = driver.table.apply({
      type: 'lock',
      at: 9,
      session: 'b',
      attachEpoch: 1,
      id: 1,
      key: 'k',
      mode: 'exclusive',
      ttl: undefined,
      timeout: 0,
      steal: false,
      metadata: undefined,
    })
    expect(effects.map(plainEffect)).to.deep.equal([
      {
        kind: 'answer',
        session: 'b',
        id: 1,
        repeat: false,
        answer: {
          kind: 'failed',
          code: 'LOCK_HELD',
          holders: [{ session: 'a', name: 'worker', metadata: '"why"', fence: 1, since: 1_002 }],
        },
      },
    ])
    expect(driver.table.waitingCount).to.equal(0)
  })

  it('does not prevent a grant that needs no wait', () => {
    const driver = TableDriver.withSessions('a', 'b')
    expect(driver.lock('a', 'k', { timeout: 0, mode: 'shared' })).to.deep.equal([
      'granted a#1 k f1',
    ])
    expect(driver.lock('b', 'k', { timeout: 0, mode: 'shared' })).to.deep.equal([
      'granted b#1 k f2',
    ])
  })

  it('fails for a shared request behind a waiting exclusive request', () => {
    const driver = TableDriver.withSessions('a', 'b', 'c')
    driver.lock('a', 'k', { mode: 'shared' })
    driver.lock('b', 'k')
    expect(driver.lock('c', 'k', { timeout: 0, mode: 'shared' })).to.deep.equal([
      'answer c#1 LOCK_HELD by a f1',
    ])
  })

  it('reports at most 16 holders, the oldest first', () => {
    const driver = TableDriver.withSessions('a', 'b')
    const holderCount = maxHoldersNamed + 4
    for (let i = 0; i < holderCount; i++) driver.lock('a', 'k', { mode: 'shared' })
    const [answer] = driver.lock('b', 'k', { timeout: 0 })
    const expectedHolders = Array.from({ length: maxHoldersNamed }, (_, i) => `a f${i + 1}`).join(
      ', ',
    )
    expect(answer).to.equal(`answer b#1 LOCK_HELD by ${expectedHolders}`)
  })
})

describe('table: unlock', () => {
  it('releases the lock, grants the next waiter, and then answers', () => {
    const driver = TableDriver.withSessions('a', 'b')
    driver.lock('a', 'k')
    driver.lock('b', 'k')
    expect(driver.unlock('a', 1)).to.deep.equal([
      'released a k f1 unlocked',
      'granted b#1 k f2',
      'answer a#2 unlocked',
    ])
  })

  it('fails with LOCK_NOT_HELD for an unknown fence, a released fence, or a fence of another session', () => {
    const driver = TableDriver.withSessions('a', 'b')
    driver.lock('a', 'k')
    driver.unlock('a', 1)
    driver.lock('b', 'k')
    // The lock 1 was released, the lock 2 belongs to b, and the other fences were never granted.
    for (const fence of [1, 2, 3, 2 ** 53 - 1]) {
      const keys = Array.from(driver.table.keys.values(), ({ key }) => key)
      expect(driver.unlock('a', fence)[0]).to.match(/^answer a#\d+ LOCK_NOT_HELD$/)
      expect(Array.from(driver.table.keys.values(), ({ key }) => key)).to.deep.equal(keys)
      expect(
        driver.table.sessions
          .get('b')!
          .held.values()
          .map(({ fence }) => fence),
      ).to.deep.equal([2])
    }
  })

  it('leaves no state of a key that has neither locks nor requests', () => {
    const driver = TableDriver.withSessions('a', 'b')
    driver.lock('a', 'k')
    driver.lock('b', 'k')
    driver.lock('b', 'k', { timeout: 0 })
    driver.cancel('b', 1)
    driver.unlock('a', 1)
    driver.lock('a', 'l', { mode: 'shared', timeout: 0 })
    // The lock on l was the second grant, so its fence is 2.
    driver.expire('a', 2)
    expect(driver.table.keys.size).to.equal(0)
  })
})

describe('table: fences', () => {
  it('rise with every grant, over all keys and sessions', () => {
    const driver = TableDriver.withSessions('a', 'b')
    expect(driver.lock('a', 'k')).to.include('granted a#1 k f1')
    expect(driver.lock('b', 'l')).to.include('granted b#1 l f2')
    driver.unlock('a', 1)
    expect(driver.lock('a', 'k')).to.include('granted a#3 k f3')
  })

  it('are higher than a floor that a command sets, and never fall', () => {
    const driver = TableDriver.withSessions('a')
    expect(driver.raiseFenceFloor(1_000_000)).to.deep.equal([])
    expect(driver.lock('a', 'k')).to.deep.equal(['granted a#1 k f1000001'])
    // A floor below the present fence has no effect.
    driver.raiseFenceFloor(5)
    expect(driver.lock('a', 'l')).to.deep.equal(['granted a#2 l f1000002'])
  })

  it('are exact up to 2^53 - 1', () => {
    // Restores a table with a high fence, because 2^53 grants would take too long.
    const table = restore([{ item: 'table', fence: 2 ** 53 - 3, quiet: false }])
    const driver = new TableDriver({ table })
    driver.open('a')
    expect(driver.lock('a', 'k')).to.deep.equal([`granted a#1 k f${2 ** 53 - 2}`])
    expect(driver.lock('a', 'l')).to.deep.equal([`granted a#2 l f${2 ** 53 - 1}`])
  })
})
