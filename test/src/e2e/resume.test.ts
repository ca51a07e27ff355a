/**
 * Tests sessions whose connection drops. The lease is how long the broker keeps a session from
 * which it gets no message. The grace is how long the broker keeps a session without a connection;
 * `grace: 'lease'` makes the grace as long as the lease. Within the grace the client resumes the
 * session with all locks and requests; after the grace the client opens a new session. A session is
 * in jeopardy while its connection is down. The message `bye` ends a session.
 *
 * A fence is the number of a grant; a later grant has a higher fence. A set is one lock on several
 * keys. The capacity of a key is the number of permits that all its holders together may have.
 */
import { fixedInterval, type WatchEvent } from '@holdfast/client'
import { expect } from 'chai'
import { TcpProxy } from '../faults/proxy.js'
import {
  Collector,
  collectWatchEvents,
  expectRejection,
  nextEvent,
  type RunningBroker,
  recordingWebSocket,
  Stage,
  untilMessagesHandled,
} from './stage.js'

const reconnect = fixedInterval({ interval: 5 })

/**
 * Starts a broker, and a TCP proxy in front of it. The test can cut the connections of the proxy,
 * and shut the proxy for new connections.
 */
async function brokerBehindProxy(
  stage: Stage,
): Promise<RunningBroker & { readonly proxy: TcpProxy }> {
  const running = await stage.startBroker()
  const proxy = await TcpProxy.to(running.port)
  stage.onCleanUp(() => proxy.close())
  return { ...running, proxy }
}

describe('e2e: a session with a grace, after a cut', () => {
  const stage = Stage.forEachTest()

  it('is resumed, with its locks and their fences', async () => {
    const { proxy, broker } = await brokerBehindProxy(stage)
    const session = await stage.openSession(proxy.url, { grace: 'lease', reconnect })
    const firstId = session.id
    const untimed = await session.lock('untimed')
    const timed = await session.lock('timed', { ttl: 60_000 })
    const events: string[] = []
    for (const event of ['jeopardy', 'resumed', 'newSession', 'lost'] as const) {
      session.on(event, () => events.push(event))
    }
    const resumed = nextEvent(session, 'resumed')
    proxy.cut()
    await resumed
    expect(events).to.deep.equal(['jeopardy', 'resumed'])
    expect(session.id).to.equal(firstId)
    expect([untimed.held, timed.held]).to.deep.equal([true, true])
    expect(broker.query().held.map(({ fence }) => fence)).to.deep.equal([
      untimed.fence,
      timed.fence,
    ])
    await untimed.unlock()
    await timed.refresh()
    await timed.unlock()
  })

  it('keeps permits, sets and a waiting request for a set', async () => {
    const { proxy, broker, url } = await brokerBehindProxy(stage)
    const session = await stage.openSession(proxy.url, { grace: 'lease', reconnect })
    const other = await stage.openSession(url)
    const permitLock = await session.lock('permits', { capacity: 3, permits: 2 })
    const set = await session.lockAll(['a', 'b'])
    const blocking = await other.lock('c')
    const waiting = session.lockAll(['c', 'd'])
    await untilMessagesHandled(session)
    const resumed = nextEvent(session, 'resumed')
    proxy.cut()
    await resumed
    expect([permitLock.held, permitLock.permits, set.held, set.keys]).to.deep.equal([
      true,
      2,
      true,
      ['a', 'b'],
    ])
    await blocking.unlock()
    expect((await waiting).keys).to.deep.equal(['c', 'd'])
    await set.unlock()
    await permitLock.unlock()
    expect(broker.query().held.map(({ key }) => key)).to.deep.equal(['c', 'd'])
  })

  it('keeps its locks while it is disconnected', async () => {
    const { proxy } = await brokerBehindProxy(stage)
    const session = await stage.openSession(proxy.url, { grace: 'lease', reconnect })
    const lock = await session.lock('k')
    const jeopardy = nextEvent(session, 'jeopardy')
    proxy.refuseConnections()
    proxy.cut()
    await jeopardy
    expect(session.state).to.equal('disconnected')
    expect(lock.held).to.equal(true)
    const resumed = nextEvent(session, 'resumed')
    proxy.acceptConnections()
    await resumed
    expect(session.state).to.equal('connected')
    expect(lock.held).to.equal(true)
  })

  it('keeps its places in queues, and gets a grant that the broker made during the outage', async () => {
    const { proxy, url } = await brokerBehindProxy(stage)
    const otherSession = await stage.openSession(url)
    const first = await otherSession.lock('k')
    const session = await stage.openSession(proxy.url, { grace: 'lease', reconnect })
    const waiting = session.lock('k')
    await untilMessagesHandled(session)
    const lockBehind = otherSession.lock('k')
    await untilMessagesHandled(otherSession)
    proxy.refuseConnections()
    proxy.cut()
    await nextEvent(session, 'jeopardy')
    await first.unlock()
    await untilMessagesHandled(otherSession)
    const resumed = nextEvent(session, 'resumed')
    proxy.acceptConnections()
    await resumed
    const lock = await waiting
    expect(lock.held).to.equal(true)
    await lock.unlock()
    expect((await lockBehind).fence).to.be.above(lock.fence)
  })

  it('sends the requests of the outage when it resumes, except those that have ended', async () => {
    const { proxy, broker } = await brokerBehindProxy(stage)
    const session = await stage.openSession(proxy.url, { grace: 'lease', reconnect })
    const held = await session.lock('held')
    proxy.refuseConnections()
    proxy.cut()
    await nextEvent(session, 'jeopardy')
    const locking = session.lock('requested')
    const unlocking = held.unlock()
    const stats = session.stats()
    const timedOut = expectRejection(session.lock('timed out', { timeout: 10 }), 'LOCK_TIMEOUT')
    const controller = new AbortController()
    const aborted = expectRejection(
      session.lock('aborted', { signal: controller.signal }),
      'ABORTED',
    )
    controller.abort()
    await Promise.all([timedOut, aborted, expectRejection(session.tryLock('now'), 'UNAVAILABLE')])
    proxy.acceptConnections()
    expect((await locking).held).to.equal(true)
    await unlocking
    await stats
    await untilMessagesHandled(session)
    expect(broker.query().held.map(({ key }) => key)).to.deep.equal(['requested'])
    // `totalLocks` counts all requests that reached the broker and have ended. Only the requests
    // for `held` and `requested` did.
    expect(broker.stats().totalLocks).to.equal(2)
  })

  it('reconnects at close to send bye, so that the next waiter gets the lock immediately', async () => {
    const { proxy, url } = await brokerBehindProxy(stage)
    // Without the close, the client would reconnect only long after the end of the test.
    const slowReconnect = fixedInterval({ interval: 250_000 })
    const options = { lease: 300_000, grace: 'lease', reconnect: slowReconnect } as const
    const session = await stage.openSession(proxy.url, options)
    const otherSession = await stage.openSession(url)
    const lock = await session.lock('k')
    const waiting = otherSession.lock('k')
    await untilMessagesHandled(otherSession)
    const jeopardy = nextEvent(session, 'jeopardy')
    proxy.cut()
    await jeopardy
    await session.close()
    expect((await waiting).fence).to.be.above(lock.fence)
  })

  it('ends after a grace of 30 ms, and the client opens a new session', async () => {
    const { proxy, broker, url } = await brokerBehindProxy(stage)
    const session = await stage.openSession(proxy.url, { grace: 30, reconnect })
    const firstId = session.id
    const lock = await session.lock('k')
    const lost = nextEvent(session, 'lost')
    const newSession = nextEvent(session, 'newSession')
    const events = await collectWatchEvents(await stage.openSession(url), 'k')
    proxy.refuseConnections()
    proxy.cut()
    expect(await lost).to.include({ fence: lock.fence, reason: 'session' })
    expect(lock.held).to.equal(false)
    // The first event is `state`. The second event shows that the broker has ended the session.
    await events.waitForCount(2)
    proxy.acceptConnections()
    await newSession
    expect(session.id).not.to.equal(firstId)
    expect(broker.query().heldCount).to.equal(0)
    expect((await session.lock('k')).fence).to.be.above(lock.fence)
  })
})

describe('e2e: a session without a grace, after a cut', () => {
  const stage = Stage.forEachTest()

  it('loses its lock immediately, and the broker grants the lock to the next waiter', async () => {
    const { proxy, url } = await brokerBehindProxy(stage)
    const session = await stage.openSession(proxy.url, { reconnect })
    const otherSession = await stage.openSession(url)
    const lock = await session.lock('k')
    const waiting = otherSession.lock('k')
    await untilMessagesHandled(otherSession)
    const lost = nextEvent(session, 'lost')
    const newSession = nextEvent(session, 'newSession')
    proxy.cut()
    expect((await lost).reason).to.equal('session')
    expect(lock.held).to.equal(false)
    expect((await waiting).fence).to.be.above(lock.fence)
    await newSession
    expect(lock.held, 'the client does not lock again by itself').to.equal(false)
  })

  it('repeats waiting requests in a new session, with their signals and the rest of their timeouts', async () => {
    const { proxy, url, broker } = await brokerBehindProxy(stage)
    const otherSession = await stage.openSession(url)
    const first = await otherSession.lock('k')
    const { frames, WebSocket } = recordingWebSocket()
    const session = await stage.openSession(proxy.url, { reconnect, WebSocket })
    const controller = new AbortController()
    const granted = session.lock('k', { timeout: 60_000 })
    const aborted = expectRejection(session.lock('k', { signal: controller.signal }), 'ABORTED')
    await untilMessagesHandled(session)
    const newSession = nextEvent(session, 'newSession')
    proxy.cut()
    await newSession
    await untilMessagesHandled(session)
    expect(broker.query().waitingCount).to.equal(2)
    const timeouts = frames.items.flatMap((frame) => frame.match(/(?<="timeout":)\d+/g) ?? [])
    // Each session sent the request with the timeout once, the second with the rest of the timeout.
    expect(timeouts).to.have.length(2)
    expect(Number(timeouts[1])).to.be.within(1, 60_000)
    controller.abort()
    await aborted
    await untilMessagesHandled(session)
    expect(broker.query().waitingCount).to.equal(1)
    await first.unlock()
    expect((await granted).held).to.equal(true)
  })

  it('resolves a pending unlock, because the end of the session released the lock as well', async () => {
    const { proxy, broker } = await brokerBehindProxy(stage)
    const session = await stage.openSession(proxy.url, { reconnect })
    const lock = await session.lock('k')
    const newSession = nextEvent(session, 'newSession')
    const unlocking = lock.unlock()
    proxy.cut()
    await unlocking
    await newSession
    expect(broker.query().heldCount).to.equal(0)
  })
})

describe('e2e: watching over a cut', () => {
  const stage = Stage.forEachTest()

  it('reports the state again, marked as resync, and continues', async () => {
    const { proxy, url } = await brokerBehindProxy(stage)
    const otherSession = await stage.openSession(url)
    const session = await stage.openSession(proxy.url, { grace: 'lease', reconnect })
    const events = new Collector<WatchEvent>()
    session.watch('k', events.add)
    await events.waitForCount(1)
    proxy.refuseConnections()
    proxy.cut()
    await nextEvent(session, 'jeopardy')
    const lock = await otherSession.lock('k')
    proxy.acceptConnections()
    const [before, after] = await events.waitForCount(2)
    expect(before).to.deep.include({ event: 'state', heldCount: 0, resync: false })
    expect(after).to.deep.include({ event: 'state', heldCount: 1, resync: true })
    await lock.unlock()
    const [, , unlocked] = await events.waitForCount(3)
    expect(unlocked?.event).to.equal('unlocked')
  })
})

describe('e2e: a list of URLs', () => {
  const stage = Stage.forEachTest()

  it('leads to the next broker when the first broker closes', async () => {
    const first = await stage.startBroker()
    const second = await stage.startBroker()
    const session = await stage.openSession([first.url, second.url], { reconnect })
    expect(first.broker.query().heldCount).to.equal(0)
    await session.lock('k')
    expect(first.broker.query().heldCount).to.equal(1)
    const newSession = nextEvent(session, 'newSession')
    await first.broker.close()
    await newSession
    await session.lock('k')
    expect(second.broker.query().heldCount).to.equal(1)
  })
})
