/**
 * Tests `holdfast status` at real brokers with each kind of command log. The tests check the output
 * as text and as JSON, and the exit code, which says whether the broker is ready. The command log
 * orders all changes of the lock table. The log is kept in memory, in a journal on disk, or
 * replicated on etcd. The exit codes are 1 (not ready), 64 (wrong usage), 69 (no broker answers)
 * and 77 (not allowed on this port).
 */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { connect } from '@holdfast/client'
import { type BrokerStatus, journalLog } from '@holdfast/server'
import { expect } from 'chai'
import { nextEvent, Stage, untilMessagesHandled } from '../e2e/stage.js'
import { EtcdStage } from '../log/etcdStage.js'
import { fenceFloorCommand, RecordingTable } from '../log/logSuite.js'
import { freePort } from '../support/freePort.js'
import { Holdfast } from './command.js'
import { makeScratchFolder } from './scratch.js'

/**
 * Starts a broker, and returns its URL for clients. With `--admin-port`, returns also its URL for
 * operators. Without a dashboard, the broker prints no other URL.
 */
async function serve(stage: Stage, ...args: string[]) {
  const command = Holdfast.start(stage, ['serve', '--port', '0', '--dashboard', 'none', ...args])
  const lines = await command.out.waitForCount(args.includes('--admin-port') ? 2 : 1)
  const [url, admin] = lines.map((line) => /\w+:\/\/\S+/.exec(line)![0])
  return { process: command.process, url: url!, admin, errorLines: command.err }
}

const status = (stage: Stage, ...args: string[]) => Holdfast.run(stage, ['status', ...args])

/** Runs `holdfast status --json`, and parses its only line. */
async function statusAsJson(stage: Stage, url: string) {
  const { code, out, err } = await status(stage, '--json', url)
  expect(out, err.join('\n')).to.have.length(1)
  return { code, err, report: JSON.parse(out[0]!) as BrokerStatus }
}

describe('holdfast status', () => {
  const stage = Stage.forEachTest()

  it('shows the figures of a broker, and that locks in memory are lost when it stops', async () => {
    const { url } = await serve(stage)
    const session = await stage.openSession(url, { name: 'secret-name' })
    await session.lock('secret-key', { metadata: 'secret-metadata' })
    const { code, out, err } = await status(stage, url)
    expect([code, err]).to.deep.equal([0, []])
    const lines = out.map((line) => line.replace(/ {2,}/, '|'))
    expect(lines.pop()).to.match(/^memory\|\d+ MiB for clients, limit \d+ MiB$/)
    expect(lines).to.deep.equal([
      `BROKER|${url.replace('ws', 'http')}`,
      'ready|yes',
      'log|in memory: locks are lost when the broker stops',
      'connections|1',
      'sessions|1',
      'locks|1 held, 0 waiting',
    ])
    const { report } = await statusAsJson(stage, url)
    expect(report).to.deep.include({ ready: true, log: { kind: 'memory' }, held: 1, keys: 1 })
    expect(report.stats).to.include({ totalLocks: 1, activeLocks: 1 })
    // The status must not show names, keys, metadata or ids of sessions.
    const text = JSON.stringify(report)
    for (const word of ['secret', session.id]) expect(text).to.not.include(word)
  })

  it('shows the cell of a broker', async () => {
    const { url } = await serve(stage, '--cell', '2/4')
    expect((await statusAsJson(stage, url)).report.cell).to.equal('2/4')
    expect((await status(stage, url)).out[2]).to.match(/^cell +2\/4$/)
  })

  it('uses the URL of --url or HOLDFAST_URL', async () => {
    const { url } = await serve(stage)
    const { code, out } = await Holdfast.run(stage, ['status'], { env: { HOLDFAST_URL: url } })
    expect([code, out[0]]).to.deep.equal([0, `BROKER       ${url.replace('ws', 'http')}`])
    expect((await status(stage, '--url', url)).out).to.deep.equal(out)
  })

  it('asks every URL of a list, and exits 0 if at least one broker is ready', async () => {
    const [a, b] = [await serve(stage), await serve(stage)]
    const unused = `http://127.0.0.1:${await freePort()}`
    const urls = `${a.url},${unused.replace('http', 'ws')},${b.url}`
    const { code, out, err } = await Holdfast.run(stage, ['status'], {
      env: { HOLDFAST_URL: urls },
    })
    expect([code, err]).to.deep.equal([
      0,
      [`holdfast: The broker at ${unused} cannot be reached (ECONNREFUSED)`],
    ])
    const brokers = out.filter((line) => line.startsWith('BROKER'))
    const addresses = [a.url, b.url].map((url) => url.replace('ws', 'http'))
    expect(brokers.map((line) => line.split(/ +/)[1])).to.deep.equal(addresses)
    // One empty line separates the two brokers.
    expect(out.filter((line) => line === '')).to.have.length(1)
    const withUnusedFirst = await status(stage, unused, a.url)
    expect([withUnusedFirst.code, withUnusedFirst.out[0]]).to.deep.equal([0, brokers[0]])
    const asJson = await status(stage, '--json', a.url, b.url)
    expect(asJson.out.map((line) => JSON.parse(line).url)).to.deep.equal(addresses)
    const secondUnused = `http://127.0.0.1:${await freePort()}`
    const noBroker = await status(stage, unused, secondUnused)
    expect([noBroker.code, noBroker.out, noBroker.err.length]).to.deep.equal([69, [], 2])
  })

  it('exits 1 if a broker of a list answers, and no broker is ready', async () => {
    const { process, url, admin } = await serve(stage, '--admin-port', '0')
    const session = await stage.openSession(url)
    const lock = await session.lock('k')
    const draining = nextEvent(session, 'draining')
    process.kill('SIGTERM')
    await draining
    const unused = `http://127.0.0.1:${await freePort()}`
    const { code, err } = await status(stage, unused, admin!)
    expect([code, err]).to.deep.equal([
      1,
      [
        `holdfast: The broker at ${unused} cannot be reached (ECONNREFUSED)`,
        `holdfast: The broker at ${admin} is not ready`,
      ],
    ])
    await lock.unlock()
  })

  it('shows the position of a journal and the age of its snapshot', async () => {
    const dir = makeScratchFolder(stage).path('journal')
    // With `snapshotBytes: 1`, the journal makes a snapshot after its first entry.
    const snapshotMade = new Promise<void>((resolve) => {
      const log = journalLog({ dir, snapshotBytes: 1, onSnapshot: () => resolve(log.close()) })
      void log.start(new RecordingTable())?.then(() => log.submit(fenceFloorCommand(1)))
    })
    await snapshotMade
    const { url } = await serve(stage, '--journal', dir)
    const reportBefore = (await statusAsJson(stage, url)).report
    const session = await stage.openSession(url)
    await session.lock('k')
    const reportAfter = (await statusAsJson(stage, url)).report
    const [logBefore, logAfter] = [reportBefore.log, reportAfter.log]
    if (logBefore.kind !== 'journal' || logAfter.kind !== 'journal') throw new Error('no journal')
    expect(logBefore.snapshot?.position).to.equal(1)
    expect(logBefore.snapshot?.ageMs).to.be.within(0, 600_000)
    expect(logAfter.position).to.be.above(logBefore.position)
    const { code, out } = await status(stage, url)
    expect(code).to.equal(0)
    expect(out[2]).to.match(/^log +journal$/)
    expect(out[3]).to.match(new RegExp(`^log position +${logAfter.position}$`))
    expect(out[5]).to.match(/^snapshot +at 1, \S.* old$/)
  })

  it('exits 1 while the broker drains, and 77 on the client port of a broker with an admin port', async () => {
    const { process, url, admin } = await serve(stage, '--admin-port', '0')
    const session = await stage.openSession(url)
    const lock = await session.lock('k')
    expect((await statusAsJson(stage, admin!)).code).to.equal(0)
    const onClientPort = await status(stage, url)
    expect([onClientPort.code, onClientPort.out]).to.deep.equal([77, []])
    expect(onClientPort.err[0]).to.match(
      /^holdfast: The broker at \S+ does not show its status here/,
    )
    const draining = nextEvent(session, 'draining')
    process.kill('SIGTERM')
    await draining
    const { code, err, report } = await statusAsJson(stage, admin!)
    expect([code, report.ready]).to.deep.equal([1, false])
    expect(err).to.deep.equal([`holdfast: The broker at ${admin} is not ready`])
    await lock.unlock()
  })

  it('prints a message if no server answers, or if the server is not a broker', async () => {
    const fields = { ready: true, connections: 1, sessions: 1, held: 1, waiting: 1, memoryUsed: 1 }
    // Each answer lacks a field, has a wrong type or a wrong HTTP status, or is not JSON.
    const answers: [number, string][] = [
      [200, '{"ready":"yes"}'],
      [200, '<html>'],
      [200, JSON.stringify({ ...fields, connections: '1', log: { kind: 'memory' } })],
      [200, JSON.stringify({ ...fields, log: { kind: 'journal', position: 1 } })],
      [302, ''],
      [404, '{"ready":true,"log":{"kind":"memory"}}'],
    ]
    let answer = answers[0]!
    const server = createServer((_, response) => {
      response.writeHead(answer[0], { location: '/', connection: 'close' }).end(answer[1])
    })
    stage.onCleanUp(() => server.close())
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const otherServer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    // The loop sets the variable `answer`, which the server sends.
    for (answer of answers) {
      const { code, err } = await status(stage, otherServer)
      expect([code, ...err], answer[1]).to.deep.equal([
        69,
        `holdfast: The server at ${otherServer} is not a Holdfast broker (HTTP ${answer[0]}): check the URL`,
      ])
    }
    const unused = `http://127.0.0.1:${await freePort()}`
    const { code, err } = await status(stage, unused)
    const message = `holdfast: The broker at ${unused} cannot be reached (ECONNREFUSED)`
    expect([code, ...err]).to.deep.equal([69, message])
  })

  it('refuses an invalid URL, and has examples in its help', async () => {
    // The message must not show a user name or a password.
    for (const wrongUrl of ['localhost:7420', 'http://a:b@h', 'ws://:b@h', 'ws://h:99999']) {
      const { code, err } = await status(stage, wrongUrl)
      expect(code, wrongUrl).to.equal(64)
      expect(err).to.deep.equal([
        `holdfast: "${wrongUrl.replace(/a?:b/, '***')}" is not the URL of a broker: use one such as ws://127.0.0.1:7420, without a user name or password`,
      ])
    }
    const { code, out } = await status(stage, '--help')
    expect(code).to.equal(0)
    expect(out).to.include('Examples:').and.include('  holdfast status --json | jq .log.position')
  })
})

// The self-lease is the time for which a broker knows that it is still a member of the cluster. The
// broker renews the self-lease on etcd.
describe('holdfast status with a replicated log', function () {
  this.timeout(60_000)
  const etcd = EtcdStage.forSuite({ members: 1 })
  const stage = Stage.forEachTest()

  const start = (...more: string[]) =>
    serve(stage, '--log', etcd.cluster.logUrl(etcd.prefix), ...more)

  /** The figures of the log of a broker, whose log must be replicated. */
  async function replicatedLog(url: string) {
    const { log } = (await statusAsJson(stage, url)).report
    if (log.kind !== 'replicated') throw new Error(`The log is not replicated but ${log.kind}`)
    return log
  }

  it('shows the members, this broker, and the state of the log', async () => {
    const [a, b] = [await start(), await start()]
    const logs = [await replicatedLog(a.url), await replicatedLog(b.url)]
    const names = logs.map(({ name }) => name!)
    for (const log of logs) {
      expect(log.members).to.deep.equal(names)
      expect(log).to.include({ live: true, waiting: 0 })
      // After the dead time, by default 6 s, the other brokers declare a silent broker dead. A
      // self-lease is shorter.
      expect(log.selfLeaseMs).to.be.within(1, 6_000)
      expect(log.position).to.be.above(0)
      expect(log.lagMs).to.be.above(0)
    }
    const { code, out } = await status(stage, b.url)
    expect(code).to.equal(0)
    const text = out.map((line) => line.replace(/ {2,}/, '|'))
    expect(text).to.include.members([
      'ready|yes',
      'log|replicated, 2 members',
      `broker|${names[0]}`,
      `broker|${names[1]} (this broker)`,
      'unwritten|0 commands',
      'snapshot|none yet',
      'problem|none',
    ])
    expect(text.join('\n'))
      .to.match(/^member\|yes; for at least (\d+ms|\ds) even if the log does not answer$/m)
      .and.to.match(/^log lag\|\d+ms$/m)
      .and.to.match(/^log position\|\d+$/m)
  })

  it('exits 1 if the broker is no longer a member, and shows the problem', async () => {
    const { url, errorLines } = await start('--dead-time', '1s')
    const session = await connect(url, { grace: 'lease' })
    stage.onCleanUp(() => session.close())
    await untilMessagesHandled(session)
    // The client emits `jeopardy` when it cannot reach the broker and may lose its locks.
    const jeopardy = nextEvent(session, 'jeopardy')
    const [etcdMember] = etcd.cluster.members
    let isEtcdRestarted = false
    stage.onCleanUp(() => (isEtcdRestarted ? undefined : etcdMember!.start()))
    await etcdMember!.kill()
    await jeopardy
    const { code, report, err } = await statusAsJson(stage, url)
    expect([code, report.ready]).to.deep.equal([1, false])
    expect(err[0]).to.match(/^holdfast: The broker at \S+ is not ready$/)
    expect(report.log).to.include({ kind: 'replicated', live: false, selfLeaseMs: 0 })
    const { out } = await status(stage, url)
    const text = out.join('\n')
    expect(text)
      .to.match(/^ready +no$/m)
      .and.to.match(/^member +no$/m)
    expect(text).to.match(/^problem +etcd at http/m)
    expect((await fetch(`${url.replace('ws', 'http')}/readyz`)).status).to.equal(503)
    const untilLogged = (part: string) =>
      errorLines.waitUntil((lines) => lines.some((line) => line.includes(part)))
    await untilLogged('"serves":false,"msg":"Replicated log has a problem"')
    isEtcdRestarted = true
    await etcdMember!.start()
    await untilLogged('"msg":"Replicated log recovered"')
    expect((await fetch(`${url.replace('ws', 'http')}/readyz`)).status).to.equal(200)
  })
})
