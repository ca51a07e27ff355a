/**
 * Tests the lock model of the dashboard, which knows the locks and queues that the page shows. The
 * model applies events, and results of queries that may be older than these events. A fence is the
 * number of a grant.
 */
import type { HeldInfo, LockEvent, QueryResult, WaitingInfo } from '@holdfast/client'
import { expect } from 'chai'
import { type LockModel, loadModule } from './modules.js'

/** The class of the model, which a hook loads from the built dashboard. */
let Model: new (now: () => number) => LockModel

/** A held lock. */
function held(key: string, fence: number, session = `s${fence}`): HeldInfo {
  return { key, mode: 'exclusive', session, fence, since: fence }
}

/** A waiting request. */
function waits(key: string, session: string, since = 1): WaitingInfo {
  return { key, mode: 'exclusive', session, since }
}

/** An event of this lock. */
function event(kind: LockEvent['event'], lock: HeldInfo): LockEvent {
  return { ...lock, event: kind }
}

/**
 * The result of a query with these locks and these waiting requests.
 *
 * @param countsAtBroker For an incomplete result: counts that are higher than the listed numbers.
 */
function found(locks: HeldInfo[], waiting: WaitingInfo[] = [], countsAtBroker = {}): QueryResult {
  const listedCounts = { heldCount: locks.length, waitingCount: waiting.length }
  return { held: locks, waiting, ...listedCounts, ...countsAtBroker }
}

/**
 * Gives the model the state, which is the first message of a watch (a subscription to events).
 *
 * @param heldCount How many locks the broker has, including those that the state does not list.
 */
function begin(model: LockModel, locks: HeldInfo[], heldCount = locks.length): void {
  model.onState({ event: 'state', held: locks, heldCount, resync: false })
}

/**
 * The content of a model, such as `a: 1 <- s2 s3`: key, fences of the holders, waiting sessions.
 */
function contentOf(model: LockModel): string[] {
  return [...model.rows.values()]
    .map(({ key, held, waiting }) => {
      const queue = waiting.map(({ session }) => session).join(' ')
      return `${key}: ${held.map(({ fence }) => fence).join(' ')} <- ${queue}`.trim()
    })
    .sort()
}

describe('the lock model of the dashboard', () => {
  let model: LockModel
  /** The clock of the page, in ms. */
  let now: number

  before(async () => {
    Model = (await loadModule('lockModel')).LockModel
  })

  beforeEach(() => {
    now = 1_000
    model = new Model(() => now)
  })

  /** When each known lock ends, by its fence. */
  const ends = () => [...model.rows.values()].flatMap((row) => row.held.map(endOf))
  const endOf = ({ fence, endsAt }: { fence: number; endsAt?: number | undefined }) =>
    [fence, endsAt] as const

  it('knows when a lock ends: by its ttl or its maxHold, whichever is over first', () => {
    const limits = { ttl: 9_000, maxHold: 60_000 }
    begin(model, [
      { ...held('a', 1), ...limits, ttlRemaining: 5_000, maxHoldRemaining: 7_000 },
      { ...held('b', 2), ...limits, ttlRemaining: 5_000, maxHoldRemaining: 3_000 },
      { ...held('c', 3), maxHold: 60_000, maxHoldRemaining: 0 },
      held('d', 4),
      // Another broker of the cluster runs the timer of this lock, so the end is unknown.
      { ...held('e', 5), ttl: 9_000 },
    ])
    now = 2_000
    model.onEvent(event('locked', { ...held('f', 6), ...limits }))
    // The remaining times count from 1,000, when the state arrived. The ttl of the last lock counts
    // from 2,000.
    expect(ends()).to.deep.equal([
      [1, 6_000],
      [2, 4_000],
      [3, 1_000],
      [4, undefined],
      [5, undefined],
      [6, 11_000],
    ])
  })

  it('learns from a query that a session has refreshed its lock', () => {
    const lock = { ...held('a', 1), ttl: 9_000 }
    begin(model, [{ ...lock, ttlRemaining: 2_000 }, held('b', 2)])
    now = 2_500
    const refreshed = { ...lock, ttl: 20_000, ttlRemaining: 19_500 }
    model.applyResult(model.beginQuery(), found([refreshed, held('b', 2)]))
    expect(ends()).to.deep.equal([
      [1, 22_000],
      [2, undefined],
    ])
    expect(model.rows.get('a')!.held[0]).to.include({ ttl: 20_000 })
    expect(model.heldCount).to.equal(2)
  })

  it('keeps the end time of a lock when the lock is downgraded or upgraded, or when its leader proclaims a value', () => {
    const lock = { ...held('a', 1), ttl: 9_000 }
    begin(model, [{ ...lock, ttlRemaining: 5_000 }])
    // The events have the whole ttl, but none of them extends the lock.
    now = 3_000
    model.onEvent(event('proclaimed', { ...lock, election: true, value: 2 }))
    model.onEvent(event('downgraded', { ...lock, mode: 'shared' }))
    expect(ends()).to.deep.equal([[1, 6_000]])
    // An upgrade gives the lock a new fence.
    model.onEvent(event('upgraded', { ...lock, fence: 8 }))
    expect(ends()).to.deep.equal([[8, 6_000]])
  })

  it('keeps the maxHold of a lock, from the state and from an event', () => {
    begin(model, [{ ...held('a', 1), maxHold: 600_000 }])
    model.onEvent(event('locked', { ...held('b', 2), maxHold: 5_000 }))
    const maxHolds = [...model.rows.values()].flatMap((row) =>
      row.held.map(({ maxHold }) => maxHold),
    )
    expect(maxHolds).to.deep.equal([600_000, 5_000])
  })

  it('shows the newest value of a leader, also if an older query result arrives later', () => {
    const leader = (value: number): HeldInfo => ({ ...held('a', 1), election: true, value })
    begin(model, [leader(1)])
    const query = model.beginQuery()
    model.onEvent(event('proclaimed', leader(2)))
    model.applyResult(query, found([leader(1)]))
    expect(model.rows.get('a')?.held[0]).to.include({ election: true, value: 2 })
    expect(model.heldCount).to.equal(1)
    model.onEvent(event('unlocked', leader(2)))
    expect(contentOf(model)).to.deep.equal([])
  })

  it('adds an unknown lock when its leader proclaims a value', () => {
    // The broker has one lock, which the state does not list.
    begin(model, [], 1)
    model.onEvent(event('proclaimed', { ...held('a', 1), election: true, value: 2 }))
    expect(contentOf(model)).to.deep.equal(['a: 1 <-'])
    expect(model.heldCount).to.equal(1)
  })

  it('follows grants, unlocks and losses, also of a key with two locks', () => {
    begin(model, [held('a', 1), held('b', 2)])
    model.onEvent(event('locked', held('b', 3)))
    model.onEvent(event('unlocked', held('a', 1)))
    model.onEvent(event('lost', held('b', 2)))
    expect(contentOf(model)).to.deep.equal(['b: 3 <-'])
    expect(model.heldCount).to.equal(1)
  })

  it('removes one request of the session from the queue when the session is granted the lock', () => {
    model.applyResult(
      model.beginQuery(),
      found([held('a', 1)], [waits('a', 'x'), waits('a', 'y'), waits('a', 'x')]),
    )
    model.onEvent(event('unlocked', held('a', 1)))
    model.onEvent(event('locked', held('a', 5, 'x')))
    expect(contentOf(model)).to.deep.equal(['a: 5 <- y x'])
    expect([model.waitingCount, model.knownWaitingCount]).to.deep.equal([2, 2])
  })

  it('keeps what events reported after a query was sent, although the result says otherwise', () => {
    begin(model, [held('a', 1), held('b', 2)])
    const query = model.beginQuery()
    model.onEvent(event('unlocked', held('a', 1)))
    model.onEvent(event('locked', held('a', 9, 'x')))
    model.onEvent(event('locked', held('c', 10)))
    model.applyResult(
      query,
      found([held('a', 1), held('b', 2)], [waits('a', 'x'), waits('a', 'y')]),
    )
    expect(contentOf(model)).to.deep.equal(['a: 9 <- y', 'b: 2 <-', 'c: 10 <-'])
    expect(model.heldCount).to.equal(3)
    expect(model.hasUnknownQueues).to.equal(false)
  })

  it('ignores the former fence of an upgraded lock in an older query result', () => {
    // The broker has the locks of "a" and "b", which the state does not list.
    begin(model, [], 2)
    const query = model.beginQuery()
    model.onEvent(event('upgraded', held('a', 5, 's1')))
    model.onEvent(event('downgraded', { ...held('a', 5, 's1'), mode: 'shared' }))
    model.onEvent(event('locked', { ...held('a', 6), mode: 'shared' }))
    model.applyResult(query, found([{ ...held('a', 1), mode: 'shared' }, held('b', 2)]))
    expect(contentOf(model)).to.deep.equal(['a: 5 6 <-', 'b: 2 <-'])
    model.onEvent(event('unlocked', held('a', 5, 's1')))
    model.onEvent(event('unlocked', held('a', 6)))
    expect(contentOf(model)).to.deep.equal(['b: 2 <-'])
  })

  it('adds up the permits of a key, and finds the other keys of a lock on several keys', async () => {
    const { usedPermitsOf, otherKeysOf } = await loadModule('lockModel')
    const permits = (fence: number, count: number): HeldInfo => {
      return { ...held('gpu', fence), mode: 'permits', permits: count, capacity: 3 }
    }
    // The keys of a set (one lock on several keys) have the same fence.
    const ofSet = (key: string): HeldInfo => ({ ...held(key, 9), keyCount: 3 })
    begin(model, [permits(1, 2), permits(2, 1), ofSet('a'), ofSet('b'), held('c', 3)])
    expect(usedPermitsOf(model.rows.get('gpu')!.held)).to.equal(3)
    expect(usedPermitsOf(model.rows.get('c')!.held)).to.equal(undefined)
    // The model does not know the third key of the set.
    expect(otherKeysOf(model.rows.get('a')!.held[0]!, model.rows)).to.deep.equal(['b'])
    expect(otherKeysOf(model.rows.get('c')!.held[0]!, model.rows)).to.deep.equal([])
    for (const key of ['a', 'b']) model.onEvent(event('unlocked', ofSet(key)))
    expect(contentOf(model)).to.deep.equal(['c: 3 <-', 'gpu: 1 2 <-'])
  })

  it('removes the locks that a complete result does not have', () => {
    begin(model, [held('a', 1), held('b', 2)])
    model.applyResult(model.beginQuery(), found([held('b', 2)]))
    expect(contentOf(model)).to.deep.equal(['b: 2 <-'])
  })

  it('keeps the locks that an incomplete result does not have, and reports that locks are unknown', () => {
    begin(model, [held('a', 1)], 3)
    expect(model.hasUnknownLocks).to.equal(true)
    model.applyResult(
      model.beginQuery(),
      found([held('b', 2)], [waits('b', 'x')], { heldCount: 3, waitingCount: 7 }),
    )
    expect(contentOf(model)).to.deep.equal(['a: 1 <-', 'b: 2 <- x'])
    expect([model.heldCount, model.waitingCount]).to.deep.equal([3, 7])
    expect([model.hasUnknownLocks, model.hasUnknownQueues]).to.deep.equal([true, true])
    // The lock of "z" was the one that the model did not know.
    model.onEvent(event('unlocked', held('z', 99)))
    expect(model.hasUnknownLocks).to.equal(false)
  })

  it('replaces the locks of a prefix by the locks that a query finds', () => {
    // The broker has four locks, of which the state lists two.
    begin(model, [held('a1', 1), held('b', 2)], 4)
    model.applyResult(
      model.beginQuery('a'),
      found([held('a2', 3), held('a3', 4)], [waits('a2', 'x')]),
    )
    expect(contentOf(model)).to.deep.equal(['a2: 3 <- x', 'a3: 4 <-', 'b: 2 <-'])
    expect(model.heldCount).to.equal(4)
  })

  it('replaces the locks after a reconnect, and keeps queues until the next query', () => {
    begin(model, [held('a', 1)])
    model.applyResult(model.beginQuery(), found([held('a', 1)], [waits('a', 'x')]))
    begin(model, [held('b', 7)])
    expect(contentOf(model)).to.deep.equal(['a:  <- x', 'b: 7 <-'])
    model.applyResult(model.beginQuery(), found([held('b', 7)]))
    expect(contentOf(model)).to.deep.equal(['b: 7 <-'])
  })

  it('records no further events for a cancelled query', () => {
    const query = model.beginQuery()
    model.cancelQuery(query)
    model.onEvent(event('locked', held('a', 1)))
    expect(query.locked).to.deep.equal([])
  })
})
