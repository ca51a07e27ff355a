/**
 * Tests how the dashboard queries the key whose page is open. The test gives the answers of the
 * broker.
 */
import { HoldfastError, type LockEvent, type QueryResult, type Session } from '@holdfast/client'
import { expect } from 'chai'
import { FakeClock } from '../support/fakeClock.js'
import { loadModule } from './modules.js'

/** Resolves when all answers that are under way have arrived. */
const settle = () => new Promise((resolve) => setImmediate(resolve))

const free: QueryResult = { held: [], waiting: [], heldCount: 0, waitingCount: 0 }

/** An event with its key, the only field that the poller reads. */
const eventOf = (key: string) => ({ key }) as LockEvent

describe('the key poller of the dashboard', () => {
  /** The queried keys, in order. */
  let queried: string[]
  /** How the broker answers the next queries. */
  let answer: (key: string) => Promise<QueryResult>

  /** A poller of the key `k` whose first query is answered. */
  async function startedPoller() {
    queried = []
    answer = async () => free
    const clock = new FakeClock()
    const environment = {
      now: () => clock.monotonic(),
      wall: () => clock.wall(),
      after: (ms: number, run: () => void) => {
        const timer = clock.setTimer(run, ms)
        return () => clock.clearTimer(timer)
      },
      beforeNextFrame: (run: () => void) => run(),
      isVisible: () => true,
    }
    const query = ({ key }: { key: string }) => {
      queried.push(key)
      return answer(key)
    }
    const [{ KeyPoller }, { ChangeNotifier }] = [
      await loadModule('keyPoller'),
      await loadModule('changeNotifier'),
    ]
    const feed = { session: { query } as unknown as Session }
    const poller = new KeyPoller(feed, environment, new ChangeNotifier(environment))
    poller.select('k')
    await settle()
    return { poller, clock }
  }

  it('queries the key every 100 ms when an event comes every 50 ms', async () => {
    const { poller, clock } = await startedPoller()
    for (let ms = 0; ms < 1_000; ms += 50) {
      poller.onEvent(eventOf('k'))
      poller.onEvent(eventOf('other'))
      clock.advance(50)
      await settle()
    }
    // The first query, and one query in each 100 ms.
    expect(queried).to.have.length(1 + 10)
  })

  it('queries 100 ms after an event, also when no event came in the second before', async () => {
    const { poller, clock } = await startedPoller()
    clock.advance(1_000)
    await settle()
    poller.onEvent(eventOf('k'))
    clock.advance(100)
    await settle()
    // The first query, the query after a second without an event, and the query after the event.
    expect(queried).to.have.length(3)
  })

  it('does not show the refusal of a former key on the page of the next key', async () => {
    const { poller, clock } = await startedPoller()
    const forbidden = new HoldfastError('FORBIDDEN', 'no permission for this key')
    let refuse: (reason: unknown) => void = () => {}
    const secretAnswer = new Promise<QueryResult>((_, reject) => {
      refuse = reject
    })
    answer = (key) => (key === 'secret' ? secretAnswer : Promise.resolve(free))
    poller.select('secret')
    poller.select('k')
    refuse(forbidden)
    await settle()
    expect(poller.problem).to.equal(undefined)
    // The query of the next key follows 100 ms after the refusal.
    clock.advance(100)
    await settle()
    expect(queried).to.deep.equal(['k', 'secret', 'k'])
    expect(poller.result).to.equal(free)
    // The refusal of the selected key is shown.
    answer = () => Promise.reject(forbidden)
    poller.select('secret')
    await settle()
    expect(poller.problem).to.equal('no permission for this key')
  })
})
