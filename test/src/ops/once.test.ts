/**
 * Tests `holdfast once KEY COMMAND`, which runs a command once for all callers of a key. The first
 * caller runs the command, and all callers that wait meanwhile print the output of this run. With
 * `--keep`, the broker stores the output, and later callers print the stored output.
 */
import { expect } from 'chai'
import { Stage, untilMessagesHandled } from '../e2e/stage.js'
import { Holdfast } from './command.js'
import { makeScratchFolder } from './scratch.js'

describe('holdfast once', () => {
  const stage = Stage.forEachTest()
  const run = (url: string, args: string[]) => Holdfast.run(stage, ['once', '--url', url, ...args])
  const start = (url: string, args: string[]) =>
    Holdfast.start(stage, ['once', '--url', url, ...args])

  it('runs one command, and prints its output in every caller', async () => {
    const { url, broker, sessions } = await stage.startBrokerWithSessions('observer')
    const files = makeScratchFolder(stage)
    // The command ends when its argument, the file `go`, exists.
    const script = 'echo "$HOLDFAST_KEY"; until test -e "$1"; do sleep 0.02; done; echo end'
    const runner = start(url, ['report', '--', 'sh', '-c', script, 'sh', files.path('go')])
    await runner.out.waitForCount(1)
    const followers = [1, 2].map(() => start(url, ['report', '--', 'echo', 'other']))
    // The observer waits for an answer of the broker, which gives the followers time to arrive.
    while (broker.query().waitingCount < 2) await untilMessagesHandled(sessions[0]!)
    expect(broker.query().held[0]).to.include({ key: 'report', once: true })
    files.write('go', '')
    for (const caller of [runner, ...followers]) {
      expect(await caller.ended()).to.deep.include({ code: 0, out: ['report', 'end'], err: [] })
    }
  })

  it('shares the output of a run that succeeds, also output that is not text', async () => {
    const { url } = await stage.startBroker()
    const args = ['--keep', '10m', 'k', '--', 'printf', String.raw`one\n\0two\n`]
    expect(await run(url, args)).to.deep.include({ code: 0, out: ['one', '\0two'] })
    const laterCall = await run(url, ['k', '--', 'echo', 'another'])
    expect(laterCall).to.deep.include({ code: 0, out: ['one', '\0two'], err: [] })
  })

  it('exits with the code of a command that fails, and keeps no output', async () => {
    const { url, broker } = await stage.startBroker()
    expect((await run(url, ['--keep', '10m', 'k', '-c', 'echo no; exit 3'])).code).to.equal(3)
    expect(await run(url, ['k', '--', './no-such-command'])).to.deep.include({
      code: 127,
      err: ['holdfast: Cannot run "./no-such-command": there is no such command (ENOENT)'],
    })
    const reason = 'it is not an executable file, or not for this user (EACCES)'
    expect(await run(url, ['k', '--', '/etc/passwd'])).to.deep.include({
      code: 126,
      err: [`holdfast: Cannot run "/etc/passwd": ${reason}: make it executable with chmod +x`],
    })
    expect(await run(url, ['k', '--', 'echo', 'yes'])).to.deep.include({ code: 0, out: ['yes'] })
    expect(broker.query().heldCount).to.equal(0)
  })

  it('prints output that is too large to share, and fails', async () => {
    const { url } = await stage.startBroker()
    // The output is 30,000 lines of two bytes.
    const { code, out, err } = await run(url, ['k', '-c', 'yes | head -n 30000'])
    expect(code).to.equal(1)
    expect(out).to.have.lengthOf(30_000)
    expect(err.join()).to.match(/The output has 60000 bytes/)
  })

  it('exits 75 after --timeout, and 64 without a command', async () => {
    const { url, sessions } = await stage.startBrokerWithSessions('ann')
    await sessions[0]!.lock('k')
    expect((await run(url, ['--timeout', '50ms', 'k', '--', 'true'])).code).to.equal(75)
    expect((await run(url, ['k'])).code).to.equal(64)
  })

  it('kills the command and exits 76 when the lock is stolen', async () => {
    const { url, sessions } = await stage.startBrokerWithSessions('stealer')
    const runner = start(url, ['k', '-c', 'echo up; sleep 60'])
    await runner.out.waitForCount(1)
    await sessions[0]!.lock('k', { steal: true })
    expect(await runner.ended()).to.deep.include({
      code: 76,
      err: ['holdfast: k: the lock was lost: another request stole it'],
    })
  })

  it('exits 76 when the maxHold of the lock runs out, and does not name --max-hold, which once does not have', async () => {
    const { url } = await stage.startBroker({ limits: { maxHoldMs: 300 } })
    expect(await run(url, ['k', '--', 'sleep', '60'])).to.deep.include({
      code: 76,
      err: ['holdfast: k: the lock was lost: its maxHold ran out'],
    })
  })

  it('refuses a kept value that another program stored', async () => {
    const { url, sessions } = await stage.startBrokerWithSessions('ann')
    await sessions[0]!.once('k', () => 5, { keep: 600_000 })
    const { code, err } = await run(url, ['k', '--', 'true'])
    expect(code).to.equal(1)
    expect(err.join()).to.match(/does not come from "holdfast once"/)
  })
})
