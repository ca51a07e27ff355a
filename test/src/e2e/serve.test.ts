/**
 * Tests the command `holdfast serve`: its address, its flags, how it stops, and its exit codes. The
 * exit codes of errors are 1 (stopped by a second signal), 64 (wrong usage) and 78 (invalid
 * setting).
 */
import { expect } from 'chai'
import { openTcp, RawClient, sendAndReadHead, sendAndReadStatus, upgradeHead } from './raw.js'
import { ServeProcess } from './remote.js'
import { expectRejection, nextEvent, Stage, untilAborted } from './stage.js'

describe('e2e: holdfast serve', () => {
  const stage = Stage.forEachTest()

  it('prints the URL at which it listens, and serves clients', async () => {
    const serveProcess = await ServeProcess.startListening(stage)
    expect(serveProcess.lines.items[0]).to.match(
      /^holdfast is listening on ws:\/\/127\.0\.0\.1:\d+$/,
    )
    const session = await stage.openSession(serveProcess.url)
    expect((await session.lock('k')).held).to.equal(true)
  })

  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    it(`drains at ${signal}, informs its clients, and exits 0`, async () => {
      const serveProcess = await ServeProcess.startListening(stage, '--drain', '60s')
      const session = await stage.openSession(serveProcess.url, { reconnect: false })
      const lock = await session.lock('k')
      const draining = nextEvent(session, 'draining')
      serveProcess.kill(signal)
      expect(await draining).to.deep.equal({ within: 60_000 })
      expect(lock.held).to.equal(true)
      await lock.unlock()
      await session.close()
      expect(await serveProcess.exit()).to.deep.equal({ code: 0, signal: null })
      expect(serveProcess.lines.items.slice(-2)).to.deep.equal([
        `holdfast got ${signal} and is draining for at most 1m`,
        'holdfast has stopped',
      ])
      expect(serveProcess.errorLines.items).to.deep.equal([])
    })
  }

  it('stops immediately at a second signal', async () => {
    const serveProcess = await ServeProcess.startListening(stage, '--drain', '60s')
    const session = await stage.openSession(serveProcess.url, { reconnect: false })
    // Keeps the drain from ending.
    await session.lock('k')
    const timerLock = await session.lock('timer')
    const draining = nextEvent(session, 'draining')
    serveProcess.kill('SIGTERM')
    await draining
    // Signals a few milliseconds apart count as one, because one Ctrl-C may send two. So the test
    // waits 1.5 s, until this lock expires, before it sends the second signal.
    await timerLock.refresh(1_500)
    await untilAborted(timerLock.signal)
    serveProcess.kill('SIGTERM')
    expect((await serveProcess.exit()).code).to.equal(1)
  })

  it('prints the URL of its dashboard, unless the dashboard is off', async () => {
    const serveProcess = await ServeProcess.startListening(stage)
    const lines = await serveProcess.lines.waitForCount(2)
    const [, dashboardUrl] =
      /^holdfast serves its dashboard on (http:\S+)$/.exec(lines[1] ?? '') ?? []
    expect((await fetch(String(dashboardUrl))).status).to.equal(200)
    const processWithoutDashboard = await ServeProcess.startListening(stage, '--dashboard', 'none')
    // 426 (Upgrade Required): without the dashboard, the path serves only WebSockets.
    expect(
      (await fetch(`http://127.0.0.1:${processWithoutDashboard.port}/dashboard/`)).status,
    ).to.equal(426)
    processWithoutDashboard.kill('SIGTERM')
    await processWithoutDashboard.exit()
    expect(processWithoutDashboard.lines.items.join()).to.not.include('dashboard')
  })

  it('listens at the address of --host and --port', async () => {
    const first = await ServeProcess.startListening(stage, '--host', 'localhost')
    const session = await stage.openSession(first.url)
    await session.close()
    const { port } = first
    first.kill('SIGTERM')
    await first.exit()
    const second = await ServeProcess.startListening(stage, '--port', port)
    expect(second.port).to.equal(port)
  })

  it('applies each of several limits', async () => {
    const limits = ['--limit', 'locksPerSession=2', '--limit', 'helloMs=500']
    const serveProcess = await ServeProcess.startListening(stage, ...limits)
    const session = await stage.openSession(serveProcess.url)
    await session.lock('a')
    await session.lock('b')
    await expectRejection(session.lock('c'), 'QUOTA_EXCEEDED')
    // This client sends no hello within the 500 ms of `helloMs`.
    const lateClient = new RawClient(serveProcess.url)
    expect((await lateClient.closed()).code).to.equal(4408)
  })

  it('admits pages from the origin of --origin and, with --dev, from localhost, and no others', async () => {
    const serveProcess = await ServeProcess.startListening(
      stage,
      '--origin',
      'https://app.example',
      '--dev',
    )
    const statusFrom = (origin: string) =>
      sendAndReadStatus(Number(serveProcess.port), upgradeHead('/', { origin }))
    expect(await statusFrom('https://app.example')).to.match(/ 101 /)
    expect(await statusFrom('http://localhost:5173')).to.match(/ 101 /)
    expect(await statusFrom('https://evil.example')).to.match(/ 403 /)
  })

  it('grants no lock within the time of --quiet-start, and then grants the waiting requests', async () => {
    const serveProcess = await ServeProcess.startListening(stage, '--quiet-start', '200ms')
    const session = await stage.openSession(serveProcess.url)
    const waiting = session.lock('k')
    await expectRejection(session.tryLock('k'), 'LOCK_HELD')
    expect((await waiting).held).to.equal(true)
  })

  it('listens on 0.0.0.0 only with --allow-unauthenticated', async () => {
    const refused = ServeProcess.runCommand(stage, 'serve', '--port', '0', '--host', '0.0.0.0')
    expect((await refused.exit()).code).to.equal(78)
    const [errorLine] = await refused.errorLines.waitForCount(1)
    expect(errorLine).to.match(/^holdfast: Cannot listen on 0\.0\.0\.0/)
    const flags = ['--host', '0.0.0.0', '--allow-unauthenticated']
    const serveProcess = await ServeProcess.startListening(stage, ...flags)
    const session = await stage.openSession(`ws://127.0.0.1:${serveProcess.port}`)
    expect(session.state).to.equal('connected')
  })

  it('exits 78 when the port is in use', async () => {
    const { port } = await stage.startBroker()
    const serveProcess = ServeProcess.runCommand(stage, 'serve', '--port', String(port))
    expect((await serveProcess.exit()).code).to.equal(78)
    expect((await serveProcess.errorLines.waitForCount(1))[0]).to.match(
      /^holdfast: Cannot listen on/,
    )
  })

  const invalidFlags: string[][] = [
    ['--port', 'seven'],
    ['--port', '-1'],
    ['--limit', 'nonsense=5'],
    ['--limit', 'helloMs'],
    ['--nonsense'],
    ['--drain', '1e3'],
  ]
  for (const flags of invalidFlags) {
    it(`exits 64 at ${flags.join(' ')}, and prints an error`, async () => {
      const serveProcess = ServeProcess.runCommand(stage, 'serve', ...flags)
      expect((await serveProcess.exit()).code).to.equal(64)
      await serveProcess.errorLines.waitForCount(1)
      expect(serveProcess.errorLines.items[0]).to.match(/^error: /)
    })
  }

  it('prints its help and its version', async () => {
    const help = ServeProcess.runCommand(stage, 'serve', '--help')
    expect((await help.exit()).code).to.equal(0)
    const text = (await help.lines.waitUntil((lines) => lines.length > 20)).join('\n')
    const flags = [
      '--port',
      '--host',
      '--drain',
      '--fence-file',
      '--quiet-start',
      '--origin',
      '--dev',
    ]
    for (const flag of flags) expect(text).to.include(flag)
    const version = ServeProcess.runCommand(stage, '--version')
    expect((await version.exit()).code).to.equal(0)
    expect((await version.lines.waitForCount(1))[0]).to.match(/^\d+\.\d+\.\d+$/)
  })

  it('logs nothing about a client that disconnects in the middle of a frame', async () => {
    // Without a drain, the broker does not wait until the lock below is unlocked.
    const serveProcess = await ServeProcess.startListening(stage, '--drain', '0')
    const status = async () => (await fetch(`http://127.0.0.1:${serveProcess.port}/status`)).json()
    const socket = await openTcp(Number(serveProcess.port))
    expect(await sendAndReadHead(socket, upgradeHead('/'))).to.match(/ 101 /)
    // The head of a text frame with 5 bytes of payload, and 2 of the 4 bytes of its mask.
    socket.write(Buffer.of(0x81, 0x85, 1, 2))
    expect(await status()).to.include({ connections: 1 })
    socket.resetAndDestroy()
    const session = await stage.openSession(serveProcess.url)
    expect((await session.lock('k')).held).to.equal(true)
    // Waits until the broker has noticed the reset of the other connection.
    while (((await status()) as { connections: number }).connections > 1) await session.stats()
    serveProcess.kill('SIGTERM')
    expect(await serveProcess.exit()).to.deep.equal({ code: 0, signal: null })
    expect(serveProcess.errorLines.items).to.deep.equal([])
  })
})
