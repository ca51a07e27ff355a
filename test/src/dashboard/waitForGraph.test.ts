/**
 * Tests the wait-for graph of a key in the dashboard. The graph shows the holders of the key, the
 * sessions that wait for these holders, and the sessions that the holders wait for. Also tests
 * which former and present locks the page of a key lists. A fence is the number of a grant. A scope
 * is one task of a session. Holders of permits share the capacity of a key.
 */
import type { HeldInfo, LockEvent, LockMode, WaitingInfo } from '@holdfast/client'
import { expect } from 'chai'
import type { KeyRow } from '../../../server/src/dashboard/model/lockModel.js'
import type { WaitForGraph } from '../../../server/src/dashboard/model/waitForGraph.js'
import { loadModule } from './modules.js'

/** Sessions by key. `{ k: 'a b < c d' }`: `a` and `b` hold `k`, and `c` and `d` wait for `k`. */
type Table = Readonly<Record<string, string>>

/** The rows that the dashboard would have for these keys. */
function rowsFrom(table: Table, mode: LockMode): Map<string, KeyRow> {
  const names = (text: string) => text.split(' ').filter((name) => name !== '')
  const lockOf = (key: string, session: string) => ({ key, session, mode, since: 1 }) as const
  return new Map(
    Object.entries(table).map(([key, text]) => {
      const [holders = '', waiters = ''] = text.split('<')
      const held: HeldInfo[] = names(holders).map((session) => ({
        ...lockOf(key, session),
        fence: 1,
      }))
      const waiting: WaitingInfo[] = names(waiters).map((session) => lockOf(key, session))
      return [key, { key, held, waiting }]
    }),
  )
}

/** The wait-for graph of a key. */
async function graphOf(
  key: string,
  table: Table,
  mode: LockMode = 'shared',
): Promise<WaitForGraph> {
  const [graphs, sessions] = [await loadModule('waitForGraph'), await loadModule('sessionRows')]
  const rows = rowsFrom(table, mode)
  return graphs.waitForGraphOf(key, rows, sessions.sessionRows(rows.values()))
}

/** The edges as `waiter>holder key`. An edge of a deadlock ends with "!". */
function edgesOf({ edges }: WaitForGraph): string[] {
  return edges.map(({ from, to, key, isInCycle }) => `${from}>${to} ${key}${isInCycle ? '!' : ''}`)
}

/**
 * The column of each session: 0 for the holders of the key, positive for sessions that wait for
 * these holders, and negative for sessions that the holders wait for.
 */
function columnsOf({ nodes }: WaitForGraph): Record<string, number> {
  return Object.fromEntries(nodes.map(({ session, column }) => [session, column]))
}

describe('the wait-for graph', () => {
  it('has the holders in the middle and the waiters to the right', async () => {
    const graph = await graphOf('k', { k: 'a b < c' })
    expect(columnsOf(graph)).to.deep.equal({ a: 0, b: 0, c: 1 })
    expect(edgesOf(graph)).to.deep.equal(['c>a k', 'c>b k'])
    expect(graph.cycle).to.deep.equal([])
  })

  it('reports no deadlock if another holder of permits can make room', async () => {
    const table = { k: 'a c < b', l: 'b < a' }
    const graph = await graphOf('k', table, 'permits')
    expect(edgesOf(graph)).to.include('b>a k')
    // `c` may release enough permits for `b`.
    expect(graph.cycle).to.deep.equal([])
    const graphWithOneHolder = await graphOf('k', { k: 'a < b', l: 'b < a' }, 'permits')
    expect(graphWithOneHolder.cycle).to.have.members(['a', 'b'])
  })

  it('reports no deadlock if a session holds a key in one scope and waits in another scope', async () => {
    const [graphs, sessions] = [await loadModule('waitForGraph'), await loadModule('sessionRows')]
    /**
     * The cycle if `a` holds `k` in scope 1 and waits in `scope` for `l`. Session `b` holds `l` and
     * waits for `k`, both in scope 7.
     */
    const cycleWith = (scope: number) => {
      const base = { mode: 'exclusive', since: 1 } as const
      const rows = new Map<string, KeyRow>([
        [
          'k',
          {
            key: 'k',
            held: [{ ...base, key: 'k', session: 'a', fence: 1, scope: 1 }],
            waiting: [{ ...base, key: 'k', session: 'b', scope: 7 }],
          },
        ],
        [
          'l',
          {
            key: 'l',
            held: [{ ...base, key: 'l', session: 'b', fence: 2, scope: 7 }],
            waiting: [{ ...base, key: 'l', session: 'a', scope }],
          },
        ],
      ])
      return graphs.waitForGraphOf('k', rows, sessions.sessionRows(rows.values())).cycle
    }
    expect(cycleWith(1)).to.deep.equal(['a', 'b'])
    expect(cycleWith(2)).to.deep.equal([])
  })

  describe('of a session with two scopes', () => {
    /** The graph of `k`. Each key has its holder and then its waiters, as `session/scope`. */
    async function graphOfScopes(table: Readonly<Record<string, [string, ...string[]]>>) {
      const [graphs, sessions] = [await loadModule('waitForGraph'), await loadModule('sessionRows')]
      const lockOf = (key: string, text: string) => {
        const [session, scope] = text.split('/') as [string, string | undefined]
        const base = { key, session, mode: 'exclusive', since: 1 } as const
        return scope === undefined ? base : { ...base, scope: Number(scope) }
      }
      const rows = new Map(
        Object.entries(table).map(([key, [holder, ...waiters]], index) => [
          key,
          {
            key,
            held: [{ ...lockOf(key, holder), fence: index + 1 }],
            waiting: waiters.map((waiter) => lockOf(key, waiter)),
          },
        ]),
      )
      return graphs.waitForGraphOf('k', rows, sessions.sessionRows(rows.values()))
    }

    it('draws the deadlock of one scope, and no edge of the other scope', async () => {
      const graph = await graphOfScopes({ k: ['a/1', 'b'], l: ['b', 'a/1'], m: ['b', 'a/2'] })
      expect(graph.cycle).to.deep.equal(['a', 'b'])
      // The edge `a>b m` is outside the deadlock and would lead to the right.
      expect(edgesOf(graph)).to.have.members(['b>a k!', 'a>b l!'])
    })

    it('marks all edges of a deadlock with both scopes', async () => {
      const graph = await graphOfScopes({
        k: ['a/1', 'c'],
        l: ['b', 'a/1'],
        m: ['a/2', 'b'],
        n: ['c', 'a/2'],
      })
      expect(graph.cycle).to.deep.equal(['a', 'b', 'a', 'c'])
      expect(edgesOf(graph)).to.have.members(['a>b l!', 'b>a m!', 'a>c n!', 'c>a k!'])
    })

    it('draws one edge if both scopes wait for one key', async () => {
      const graph = await graphOfScopes({ k: ['a/1'], l: ['b', 'a/1', 'a/2'] })
      expect(edgesOf(graph)).to.deep.equal(['a>b l'])
    })
  })

  it('shows the sessions that the holders wait for, and the sessions that wait for waiters', async () => {
    const table = { k: 'a < b', left: 'x < a', farLeft: 'y < x', right: 'b < c' }
    const graph = await graphOf('k', table)
    expect(columnsOf(graph)).to.deep.equal({ a: 0, b: 1, x: -1, y: -2, c: 2 })
    expect(edgesOf(graph)).to.have.members(['b>a k', 'a>x left', 'x>y farLeft', 'c>b right'])
  })

  it('reports a deadlock of two and of three sessions', async () => {
    const ofTwo = await graphOf('k', { k: 'a < b', l: 'b < a' })
    expect(ofTwo.cycle).to.deep.equal(['a', 'b'])
    expect(edgesOf(ofTwo)).to.have.members(['b>a k!', 'a>b l!'])
    const ofThree = await graphOf('k', { k: 'a < c', l: 'b < a', m: 'c < b' })
    expect(ofThree.cycle).to.deep.equal(['a', 'b', 'c'])
  })

  it('ignores a deadlock among sessions that do not hold the key', async () => {
    const graph = await graphOf('k', { k: 'a < b', l: 'x < a', m: 'y < x', n: 'x < y' })
    expect(graph.cycle).to.deep.equal([])
    expect(Object.keys(columnsOf(graph))).to.have.members(['a', 'b', 'x', 'y'])
  })

  it('reports a session that waits for itself', async () => {
    expect((await graphOf('k', { k: 'a < a' })).cycle).to.deep.equal(['a'])
  })

  it('shows a limited number of sessions, and counts the other sessions', async () => {
    const waiters = Array.from({ length: 40 }, (_, index) => `w${index}`).join(' ')
    const graph = await graphOf('k', { k: `a < ${waiters}` })
    // The graph shows the holder and six waiters.
    expect(graph.nodes).to.have.length(7)
    expect(graph.hiddenWaiters).to.equal(40 - 6)
  })

  it('counts a session with several requests as one waiter that it cannot show', async () => {
    const { undrawnWaitersOf } = await loadModule('waitForGraph')
    const waiting = Array.from({ length: 8 }, (): WaitingInfo => {
      return { key: 'k', session: 'a', mode: 'exclusive', since: 1 }
    })
    expect(undrawnWaitersOf({ waiting, waitingCount: 8 })).to.equal(0)
    // Of the 12 requests that the result does not list, each may be of another session.
    expect(undrawnWaitersOf({ waiting, waitingCount: 20 })).to.equal(1 + 12 - 6)
  })

  it('is empty for a free key', async () => {
    expect((await graphOf('k', {})).nodes).to.deep.equal([])
  })
})

describe('the locks that the page of a key has seen', () => {
  /** An event of the lock with this fence. */
  const lockEvent = (event: LockEvent['event'], fence: number, key = 'k'): LockEvent => {
    return { event, key, fence, mode: 'exclusive', session: 's', since: fence * 10 }
  }

  it('are listed with their ends, newest first', async () => {
    const recent = new (await loadModule('recentEvents')).RecentEvents()
    // The second argument is the time of the event. The page has not seen the grant of lock 1.
    recent.add(lockEvent('unlocked', 1), 15)
    recent.add(lockEvent('locked', 2), 20)
    recent.add(lockEvent('locked', 3, 'other'), 21)
    recent.add(lockEvent('expired', 2), 29)
    recent.add(lockEvent('locked', 4), 40)
    const past = recent
      .locksOf('k', /* maxLocks */ 10)
      .map(({ lock: { fence }, end }) => [fence, end?.kind, end?.at])
    expect(past).to.deep.equal([
      [4, undefined, undefined],
      [2, 'expired', 29],
      [1, 'unlocked', 15],
    ])
    expect(recent.locksOf('k', 2).map(({ lock: { fence } }) => fence)).to.deep.equal([4, 2])
  })

  it('are listed with their ends, even if more locks overlap than the list may show', async () => {
    const recent = new (await loadModule('recentEvents')).RecentEvents()
    for (const fence of [1, 2, 3]) recent.add(lockEvent('locked', fence), fence)
    for (const fence of [3, 2, 1]) recent.add(lockEvent('unlocked', fence), 10 - fence)
    const seen = recent.locksOf('k', 2).map(({ lock: { fence }, end }) => [fence, end?.at])
    expect(seen).to.deep.equal([
      [3, 7],
      [2, 8],
    ])
  })

  it('include an upgraded lock once, with its newest fence', async () => {
    const recent = new (await loadModule('recentEvents')).RecentEvents()
    for (const fence of [1, 2]) recent.add(lockEvent('locked', fence), fence)
    recent.add(lockEvent('unlocked', 1), 3)
    // Lock 1 has ended, so lock 2 is upgraded and gets the fence 3.
    recent.add(lockEvent('upgraded', 3), 4)
    recent.add(lockEvent('downgraded', 3), 5)
    recent.add(lockEvent('locked', 4), 6)
    const seen = recent.locksOf('k', 10).map(({ lock: { fence }, end }) => [fence, end?.at])
    expect(seen).to.deep.equal([
      [4, undefined],
      [3, undefined],
      [1, 3],
    ])
  })

  it('come from a limited number of events', async () => {
    const { RecentEvents, keptEvents } = await loadModule('recentEvents')
    const recent = new RecentEvents()
    for (let fence = 1; fence <= 3 * keptEvents; fence++)
      recent.add(lockEvent('locked', fence), fence)
    // `count` includes the events that are no longer kept.
    expect(recent.count).to.equal(3 * keptEvents)
    // Old events are removed many at a time, so up to twice as many may be kept.
    expect(recent.events.length).to.be.within(keptEvents, 2 * keptEvents)
    expect(recent.events.at(-1)?.sequence).to.equal(3 * keptEvents)
  })
})
