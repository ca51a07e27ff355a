/**
 * Tests `holdfast hold`, which acquires a lock but runs no command. `hold` keeps the lock until its
 * standard input ends or a signal arrives. A fence is the number of a grant. The lease is how long
 * the broker keeps a silent session. The exit codes are 64 (wrong usage), 76 (the lock was lost)
 * and 143 (SIGTERM while `hold` waits). After a signal while `hold` has the lock, the code is 0.
 */
import { expect } from 'chai'
import { Stage } from '../e2e/stage.js'
import { Holdfast, type StartOptions } from './command.js'

describe('holdfast hold', () => {
  const stage = Stage.forEachTest()
  const start = (url: string, args: string[], options?: StartOptions) =>
    Holdfast.start(stage, ['hold', '--url', url, ...args], options)

  it('holds the lock until standard input ends', async () => {
    const { url, broker } = await stage.startBroker()
    const command = start(url, ['--name', 'deployer', 'k'], { keepStdinOpen: true })
    const [line] = await command.out.waitForCount(1)
    const [lock] = broker.query().held
    expect(line).to.equal(`held k fence ${lock?.fence}`)
    expect(lock).to.include({ key: 'k', name: 'deployer' })
    command.process.stdin!.end()
    expect(await command.ended()).to.deep.include({ code: 0, err: [] })
    expect(broker.stats().unlockCount).to.equal(1)
  })

  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    it(`holds the lock until ${signal}, with /dev/null as standard input`, async () => {
      const { url, broker } = await stage.startBroker()
      const command = start(url, ['--json', 'k'], { stdin: 'ignore' })
      const [line] = await command.out.waitForCount(1)
      const fence = broker.query().held[0]?.fence
      expect(JSON.parse(line!)).to.deep.equal({ key: 'k', fence, held: true })
      // SIGWINCH says that the size of the terminal has changed. It must not end the command.
      command.process.kill('SIGWINCH')
      command.process.kill(signal)
      expect(await command.ended()).to.deep.include({ code: 0, signal: null, err: [] })
      expect(broker.stats().unlockCount).to.equal(1)
    })
  }

  it('exits 76 and prints the reason when the lock is revoked', async () => {
    const { url, sessions } = await stage.startBrokerWithSessions('ops')
    const command = start(url, ['k'], { keepStdinOpen: true })
    const fence = Number((await command.out.waitForCount(1))[0]!.split(' ').at(-1))
    await sessions[0]!.revoke('k', { fence, reason: 'stuck' })
    const { code, err } = await command.ended()
    expect(code).to.equal(76)
    expect(err[0]).to.match(/^holdfast: k: .*revoked it: stuck: ending$/)
  })

  it('when the broker does not answer, exits 76 before the lease is over', async () => {
    const serve = Holdfast.start(stage, ['serve', '--port', '0'])
    const url = (await serve.out.waitForCount(1))[0]!.split(' ').at(-1)!
    const command = start(url, ['--lease', '2s', 'k'], { keepStdinOpen: true })
    await command.out.waitForCount(1)
    serve.process.kill('SIGSTOP')
    const { code, err } = await command.ended()
    expect(code).to.equal(76)
    expect(err[0]).to.match(/^holdfast: k: .*the lease is nearly over: ending/)
  })

  it('refuses a --max-hold or a lease that is too short, without the flag --kill-after of run', async () => {
    const { url } = await stage.startBroker()
    // `hold` exits a fifth of the lease and 300 ms before the lock ends.
    const withShortHold = await start(url, ['--lease', '5s', '--max-hold', '1300ms', 'k']).ended()
    expect(withShortHold.code).to.equal(64)
    expect(withShortHold.err[0]).to.equal(
      'holdfast: --max-hold 1300 ms is too short: it must be above 1300 ms, ' +
        'because hold exits that long before the lock ends',
    )
    const withShortGrace = await start(url, ['--grace', '900ms', 'k']).ended()
    expect(withShortGrace.code).to.equal(64)
    expect(withShortGrace.err[0]).to.match(
      /too short to stop hold in time: give a longer --lease or/,
    )
  })

  it('waits for a lock that another session holds, and with --try exits without waiting', async () => {
    const { url, sessions } = await stage.startBrokerWithSessions('ann')
    const lock = await sessions[0]!.lock('k')
    const waitingCommand = start(url, ['k'], { keepStdinOpen: true })
    // `-E 3` sets the exit code for a lock that another session holds.
    expect((await start(url, ['--try', '-E', '3', 'k']).ended()).code).to.equal(3)
    expect((await waitingCommand.err.waitForCount(1))[0]).to.match(
      /^holdfast: Waiting for k, held by ann since/,
    )
    waitingCommand.process.kill('SIGTERM')
    expect((await waitingCommand.ended()).code, 'ended by the signal while it waited').to.equal(143)
    await lock.unlock()
  })

  it('refuses a command after the key', async () => {
    const { url, broker } = await stage.startBroker()
    const { code, err } = await start(url, ['k', 'echo', 'x']).ended()
    expect(code).to.equal(64)
    expect(err[0]).to.match(/too many arguments/)
    expect(broker.stats().totalLocks).to.equal(0)
  })
})
