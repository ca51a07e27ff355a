/**
 * Tests `holdfast elect NAME COMMAND`, which runs a command while it leads an election. The tests
 * use the real `holdfast` and real processes. The tests of `run` cover the behaviour that `elect`
 * and `run` share. The exit codes are 64 (wrong usage), 75 (not elected) and 76 (the leadership was
 * lost).
 */
import { expect } from 'chai'
import { Stage, untilMessagesHandled } from '../e2e/stage.js'
import { TcpProxy } from '../faults/proxy.js'
import { Holdfast, type StartOptions } from './command.js'
import { isAlive } from './processes.js'

describe('holdfast elect', () => {
  const stage = Stage.forEachTest()
  const runToEnd = (url: string, args: string[], options?: StartOptions) =>
    Holdfast.run(stage, ['elect', '--url', url, ...args], options)
  const start = (url: string, args: string[], options?: StartOptions) =>
    Holdfast.start(stage, ['elect', '--url', url, ...args], options)

  it('leads while the command runs, publishes the value, and resigns at the end', async () => {
    const { url, broker, sessions } = await stage.startBrokerWithSessions('ann')
    // `cat` runs until standard input ends.
    const script = 'echo "$HOLDFAST_KEY $HOLDFAST_FENCE"; cat; exit 7'
    const value = { url: 'http://a' }
    const args = ['--value', JSON.stringify(value), 'scheduler', '--', 'sh', '-c', script]
    const holdfast = start(url, args, { keepStdinOpen: true })
    const [line] = await holdfast.out.waitForCount(1)
    const [lock] = broker.query().held
    expect(line).to.equal(`scheduler ${lock!.fence}`)
    expect(lock).to.include({ key: 'scheduler', mode: 'exclusive', election: true })
    expect(lock!.value).to.deep.equal(value)
    expect(lock!.metadata).to.include({ command: 'sh', pid: holdfast.process.pid })
    const refused = await runToEnd(url, ['--try', 'scheduler', 'true'])
    expect(refused.code).to.equal(75)
    const nextLeadership = sessions[0]!.campaign('scheduler')
    holdfast.process.stdin!.end()
    expect((await holdfast.ended()).code).to.equal(7)
    expect((await nextLeadership).fence).to.be.greaterThan(lock!.fence)
  })

  it('leads only after another session has unlocked a plain lock with the name of the election', async () => {
    const { url, sessions } = await stage.startBrokerWithSessions('ann')
    const plainLock = await sessions[0]!.lock('scheduler')
    const holdfast = start(url, ['scheduler', '-c', 'echo leads'])
    await untilMessagesHandled(sessions[0]!)
    await plainLock.unlock()
    const { code, out } = await holdfast.ended()
    expect([code, out]).to.deep.equal([0, ['leads']])
  })

  it('kills the command when the leadership is revoked, and exits 76', async () => {
    const { url, broker, sessions } = await stage.startBrokerWithSessions('ann')
    const holdfast = start(url, ['scheduler', '-c', 'echo $$; exec sleep 60'])
    const [pid] = await holdfast.out.waitForCount(1)
    const { fence } = broker.query().held[0]!
    await sessions[0]!.revoke('scheduler', { fence, reason: 'test' })
    expect((await holdfast.ended()).code).to.equal(76)
    expect(isAlive(Number(pid))).to.equal(false)
  })

  it('when the broker is unreachable, kills the command before another session can lead', async () => {
    const { port, broker, sessions } = await stage.startBrokerWithSessions('ann')
    const proxy = await TcpProxy.to(port)
    stage.onCleanUp(() => proxy.close())
    const holdfast = start(proxy.url, [
      '--lease',
      '2s',
      'scheduler',
      '-c',
      'echo $$; exec sleep 60',
    ])
    const [pid] = await holdfast.out.waitForCount(1)
    const nextLeadership = sessions[0]!.campaign('scheduler')
    await untilMessagesHandled(sessions[0]!)
    // First refuse new connections, so that `holdfast` cannot reconnect after the cut.
    proxy.refuseConnections()
    proxy.cut()
    await nextLeadership
    expect(isAlive(Number(pid))).to.equal(false)
    // Only the session of Ann leads.
    expect(broker.query().heldCount).to.equal(1)
    expect((await holdfast.ended()).code).to.equal(76)
  })

  const wrongUsages: [string[], RegExp][] = [
    [
      ['--value', '{url}', 'k', 'true'],
      /--value <json>' argument '{url}' is invalid. It must be JSON/,
    ],
    [['--value', `"${'x'.repeat(5_000)}"`, 'k', 'true'], /It must be JSON of at most 4096 bytes/],
    [['--shared', 'k', 'true'], /unknown option '--shared'/],
    [['k'], /The command after the name is missing: use "holdfast elect NAME COMMAND"/],
  ]
  for (const [args, message] of wrongUsages) {
    it(`refuses ${args.join(' ').slice(0, 30)} before the command runs`, async () => {
      const { url } = await stage.startBroker()
      const { code, out, err } = await Holdfast.runRefused(stage, ['elect', '--url', url, ...args])
      expect([code, out]).to.deep.equal([64, []])
      expect(err.join('\n')).to.match(message)
    })
  }
})
