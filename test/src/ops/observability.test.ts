/**
 * Tests the metrics, the HTTP endpoints for operators, and the log lines, which a client cannot
 * forge. The lease is how long the broker keeps a silent session. The grace is how long a session
 * survives the loss of its connection. A fence is the number of a grant.
 */
import { readFileSync } from 'node:fs'
import type { Session } from '@holdfast/client'
import {
  type BrokerGauges,
  type BrokerOptions,
  type BrokerStatus,
  createBroker,
} from '@holdfast/server'
import { brokerMetrics } from '@holdfast/server/metrics'
import { expect } from 'chai'
import { pino } from 'pino'
import { RawClient, sendAndReadStatus } from '../e2e/raw.js'
import { expectRejection, Stage, untilAborted, untilMessagesHandled } from '../e2e/stage.js'
import { Cluster } from '../log/cluster.js'
import { BrokerHarness, passTimeAnsweringPings } from '../server/harness.js'

/** The figures of a broker without clients. */
const idleGauges: BrokerGauges = {
  connections: 0,
  sessions: 0,
  held: 0,
  waiting: 0,
  keys: 0,
  barriers: 0,
  barrierCalls: 0,
  keptResults: 0,
  bytesReceived: 0,
  bytesSent: 0,
  memoryUsed: 0,
  memoryLimit: undefined,
  stats: new BrokerHarness().broker.stats(),
}

/** Returns the value of a series, as Prometheus would read the value. */
function seriesOf(text: string, series: string): number | undefined {
  const line = text.split('\n').find((candidate) => candidate.startsWith(`${series} `))
  return line === undefined ? undefined : Number(line.split(' ').at(-1))
}

describe('the metrics', () => {
  /** Makes a broker with metrics, on a fake clock. */
  function brokerWithMetrics(options: BrokerOptions = {}) {
    const metrics = brokerMetrics()
    return { metrics, harness: new BrokerHarness({ ...options, observer: metrics }) }
  }

  it('count messages, grants, refusals and losses by reason', async () => {
    const { metrics, harness } = brokerWithMetrics({ limits: { locksPerSession: 3 } })
    const [ann, bob, cleo] = [
      harness.openSession({ lease: 5_000 }),
      harness.openSession(),
      harness.openSession(),
    ]
    const fenceOfAnn = ann.acquire('k')
    // Bob's first request fails immediately, and his second after 100 ms. Cleo's requests wait.
    bob.lock('k', { timeout: 0 })
    bob.lock('k', { timeout: 100 })
    cleo.lock('k')
    cleo.lock('k')
    passTimeAnsweringPings(harness, 200, ann, bob, cleo)
    ann.unlock(fenceOfAnn)
    // This lock expires in the next 400 ms.
    cleo.acquire('e', { ttl: 300 })
    passTimeAnsweringPings(harness, 400, ann, bob, cleo)
    ann.acquire('s')
    // Bob has the lock of `s` and may hold two more locks, so the limit refuses two of the four.
    bob.lock('s', { steal: true })
    for (const key of ['a', 'b', 'c', 'd']) bob.lock(key)
    // The newest fence is that of another lock, so this revocation fails.
    bob.say({ type: 'revoke', id: 99, key: 's', fence: harness.broker.table.fence })
    ann.say({ type: 'bye' })
    bob.socket.drop()
    const text = await metrics.text()
    const expected: Record<string, number> = {
      'holdfast_messages_received_total{type="lock"}': 12,
      'holdfast_grants_total{when="after_waiting"}': 1,
      'holdfast_grants_by_kind_total{kind="exclusive"}': 7,
      'holdfast_failures_total{reason="held"}': 1,
      'holdfast_failures_total{reason="timeout"}': 1,
      'holdfast_releases_total{reason="unlocked"}': 1,
      'holdfast_losses_total{reason="expired"}': 1,
      'holdfast_losses_total{reason="stolen"}': 1,
      'holdfast_losses_total{reason="session_dropped"}': 3,
      'holdfast_refused_total{cause="locks_per_session"}': 2,
      'holdfast_sessions_ended_total{reason="goodbye"}': 1,
      'holdfast_sessions_ended_total{reason="dropped"}': 1,
      'holdfast_sessions_total{event="opened"}': 3,
      holdfast_wait_seconds_count: 1,
      holdfast_handoff_seconds_count: 1,
      holdfast_queue_depth_count: 3,
    }
    for (const [series, value] of Object.entries(expected)) {
      expect(seriesOf(text, series), series).to.equal(value)
    }
    // Cleo waited about 200 ms for the lock that Ann unlocked.
    expect(seriesOf(text, 'holdfast_wait_seconds_sum')).to.be.closeTo(0.2, 0.05)
  })

  it('count holds, refreshes and sent bytes', async () => {
    const { metrics, harness } = brokerWithMetrics()
    metrics.attach?.(() => ({ ...idleGauges, bytesSent: 7, stats: harness.broker.stats() }))
    const ann = harness.openSession()
    const fence = ann.acquire('k', { ttl: 5_000 })
    ann.say({ type: 'refresh', id: 2, fence, ttl: 5_000 })
    ann.say({ type: 'unlock', id: 3, fence })
    const text = await metrics.text()
    expect(seriesOf(text, 'holdfast_hold_seconds_count')).to.equal(1)
    expect(seriesOf(text, 'holdfast_refreshes_total')).to.equal(1)
    expect(seriesOf(text, 'holdfast_sent_bytes_total')).to.equal(7)
    metrics.close?.()
  })

  it('count suspended sessions', async () => {
    const { metrics, harness } = brokerWithMetrics()
    metrics.attach?.(() => idleGauges)
    const ann = harness.openSession({ grace: 5_000 })
    ann.socket.drop()
    expect(seriesOf(await metrics.text(), 'holdfast_sessions_suspended')).to.equal(1)
    harness.openSession({ resume: { session: ann.session, secret: ann.secret! } })
    expect(seriesOf(await metrics.text(), 'holdfast_sessions_suspended')).to.equal(0)
    metrics.close?.()
  })

  it('count a set once, and each grant by its kind', async () => {
    const { metrics, harness } = brokerWithMetrics()
    const [ann, bob] = [harness.openSession(), harness.openSession()]
    ann.say({ type: 'lockAll', id: 1, items: [{ key: 'a' }, { key: 'b', mode: 'shared' }] })
    bob.say({ type: 'lock', id: 1, key: 'gpu', capacity: 3 })
    bob.say({ type: 'lockAll', id: 2, items: [{ key: 'b' }, { key: 'a' }], timeout: 0 })
    ann.say({ type: 'unlock', id: 2, fence: ann.socket.takeMessagesOfType('granted')[0]!.fence })
    const text = await metrics.text()
    for (const [series, value] of Object.entries({
      'holdfast_grants_by_kind_total{kind="set"}': 1,
      'holdfast_grants_by_kind_total{kind="permits"}': 1,
      'holdfast_grants_total{when="immediate"}': 2,
      'holdfast_releases_total{reason="unlocked"}': 1,
      'holdfast_failures_total{reason="held"}': 1,
    })) {
      expect(seriesOf(text, series), series).to.equal(value)
    }
    metrics.close?.()
  })

  it('have no key, session or name in a label', async () => {
    const { metrics, harness } = brokerWithMetrics()
    const ann = harness.openSession({ name: 'secret-name' })
    ann.acquire('secret-key', { metadata: 'secret-metadata' })
    const text = await metrics.text()
    expect(text).to.not.include('secret')
    expect(text).to.not.include(ann.session)
  })

  it('are exactly the metrics of the Grafana dashboard', async () => {
    const { metrics } = brokerWithMetrics()
    const log = new Cluster().newLog().log.status
    metrics.attach?.(() => ({ ...idleGauges, log }))
    const text = await metrics.text()
    metrics.close?.()
    const file = new URL('../../../server/grafana/holdfast.json', import.meta.url)
    const shownMetrics = readFileSync(file, 'utf8').match(/holdfast_[a-z_]+/g) ?? []
    // Fewer names would mean that the pattern above does not fit the dashboard.
    expect(shownMetrics.length).to.be.above(20)
    for (const name of new Set(shownMetrics)) {
      const family = name.replace(/_(bucket|count|sum)$/, '')
      expect(text, name).to.include(`# TYPE ${family} `)
    }
    const families = Array.from(text.matchAll(/# TYPE (\S+)/g), ([, name]) => name!)
    expect(
      families.filter((name) => !shownMetrics.some((metric) => metric.startsWith(name))),
    ).to.deep.equal([])
  })
})

describe('the endpoints for operators', () => {
  const stage = Stage.forEachTest()

  /** Starts a broker, which is closed after the test. */
  async function startBroker(options: BrokerOptions = {}) {
    const broker = createBroker(options)
    stage.onCleanUp(() => broker.close())
    const { port } = await broker.listen({ port: 0 })
    return { broker, http: `http://127.0.0.1:${port}`, url: `ws://127.0.0.1:${port}` }
  }

  const status = async (url: string, headers: Record<string, string> = {}) =>
    (await fetch(url, { headers })).status

  it('answer /healthz and /readyz without any figures', async () => {
    const { http } = await startBroker()
    for (const [path, body] of [
      ['/healthz', 'ok\n'],
      ['/readyz', 'ready\n'],
    ]) {
      const response = await fetch(http + path)
      expect([response.status, await response.text()]).to.deep.equal([200, body])
    }
    // 426 is the answer to all other requests, because the broker speaks only WebSocket.
    expect(await status(`${http}/anything`)).to.equal(426)
  })

  it('give figures only to programs on this machine, not to web pages or through proxies', async () => {
    const { http, url } = await startBroker({ metrics: brokerMetrics() })
    const client = await RawClient.open(url)
    const text = await (await fetch(`${http}/metrics`)).text()
    expect(seriesOf(text, 'holdfast_sessions')).to.equal(1)
    // The request for the upgrade alone has more than 100 bytes.
    expect(seriesOf(text, 'holdfast_received_bytes_total')).to.be.above(100)
    expect(seriesOf(text, 'holdfast_event_loop_lag_seconds{quantile="0.99"}')).to.be.at.least(0)
    const report = (await (await fetch(`${http}/status`)).json()) as BrokerStatus
    expect(report).to.deep.include({ ready: true, log: { kind: 'memory' }, sessions: 1 })
    for (const headers of [{ origin: 'http://evil.example' }, { 'x-forwarded-for': '10.0.0.1' }]) {
      expect(await status(`${http}/metrics`, headers)).to.equal(426)
      expect(await status(`${http}/status`, headers)).to.equal(426)
    }
    client.drop()
  })

  it('serve no metrics without the option metrics', async () => {
    const { http } = await startBroker()
    expect(await status(`${http}/metrics`)).to.equal(426)
  })

  it('give figures only on the admin port if the broker has an admin port', async () => {
    const { broker, http } = await startBroker({ metrics: brokerMetrics() })
    const admin = await broker.listenAdmin({ port: 0 })
    for (const path of ['/metrics', '/status']) {
      expect(await status(admin.url + path)).to.equal(200)
      expect(await status(http + path)).to.equal(426)
      expect(await status(admin.url + path, { origin: 'http://evil.example' })).to.equal(426)
      const requestWithForeignHostHeader = `GET ${path} HTTP/1.1\r\nHost: evil.example:${admin.port}\r\n\r\n`
      // `sendAndReadStatus` returns the status line as text.
      expect(await sendAndReadStatus(admin.port, requestWithForeignHostHeader)).to.match(/ 426 /)
    }
  })

  it('show no text of a client and no session id, also after a deadlock', async () => {
    const { broker, http, url } = await startBroker({
      metrics: brokerMetrics(),
      authenticate: () => ({ principal: 'secret-principal', may: () => true }),
      authorize: (_, __, key) => key !== 'secret-forbidden',
    })
    const sessions = [
      await stage.openSession(url, { name: 'secret-name', token: 'secret-token' }),
      await stage.openSession(url, { name: 'secret-name', token: 'secret-token' }),
    ]
    const [ann, bob] = sessions as [Session, Session]
    const metadata = { job: 'secret-metadata' }
    const terms = { mode: 'shared', metadata } as const
    const locks = [await ann.lock('secret-key', terms), await bob.lock('secret-key', terms)]
    // Each of the two sharers waits for the other to end its lock, which is a deadlock.
    locks[0]!.upgrade().catch(() => {})
    await untilMessagesHandled(ann)
    await expectRejection(locks[1]!.upgrade(), 'DEADLOCK')
    await expectRejection(bob.lock('secret-forbidden'), 'FORBIDDEN')
    const revoked = await ann.lock('secret-revoked')
    await bob.revoke('secret-revoked', { fence: revoked.fence, reason: 'secret-reason' })
    await untilAborted(revoked.signal)

    const texts = async (address: string): Promise<Record<string, string>> => {
      const answers: Record<string, string> = {}
      for (const path of ['/healthz', '/readyz', '/status', '/metrics', '/', '/dashboard/']) {
        answers[path] = await (await fetch(address + path)).text()
      }
      const rebalanced = await fetch(`${address}/rebalance`, { method: 'POST' })
      return { ...answers, '/rebalance': await rebalanced.text() }
    }
    const publicTexts = await texts(http)
    const adminTexts = await texts((await broker.listenAdmin({ port: 0 })).url)
    for (const [path, text] of [...Object.entries(publicTexts), ...Object.entries(adminTexts)]) {
      for (const word of ['secret', ann.id, bob.id]) expect(text, path).to.not.include(word)
    }
    for (const text of [publicTexts['/status']!, adminTexts['/status']!]) {
      const { stats } = JSON.parse(text) as BrokerStatus
      expect(stats).to.include({ refusedDeadlocks: 1, activeLocks: 2 })
      for (const [name, value] of Object.entries(stats)) expect(value, name).to.be.a('number')
    }
    // Only the program that runs the broker gets the keys, from `stats()`.
    expect(broker.stats().newestDeadlock!.cycle[0]).to.include({ key: 'secret-key' })
  })

  it('answer 503 to /readyz and 200 to /healthz on the admin port while the broker drains', async () => {
    const { broker, url } = await startBroker()
    const admin = await broker.listenAdmin({ port: 0 })
    const client = await RawClient.open(url)
    client.send({ type: 'lock', id: 1, key: 'k' })
    await client.receive('granted')
    const closed = broker.close({ drain: 10_000 })
    await client.receive('draining')
    expect(await status(`${admin.url}/readyz`)).to.equal(503)
    expect(await status(`${admin.url}/healthz`)).to.equal(200)
    client.send({ type: 'bye' })
    await closed
  })
})

describe('the log lines', () => {
  /** Makes a broker that logs with pino, and returns the lines that it wrote. */
  function brokerWithLogger(level: string, options: BrokerOptions = {}) {
    const lines: Record<string, unknown>[] = []
    const texts: string[] = []
    const stream = {
      write: (text: string) => {
        texts.push(text)
        lines.push(JSON.parse(text) as Record<string, unknown>)
      },
    }
    const logger = pino({ level, base: null, timestamp: false }, stream)
    return { harness: new BrokerHarness({ ...options, logger }), lines, texts }
  }

  it('include one line at the end of each session', () => {
    const { harness, lines } = brokerWithLogger('info')
    const ann = harness.openSession({ name: 'billing-3' })
    ann.unlock(ann.acquire('k'))
    ann.say({ type: 'bye' })
    expect(lines).to.have.length(1)
    expect(lines[0]).to.include({
      msg: 'Session ended',
      session: ann.session,
      principal: 'anyone',
      name: 'billing-3',
      reason: 'goodbye',
      highestRequestId: 2,
    })
  })

  it('include one line for each refusal, also by a limit of the lock table', () => {
    const authorize = (_: string, __: string, key: string) => key !== 'forbidden'
    const { harness, lines } = brokerWithLogger('info', {
      authorize,
      limits: { locksPerSession: 1 },
    })
    const ann = harness.openSession()
    for (const key of ['forbidden', 'a', 'b']) ann.lock(key)
    expect(lines).to.have.length(2)
    expect(lines[0]).to.include({
      msg: 'Client or request refused',
      cause: 'forbidden',
      key: 'forbidden',
    })
    expect(lines[1]).to.include({ msg: 'Client or request refused', cause: 'locks_per_session' })
  })

  it('include each revocation at level warn, with both sessions, the lock and the reason', () => {
    const { harness, lines } = brokerWithLogger('warn')
    const [ann, ops] = [harness.openSession({ name: 'ann' }), harness.openSession({ name: 'ops' })]
    const fence = ann.acquire('k')
    ops.say({ type: 'revoke', id: 1, key: 'k', fence, reason: 'stuck since noon' })
    // The lock has ended, so the second revocation changes nothing.
    ops.say({ type: 'revoke', id: 2, key: 'k', fence, reason: 'again' })
    expect(lines).to.have.length(1)
    expect(lines[0]).to.deep.include({
      audit: true,
      by: { session: ops.session, principal: 'anyone', name: 'ops' },
      holder: { session: ann.session, principal: 'anyone', name: 'ann' },
      key: 'k',
      fence,
      reason: 'stuck since noon',
    })
  })

  it('cannot be forged or flooded by clients', () => {
    const { harness, lines, texts } = brokerWithLogger('info', { authorize: () => false })
    const forged = 'a\n{"level":30,"msg":"Session ended"}\r\u001b[2J\u202e\u2028'
    const ann = harness.openSession({ name: forged })
    ann.lock(`k\u202e\u2028${'x'.repeat(400)}`)
    ann.say({ type: 'bye' })
    for (const text of texts) {
      expect(text.trimEnd()).to.not.match(/[\p{C}\p{Zl}\p{Zp}]/u)
      // The broker cuts long texts, so that a client cannot cause long lines.
      expect(text.length).to.be.below(1_000)
    }
    expect(lines).to.have.length(2)
    const [refused, ended] = lines as { key?: string; name?: string }[]
    // A line has at most 64 characters of a key: here `k`, two escaped characters and 61 times `x`.
    expect(refused!.key).to.equal(`k\\u{202e}\\u{2028}${'x'.repeat(61)}…`)
    expect(ended!.name).to.match(/^a\\u\{a\}\{"level"/)
  })

  it('contain no token and no secret', async () => {
    const { harness, texts } = brokerWithLogger('debug', {
      authenticate: ({ token }) => (token === 'tok-good' ? 'ann' : undefined),
    })
    harness.connectWithHello({ token: 'tok-bad' })
    const socket = harness.connectWithHello({ token: 'tok-good', grace: 1_000 })
    await harness.settle()
    const [welcome] = socket.takeMessagesOfType('welcome')
    harness.sayAndEndTurn(socket, { type: 'auth', id: 1, token: 'tok-other' })
    await harness.settle()
    socket.drop()
    harness.environment.advance(2_000)
    // Fewer lines would mean that the broker has not logged the steps of this test.
    expect(texts.length).to.be.at.least(4)
    for (const text of texts) {
      expect(text).to.not.include('tok-')
      expect(text).to.not.include(welcome!.secret!)
    }
  })

  it('are not written at the level silent', () => {
    const { harness, lines } = brokerWithLogger('silent')
    harness.openSession().say({ type: 'bye' })
    expect(lines).to.deep.equal([])
  })
})
