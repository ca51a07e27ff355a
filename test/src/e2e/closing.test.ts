/**
 * Tests how a broker closes: the broker sends its pending responses, says why it closes, and frees
 * its port. With a drain, the broker first waits for the holders of locks, at most for the time of
 * the drain. No test may take 60 s, so a test with this drain fails if the broker waits so long.
 * Also tests several brokers in one process, and a broker with several ports.
 */
import { fixedInterval, type WatchEvent } from '@holdfast/client'
import { createBroker } from '@holdfast/server'
import { expect } from 'chai'
import { freePort } from '../support/freePort.js'
import { RawClient } from './raw.js'
import { Collector, expectRejection, nextEvent, Stage, untilMessagesHandled } from './stage.js'

/** The number of pending responses. */
const requestCount = 200

describe('e2e: broker.close', () => {
  const stage = Stage.forEachTest()

  it('sends the pending responses before the broker closes with 1012', async () => {
    const { broker, url } = await stage.startBroker()
    const client = await RawClient.open(url)
    const requests = Array.from({ length: requestCount }, (_, i) => ({
      type: 'lock',
      id: i + 1,
      key: `k${i}`,
    }))
    const watcher = await stage.openSession(url, { reconnect: false })
    const events = new Collector<WatchEvent>()
    watcher.watch({ prefix: 'k' }, events.add)
    await events.waitForCount(1)
    client.send(...requests)
    // A watch first gets the state. One more event for each lock shows that all are granted.
    await events.waitForCount(1 + requestCount)
    const closed = broker.close()
    for (let id = 1; id <= requestCount; id++) {
      expect(await client.receive('granted')).to.include({ id })
    }
    expect(await client.receive('draining')).to.include({ within: 0 })
    expect(await client.closed()).to.deep.equal({ code: 1012, reason: 'broker is going away' })
    await closed
  })

  it('lets holders and waiting requests finish during a drain, and refuses new requests', async () => {
    const { broker, url } = await stage.startBroker()
    const ann = await stage.openSession(url, { reconnect: false })
    const ben = await stage.openSession(url, { reconnect: false })
    const lock = await ann.lock('k')
    const waiting = ben.lock('k')
    await untilMessagesHandled(ben)
    const draining = [nextEvent(ann, 'draining'), nextEvent(ben, 'draining')]
    const closed = broker.close({ drain: 60_000 })
    expect(await Promise.all(draining)).to.deep.equal([{ within: 60_000 }, { within: 60_000 }])
    await expectRejection(ann.lock('new'), 'UNAVAILABLE')
    expect(lock.held).to.equal(true)
    await lock.unlock()
    await (await waiting).unlock()
    await ann.close()
    await ben.close()
    await closed
  })

  it('makes a client connect to the next broker of its list', async () => {
    const first = await stage.startBroker()
    const second = await stage.startBroker()
    const reconnect = fixedInterval({ interval: 5 })
    const session = await stage.openSession([first.url, second.url], { reconnect })
    const newSession = nextEvent(session, 'newSession')
    // The session holds no lock, so the broker closes without waiting.
    await first.broker.close({ drain: 50 })
    await newSession
    expect((await session.lock('k')).held).to.equal(true)
  })

  it('does not wait for a client that holds no lock, even with a drain', async () => {
    const { broker, url } = await stage.startBroker()
    const session = await stage.openSession(url, { reconnect: false })
    const closed = nextEvent(session, 'closed')
    await broker.close({ drain: 60_000 })
    expect(await closed).to.include({ code: 'UNAVAILABLE' })
  })

  it('may be called again, and settles together with the first call', async () => {
    const { broker } = await stage.startBroker()
    await Promise.all([broker.close(), broker.close({ drain: 10 })])
    await broker.close()
  })

  it('makes a pending listen reject', async () => {
    const port = await freePort()
    const broker = createBroker()
    const refused = [broker.listen({ port }), broker.listenAdmin({ port: 0 })].map((listening) =>
      expectRejection(listening, 'UNAVAILABLE'),
    )
    await broker.close()
    await Promise.all(refused)
    expect((await stage.startBroker({}, port)).port).to.equal(port)
  })

  it('frees the port', async () => {
    const { broker, port } = await stage.startBroker()
    await broker.close()
    expect((await stage.startBroker({}, port)).port).to.equal(port)
  })
})

describe('e2e: several brokers in one process', () => {
  const stage = Stage.forEachTest()

  it('share no locks and close separately', async () => {
    const [a, b] = [await stage.startBroker(), await stage.startBroker()]
    const [ann, ben] = [await stage.openSession(a.url), await stage.openSession(b.url)]
    await ann.lock('k')
    await ben.lock('k')
    expect(a.broker.query().held[0]?.session).to.equal(ann.id)
    expect(b.broker.query().held[0]?.session).to.equal(ben.id)
    await a.broker.close()
    expect((await ben.lock('l')).held).to.equal(true)
  })
})

describe('e2e: several ports of one broker', () => {
  const stage = Stage.forEachTest()

  it('serve the same locks', async () => {
    const { broker, url } = await stage.startBroker()
    const { url: other } = await broker.listen({ port: 0 })
    expect(other).not.to.equal(url)
    const [ann, ben] = [await stage.openSession(url), await stage.openSession(other)]
    await ann.lock('k')
    await expectRejection(ben.tryLock('k'), 'LOCK_HELD')
  })
})
