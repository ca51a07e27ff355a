/**
 * Tests three brokers in one process that share a command log, with real clients on real sockets.
 * The command log orders all changes of the lock table, so each broker has the same table. A client
 * can resume its session at every broker, and no lock is lost when a broker stops. A fence is the
 * number of a grant. The grace is how long a session survives the loss of its connection. The grace
 * `'lease'` is as long as the broker keeps the session of a silent client.
 */
import { fixedInterval, type Session } from '@holdfast/client'
import { createBroker, type HoldfastBroker, type Metrics } from '@holdfast/server'
import { nodeEnvironment, ReplicatedLog } from '@holdfast/server/internal'
import { brokerMetrics } from '@holdfast/server/metrics'
import { expect } from 'chai'
import { nextEvent, Stage } from '../e2e/stage.js'
import { Random, runRandomTest } from '../support/counts.js'
import { MemorySource, MemoryStore } from './memoryEngine.js'

const reconnect = fixedInterval({ interval: 10 })
/** The time after which the other brokers declare a silent broker dead. */
const deadMs = 1_000

interface RunningBroker {
  readonly broker: HoldfastBroker
  readonly url: string
  readonly source: MemorySource
  readonly metrics: Metrics
}

describe('brokers that share a log, on real sockets', () => {
  const stage = Stage.forEachTest()

  /** Starts three brokers that share one log. */
  async function threeBrokers(): Promise<[RunningBroker, RunningBroker, RunningBroker]> {
    const store = new MemoryStore(nodeEnvironment)
    const start = async (): Promise<RunningBroker> => {
      const source = new MemorySource(store)
      const log = new ReplicatedLog(source, { deadMs, snapshotEntries: 50 }, nodeEnvironment)
      const metrics = brokerMetrics()
      const broker = createBroker({ log, metrics })
      stage.onCleanUp(() => broker.close())
      const { url } = await broker.listen({ port: 0 })
      return { broker, url, source, metrics }
    }
    return [await start(), await start(), await start()]
  }

  it('grant a lock to clients of other brokers after a client of one broker has released it', async () => {
    const [a, b, c] = await threeBrokers()
    const sessions: Session[] = []
    for (const { url } of [a, b, c]) sessions.push(await stage.openSession(url))
    const first = await sessions[0]!.lock('k')
    const waiting = [sessions[1]!.lock('k'), sessions[2]!.lock('k')] as const
    await first.unlock()
    const winner = await Promise.race(waiting)
    expect(winner.fence).to.be.greaterThan(first.fence)
    await winner.unlock()
    const [lockOfB, lockOfC] = await Promise.all(waiting)
    // The two waiting sessions got the lock directly one after the other, in either order.
    expect(Math.abs(lockOfB.fence - lockOfC.fence)).to.equal(1)
  })

  it('keep the locks, fences and requests of a session when its broker closes', async () => {
    const [a, b, c] = await threeBrokers()
    const urls = [a.url, b.url, c.url]
    const session = await stage.openSession(urls, { grace: 'lease', reconnect })
    const other = await stage.openSession(c.url, { grace: 'lease', reconnect })
    const lock = await session.lock('k', { ttl: 60_000 })
    const otherLock = await other.lock('taken')
    const waiting = session.lock('taken')
    // This request is newer than the waiting request, but is granted first.
    await session.lock('free')
    const resumed = nextEvent(session, 'resumed')
    await a.broker.close()
    await resumed
    expect(lock.held).to.equal(true)
    await lock.refresh()
    const { held } = await other.query({ key: 'k' })
    expect(held.map(({ fence, session: id }) => [fence, id])).to.deep.equal([
      [lock.fence, session.id],
    ])
    await otherLock.unlock()
    expect((await waiting).fence).to.be.greaterThan(otherLock.fence)
    await lock.unlock()
  })

  it('keep a session when its broker loses the log and so cannot announce that it leaves', async () => {
    const [a, b, c] = await threeBrokers()
    const session = await stage.openSession([a.url, b.url, c.url], { grace: 'lease', reconnect })
    const lock = await session.lock('k')
    const resumed = nextEvent(session, 'resumed')
    // Without the log, the membership of broker `a` ends. The broker then disconnects its clients.
    a.source.cut()
    await resumed
    expect(lock.held).to.equal(true)
    await lock.unlock()
    const rival = await stage.openSession(c.url)
    const rivalLock = await rival.lock('k', { timeout: 0 })
    expect(rivalLock.fence).to.be.greaterThan(lock.fence)
  })

  it('accept a broker again that was cut off from the log, and its client resumes', async () => {
    const [a] = await threeBrokers()
    const session = await stage.openSession(a.url, { grace: 'lease', reconnect })
    const lock = await session.lock('k')
    // The client emits `jeopardy` when it loses the broker and may lose its locks.
    const jeopardy = nextEvent(session, 'jeopardy')
    a.source.cut()
    await jeopardy
    const resumed = nextEvent(session, 'resumed')
    a.source.mend()
    await resumed
    expect(lock.held).to.equal(true)
    expect(a.broker.query().heldCount).to.equal(1)
  })

  it('grant no lock twice and lose no request while sessions move between brokers', async () => {
    await runRandomTest(async (random) => {
      const brokers = await threeBrokers()
      const urls = brokers.map(({ url }) => url)
      const highestFences = new Map<string, number>()
      const holders = new Map<string, Session>()
      // An overlap of two holders, or a grant whose fence is not higher, is a violation.
      let violations = 0
      const work = Array.from({ length: 5 }, async (_, i) => {
        const workerRandom = new Random(random.below(2 ** 31))
        // The order of the brokers is rotated, so that the workers begin at different brokers.
        const workerUrls = [...urls.slice(i % 3), ...urls.slice(0, i % 3)]
        for (let round = 0; round < 3; round++) {
          const session = await stage.openSession(workerUrls, { grace: 'lease', reconnect })
          // A session begins at the first broker of its list, so the next session of this worker
          // begins at another broker.
          workerUrls.push(workerUrls.shift()!)
          for (let j = 0; j < 8; j++) {
            // The five workers share two keys, so that requests wait.
            const key = `k${workerRandom.below(2)}`
            const lock = await session.lock(key)
            if (holders.has(key)) violations++
            holders.set(key, session)
            if (lock.fence <= (highestFences.get(key) ?? 0)) violations++
            highestFences.set(key, lock.fence)
            // Sends another request, so that the session holds the lock for a while.
            await session.stats()
            holders.delete(key)
            await lock.unlock()
          }
          await session.close()
        }
      })
      // One broker loses the log for a short time, so its sessions must wait.
      const [first] = brokers
      first.source.cut()
      setImmediate(() => first.source.mend())
      await Promise.all(work)
      expect(violations).to.equal(0)
      for (const { broker, url } of brokers) {
        const lastSession = await stage.openSession(url)
        // When this broker grants a lock, it has applied all earlier entries of the log.
        await (await lastSession.lock('last')).unlock()
        const { heldCount, waitingCount } = broker.query()
        expect({ heldCount, waitingCount }).to.deep.equal({ heldCount: 0, waitingCount: 0 })
      }
    })
  })

  it('report the state of their log by `logStatus` and in their metrics', async () => {
    const [a, b, c] = await threeBrokers()
    const names = [a, b, c].map(({ broker }) => broker.logStatus()!.name)
    expect(c.broker.logStatus()!.members).to.deep.equal(names)
    const text = await c.metrics.text()
    for (const line of ['log_brokers 3', 'log_serving 1']) {
      expect(text).to.contain(`holdfast_${line}\n`)
    }
    // The self-lease is the time for which a broker knows that it is a member, here less than 1 s.
    expect(text).to.match(/holdfast_log_self_lease_seconds 0\.\d/)
    const brokerWithoutLog = createBroker()
    stage.onCleanUp(() => brokerWithoutLog.close())
    expect(brokerWithoutLog.logStatus()).to.equal(undefined)
  })

  it('keep a session while two of the three brokers close one after another', async () => {
    const [a, b, c] = await threeBrokers()
    const session = await stage.openSession([a.url, b.url, c.url], { grace: 'lease', reconnect })
    const lock = await session.lock('k')
    for (const { broker } of [a, b]) {
      const resumed = nextEvent(session, 'resumed')
      // `drain` is how long sessions with locks may take to finish, in ms.
      await broker.close({ drain: 200 })
      await resumed
      expect(lock.held).to.equal(true)
    }
    expect(c.broker.query().heldCount).to.equal(1)
  })
})
