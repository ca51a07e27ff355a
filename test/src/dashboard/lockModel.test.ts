/** What the dashboard believes, from events and from answers that are older than those. */
import type { HeldInfo, LockEvent, QueryResult, WaitingInfo } from '@holdfast/client'
import { expect } from 'chai'
import { type LockModel, load } from './modules.js'

let Books: new () => LockModel

function held(key: string, fence: number, session = `s${fence}`): HeldInfo {
  return { key, mode: 'exclusive', session, fence, since: fence }
}

function waits(key: string, session: string, since = 1): WaitingInfo {
  return { key, mode: 'exclusive', session, since }
}

function event(kind: LockEvent['event'], lock: HeldInfo): LockEvent {
  return { ...lock, event: kind }
}

function found(locks: HeldInfo[], waiting: WaitingInfo[] = [], more = {}): QueryResult {
  const counts = { heldCount: locks.length, waitingCount: waiting.length }
  return { held: locks, waiting, ...counts, ...more }
}

function begin(book: LockModel, locks: HeldInfo[], heldCount = locks.length): void {
  book.onState({ event: 'state', held: locks, heldCount, resync: false })
}

/** Such as `a: 1 <- s2 s3`. */
function told(book: LockModel): string[] {
  return [...book.entries.values()]
    .map(({ key, held, waiting }) => {
      const queue = waiting.map(({ session }) => session).join(' ')
      return `${key}: ${held.map(({ fence }) => fence).join(' ')} <- ${queue}`.trim()
    })
    .sort()
}

describe('the book of the dashboard', () => {
  let book: LockModel

  before(async () => {
    Books = (await load('lockModel')).LockModel
  })

  beforeEach(() => {
    book = new Books()
  })

  it('follows locks by their events, shared ones too', () => {
    begin(book, [held('a', 1), held('b', 2)])
    book.onEvent(event('locked', held('b', 3)))
    book.onEvent(event('unlocked', held('a', 1)))
    book.onEvent(event('lost', held('b', 2)))
    expect(told(book)).to.deep.equal(['b: 3 <-'])
    expect(book.heldCount).to.equal(1)
  })

  it('takes whoever is granted out of the queue, once', () => {
    book.answer(
      book.ask(),
      found([held('a', 1)], [waits('a', 'x'), waits('a', 'y'), waits('a', 'x')]),
    )
    book.onEvent(event('unlocked', held('a', 1)))
    book.onEvent(event('locked', held('a', 5, 'x')))
    expect(told(book)).to.deep.equal(['a: 5 <- y x'])
    expect([book.waitingCount, book.knownWaiting]).to.deep.equal([2, 2])
  })

  it('does not believe an answer against what has happened since it was asked', () => {
    begin(book, [held('a', 1), held('b', 2)])
    const question = book.ask()
    book.onEvent(event('unlocked', held('a', 1)))
    book.onEvent(event('locked', held('a', 9, 'x')))
    book.onEvent(event('locked', held('c', 10)))
    book.answer(question, found([held('a', 1), held('b', 2)], [waits('a', 'x'), waits('a', 'y')]))
    expect(told(book)).to.deep.equal(['a: 9 <- y', 'b: 2 <-', 'c: 10 <-'])
    expect(book.heldCount).to.equal(3)
    expect(book.hidesQueues).to.equal(false)
  })

  it('forgets what a whole answer does not have', () => {
    begin(book, [held('a', 1), held('b', 2)])
    book.answer(book.ask(), found([held('b', 2)]))
    expect(told(book)).to.deep.equal(['b: 2 <-'])
  })

  it('keeps what an answer had no room for, and says that there is more', () => {
    begin(book, [held('a', 1)], 3)
    expect(book.hidesLocks).to.equal(true)
    book.answer(
      book.ask(),
      found([held('b', 2)], [waits('b', 'x')], { heldCount: 3, waitingCount: 7 }),
    )
    expect(told(book)).to.deep.equal(['a: 1 <-', 'b: 2 <- x'])
    expect([book.heldCount, book.waitingCount]).to.deep.equal([3, 7])
    expect([book.hidesLocks, book.hidesQueues]).to.deep.equal([true, true])
    book.onEvent(event('unlocked', held('z', 99)))
    expect(book.hidesLocks).to.equal(false)
  })

  it('learns the rest of a prefix by asking for it', () => {
    begin(book, [held('a1', 1), held('b', 2)], 4)
    book.answer(book.ask('a'), found([held('a2', 3), held('a3', 4)], [waits('a2', 'x')]))
    expect(told(book)).to.deep.equal(['a2: 3 <- x', 'a3: 4 <-', 'b: 2 <-'])
    expect(book.heldCount).to.equal(4)
  })

  it('begins anew after a reconnect, and keeps queues until it knows better', () => {
    begin(book, [held('a', 1)])
    book.answer(book.ask(), found([held('a', 1)], [waits('a', 'x')]))
    begin(book, [held('b', 7)])
    expect(told(book)).to.deep.equal(['a:  <- x', 'b: 7 <-'])
    book.answer(book.ask(), found([held('b', 7)]))
    expect(told(book)).to.deep.equal(['b: 7 <-'])
  })

  it('is not confused by a question that was never answered', () => {
    const question = book.ask()
    book.forget(question)
    book.onEvent(event('locked', held('a', 1)))
    expect(question.locked).to.deep.equal([])
  })
})
