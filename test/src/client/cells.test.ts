/**
 * Tests the client for several cells, without a broker: the checks of `connect`, and how the client
 * merges the answers of several cells. Cells are independent brokers or clusters, each of which
 * serves a part of the keys.
 */
import type { HeldInfo, LockStats, QueryResult, WaitingInfo } from '@holdfast/client'
import { type CellConnectOptions, connect } from '@holdfast/client/cells'
import { mergeLockResults, mergePages, mergeStats } from '@holdfast/client/internal'
import { expect } from 'chai'
import { expectRejection } from '../e2e/stage.js'
import { Random } from '../sim/random.js'

const url = 'ws://127.0.0.1:1'

describe('connect for cells', () => {
  const invalidArguments: [string, unknown, RegExp][] = [
    ['no options', undefined, /^connect needs an object with cells$/],
    ['a URL in place of the options', url, /^connect needs an object with cells$/],
    ['no cells', {}, /^cells must be an array of 1 to 1024 arrays of URLs$/],
    ['an empty list', { cells: [] }, /^cells must be an array of 1 to 1024/],
    ['too many cells', { cells: Array(1_025).fill([url]) }, /^cells must be an array of 1 to 1024/],
    [
      'a URL in place of a list of URLs',
      { cells: [url] },
      /^cell 1 must be an array of one or more URLs$/,
    ],
    [
      'a cell without URLs',
      { cells: [[url], []] },
      /^cell 2 must be an array of one or more URLs$/,
    ],
    ['a wrong URL', { cells: [['http://x']] }, /ws:\/\/ or wss:\/\/.*: not http:\/\/x/],
    [
      'a URL in two cells',
      { cells: [[url], ['ws://h', url]] },
      /^the URL ws:\/\/127\.0\.0\.1:1 is in cell 1 and in cell 2$/,
    ],
    ['an unknown option', { cells: [[url]], leese: 1 }, /leese.*lease/],
    // `connect` for cells waits for no session, so a signal could abort nothing.
    ['a signal', { cells: [[url]], signal: AbortSignal.abort() }, /signal/],
    ['a wrong option', { cells: [[url]], lease: 0 }, /^lease must be an integer/],
    [
      'a token for an unencrypted URL',
      { cells: [['ws://h']], token: 't' },
      /^the token could be read/,
    ],
  ]
  for (const [problem, options, message] of invalidArguments) {
    it(`rejects a call with ${problem}`, async () => {
      const error = await expectRejection(connect(options as CellConnectOptions), 'INVALID_OPTION')
      expect(error.message).to.match(message)
    })
  }

  it('resolves before any cell is connected; after `close`, all calls fail', async () => {
    const session = await connect({ cells: [[url], ['ws://127.0.0.1:2']], name: 'n' })
    expect([session.cells, session.name, session.state]).to.deep.equal([2, 'n', 'connecting'])
    const closed: unknown[] = []
    session.on('closed', (error) => closed.push(error))
    await session.close()
    await session.close()
    expect([session.state, closed]).to.deep.equal(['closed', [undefined]])
    await expectRejection(session.lock('k'), 'SESSION_CLOSED')
    await expectRejection(session.stats(), 'SESSION_CLOSED')
    expect(() => session.watch('k', () => {}))
      .to.throw()
      .with.property('code', 'SESSION_CLOSED')
    expect(() => session.observe('k'))
      .to.throw()
      .with.property('code', 'SESSION_CLOSED')
  })

  it('refuses an unknown event with a suggestion', async () => {
    const session = await connect({ cells: [[url]] })
    expect(() => session.on('cellclosed' as 'cellClosed', () => {})).to.throw(/cellClosed/)
    await session.close()
  })
})

describe('the merged statistics of cells', () => {
  /** Counters of one cell. Only these two counters and the success rate differ between cells. */
  const stats = (totalLocks: number, failedLocks: number): LockStats => ({
    totalLocks,
    failedLocks,
    activeLocks: 1,
    expiredLocks: 2,
    refreshCount: 3,
    unlockCount: 4,
    successRate: totalLocks === 0 ? 0 : (totalLocks - failedLocks) / totalLocks,
  })

  it('are sums, except the success rate, which is that of all requests together', () => {
    expect(mergeStats([stats(10, 1), stats(30, 11), stats(0, 0)])).to.deep.equal({
      totalLocks: 40,
      failedLocks: 12,
      activeLocks: 3,
      expiredLocks: 6,
      refreshCount: 9,
      unlockCount: 12,
      successRate: 0.7,
    })
    expect(mergeStats([stats(0, 0)]).successRate).to.equal(0)
  })

  it('include the counters that only newer brokers send, and the newest refused deadlocks', () => {
    const statsOfNewer = (since: number): LockStats => ({
      ...stats(1, 0),
      ...{ barriers: 1, barrierCalls: 2, keptResults: 3, refusedDeadlocks: 4 },
      newestDeadlock: { since, cycle: [] },
      deadlocks: [since, since - 4].map((at) => ({ since: at, cycle: [] })),
    })
    expect(
      mergeStats([statsOfNewer(5), stats(1, 0), statsOfNewer(9), statsOfNewer(7)]),
    ).to.deep.include({
      ...{ barriers: 3, barrierCalls: 6, keptResults: 9, refusedDeadlocks: 12 },
      newestDeadlock: { since: 9, cycle: [] },
      deadlocks: [9, 7, 5, 5, 3, 1].map((since) => ({ since, cycle: [] })),
    })
    // A cell sends no `newestDeadlock` if its newest one has keys that the client may not see.
    const { newestDeadlock: _, ...hiddenNewest } = statsOfNewer(8)
    const merged = mergeStats([hiddenNewest, statsOfNewer(7)])
    expect(merged.newestDeadlock).to.deep.equal({ since: 8, cycle: [] })
    expect(merged.deadlocks![0]).to.deep.equal(merged.newestDeadlock)
    // An old broker sends its newest one without a list.
    const { deadlocks: __, ...withoutList } = statsOfNewer(9)
    const mixed = mergeStats([withoutList, statsOfNewer(5)])
    expect(mixed.newestDeadlock).to.deep.equal({ since: 9, cycle: [] })
    expect(mixed.deadlocks!.map(({ since }) => since)).to.deep.equal([9, 5, 1])
    expect(mergeStats([withoutList])).to.deep.include({ newestDeadlock: { since: 9, cycle: [] } })
    expect(mergeStats([withoutList])).to.not.have.property('deadlocks')
    // A broker lists its newest 20 refused deadlocks. The client lists the newest 20 of all cells.
    const full = { ...statsOfNewer(50), deadlocks: Array(20).fill({ since: 50, cycle: [] }) }
    expect(mergeStats([statsOfNewer(60), full]).deadlocks!.map(({ since }) => since)).to.deep.equal(
      [...[60, 56], ...Array(18).fill(50)],
    )
  })
})

/** The locks and requests of one cell, sorted by key, as a broker pages through them. */
interface CellItems {
  readonly held: readonly HeldInfo[]
  readonly waiting: readonly WaitingInfo[]
}

/**
 * One page of a broker, by the rules in section 10 of PROTOCOL.md. The page contains locks of the
 * key `after` only with `afterFence`: the locks with higher fences (numbers of grants).
 */
function pageOf(items: CellItems, after: string, afterFence: number | undefined, limit: number) {
  const isAfter = ({ key }: { readonly key: string }) => key > after
  const heldRest = items.held.filter(
    (item) => isAfter(item) || (item.key === after && item.fence > (afterFence ?? Infinity)),
  )
  const waitingRest = items.waiting.filter(isAfter)
  const keys = [...new Set([...heldRest, ...waitingRest].map(({ key }) => key))].sort()
  const held: HeldInfo[] = []
  const waiting: WaitingInfo[] = []
  for (const key of keys) {
    const locks = heldRest.filter((item) => item.key === key)
    const queue = waitingRest.filter((item) => item.key === key)
    // A key that does not fit comes on the next page. Only the first key is cut at the limit.
    const exceedsLimit = held.length + locks.length > limit || waiting.length + queue.length > limit
    if (exceedsLimit && held.length + waiting.length > 0) break
    held.push(...locks.slice(0, limit))
    waiting.push(...queue.slice(0, limit))
    if (exceedsLimit) break
  }
  return { held, waiting, heldCount: heldRest.length, waitingCount: waitingRest.length }
}

/** Reads the merged pages of the cells, checks their lengths, and returns all locks. */
function readAll(cells: readonly CellItems[], limit: number): HeldInfo[] {
  const allHeld: HeldInfo[] = []
  let after = ''
  let afterFence: number | undefined
  for (;;) {
    const pages = cells.map((items) => {
      const holdsLastKey = items.held.some(({ key }) => key === after)
      return pageOf(items, after, holdsLastKey ? afterFence : undefined, limit)
    })
    const page = mergePages(pages, limit)
    expect(page.held.length).to.be.at.most(limit)
    expect(page.waiting.length).to.be.at.most(limit)
    allHeld.push(...page.held)
    const keys = [...page.held, ...page.waiting].map(({ key }) => key).sort()
    if (page.held.length === page.heldCount && page.waiting.length === page.waitingCount)
      return allHeld
    const last = keys.at(-1)
    expect(last, 'every page but the last has an item').to.be.a('string')
    // If the locks of one key fill the page, the next page begins with the other locks of this key.
    const endsWithinKey = page.held.length === limit && page.held.every(({ key }) => key === last)
    afterFence = endsWithinKey ? page.held.at(-1)!.fence : undefined
    after = last!
  }
}

describe('the merged query of cells', () => {
  const held = (key: string, fence: number) => ({ key, fence }) as HeldInfo
  const waiting = (key: string) => ({ key }) as WaitingInfo

  it('lists the items cell after cell up to the limit if it is not read in pages, and counts all', () => {
    const results: QueryResult[] = [
      {
        held: [held('b', 1), held('d', 2)],
        waiting: [waiting('b')],
        heldCount: 5,
        waitingCount: 1,
      },
      { held: [held('a', 1)], waiting: [], heldCount: 1, waitingCount: 0 },
    ]
    const merged = mergeLockResults(results, 2)
    expect(merged.held.map(({ key }) => key)).to.deep.equal(['b', 'd'])
    expect([merged.waiting.length, merged.heldCount, merged.waitingCount]).to.deep.equal([1, 6, 1])
  })

  it('ends a page at the last listed key of a cell that has more locks than it lists', () => {
    const pages: QueryResult[] = [
      { held: [held('a', 1), held('c', 2)], waiting: [], heldCount: 9, waitingCount: 0 },
      { held: [held('b', 1), held('d', 2)], waiting: [], heldCount: 2, waitingCount: 0 },
    ]
    // The first cell has seven more locks, all after c. One of them may have a key before d.
    const page = mergePages(pages, 4)
    expect(page.held.map(({ key }) => key)).to.deep.equal(['a', 'b', 'c'])
    expect(page.heldCount).to.equal(11)
  })

  it('lists nothing if one cell has locks but lists none', () => {
    const pages: QueryResult[] = [
      { held: [], waiting: [], heldCount: 1, waitingCount: 0 },
      { held: [held('a', 1)], waiting: [], heldCount: 1, waitingCount: 0 },
    ]
    expect(mergePages(pages, 4)).to.deep.equal({
      held: [],
      waiting: [],
      heldCount: 2,
      waitingCount: 0,
    })
  })

  it('lists each lock exactly once, in the order of keys, whatever the cells hold', () => {
    const random = new Random('merged queries')
    for (let round = 0; round < 300; round++) {
      const cells = Array.from({ length: 1 + random.int(0, 2) }, (_, cell) => {
        const heldItems: HeldInfo[] = []
        const waitingItems: WaitingInfo[] = []
        for (let i = 0; i < random.int(0, 7); i++) {
          const letter = random.pick([...'abcdefgh'])
          const key = `${letter}${i}-${cell}`
          const count = random.int(0, 6)
          for (let fence = 1; fence <= count; fence++) heldItems.push(held(key, fence))
          for (let n = random.int(0, 4); n > 0; n--) waitingItems.push(waiting(key))
        }
        const byKey = (a: { key: string }, b: { key: string }) => (a.key < b.key ? -1 : 1)
        return { held: heldItems.sort(byKey), waiting: waitingItems.sort(byKey) }
      })
      const listed = readAll(cells, 1 + random.int(0, 3)).map(({ key, fence }) => `${key} ${fence}`)
      const expected = cells.flatMap((items) =>
        items.held.map(({ key, fence }) => `${key} ${fence}`),
      )
      expect(listed).to.deep.equal(expected.sort())
    }
  })
})
