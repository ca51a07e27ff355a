/**
 * Locks with permits: the locks of a key share a number of permits, and no request overtakes
 * another. A differential test compares the table with a semaphore in plain code. A `TableDriver`
 * applies commands to a lock table and returns the effects as short texts: `granted b#1 k f2` means
 * that request 1 of session `b` got the key `k` with the fence 2. A fence is the number of a grant.
 * Other answers begin with `answer`, or with `repeat` if the table does not store the answer.
 */
import type { Command, Effect } from '@holdfast/server/core'
import { expect } from 'chai'
import fc from 'fast-check'
import { quickOrFullRuns } from '../support/counts.js'
import { TableDriver } from './tableDriver.js'

/** Makes `driver.lock` request one of three permits, or as many as `permits` says. */
const capacityOfThree = { capacity: 3 }

describe('table: permits', () => {
  it('are granted up to the capacity, and then in the order of the requests', () => {
    const driver = TableDriver.withSessions('a', 'b', 'c')
    expect(driver.lock('a', 'k', { ...capacityOfThree, permits: 2 })).to.deep.equal([
      'granted a#1 k f1',
    ])
    expect(driver.lock('b', 'k', { ...capacityOfThree, permits: 2 })).to.deep.equal([
      'queued b#1 k',
    ])
    // One permit is free, but the request must not overtake the request of b.
    expect(driver.lock('c', 'k', capacityOfThree)).to.deep.equal(['queued c#1 k'])
    expect(driver.unlock('a', 1)).to.deep.equal([
      'released a k f1 unlocked',
      'granted b#1 k f2',
      'granted c#1 k f3',
      'answer a#2 unlocked',
    ])
  })

  it('exclude exclusive and shared locks, and are excluded by them', () => {
    const driver = TableDriver.withSessions('a', 'b', 'c')
    driver.lock('a', 'k', capacityOfThree)
    expect(driver.lock('b', 'k', { mode: 'shared', timeout: 0 })[0]).to.match(/LOCK_HELD by a f1/)
    expect(driver.lock('b', 'k', { timeout: 0 })[0]).to.match(/LOCK_HELD by a f1/)
    driver.unlock('a', 1)
    driver.lock('b', 'k', { mode: 'shared' })
    expect(driver.lock('a', 'k', capacityOfThree)).to.deep.equal(['queued a#3 k'])
  })

  it('are refused if the capacity differs while the key is locked, and accepted afterwards', () => {
    const driver = TableDriver.withSessions('a', 'b')
    driver.lock('a', 'k', capacityOfThree)
    const before = driver.state()
    expect(driver.lock('b', 'k', { capacity: 4 })).to.deep.equal(['repeat b#1 CAPACITY_MISMATCH'])
    expect(driver.state()).to.equal(before)
    driver.unlock('a', 1)
    expect(driver.lock('b', 'k', { capacity: 4 })).to.deep.equal(['granted b#2 k f2'])
  })

  it('are refused if the capacity differs while a request waits for the key', () => {
    const driver = TableDriver.withSessions('a', 'b', 'c')
    driver.lock('a', 'k')
    driver.lock('b', 'k', capacityOfThree)
    expect(driver.lock('c', 'k', { capacity: 2 })).to.deep.equal(['repeat c#1 CAPACITY_MISMATCH'])
    driver.cancel('b', 1)
    expect(driver.lock('c', 'k', { capacity: 2 })).to.deep.equal(['queued c#2 k'])
  })

  it('are all lost to a steal, while waiting requests keep their places', () => {
    const driver = TableDriver.withSessions('a', 'b', 'c')
    driver.lock('a', 'k', capacityOfThree)
    driver.lock('b', 'k', { ...capacityOfThree, permits: 2 })
    driver.lock('a', 'k', capacityOfThree)
    expect(driver.lock('c', 'k', { steal: true })).to.deep.equal([
      'released a k f1 stolen',
      'released b k f2 stolen',
      'granted c#1 k f3',
    ])
    expect(driver.unlock('c', 3)).to.include('granted a#2 k f4')
  })
})

/** A fair counting semaphore. */
class Semaphore {
  readonly #capacity: number
  readonly #waiting: { id: number; permits: number }[] = []
  readonly #held = new Map<number, number>()

  constructor(capacity: number) {
    this.#capacity = capacity
  }

  /** The ids of the requests that hold permits. */
  get held(): number[] {
    return [...this.#held.keys()]
  }

  /** The ids of the requests that wait, in order. */
  get waiting(): number[] {
    return this.#waiting.map(({ id }) => id)
  }

  /** Requests permits. Returns the ids of the requests that are granted then. */
  acquire(id: number, permits: number): number[] {
    this.#waiting.push({ id, permits })
    return this.#grant()
  }

  /**
   * Acquires permits if they are free, and does not wait.
   *
   * @returns the ids of the granted requests
   */
  tryAcquire(id: number, permits: number): number[] {
    // No earlier request can be granted now, so `granted` has only this request or none. If none,
    // `cancel` returns no ids either, because no request waits behind this one.
    const granted = this.acquire(id, permits)
    return granted.length > 0 ? granted : this.cancel(id)
  }

  /** Releases the permits of a request. @returns the ids of the requests that are granted then */
  release(id: number): number[] {
    this.#held.delete(id)
    return this.#grant()
  }

  /** Removes a request that waits. @returns the ids of the requests that are granted then */
  cancel(id: number): number[] {
    const index = this.#waiting.findIndex((request) => request.id === id)
    if (index >= 0) this.#waiting.splice(index, 1)
    return this.#grant()
  }

  #grant(): number[] {
    const granted: number[] = []
    for (let first = this.#waiting[0]; first !== undefined; first = this.#waiting[0]) {
      const used = [...this.#held.values()].reduce((sum, permits) => sum + permits, 0)
      if (used + first.permits > this.#capacity) break
      this.#waiting.shift()
      this.#held.set(first.id, first.permits)
      granted.push(first.id)
    }
    return granted
  }
}

describe('table: permits compared with a semaphore', () => {
  const capacity = 4
  const runParameters = quickOrFullRuns(120, 5_000)
  const operation = fc.record({
    // `acquire` and `release` are each twice as frequent as the other operations.
    kind: fc.constantFrom('acquire', 'acquire', 'tryAcquire', 'release', 'release', 'cancel'),
    permits: fc.integer({ min: 1, max: capacity }),
    // Chooses the request to release or to cancel.
    choice: fc.nat(1_000),
  })
  const unknownId = 0
  const unknownFence = 999

  it(`the table and the semaphore grant the same requests in the same order, in ${runParameters.numRuns} histories`, function () {
    this.timeout(300_000)
    const property = fc.property(fc.array(operation, { maxLength: 60 }), (operations) => {
      // Other tests check the invariants, and the checks would make this test slow.
      const driver = new TableDriver({ checksInvariants: false })
      driver.open('a')
      const semaphore = new Semaphore(capacity)
      const fenceById = new Map<number, number>()
      let lastId = 0
      /** Applies a command. Returns the ids of the requests that the command grants. */
      const apply = (command: Command): number[] => {
        const granted = driver.table.apply(command).filter((effect) => effect.kind === 'granted')
        return (granted as Extract<Effect, { kind: 'granted' }>[]).map(({ lock }) => {
          fenceById.set(lock.id, lock.fence)
          return lock.id
        })
      }
      for (const { kind, permits, choice } of operations) {
        const fields = { at: 0, session: 'a', attachEpoch: 1 }
        const id = ++lastId
        const chooseFrom = (ids: number[]) => ids[choice % Math.max(1, ids.length)] ?? unknownId
        if (kind === 'release') {
          const releasedId = chooseFrom(semaphore.held)
          const fence = fenceById.get(releasedId) ?? unknownFence
          expect(apply({ type: 'unlock', ...fields, id, fence })).to.deep.equal(
            semaphore.release(releasedId),
          )
        } else if (kind === 'cancel') {
          const request = chooseFrom(semaphore.waiting)
          expect(apply({ type: 'cancel', ...fields, request })).to.deep.equal(
            semaphore.cancel(request),
          )
        } else {
          const timeout = kind === 'tryAcquire' ? 0 : undefined
          const lockOfK = { key: 'k', mode: 'permits', steal: false, metadata: undefined } as const
          const options = { ttl: undefined, timeout, extras: { permits, capacity } }
          expect(apply({ type: 'lock', ...fields, id, ...lockOfK, ...options })).to.deep.equal(
            semaphore[kind as 'acquire' | 'tryAcquire'](id, permits),
          )
        }
      }
    })
    fc.assert(property, runParameters)
  })
})
