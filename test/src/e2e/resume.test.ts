/**
 * Sessions that outlive their connection: the client resumes them within their grace with all locks
 * and requests, or opens a new session if it cannot.
 */
import { fixedInterval, type WatchEvent } from '@holdfast/client'
import { expect } from 'chai'
import { TcpProxy } from '../faults/proxy.js'
import {
  Collector,
  next,
  type RunningBroker,
  recorder,
  rejection,
  Stage,
  untilHandled,
  watching,
} from './stage.js'

const reconnect = fixedInterval({ interval: 5 })

async function behindProxy(stage: Stage): Promise<RunningBroker & { readonly proxy: TcpProxy }> {
  const running = await stage.broker()
  const proxy = await TcpProxy.to(running.port)
  stage.onClear(() => proxy.close())
  return { ...running, proxy }
}

describe('e2e: resume after a cut, with a grace', () => {
  const stage = Stage.forEachTest()

  it('keeps the session, its locks and their fences', async () => {
    const { proxy, broker } = await behindProxy(stage)
    const session = await stage.session(proxy.url, { grace: 'lease', reconnect })
    const { id } = session
    const plain = await session.lock('plain')
    const timed = await session.lock('timed', { ttl: 60_000 })
    const events: string[] = []
    for (const event of ['jeopardy', 'resumed', 'newSession', 'lost'] as const) {
      session.on(event, () => events.push(event))
    }
    const resumed = next(session, 'resumed')
    proxy.cut()
    await resumed
    expect(events).to.deep.equal(['jeopardy', 'resumed'])
    expect(session.id).to.equal(id)
    expect([plain.held, timed.held]).to.deep.equal([true, true])
    expect(broker.query().held.map(({ fence }) => fence)).to.deep.equal([plain.fence, timed.fence])
    await plain.unlock()
    await timed.refresh()
    await timed.unlock()
  })

  it('keeps the locks while the session is disconnected', async () => {
    const { proxy } = await behindProxy(stage)
    const session = await stage.session(proxy.url, { grace: 'lease', reconnect })
    const lock = await session.lock('k')
    const jeopardy = next(session, 'jeopardy')
    proxy.shut(true)
    proxy.cut()
    await jeopardy
    expect(session.state).to.equal('disconnected')
    expect(lock.held).to.equal(true)
    const resumed = next(session, 'resumed')
    proxy.shut(false)
    await resumed
    expect(session.state).to.equal('connected')
    expect(lock.held).to.equal(true)
  })

  it('keeps places in queues, and a grant that falls due while the session is disconnected', async () => {
    const { proxy, url } = await behindProxy(stage)
    const other = await stage.session(url)
    const first = await other.lock('k')
    const session = await stage.session(proxy.url, { grace: 'lease', reconnect })
    const waiting = session.lock('k')
    await untilHandled(session)
    const behind = other.lock('k')
    await untilHandled(other)
    proxy.shut(true)
    proxy.cut()
    await next(session, 'jeopardy')
    await first.unlock()
    await untilHandled(other)
    const resumed = next(session, 'resumed')
    proxy.shut(false)
    await resumed
    const lock = await waiting
    expect(lock.held).to.equal(true)
    await lock.unlock()
    expect((await behind).fence).to.be.above(lock.fence)
  })

  it('sends the requests of the meantime after the resume, except those that do not wait', async () => {
    const { proxy, broker } = await behindProxy(stage)
    const session = await stage.session(proxy.url, { grace: 'lease', reconnect })
    const held = await session.lock('held')
    proxy.shut(true)
    proxy.cut()
    await next(session, 'jeopardy')
    const asked = session.lock('asked')
    const unlocked = held.unlock()
    const stats = session.stats()
    const timesOut = rejection(session.lock('times out', { timeout: 10 }), 'LOCK_TIMEOUT')
    const controller = new AbortController()
    const aborts = rejection(session.lock('aborted', { signal: controller.signal }), 'ABORTED')
    controller.abort()
    await Promise.all([timesOut, aborts, rejection(session.tryLock('now'), 'UNAVAILABLE')])
    proxy.shut(false)
    expect((await asked).held).to.equal(true)
    await unlocked
    await stats
    await untilHandled(session)
    expect(broker.query().held.map(({ key }) => key)).to.deep.equal(['asked'])
    expect(broker.stats().totalLocks).to.equal(2)
  })

  it('reconnects to send bye, so that the next waiter need not wait for the end of the lease', async () => {
    const { proxy, url } = await behindProxy(stage)
    const slow = fixedInterval({ interval: 250_000 })
    const options = { lease: 300_000, grace: 'lease', reconnect: slow } as const
    const session = await stage.session(proxy.url, options)
    const other = await stage.session(url)
    const lock = await session.lock('k')
    const waiting = other.lock('k')
    await untilHandled(other)
    const jeopardy = next(session, 'jeopardy')
    proxy.cut()
    await jeopardy
    await session.close()
    expect((await waiting).fence).to.be.above(lock.fence)
  })

  it('opens a new session if a grace below the lease is over', async () => {
    const { proxy, broker, url } = await behindProxy(stage)
    const session = await stage.session(proxy.url, { grace: 30, reconnect })
    const { id } = session
    const lock = await session.lock('k')
    const lost = next(session, 'lost')
    const renewed = next(session, 'newSession')
    const events = await watching(await stage.session(url), 'k')
    proxy.shut(true)
    proxy.cut()
    expect(await lost).to.include({ fence: lock.fence, reason: 'session' })
    expect(lock.held).to.equal(false)
    await events.count(2)
    proxy.shut(false)
    await renewed
    expect(session.id).not.to.equal(id)
    expect(broker.query().heldCount).to.equal(0)
    expect((await session.lock('k')).fence).to.be.above(lock.fence)
  })
})

describe('e2e: a cut without a grace', () => {
  const stage = Stage.forEachTest()

  it('loses the locks in the same turn, and the next waiters are granted them at once', async () => {
    const { proxy, url } = await behindProxy(stage)
    const session = await stage.session(proxy.url, { reconnect })
    const other = await stage.session(url)
    const lock = await session.lock('k')
    const waiting = other.lock('k')
    await untilHandled(other)
    const lost = next(session, 'lost')
    const renewed = next(session, 'newSession')
    proxy.cut()
    expect((await lost).reason).to.equal('session')
    expect(lock.held).to.equal(false)
    expect((await waiting).fence).to.be.above(lock.fence)
    await renewed
    expect(lock.held, 'nothing is locked again by itself').to.equal(false)
  })

  it('sends waiting requests again, with the rest of their timeouts and with their signals', async () => {
    const { proxy, url, broker } = await behindProxy(stage)
    const other = await stage.session(url)
    const first = await other.lock('k')
    const { frames, WebSocket } = recorder()
    const session = await stage.session(proxy.url, { reconnect, WebSocket })
    const controller = new AbortController()
    const granted = session.lock('k', { timeout: 60_000 })
    const aborts = rejection(session.lock('k', { signal: controller.signal }), 'ABORTED')
    await untilHandled(session)
    const renewed = next(session, 'newSession')
    proxy.cut()
    await renewed
    await untilHandled(session)
    expect(broker.query().waitingCount).to.equal(2)
    const timeouts = frames.items.flatMap((frame) => frame.match(/(?<="timeout":)\d+/g) ?? [])
    expect(timeouts).to.have.length(2)
    expect(Number(timeouts[1])).to.be.within(1, 60_000)
    controller.abort()
    await aborts
    await untilHandled(session)
    expect(broker.query().waitingCount).to.equal(1)
    await first.unlock()
    expect((await granted).held).to.equal(true)
  })

  it('settles an unlock under way, because the end of the session released the lock as well', async () => {
    const { proxy, broker } = await behindProxy(stage)
    const session = await stage.session(proxy.url, { reconnect })
    const lock = await session.lock('k')
    const renewed = next(session, 'newSession')
    const unlocking = lock.unlock()
    proxy.cut()
    await unlocking
    await renewed
    expect(broker.query().heldCount).to.equal(0)
  })
})

describe('e2e: watching over a cut', () => {
  const stage = Stage.forEachTest()

  it('reports the state again with resync, and continues', async () => {
    const { proxy, url } = await behindProxy(stage)
    const other = await stage.session(url)
    const session = await stage.session(proxy.url, { grace: 'lease', reconnect })
    const events = new Collector<WatchEvent>()
    session.watch('k', events.add)
    await events.count(1)
    proxy.shut(true)
    proxy.cut()
    await next(session, 'jeopardy')
    const lock = await other.lock('k')
    proxy.shut(false)
    const [before, after] = await events.count(2)
    expect(before).to.deep.include({ event: 'state', heldCount: 0, resync: false })
    expect(after).to.deep.include({ event: 'state', heldCount: 1, resync: true })
    await lock.unlock()
    const [, , unlocked] = await events.count(3)
    expect(unlocked?.event).to.equal('unlocked')
  })
})

describe('e2e: a list of URLs', () => {
  const stage = Stage.forEachTest()

  it('leads to the next broker when the first is gone, and round the list', async () => {
    const first = await stage.broker()
    const second = await stage.broker()
    const session = await stage.session([first.url, second.url], { reconnect })
    expect(first.broker.query().heldCount).to.equal(0)
    await session.lock('k')
    expect(first.broker.query().heldCount).to.equal(1)
    const renewed = next(session, 'newSession')
    await first.broker.close()
    await renewed
    await session.lock('k')
    expect(second.broker.query().heldCount).to.equal(1)
  })
})
