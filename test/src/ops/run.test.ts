/**
 * Tests `holdfast run KEY COMMAND`, which holds a lock while a command runs. The tests use the real
 * `holdfast`, real processes and a network that the test cuts. The lease is how long the broker
 * keeps a silent session. A fence is the number of a grant. The main promise: if the broker does
 * not answer, the command is dead before the lease of its session is over. After the lease, the
 * broker may grant the lock to another session. `holdfast run` stops the command with SIGTERM, and
 * after the time of `--kill-after` with SIGKILL. The exit codes are 64 (wrong usage), 75 (the lock
 * was not acquired) and 76 (the lock was lost). 143 is an end by SIGTERM.
 */
import { writeFile } from 'node:fs/promises'
import { expect } from 'chai'
import { Stage, untilMessagesHandled } from '../e2e/stage.js'
import { TcpProxy } from '../faults/proxy.js'
import { Holdfast, type StartOptions } from './command.js'
import { isAlive } from './processes.js'
import { makeScratchFolder } from './scratch.js'

describe('holdfast run', () => {
  const stage = Stage.forEachTest()
  const run = (url: string, args: string[], options?: StartOptions) =>
    Holdfast.run(stage, ['run', '--url', url, ...args], options)
  const start = (url: string, args: string[], options?: StartOptions) =>
    Holdfast.start(stage, ['run', '--url', url, ...args], options)

  it('runs the command with its input, output, environment and exit code', async () => {
    const { url, broker } = await stage.startBroker()
    const script = 'cat; echo "$HOLDFAST_KEY $HOLDFAST_FENCE $1"; echo oops >&2; exit 7'
    const args = ['orders:42', '--', 'sh', '-c', script, 'sh', 'an argument']
    const { code, out, err } = await run(url, args, { input: 'from stdin\n' })
    expect(code).to.equal(7)
    expect(out[0]).to.equal('from stdin')
    expect(out[1]).to.match(/^orders:42 \d+ an argument$/)
    expect(err).to.deep.equal(['oops'])
    expect(broker.query().heldCount).to.equal(0)
    expect(broker.stats().unlockCount).to.equal(1)
  })

  it('shows the command and the machine in the metadata of the lock', async () => {
    const { url, broker } = await stage.startBroker()
    const command = start(url, ['k', '--', 'sh', '-c', 'echo up; sleep 60'])
    await command.out.waitForCount(1)
    const [lock] = broker.query().held
    expect(lock?.name).to.match(/^sh on ./)
    expect(lock?.metadata).to.include({ command: 'sh', pid: command.process.pid })
    command.process.kill('SIGTERM')
    expect((await command.ended()).code).to.equal(143)
  })

  it('exits 128 + n for signal n, and 127 for a command that does not exist', async () => {
    const { url, broker } = await stage.startBroker()
    expect((await run(url, ['k', '--', 'sh', '-c', 'kill -9 $$'])).code).to.equal(137)
    // This name has the greatest length of a file name, and is too long for a session name.
    const { code, err } = await run(url, ['k', '--', 'x'.repeat(255)])
    expect(code).to.equal(127)
    expect(err[0]).to.match(/^holdfast: Cannot run "x+…": there is no such command \(ENOENT\)$/)
    expect(broker.query().heldCount).to.equal(0)
  })

  it('acquires a shared lock with --shared', async () => {
    const { url, sessions } = await stage.startBrokerWithSessions('ann')
    await sessions[0]!.lock('k', { mode: 'shared' })
    expect((await run(url, ['--shared', '--try', 'k', '--', 'true'])).code).to.equal(0)
    expect((await run(url, ['--try', 'k', '--', 'true'])).code).to.equal(75)
  })

  it('runs a command only if enough permits are free, with --capacity and --permits', async () => {
    const { url, sessions } = await stage.startBrokerWithSessions('ann')
    const heldLock = await sessions[0]!.lock('render', { capacity: 2 })
    const withTwoPermits = ['--capacity', '2', '--permits', '2', '--try', 'render', '--', 'true']
    const refused = await run(url, withTwoPermits)
    expect(refused.code).to.equal(75)
    expect(refused.err[0]).to.match(/^holdfast: render is held by ann since /)
    expect((await run(url, ['--capacity', '2', '--try', 'render', '--', 'true'])).code).to.equal(0)
    const withOtherCapacity = await run(url, ['--capacity', '3', 'render', '--', 'true'])
    expect(withOtherCapacity.code).to.equal(64)
    expect(withOtherCapacity.err[0]).to.match(/"render" is in use with the capacity 2, not 3/)
    await heldLock.unlock()
    expect((await run(url, withTwoPermits)).code).to.equal(0)
  })

  it('locks all keys of --also in one step, or none', async () => {
    const { url, sessions, broker } = await stage.startBrokerWithSessions('ann')
    const heldLock = await sessions[0]!.lock('b')
    const args = [
      '--also',
      'b',
      '--also',
      'c',
      'a',
      '--',
      'sh',
      '-c',
      'echo $HOLDFAST_KEY; sleep 60',
    ]
    const refused = await run(url, ['--try', ...args])
    expect(refused.code).to.equal(75)
    expect(refused.err[0]).to.match(/^holdfast: b is held by ann since /)
    expect(broker.query().heldCount).to.equal(1)
    await heldLock.unlock()
    const command = start(url, args)
    await command.out.waitForCount(1)
    const locks = broker.query().held
    expect(locks.map(({ key }) => key)).to.deep.equal(['a', 'b', 'c'])
    expect(new Set(locks.map(({ fence }) => fence)).size).to.equal(1)
    command.process.kill('SIGTERM')
    expect((await command.ended()).out).to.deep.equal(['a'])
    expect(broker.query().heldCount).to.equal(0)
  })

  it('stops the command before --max-hold is over', async () => {
    const { url, broker, sessions } = await stage.startBrokerWithSessions('next')
    const options = ['--max-hold', '2s', '--kill-after', '300ms']
    const command = start(url, [...options, 'k', '--', 'sh', '-c', 'echo $$; sleep 60'])
    const [pid] = await command.out.waitForCount(1)
    expect(broker.query().held[0]).to.include({ maxHold: 2_000 })
    const isAliveAfterGrant = sessions[0]!.lock('k').then(() => isAlive(Number(pid)))
    const { code, err } = await command.ended()
    expect(code).to.equal(76)
    expect(err[0]).to.match(/^holdfast: k: the longest hold is nearly over: stopping the command$/)
    expect(await isAliveAfterGrant).to.equal(false)
  })

  // `--max-hold` must be longer than `--kill-after` plus 300 ms, in which a killed command ends.
  // The last case has 65 keys: `k`, and 64 keys of `--also`.
  const wrongOptions: [string[], RegExp][] = [
    [['--permits', '1'], /--permits needs --capacity/],
    [['--permits', '4', '--capacity', '3'], /--permits 4 is more than --capacity 3/],
    [['--capacity', '0'], /--capacity/],
    [['--shared', '--capacity', '3'], /cannot be used with/],
    [['--max-hold', '0'], /--max-hold/],
    [['--max-hold', '500ms', '--kill-after', '1s'], /--max-hold 500 ms is too short: .* 1300 ms/],
    [['--also', 'k'], /--also names the key "k" twice/],
    [Array.from({ length: 64 }, (_, i) => ['--also', `a${i}`]).flat(), /at most 64 keys, .* 65/],
  ]
  for (const [options, message] of wrongOptions) {
    it(`refuses ${options.slice(0, 4).join(' ')} before the command runs`, async () => {
      const { url } = await stage.startBroker()
      const args = ['run', '--url', url, ...options, 'k', '--', 'echo', 'ran']
      const { code, out, err } = await Holdfast.runRefused(stage, args)
      expect([code, out]).to.deep.equal([64, []])
      expect(err.join('\n')).to.match(message)
    })
  }

  it('passes signals to the whole process group of the command', async () => {
    const { url, broker } = await stage.startBroker()
    // If only the shell got the signal, its child process would sleep on and keep the output open.
    const script = "trap 'echo got it; exit 3' TERM; (trap - TERM; echo up; exec sleep 60) & wait"
    const command = start(url, ['k', '--', 'sh', '-c', script])
    await command.out.waitForCount(1)
    command.process.kill('SIGTERM')
    expect(await command.ended()).to.deep.include({ code: 3, out: ['up', 'got it'] })
    expect(broker.query().heldCount).to.equal(0)
  })

  it('keeps the lock when the connection drops and comes back', async () => {
    const { url, broker, proxy } = await startBrokerBehindProxy()
    // The command waits for a line in this pipe.
    const fifo = makeScratchFolder(stage).path('go')
    const script = `mkfifo ${fifo}; echo up; cat ${fifo}; echo done`
    const command = start(url, ['k', '--', 'sh', '-c', script])
    await command.out.waitForCount(1)
    const [heldLock] = broker.query().held
    expect(heldLock).to.include({ key: 'k' })
    const reconnected = proxy.nextConnection()
    proxy.cut()
    await reconnected
    await writeFile(fifo, 'on\n')
    expect(await command.ended()).to.deep.include({ code: 0, out: ['up', 'on', 'done'] })
    // A new session would have acquired a second lock, so the session was resumed.
    expect(broker.stats()).to.include({ unlockCount: 1, totalLocks: 1 })
  })

  // The scenarios run at the same time, because each waits for a lease of 2 s.
  it('stops the command before the broker can grant the lock to another session', async () => {
    await Promise.all([killStubbornCommand(), endWillingCommand(), endWithSuspendedBroker()])
  })

  /** The command and its child processes ignore SIGTERM, so `holdfast run` kills them. */
  async function killStubbornCommand(): Promise<void> {
    const { url, brokerUrl, blockTraffic } = await startBrokerBehindProxy()
    const script =
      "trap '' TERM; (trap '' TERM; echo $$ child; while :; do sleep 0.05; done) & " +
      'echo $$ parent; echo $! background; while :; do sleep 0.05; done'
    const command = start(url, [
      '--lease',
      '2s',
      '--kill-after',
      '300ms',
      'k',
      '--',
      'sh',
      '-c',
      script,
    ])
    await command.out.waitUntil((lines) => lines.length >= 3)
    // `$$` is the id of the shell, even in the child process. The line `child` only shows that the
    // child process ignores SIGTERM. The line `background` has the id of the child process, `$!`.
    const pids = command.out.items.map((line) => Number(line.split(' ')[0]))
    const waiter = await stage.openSession(brokerUrl)
    const granted = waiter.lock('k')
    await untilMessagesHandled(waiter)
    expect(pids.map(isAlive), 'before').to.not.include(false)
    blockTraffic()
    await granted
    expect(pids.map(isAlive), 'after the grant to the waiter').to.not.include(true)
    const { code, err } = await command.ended()
    expect(code).to.equal(76)
    expect(err.join(' ')).to.match(
      /holdfast: k: the broker does not answer.*: stopping the command/,
    )
  }

  /** The command ends by itself at SIGTERM. */
  async function endWillingCommand(): Promise<void> {
    const { url, blockTraffic, brokerUrl } = await startBrokerBehindProxy()
    const script = "trap 'echo clean; exit 0' TERM; echo up; while :; do sleep 0.05; done"
    const args = ['--lease', '2s', '--kill-after', '500ms', 'k', '--', 'sh', '-c', script]
    const command = start(url, args)
    await command.out.waitForCount(1)
    const waiter = await stage.openSession(brokerUrl)
    const granted = waiter.lock('k')
    blockTraffic()
    await granted
    expect(await command.ended()).to.deep.include({ code: 76, out: ['up', 'clean'] })
  }

  /** The network works, and only the broker is suspended. */
  async function endWithSuspendedBroker(): Promise<void> {
    const serve = Holdfast.start(stage, ['serve', '--port', '0'])
    const url = (await serve.out.waitForCount(1))[0]!.split(' ').at(-1)!
    const script = "trap '' TERM; echo $$; while :; do sleep 0.05; done"
    const args = ['--lease', '2s', '--kill-after', '300ms', 'k', '--', 'sh', '-c', script]
    const command = start(url, args)
    const [pid] = await command.out.waitForCount(1)
    serve.process.kill('SIGSTOP')
    expect((await command.ended()).code).to.equal(76)
    expect(isAlive(Number(pid))).to.equal(false)
    serve.process.kill('SIGCONT')
  }

  it('stops the command and prints the reason when the lock is revoked', async () => {
    const { url, sessions } = await stage.startBrokerWithSessions('ops')
    const [ops] = sessions
    const script =
      "trap 'echo clean; exit 0' TERM; echo $HOLDFAST_FENCE; while :; do sleep 0.05; done"
    const command = start(url, ['k', '--', 'sh', '-c', script])
    const [fence] = await command.out.waitForCount(1)
    await ops!.revoke('k', { fence: Number(fence), reason: 'stuck' })
    const { code, out, err } = await command.ended()
    expect([code, out[1]]).to.deep.equal([76, 'clean'])
    expect(err[0]).to.match(/^holdfast: k: .*revoked it: stuck: stopping the command$/)
  })

  it('kills the child processes that outlive the command after SIGTERM', async () => {
    const { url, sessions } = await stage.startBrokerWithSessions('ops')
    const script =
      "(trap '' TERM; echo up; while :; do sleep 0.05; done) & echo $HOLDFAST_FENCE; wait"
    const command = start(url, ['k', '--', 'sh', '-c', script])
    const lines = await command.out.waitForCount(2)
    const fence = Number(lines.find((line) => line !== 'up'))
    await sessions[0]!.revoke('k', { fence, reason: 'stuck' })
    // The child processes share the output of the command. So `ended` resolves only when all child
    // processes are dead.
    expect((await command.ended()).code).to.equal(76)
  })

  it('refuses a --kill-after that is too long for the lease, and acquires no lock', async () => {
    const { url, broker } = await stage.startBroker()
    const args = ['--lease', '2s', '--kill-after', '900ms', 'k', '--', 'echo', 'never']
    const { code, out, err } = await Holdfast.runRefused(stage, ['run', '--url', url, ...args])
    expect([code, out]).to.deep.equal([64, []])
    expect(err[0]).to.match(/--kill-after 900 ms is too long for a lease of 2000 ms/)
    expect(broker.stats().totalLocks).to.equal(0)
  })

  /** Starts a broker behind a proxy that can cut connections and stop passing bytes. */
  async function startBrokerBehindProxy() {
    const { broker, url: brokerUrl, port } = await stage.startBroker()
    let isBlocked = false
    const proxy = await TcpProxy.to(port, () => ({
      up: (bytes, connection) => {
        if (!isBlocked) connection.pass(bytes)
      },
      down: (bytes, connection) => {
        if (!isBlocked) connection.pass(bytes)
      },
    }))
    stage.onCleanUp(() => proxy.close())
    const blockTraffic = () => {
      isBlocked = true
    }
    return { broker, brokerUrl, proxy, url: proxy.url, blockTraffic }
  }
})
