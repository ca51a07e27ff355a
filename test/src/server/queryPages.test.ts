/**
 * Tests that a client can read all locks and waiting requests page by page, by the steps of section
 * 10 of PROTOCOL.md. With every limit of a page, all pages together must list the same locks as one
 * query without pages. Locks of one key are in the order of their fences, the numbers of their
 * grants.
 */
import { PageBuilder } from '@holdfast/server/internal'
import type { Found, HeldInfo, WaitingInfo } from '@holdfast/shared'
import { expect } from 'chai'
import fc from 'fast-check'
import { TableDriver } from '../table/tableDriver.js'
import { BrokerHarness, type Client } from './harness.js'

type Listing = Pick<Found, 'held' | 'waiting' | 'heldCount' | 'waitingCount'>

/** Sends a query, and joins the parts of the answer. */
function ask(client: Client, query: object): Listing {
  client.takeMessages()
  client.say({ type: 'query', id: 1, ...query })
  const parts = client.socket.takeMessagesOfType('found')
  expect(parts.at(-1)?.more).to.equal(false)
  const { heldCount, waitingCount } = parts.at(-1)!
  return {
    held: parts.flatMap((part) => part.held),
    waiting: parts.flatMap((part) => part.waiting),
    heldCount,
    waitingCount,
  }
}

/** Reads all pages by the steps of PROTOCOL.md. */
function pagesOf(client: Client, prefix: string, limit: number): Listing[] {
  const pages: Listing[] = []
  let start: { readonly after: string; readonly afterFence?: number } = { after: '' }
  for (;;) {
    const page = ask(client, { prefix, limit, ...start })
    const { held, waiting, heldCount, waitingCount } = page
    // The counts include only locks and requests after `start`.
    const isLast = held.length === heldCount && waiting.length === waitingCount
    if (held.length + waiting.length > 0) pages.push(page)
    // No client releases a lock during this test, so only the last page may be empty.
    else expect(isLast, `empty page after ${JSON.stringify(start)}`).to.equal(true)
    if (isLast) return pages
    // This test makes far fewer than 100 locks, so 100 pages mean an endless loop.
    expect(pages.length).to.be.below(100)
    const after = [...held, ...waiting]
      .map(({ key }) => key)
      .sort()
      .at(-1)!
    // If one key has all locks of a full page, the next page may have further locks of this key.
    const mayKeyHaveMore = held.length === limit && held.every(({ key }) => key === after)
    start = mayKeyHaveMore ? { after, afterFence: held.at(-1)!.fence } : { after }
  }
}

const byKey = (a: { readonly key: string }, b: { readonly key: string }): number =>
  a.key < b.key ? -1 : a.key > b.key ? 1 : 0

/** Sorts locks by key, and the locks of one key by fence. */
const heldInOrder = (held: readonly HeldInfo[]) =>
  [...held].sort((a, b) => byKey(a, b) || a.fence - b.fence)
/** Sorts requests by key. `sort` is stable, so requests for one key keep their order. */
const waitingInOrder = (waiting: readonly WaitingInfo[]) => [...waiting].sort(byKey)

/**
 * The two keys after `a/2` have one order by UTF-16 code units, and the opposite order by code
 * points.
 */
const keys = ['a', 'a/1', 'a/2', 'a/\uffe8', 'a/\u{1f600}', 'b', 'b/1']

/**
 * A random lock request. `shared` is twice in the list, so that keys often have many holders.
 * `steal` has an effect only during a quiet start.
 */
const request = fc.record({
  session: fc.nat(3),
  key: fc.constantFrom(...keys),
  mode: fc.constantFrom('shared' as const, 'shared' as const, 'exclusive' as const),
  steal: fc.boolean(),
})

describe('the pages of a query', function () {
  this.timeout(60_000)

  it('list every lock once, and for each key the first waiting requests up to the limit', () => {
    fc.assert(
      fc.property(
        fc.array(request, { maxLength: 16 }),
        fc.constantFrom('', 'a', 'a/', 'b', 'none'),
        fc.boolean(),
        (requests, prefix, quietStart) => {
          // During a quiet start the broker grants only steals, so most keys have only requests
          // that wait. A steal must be exclusive.
          const harness = new BrokerHarness(quietStart ? { quietStart: true } : {})
          const sessions = Array.from({ length: 4 }, () => harness.openSession())
          for (const { session, key, mode, steal } of requests) {
            const isSteal = steal && quietStart && mode === 'exclusive'
            sessions[session]!.lock(key, isSteal ? { steal } : { mode })
          }
          const reader = harness.openSession()
          const withoutPages = ask(reader, { prefix })
          for (let limit = 1; limit <= requests.length + 1; limit++) {
            const pages = pagesOf(reader, prefix, limit)
            const held = pages.flatMap((page) => page.held)
            expect(held, `limit ${limit}`).to.deep.equal(heldInOrder(withoutPages.held))
            const counts = new Map<string, number>()
            const firstRequests = waitingInOrder(withoutPages.waiting).filter(({ key }) => {
              const count = (counts.get(key) ?? 0) + 1
              counts.set(key, count)
              return count <= limit
            })
            const waiting = pages.flatMap((page) => page.waiting)
            expect(waiting, `limit ${limit}`).to.deep.equal(firstRequests)
            for (const page of pages) {
              expect(page.held.length).to.be.at.most(limit)
              expect(page.waiting.length).to.be.at.most(limit)
            }
          }
        },
      ),
      { numRuns: 300 },
    )
  })

  it('do not count the locks of a key that the previous page has listed completely', () => {
    const harness = new BrokerHarness()
    const client = harness.openSession()
    const fences = ['a', 'b', 'c'].map((key) => client.acquire(key))
    const start = { after: 'a', afterFence: fences[0] }
    const short = ask(client, { ...start, limit: 1 })
    expect([short.held.map(({ key }) => key), short.heldCount]).to.deep.equal([['b'], 2])
    const long = ask(client, { ...start, limit: 2 })
    expect([long.held.map(({ key }) => key), long.heldCount]).to.deep.equal([['b', 'c'], 2])
  })

  it('are not empty if the remaining locks of the first key are released while a page is built', () => {
    const driver = TableDriver.withSessions('s')
    // The fences are 1 and 2 for `a`, and 3 to 5 for `b`.
    for (const key of ['a', 'a', 'b', 'b', 'b']) driver.lock('s', key, { mode: 'shared' })
    const limit = 2
    const builder = new PageBuilder({ after: 'a', afterFence: 1 }, limit)
    for (const keyState of driver.table.keys.values()) builder.addKey(keyState)
    driver.unlock('s', 2)
    const { keys: pageKeys, heldCount } = builder.build((key) => driver.table.keys.get(key))
    // The count includes the second lock of `a`, which was added before the unlock.
    const onlyB = [{ key: 'b', afterFence: 0, held: limit, waiting: 0 }]
    expect([pageKeys, heldCount]).to.deep.equal([onlyB, 4])
  })
})
