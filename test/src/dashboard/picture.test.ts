/** Who waits for whom around a key, circles above all, and what was seen of a key. */
import type { HeldInfo, LockEvent, WaitingInfo } from '@holdfast/client'
import { expect } from 'chai'
import type { Picture } from '../../../server/src/dashboard/model/graph.js'
import type { KeyRow } from '../../../server/src/dashboard/model/lockModel.js'
import { load } from './modules.js'

/** Such as `{ k: 'a b < c d' }`: `a` and `b` hold `k`, `c` and `d` wait for it. */
type Table = Readonly<Record<string, string>>

function entriesFrom(table: Table): Map<string, KeyRow> {
  const names = (text: string) => text.split(' ').filter((name) => name !== '')
  const of = (key: string, session: string) => ({ key, session, mode: 'shared', since: 1 }) as const
  return new Map(
    Object.entries(table).map(([key, text]) => {
      const [holders = '', waiters = ''] = text.split('<')
      const held: HeldInfo[] = names(holders).map((session) => ({ ...of(key, session), fence: 1 }))
      const waiting: WaitingInfo[] = names(waiters).map((session) => of(key, session))
      return [key, { key, held, waiting }]
    }),
  )
}

async function pictureOf(key: string, table: Table): Promise<Picture> {
  const [graph, sessions] = [await load('graph'), await load('sessions')]
  const entries = entriesFrom(table)
  return graph.pictureOf(key, entries, sessions.partiesOf(entries.values()))
}

function edgesOf({ edges }: Picture): string[] {
  return edges.map(
    ({ from, to, key, isCircular }) => `${from}>${to} ${key}${isCircular ? '!' : ''}`,
  )
}

function placesOf({ nodes }: Picture): Record<string, number> {
  return Object.fromEntries(nodes.map(({ session, column }) => [session, column]))
}

describe('the picture of who waits for whom', () => {
  it('has holders in the middle and who waits beside them', async () => {
    const picture = await pictureOf('k', { k: 'a b < c' })
    expect(placesOf(picture)).to.deep.equal({ a: 0, b: 0, c: 1 })
    expect(edgesOf(picture)).to.deep.equal(['c>a k', 'c>b k'])
    expect(picture.circle).to.deep.equal([])
  })

  it('goes on to what holders wait for, and to who waits for the waiting', async () => {
    const table = { k: 'a < b', up: 'x < a', top: 'y < x', own: 'b < c' }
    const picture = await pictureOf('k', table)
    expect(placesOf(picture)).to.deep.equal({ a: 0, b: 1, x: -1, y: -2, c: 2 })
    expect(edgesOf(picture)).to.have.members(['b>a k', 'a>x up', 'x>y top', 'c>b own'])
  })

  it('names a circle of two, and of three', async () => {
    const two = await pictureOf('k', { k: 'a < b', l: 'b < a' })
    expect(two.circle).to.deep.equal(['a', 'b'])
    expect(edgesOf(two)).to.have.members(['b>a k!', 'a>b l!'])
    const three = await pictureOf('k', { k: 'a < c', l: 'b < a', m: 'c < b' })
    expect(three.circle).to.deep.equal(['a', 'b', 'c'])
  })

  it('sees no circle where there is none, and stops where others run in one', async () => {
    const picture = await pictureOf('k', { k: 'a < b', l: 'x < a', m: 'y < x', n: 'x < y' })
    expect(picture.circle).to.deep.equal([])
    expect(Object.keys(placesOf(picture))).to.have.members(['a', 'b', 'x', 'y'])
  })

  it('knows that a session can wait for itself', async () => {
    expect((await pictureOf('k', { k: 'a < a' })).circle).to.deep.equal(['a'])
  })

  it('is not drawn larger than can be read, and says what it leaves out', async () => {
    const waiters = Array.from({ length: 40 }, (_, index) => `w${index}`).join(' ')
    const picture = await pictureOf('k', { k: `a < ${waiters}` })
    expect(picture.nodes).to.have.length(7)
    expect(picture.hiddenWaiters).to.equal(34)
  })

  it('is empty for a key that nobody holds', async () => {
    expect((await pictureOf('k', {})).nodes).to.deep.equal([])
  })
})

describe('what was seen of a key', () => {
  const lock = (event: LockEvent['event'], fence: number, key = 'k'): LockEvent => {
    return { event, key, fence, mode: 'exclusive', session: 's', since: fence * 10 }
  }

  it('is a list of grants with their ends, the last one first', async () => {
    const tail = new (await load('recentEvents')).RecentEvents()
    tail.add(lock('unlocked', 1), 15)
    tail.add(lock('locked', 2), 20)
    tail.add(lock('locked', 3, 'other'), 21)
    tail.add(lock('expired', 2), 29)
    tail.add(lock('locked', 4), 40)
    const past = tail.past('k', 10).map(({ lock: { fence }, end }) => [fence, end?.how, end?.at])
    expect(past).to.deep.equal([
      [4, undefined, undefined],
      [2, 'expired', 29],
      [1, 'unlocked', 15],
    ])
    expect(tail.past('k', 2).map(({ lock: { fence } }) => fence)).to.deep.equal([4, 2])
  })

  it('is bounded', async () => {
    const { RecentEvents, tailLength } = await load('recentEvents')
    const tail = new RecentEvents()
    for (let fence = 1; fence <= 3 * tailLength; fence++) tail.add(lock('locked', fence), fence)
    expect(tail.count).to.equal(3 * tailLength)
    expect(tail.events.length).to.be.within(tailLength, 2 * tailLength)
    expect(tail.events.at(-1)?.sequence).to.equal(3 * tailLength)
  })
})
