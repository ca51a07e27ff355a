/**
 * A set is one lock on several keys, granted in one step or not at all. The last test compares sets
 * with ordered acquisition, where each session locks its keys one by one, in the order of the
 * alphabet. A `TableDriver` applies commands to a lock table and returns the effects as short
 * texts: `granted b#1 k f2` means that request 1 of session `b` got the key `k` with the fence 2. A
 * fence is the number of a grant. `repeat` marks an answer that the table does not store: a
 * refusal, or a repetition of a stored answer.
 */
import { dump, type Effect, restore } from '@holdfast/server/core'
import { expect } from 'chai'
import fc from 'fast-check'
import { quickOrFullRuns } from '../support/counts.js'
import { TableDriver } from './tableDriver.js'

describe('table: sets', () => {
  it('are granted on all keys in one step, with one fence', () => {
    const driver = TableDriver.withSessions('a')
    expect(driver.lockAll('a', ['k', 'l'])).to.deep.equal(['granted a#1 k f1', 'granted a#1 l f1'])
    expect(driver.table.heldCount).to.equal(2)
    expect(driver.unlock('a', 1)).to.deep.equal([
      'released a k f1 unlocked',
      'released a l f1 unlocked',
      'answer a#2 unlocked',
    ])
  })

  it('take nothing while they wait, and stand in the queue of each key', () => {
    const driver = TableDriver.withSessions('a', 'b', 'c')
    driver.lock('a', 'k')
    expect(driver.lockAll('b', ['k', 'l'])).to.deep.equal(['queued b#1 k', 'queued b#1 l'])
    // The key l is free, but the request of c must not overtake the set.
    expect(driver.lock('c', 'l')).to.deep.equal(['queued c#1 l'])
    expect(driver.unlock('a', 1)).to.deep.equal([
      'released a k f1 unlocked',
      'granted b#1 k f2',
      'granted b#1 l f2',
      'answer a#2 unlocked',
    ])
    expect(driver.unlock('b', 2)).to.include('granted c#1 l f3')
  })

  it('do not deadlock with sets of the same keys in another order', () => {
    const driver = TableDriver.withSessions('a', 'b', 'c')
    driver.lockAll('a', ['k', 'l'])
    driver.lockAll('b', ['l', 'k'])
    driver.lockAll('c', ['k', 'l'])
    expect(driver.unlock('a', 1)).to.include('granted b#1 l f2')
    expect(driver.unlock('b', 2)).to.include('granted c#1 k f3')
  })

  it('end as a whole when one key is stolen, which frees the other keys for their waiters', () => {
    const driver = TableDriver.withSessions('a', 'b', 'stealer')
    driver.lockAll('a', ['k', 'l'])
    driver.lock('b', 'l')
    expect(driver.lock('stealer', 'k', { steal: true })).to.deep.equal([
      'released a k f1 stolen',
      'released a l f1 stolen',
      'granted stealer#1 k f2',
      'granted b#1 l f3',
    ])
  })

  it('end as a whole by a revocation, an expiry, or the end of their session', () => {
    for (const end of [
      (driver: TableDriver) => driver.revoke('b', 'l', 1),
      (driver: TableDriver) => driver.expire('a', 1),
      (driver: TableDriver) => driver.end('a'),
    ]) {
      const driver = TableDriver.withSessions('a', 'b')
      driver.lockAll('a', ['k', 'l'], { ttl: 100 })
      const lines = end(driver)
      expect(lines.filter((line) => line.startsWith('released'))).to.have.length(2)
      expect(driver.table.keys.size).to.equal(0)
    }
  })

  it('leave all queues by a cancel or a timeout, which frees the waiters behind them', () => {
    for (const leave of ['cancel', 'timeOutRequest'] as const) {
      const driver = TableDriver.withSessions('a', 'b', 'c')
      driver.lock('a', 'k')
      driver.lockAll('b', ['l', 'k'])
      driver.lock('c', 'l')
      expect(driver[leave]('b', 1)).to.include.members([
        `withdrawn b#1 l ${leave === 'cancel' ? 'aborted' : 'timeout'}`,
        'granted c#1 l f2',
      ])
    }
  })

  it('with the timeout 0 report only holders that prevent the grant, each with the key it holds', () => {
    const driver = TableDriver.withSessions('a', 'b', 'c')
    driver.lock('a', 'k')
    driver.lock('b', 'm', { mode: 'shared' })
    const [effect] = driver.table.apply({
      type: 'lockAll',
      at: 0,
      session: 'c',
      attachEpoch: 1,
      id: 1,
      items: [
        { key: 'm', mode: 'shared' },
        { key: 'k', mode: 'exclusive' },
      ],
      ttl: undefined,
      timeout: 0,
      metadata: undefined,
    })
    const { answer } = effect as Extract<Effect, { kind: 'answer' }>
    const holders = 'holders' in answer ? answer.holders : []
    expect(holders?.map(({ session, key, fence }) => [session, key, fence])).to.deep.equal([
      ['a', 'k', 1],
    ])
    expect(driver.table.keys.size).to.equal(2)
  })

  it('count as one lock for each key in the limit of their session, and as a waiter in each queue', () => {
    const driver = new TableDriver()
    driver.open('a', { limits: { locks: 3 } })
    driver.open('b', { limits: { waitersPerKey: 1 } })
    driver.open('c')
    driver.lockAll('a', ['k', 'l'])
    expect(driver.lockAll('a', ['m', 'n'])).to.deep.equal(['repeat a#2 QUOTA_EXCEEDED'])
    expect(driver.lock('a', 'm')).to.deep.equal(['granted a#3 m f2'])
    driver.lock('c', 'l')
    expect(driver.lockAll('b', ['z', 'l'])).to.deep.equal(['repeat b#1 QUOTA_EXCEEDED'])
    // The keys k, l and m. The refused sets leave no key behind.
    expect(driver.table.keys.size).to.equal(3)
  })

  it('may contain permits', () => {
    const driver = TableDriver.withSessions('a', 'b')
    const item = (key: string) => ({ key, mode: 'permits', permits: 2, capacity: 3 }) as const
    driver.lockAll('a', [item('k'), item('l')])
    expect(driver.lockAll('b', [item('l'), 'z'])).to.deep.equal(['queued b#1 l', 'queued b#1 z'])
    expect(driver.lock('b', 'l', { capacity: 2 })).to.deep.equal(['repeat b#2 CAPACITY_MISMATCH'])
    expect(driver.unlock('a', 1)).to.include('granted b#1 z f2')
  })

  it('are granted with the same fence again if the client repeats the request after an unlock', () => {
    const driver = new TableDriver()
    // A session with a grace, so the table stores the answers.
    driver.open('a', { grace: 5_000 })
    driver.lockAll('a', ['k', 'l'])
    driver.unlock('a', 1)
    expect(driver.lockAll('a', ['k', 'l'], { id: 1 })).to.deep.equal(['repeat a#1 granted f1'])
    expect(driver.table.heldCount).to.equal(0)
  })

  it('are restored from a snapshot that has the locks of the set in another order', () => {
    const driver = TableDriver.withSessions('a', 'b')
    driver.lock('a', 'm')
    driver.unlock('a', 1)
    // A snapshot lists keys in the order in which they came into use, so `l` comes before `k`.
    driver.lock('b', 'l')
    driver.lockAll('a', ['k', 'l'])
    driver.unlock('b', 2)
    const table = restore(dump(driver.table))
    // The locks on m and l had the fences 1 and 2, so the set has the fence 3.
    const proposal = { session: 'a', fence: 3, generation: 0, ownerBroker: '' }
    const effects = table.apply({ type: 'expire', at: 0, ...proposal })
    expect(effects.map(({ kind }) => kind)).to.deep.equal(['released', 'released'])
    expect(table.keys.size).to.equal(0)
  })
})

describe('table: sets compared with ordered acquisition', () => {
  const keys = ['k', 'l', 'm', 'n']
  const parameters = quickOrFullRuns(80, 3_000)
  const set = fc.uniqueArray(fc.constantFrom(...keys), { minLength: 1, maxLength: 4 })

  /**
   * Each session requests some keys, and releases the keys as soon as the session has all of them.
   * With sets and with ordered acquisition, every session must finish once. With sets, sessions
   * with a common key must finish in the order of their requests.
   */
  it(`every set is granted once, and sets with a common key in the order of their requests, in ${parameters.numRuns} histories`, function () {
    this.timeout(300_000)
    const property = fc.property(fc.array(set, { minLength: 2, maxLength: 12 }), (sets) => {
      const withSets = finishOrderWithSets(sets)
      const withSingleLocks = finishOrderWithSingleLocks(sets)
      expect([...withSets].sort(compareNumbers)).to.deep.equal(
        [...withSingleLocks].sort(compareNumbers),
      )
      for (const key of keys) {
        const users = withSets.filter((session) => sets[session]!.includes(key))
        expect(users).to.deep.equal([...users].sort(compareNumbers))
      }
    })
    fc.assert(property, parameters)
  })

  /** The order in which the sessions get their sets. At the beginning, all sets wait. */
  function finishOrderWithSets(sets: readonly string[][]): number[] {
    const driver = new TableDriver()
    driver.open('first')
    for (const [i] of sets.entries()) driver.open(`s${i}`)
    // A set of all keys keeps every request waiting, so the requests compete.
    driver.lockAll('first', keys)
    for (const [i, wanted] of sets.entries()) driver.lockAll(`s${i}`, wanted)
    const finishedSessions: number[] = []
    /**
     * Unlocks a set. Returns one text for each set that this unlock grants: `granted s3#1 f7`. The
     * text omits the key, because the effects of one set differ only by the key.
     */
    const unlockSet = (session: string, fence: number) => {
      const granted = driver.unlock(session, fence).filter((line) => line.startsWith('granted'))
      return [...new Set(granted.map((line) => line.replace(/ \S+ f/, ' f')))]
    }
    const grantsToRelease = unlockSet('first', 1)
    for (let line = grantsToRelease.shift(); line !== undefined; line = grantsToRelease.shift()) {
      const [, index, fence] = /^granted s(\d+)#1 f(\d+)$/.exec(line)!
      finishedSessions.push(Number(index))
      grantsToRelease.push(...unlockSet(`s${index}`, Number(fence)))
    }
    expect([driver.table.heldCount, driver.table.waitingCount]).to.deep.equal([0, 0])
    return finishedSessions
  }

  /**
   * The order in which the sessions get the last of their keys. Each session locks its keys one by
   * one, in the order of the alphabet. At the beginning, the first key of each session is held.
   */
  function finishOrderWithSingleLocks(sets: readonly string[][]): number[] {
    const driver = new TableDriver()
    const wanted = sets.map((set) => [...set].sort())
    const fences = sets.map((): number[] => [])
    const finishedSessions: number[] = []
    /** Lets each session that these lines grant a lock to go on with its next key. */
    const advanceGranted = (lines: readonly string[]) => {
      for (const line of lines) {
        const match = /^granted s(\d+)#\d+ \S+ f(\d+)$/.exec(line)
        if (match === null) continue
        const session = Number(match[1])
        fences[session]!.push(Number(match[2]))
        advance(session)
      }
    }
    /** Requests the next key of a session; after the last key, unlocks all keys of the session. */
    const advance = (session: number) => {
      const key = wanted[session]![fences[session]!.length]
      if (key !== undefined) advanceGranted(driver.lock(`s${session}`, key))
      else {
        finishedSessions.push(session)
        for (const fence of fences[session]!) advanceGranted(driver.unlock(`s${session}`, fence))
      }
    }
    driver.open('first')
    for (const key of keys) driver.lock('first', key)
    for (const [i] of sets.entries()) {
      driver.open(`s${i}`)
      advance(i)
    }
    // The locks of `first` on the four keys were granted first, so they have the fences 1 to 4.
    for (const fence of [1, 2, 3, 4]) advanceGranted(driver.unlock('first', fence))
    return finishedSessions
  }
})

function compareNumbers(a: number, b: number): number {
  return a - b
}
