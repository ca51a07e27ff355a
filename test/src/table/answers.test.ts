/**
 * Tests repeated request ids, the acknowledgement of stored answers, and quotas. No request runs
 * twice, and the number of stored answers has a limit. The table stores the answers of a session
 * with a grace, which survives a drop of its connection. A `TableDriver` applies commands to a lock
 * table and returns the effects as short texts: `granted b#1 k f2` means that request 1 of session
 * `b` got the key `k` with the fence 2. A fence is the number of a grant. `answer` is the first
 * answer to a request. `repeat` is a stored answer that the table repeats, or a refusal that the
 * table does not store. `@2` means the second connection of the session. A client resumes a session
 * with its secret: `a-1` is the first secret of session `a`, and `a-2` the next.
 */
import { expect } from 'chai'
import { expectUnchanged, TableDriver } from './tableDriver.js'

/**
 * Returns a driver with two sessions. The table stores the answers of `a`, which has a grace, but
 * not the answers of `b`.
 */
function storingDriver(maxAnswers = 1_024): TableDriver {
  const driver = new TableDriver()
  driver.open('a', { grace: 5_000, limits: { answers: maxAnswers } })
  driver.open('b')
  return driver
}

describe('table: a repeated request id', () => {
  it('gets its first answer', () => {
    const driver = storingDriver()
    driver.lock('a', 'k')
    driver.refresh('a', 1)
    driver.lock('b', 'l')
    driver.lock('a', 'l', { timeout: 0 })
    // No lock has the fence 99, so this request fails.
    driver.unlock('a', 99)
    driver.unlock('a', 1)
    const answerTo = (request: () => string[]) => expectUnchanged(driver, request)
    expect(answerTo(() => driver.lock('a', 'k', { id: 1 }))).to.deep.equal([
      'repeat a#1 granted f1',
    ])
    expect(answerTo(() => driver.refresh('a', 1, { id: 2 }))).to.deep.equal([
      'repeat a#2 refreshed f1',
    ])
    expect(answerTo(() => driver.lock('a', 'l', { id: 3 }))).to.deep.equal([
      'repeat a#3 LOCK_HELD by b f2',
    ])
    expect(answerTo(() => driver.unlock('a', 99, { id: 4 }))).to.deep.equal([
      'repeat a#4 LOCK_NOT_HELD',
    ])
    expect(answerTo(() => driver.unlock('a', 1, { id: 5 }))).to.deep.equal(['repeat a#5 unlocked'])
  })

  it('gets its first answer even if the fields of the request differ', () => {
    const driver = storingDriver()
    driver.lock('a', 'k')
    const repetition = () => driver.lock('a', 'other', { id: 1, steal: true })
    expect(expectUnchanged(driver, repetition)).to.deep.equal(['repeat a#1 granted f1'])
  })

  it('fails with BAD_MESSAGE in a request of another type, after a failure and after a success', () => {
    const driver = storingDriver()
    const types = ['lock', 'unlock', 'refresh', 'revoke'] as const
    const unknownFence = 77
    const request = {
      lock: (id: number) => driver.lock('a', 'k', { id, timeout: 0 }),
      unlock: (id: number) => driver.unlock('a', unknownFence, { id }),
      refresh: (id: number) => driver.refresh('a', unknownFence, { id }),
      revoke: (id: number) => driver.revoke('a', 'k', unknownFence, { id }),
    }
    // The requests 1 to 4 fail, because b holds k, and no lock has the unknown fence.
    driver.lock('b', 'k')
    for (const type of types) request[type](types.indexOf(type) + 1)
    // The other requests succeed. The fence of the lock on l is 2, and on m 3.
    driver.lock('a', 'l', { id: 5 })
    driver.refresh('a', 2, { id: 7 })
    driver.revoke('a', 'l', 2, { id: 8 })
    driver.lock('a', 'm', { id: 9 })
    driver.unlock('a', 3, { id: 10 })
    // The type of each first request, by its id.
    const typesOfFailed = { 1: 'lock', 2: 'unlock', 3: 'refresh', 4: 'revoke' }
    const typesOfSuccessful = { 5: 'lock', 7: 'refresh', 8: 'revoke', 9: 'lock', 10: 'unlock' }
    for (const [id, firstType] of Object.entries({ ...typesOfFailed, ...typesOfSuccessful })) {
      for (const type of types) {
        const [answer] = expectUnchanged(driver, () => request[type](Number(id)))
        const isRefused = answer === `repeat a#${id} BAD_MESSAGE`
        expect(isRefused, `${type} with the id of a ${firstType}: ${answer}`).to.equal(
          type !== firstType,
        )
      }
    }
  })

  it('fails with BAD_MESSAGE for another type of request while the first request waits', () => {
    const driver = storingDriver()
    driver.lock('b', 'k')
    driver.lock('a', 'k')
    expect(expectUnchanged(driver, () => driver.unlock('a', 1, { id: 1 }))).to.deep.equal([
      'repeat a#1 BAD_MESSAGE',
    ])
  })

  it('has no effect while the first request waits', () => {
    const driver = storingDriver()
    driver.lock('b', 'k')
    driver.lock('a', 'k')
    expect(expectUnchanged(driver, () => driver.lock('a', 'k', { id: 1 }))).to.deep.equal([])
  })

  it('gets the answer of a request that waited: a timeout, an abort or a late grant', () => {
    const driver = storingDriver()
    driver.lock('b', 'k')
    driver.lock('a', 'k')
    driver.lock('a', 'k')
    driver.lock('a', 'k')
    driver.timeOutRequest('a', 1)
    driver.cancel('a', 2)
    driver.unlock('b', 1)
    expect(driver.lock('a', 'k', { id: 1 })).to.deep.equal(['repeat a#1 LOCK_TIMEOUT by b f1'])
    expect(driver.lock('a', 'k', { id: 2 })).to.deep.equal(['repeat a#2 ABORTED'])
    expect(driver.lock('a', 'k', { id: 3 })).to.deep.equal(['repeat a#3 granted f2'])
  })

  it('fails with BAD_MESSAGE if its answer was acknowledged or the id was skipped', () => {
    const driver = storingDriver()
    driver.lock('a', 'k', { id: 5 })
    driver.ack('a', [5])
    for (const id of [5, 4, 1]) {
      const effects = expectUnchanged(driver, () => driver.lock('a', 'l', { id }))
      expect(effects).to.deep.equal([`repeat a#${id} BAD_MESSAGE`])
    }
  })

  it('fails with BAD_MESSAGE in a session whose answers are not stored', () => {
    const driver = storingDriver()
    driver.lock('b', 'k')
    expect(expectUnchanged(driver, () => driver.lock('b', 'k', { id: 1 }))).to.deep.equal([
      'repeat b#1 BAD_MESSAGE',
    ])
  })

  it('gets its first answer also after a resume, and its request does not run again', () => {
    const driver = storingDriver()
    driver.lock('a', 'k')
    driver.unlock('a', 1)
    driver.suspend('a')
    expect(driver.resume('a', { secret: 'a-1', newSecret: 'a-2' })).to.deep.equal([
      'resumed a @2; #1 granted f1; #2 unlocked',
    ])
    expect(driver.lock('a', 'k', { id: 1 })).to.deep.equal(['repeat a#1 granted f1'])
    expect(driver.table.heldCount).to.equal(0)
  })
})

describe('table: ack', () => {
  it('drops the acknowledged answers and no others', () => {
    const driver = storingDriver()
    for (const key of ['k', 'l', 'm']) driver.lock('a', key)
    // No request has the id 99.
    expect(driver.ack('a', [1, 3, 99])).to.deep.equal(['acknowledged a'])
    driver.suspend('a')
    expect(driver.resume('a', { secret: 'a-1', newSecret: 'a-2' })).to.deep.equal([
      'resumed a @2; #2 granted f2',
    ])
  })

  it('does not affect a waiting request: its later answer is stored', () => {
    const driver = storingDriver()
    driver.lock('b', 'k')
    driver.lock('a', 'k')
    driver.ack('a', [1])
    driver.unlock('b', 1)
    expect(driver.lock('a', 'k', { id: 1 })).to.deep.equal(['repeat a#1 granted f2'])
  })

  it('changes nothing in a session whose answers are not stored', () => {
    const driver = storingDriver()
    driver.lock('b', 'k')
    expect(expectUnchanged(driver, () => driver.ack('b', [1]))).to.deep.equal(['acknowledged b'])
  })
})

describe('table: quotas', () => {
  it('the quota of locks counts held locks and waiting requests, and refuses a further request', () => {
    const driver = new TableDriver()
    driver.open('a', { limits: { locks: 2 } })
    driver.open('b')
    driver.lock('b', 'l')
    driver.lock('a', 'k')
    driver.lock('a', 'l')
    expect(expectUnchanged(driver, () => driver.lock('a', 'm'))).to.deep.equal([
      'repeat a#3 QUOTA_EXCEEDED',
    ])
    // The refusal does not use up the id 3.
    expect(
      expectUnchanged(driver, () => driver.lock('a', 'm', { id: 3, timeout: 0 })),
    ).to.deep.equal(['repeat a#3 QUOTA_EXCEEDED'])
    expect(driver.unlock('a', 2, { id: 4 })).to.include('answer a#4 unlocked')
    // Only the waiting request counts now.
    expect(driver.lock('a', 'm', { id: 5 })).to.deep.equal(['granted a#5 m f3'])
  })

  it('a quota refuses a request without storing the answer, so the newest id may be used again', () => {
    const driver = new TableDriver()
    driver.open('c', { limits: { locks: 1 }, grace: 5_000 })
    driver.lock('c', 'k')
    expect(driver.lock('c', 'l')).to.deep.equal(['repeat c#2 QUOTA_EXCEEDED'])
    expect(driver.lock('c', 'l', { id: 3 })).to.deep.equal(['repeat c#3 QUOTA_EXCEEDED'])
    expect(driver.unlock('c', 1, { id: 4 })).to.include('answer c#4 unlocked')
    // The ids 2 and 3 cannot be used again, because the table has answered the higher id 4.
    for (const id of [2, 3]) {
      expect(expectUnchanged(driver, () => driver.lock('c', 'l', { id }))).to.deep.equal([
        `repeat c#${id} BAD_MESSAGE`,
      ])
    }
    expect(driver.lock('c', 'l', { id: 5 })).to.deep.equal(['granted c#5 l f2'])
    expect(driver.lock('c', 'm', { id: 6 })).to.deep.equal(['repeat c#6 QUOTA_EXCEEDED'])
    // The lock on l ends, so the repeated request no longer exceeds the quota.
    driver.expire('c', 2)
    expect(driver.lock('c', 'm', { id: 6 })).to.deep.equal(['granted c#6 m f3'])
  })

  it('the quota of locks refuses a steal before any lock is stolen', () => {
    const driver = new TableDriver()
    driver.open('a', { limits: { locks: 0 } })
    driver.open('b')
    driver.lock('b', 'k')
    expect(expectUnchanged(driver, () => driver.lock('a', 'k', { steal: true }))).to.deep.equal([
      'repeat a#1 QUOTA_EXCEEDED',
    ])
  })

  it('the quota of answers refuses every new request until the client acknowledges', () => {
    const maxAnswers = 2
    const driver = storingDriver(maxAnswers)
    driver.lock('a', 'k')
    driver.lock('a', 'l')
    for (const request of [
      () => driver.lock('a', 'm', { id: 3 }),
      () => driver.unlock('a', 1, { id: 3 }),
      () => driver.refresh('a', 1, { id: 3 }),
    ]) {
      expect(expectUnchanged(driver, request)).to.deep.equal(['repeat a#3 QUOTA_EXCEEDED'])
    }
    expect(expectUnchanged(driver, () => driver.lock('a', 'k', { id: 1 }))).to.deep.equal([
      'repeat a#1 granted f1',
    ])
    driver.ack('a', [1])
    expect(driver.unlock('a', 1, { id: 3 })).to.deep.equal([
      'released a k f1 unlocked',
      'answer a#3 unlocked',
    ])
  })

  it('the quota of answers does not prevent the answer to a waiting request', () => {
    const maxAnswers = 1
    const driver = storingDriver(maxAnswers)
    driver.lock('b', 'k')
    driver.lock('a', 'k')
    driver.lock('a', 'k')
    driver.timeOutRequest('a', 1)
    expect(driver.unlock('b', 1)).to.include('granted a#2 k f2')
    driver.suspend('a')
    expect(driver.resume('a', { secret: 'a-1', newSecret: 'a-2' })).to.deep.equal([
      'resumed a @2; #1 LOCK_TIMEOUT by b f1; #2 granted f2',
    ])
  })

  it('the quota of answers does not limit a session whose answers are not stored', () => {
    const driver = new TableDriver()
    driver.open('b', { limits: { answers: 1 } })
    driver.lock('b', 'k')
    expect(driver.lock('b', 'l')).to.deep.equal(['granted b#2 l f2'])
  })

  it('the quota of waiters for a key refuses the next waiter, but not a request with timeout 0', () => {
    const driver = new TableDriver()
    const limits = { waitersPerKey: 1 }
    for (const session of ['a', 'b', 'c']) driver.open(session, { limits })
    driver.lock('a', 'k')
    driver.lock('b', 'k')
    expect(expectUnchanged(driver, () => driver.lock('c', 'k'))).to.deep.equal([
      'repeat c#1 QUOTA_EXCEEDED',
    ])
    expect(driver.lock('c', 'k', { timeout: 0 })).to.deep.equal(['answer c#2 LOCK_HELD by a f1'])
    expect(driver.lock('c', 'k', { steal: true })).to.include('granted c#3 k f2')
    expect(driver.lock('c', 'l')).to.deep.equal(['granted c#4 l f3'])
  })
})
