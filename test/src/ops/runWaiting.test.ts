/**
 * Tests `holdfast run` before the broker grants the lock. The tests check the messages of `holdfast
 * run`, how long it waits, and its exit codes without a lock. The exit codes are 69 (no broker
 * answers), 75 (the lock was not acquired), and 128 + n (ended by the signal n). After `--timeout`
 * the code is 75, also if no broker answers.
 */
import { createServer, type Socket } from 'node:net'
import { constants } from 'node:os'
import { expect } from 'chai'
import { Stage } from '../e2e/stage.js'
import { Holdfast, type StartOptions } from './command.js'

/** A pattern for a time of the day, such as 09:30. */
const timeOfDay = '\\d\\d:\\d\\d'

describe('holdfast run before the grant', () => {
  const stage = Stage.forEachTest()
  const run = (url: string, args: string[], options?: StartOptions) =>
    Holdfast.run(stage, ['run', '--url', url, ...args], options)
  const start = (url: string, args: string[], options?: StartOptions) =>
    Holdfast.start(stage, ['run', '--url', url, ...args], options)

  it('prints the key and its holder while it waits, and then runs the command', async () => {
    const { url, sessions } = await stage.startBrokerWithSessions('ann')
    const lock = await sessions[0]!.lock('k')
    const waitingCommand = start(url, ['k', 'echo', 'at last'])
    const [message] = await waitingCommand.err.waitForCount(1)
    const expected = `^holdfast: Waiting for k, held by ann since ${timeOfDay}$`
    expect(message).to.match(new RegExp(expected))
    await lock.unlock()
    expect(await waitingCommand.ended()).to.deep.include({ code: 0, out: ['at last'] })
  })

  it('prints the names of at most three holders', async () => {
    const { url, sessions } = await stage.startBrokerWithSessions('a', 'b', 'c', 'd')
    for (const session of sessions) await session.lock('k', { mode: 'shared' })
    const { code, err } = await run(url, ['--timeout', '100ms', 'k', 'echo', 'never'])
    expect(code).to.equal(75)
    // On a slow machine, the timeout may be over before `holdfast run` has a connection.
    if (err[0]!.includes('No broker answered')) return
    expect(err[0]).to.match(
      /it is held by . since [\d:]+, . since [\d:]+, . since [\d:]+ and 1 more/,
    )
  })

  for (const option of ['--try', '--timeout=0']) {
    it(`does not wait with ${option}, and prints the holder`, async () => {
      const { url, sessions } = await stage.startBrokerWithSessions('ann')
      await sessions[0]!.lock('k')
      const { code, out, err } = await run(url, [option, 'k', 'echo', 'never'])
      expect({ code, out }).to.deep.equal({ code: 75, out: [] })
      expect(err[0]).to.match(new RegExp(`^holdfast: k is held by ann since ${timeOfDay}$`))
    })
  }

  it('prints the key and its holder after --timeout', async () => {
    const { url, sessions } = await stage.startBrokerWithSessions('ann')
    await sessions[0]!.lock('k')
    // Within this time, `holdfast run` can connect and also ask who holds the lock.
    const timeout = ['--timeout', '2500ms']
    const [{ code, out, err }, quiet] = await Promise.all([
      run(url, [...timeout, 'k', 'echo', 'never']),
      run(url, [...timeout, '-q', '--conflict-exit-code=0', 'k', 'echo', 'never']),
    ])
    expect({ code, out }).to.deep.equal({ code: 75, out: [] })
    expect(quiet).to.deep.include({ code: 0, out: [], err: [] })
    const holder = `it is held by ann since ${timeOfDay}`
    expect(err.at(-1)).to.match(
      new RegExp(`^holdfast: k was not acquired within 2500ms: ${holder}$`),
    )
  })

  it('exits with the code of -E (--conflict-exit-code) if the lock is held, and prints nothing with -q', async () => {
    const { url, sessions } = await stage.startBrokerWithSessions('ann')
    await sessions[0]!.lock('k')
    const quiet = await run(url, ['-q', '--try', '-E', '3', 'k', 'echo', 'never'])
    expect(quiet).to.deep.include({ code: 3, out: [], err: [] })
  })

  it('uses the value of --name as the name of its session', async () => {
    const { url, broker } = await stage.startBroker()
    const command = start(url, ['--name', 'billing-3', 'k', '-c', 'echo up; cat'], {
      keepStdinOpen: true,
    })
    await command.out.waitForCount(1)
    expect(broker.query().held[0]?.name).to.equal('billing-3')
    command.process.stdin!.end()
    expect((await command.ended()).code).to.equal(0)
  })

  it('prints no holder while it waits if it has no permission to query', async () => {
    const { url, broker } = await stage.startBroker({
      authenticate: ({ token }) => ({
        principal: token ?? 'anonymous',
        may: (operation) => operation === 'lock',
      }),
    })
    const env = { HOLDFAST_TOKEN: 'worker' }
    const holdingCommand = start(url, ['k', '-c', 'echo up; cat'], { env, keepStdinOpen: true })
    await holdingCommand.out.waitForCount(1)
    const waitingCommand = start(url, ['k', 'true'], { env })
    expect(await waitingCommand.err.waitForCount(1)).to.deep.equal(['holdfast: Waiting for k'])
    holdingCommand.process.stdin!.end()
    expect((await waitingCommand.ended()).code).to.equal(0)
    expect(broker.query().heldCount).to.equal(0)
  })

  it('waits at most --timeout, or 2 s with --try, for a silent broker', async () => {
    const url = `${await silentBroker()}/?key=secret`
    const [withTimeout, withTry, withTimeout0] = await Promise.all([
      run(url, ['--timeout', '300ms', '-E', '0', 'k', 'true']),
      run(url, ['--try', '-E', '0', 'k', 'true']),
      run(url, ['--timeout', '0', '-E', '0', 'k', 'true']),
    ])
    // The code of -E is only for a held lock. Whether the lock is held is not known here.
    expect(withTimeout.code).to.equal(75)
    const [message] = withTimeout.err
    expect(message).to.match(/^holdfast: No broker answered within 300ms \(--timeout\) at ws:/)
    expect(message).to.not.include('secret')
    expect(withTry.code).to.equal(69)
    expect(withTry.err[0]).to.match(/^holdfast: No broker answered within 2s \(with --try\) at ws:/)
    expect(withTimeout0.code).to.equal(69)
    expect(withTimeout0.err[0]).to.match(/ answered within 2s \(--timeout 0\) at ws:/)
  })

  it('ends at a signal while it connects', async () => {
    let onConnection = () => {}
    const connected = new Promise<void>((resolve) => {
      onConnection = resolve
    })
    const command = start(await silentBroker(onConnection), ['k', 'true'])
    await connected
    command.process.kill('SIGTERM')
    expect(await command.ended()).to.deep.include({ code: 143, out: [], err: [] })
  })

  it('leaves the queue when a signal ends it, and opens no debugger at SIGUSR1', async () => {
    const { url, sessions, broker } = await stage.startBrokerWithSessions('ann')
    await sessions[0]!.lock('k')
    const runs = (['SIGTERM', 'SIGUSR1', 'SIGALRM', 'SIGIO'] as const).map(async (signal) => {
      const waitingCommand = start(url, ['k', 'echo', 'never'])
      await waitingCommand.err.waitForCount(1)
      // SIGWINCH reports a new size of the terminal, and must not end `holdfast run`.
      waitingCommand.process.kill('SIGWINCH')
      waitingCommand.process.kill(signal)
      const { code, out, err } = await waitingCommand.ended()
      expect({ code, out }).to.deep.equal({ code: 128 + constants.signals[signal], out: [] })
      expect(err, 'only "Waiting for k", no line of a debugger').to.have.length(1)
    })
    await Promise.all(runs)
    expect(broker.query().waitingCount).to.equal(0)
  })

  /** Starts a server that accepts connections and sends nothing. Returns its URL. */
  async function silentBroker(onConnection = () => {}): Promise<string> {
    const sockets: Socket[] = []
    const server = createServer((socket) => {
      sockets.push(socket.on('error', () => {}))
      onConnection()
    })
    stage.onCleanUp(() => {
      for (const socket of sockets) socket.destroy()
      server.close()
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return `ws://127.0.0.1:${(server.address() as { port: number }).port}`
  }
})
