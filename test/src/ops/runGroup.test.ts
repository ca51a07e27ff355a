/**
 * Tests that `holdfast run` starts its command in a process group, and holds the lock until the
 * group is empty. A fence is the number of a grant.
 */
import { spawnSync } from 'node:child_process'
import { chmodSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { expect } from 'chai'
import { Stage } from '../e2e/stage.js'
import { needs } from '../support/needs.js'
import { Holdfast, type StartOptions } from './command.js'
import { isAlive, stateOf } from './processes.js'
import { makeScratchFolder } from './scratch.js'

describe('holdfast run with a process group', () => {
  const stage = Stage.forEachTest()
  const start = (url: string, args: string[], options?: StartOptions) =>
    Holdfast.start(stage, ['run', '--url', url, ...args], options)

  it('keeps the lock and prints one message while a background process lives', async () => {
    const { url, broker } = await stage.startBroker()
    const fifo = makeFifo()
    // Two background processes wait for the pipe: one writes to the output, and one does not.
    const line = `(cat ${fifo}; echo late) & (cat ${fifo}) >/dev/null & echo early; exit 5`
    const holdfast = start(url, ['k', '-c', line])
    const message =
      'holdfast: The command has ended, but \\d process(es)? of its group still run: k is kept'
    expect((await holdfast.err.waitForCount(1))[0]).to.match(new RegExp(`^${message}`))
    expect(broker.query().heldCount).to.equal(1)
    await writeFile(fifo, 'on\n')
    const { code, out, err } = await holdfast.ended()
    expect([code, out.at(-1), err.length]).to.deep.equal([5, 'late', 1])
    expect(broker.stats().unlockCount).to.equal(1)
  })

  it('passes signals to the group while it waits for the group', async () => {
    const { url, broker } = await stage.startBroker()
    const line = "(trap 'echo got it; exit' USR1; echo up; while :; do sleep 0.05; done) & exit 3"
    const holdfast = start(url, ['k', '-c', line])
    await holdfast.err.waitForCount(1)
    await holdfast.out.waitForCount(1)
    holdfast.process.kill('SIGUSR1')
    expect(await holdfast.ended()).to.deep.include({ code: 3, out: ['up', 'got it'] })
    expect(broker.query().heldCount).to.equal(0)
  })

  it('stops the group too when the lock is revoked after the command has ended', async () => {
    const { url, sessions } = await stage.startBrokerWithSessions('ops')
    const holdfast = start(url, ['k', '-c', 'sleep 600 & echo $HOLDFAST_FENCE $!'])
    // The first message says that the command has ended and its group still runs.
    await holdfast.err.waitForCount(1)
    await holdfast.out.waitForCount(1)
    const [fence, pid] = holdfast.out.items[0]!.split(' ').map(Number)
    await sessions[0]!.revoke('k', { fence: fence as number, reason: 'stuck' })
    expect((await holdfast.ended()).code).to.equal(76)
    expect(isAlive(pid as number)).to.equal(false)
  })

  it('with --leader-only, neither waits for the process group nor stops the group', async () => {
    const { url, broker } = await stage.startBroker()
    const line = 'sleep 600 >/dev/null 2>&1 & echo $!'
    const { code, out, err } = await start(url, ['--leader-only', 'k', '-c', line]).ended()
    const pid = Number(out[0])
    stage.onCleanUp(() => process.kill(pid, 'SIGKILL'))
    expect({ code, err }).to.deep.equal({ code: 0, err: [] })
    expect(isAlive(pid)).to.equal(true)
    expect(broker.query().heldCount).to.equal(0)
  })

  it('waits neither for processes that have left the group nor for zombies', async () => {
    const { url, broker } = await stage.startBroker()
    const pids = makeScratchFolder(stage).path('pids')
    // A subshell starts `sleep 0`. Then the subshell leaves the group by setsid(1), and becomes
    // `sleep 600`. An ended process stays a zombie until its parent reads its exit code, but
    // `sleep 600` reads none. So `sleep 0` stays a zombie in the group.
    const leaveGroup = `exec setsid sh -c "echo \\$\\$ >> ${pids}; exec sleep 600"`
    // The loop waits until the ids of both processes are written.
    const line = `(sleep 0 & echo $! >> ${pids}; ${leaveGroup}) >/dev/null 2>&1 & while [ "$(wc -l < ${pids})" != 2 ]; do :; done; cat ${pids}`
    const { code, out, err } = await start(url, ['k', '-c', `: > ${pids}; ${line}`]).ended()
    const [zombie, escaped] = out.map(Number) as [number, number]
    stage.onCleanUp(() => process.kill(escaped, 'SIGKILL'))
    // If `holdfast run` still sees a living process in the group, it prints that it keeps the lock.
    // The test allows this message.
    expect({ code, err: err.filter((message) => !message.includes('is kept')) }).to.deep.equal({
      code: 0,
      err: [],
    })
    expect([stateOf(zombie), isAlive(escaped)]).to.deep.equal(['Z', true])
    expect(broker.query().heldCount).to.equal(0)
  })

  it('keeps the lock for --min-hold, although the command ends earlier', async () => {
    const { url, broker, sessions } = await stage.startBrokerWithSessions('ann')
    const holdfast = start(url, ['--min-hold', '1h', 'k', '-c', 'echo up; exit 4'])
    await holdfast.out.waitForCount(1)
    const granted = sessions[0]!.lock('k')
    // `ended` would wait for --min-hold, so this test looks for the end of the child process.
    await untilNoChild(holdfast.process.pid as number)
    expect(broker.query().held[0]?.key).to.equal('k')
    holdfast.process.kill('SIGTERM')
    expect((await holdfast.ended()).code, 'a signal ends the wait').to.equal(4)
    await granted
  })

  it('exits with the code of the command although the broker has stopped', async () => {
    const { url, broker } = await stage.startBroker()
    const holdfast = start(url, ['k', '-c', 'echo up; cat'], { keepStdinOpen: true })
    await holdfast.out.waitForCount(1)
    await broker.close()
    holdfast.process.stdin!.end()
    expect(await holdfast.ended()).to.deep.include({ code: 0, out: ['up'], err: [] })
  })

  it('releases the lock after --min-hold', async () => {
    const { url, broker } = await stage.startBroker()
    const { code } = await start(url, ['--min-hold', '200ms', 'k', 'true']).ended()
    expect([code, broker.query().heldCount]).to.deep.equal([0, 0])
  })

  /** Makes a named pipe. Returns its path. */
  function makeFifo(): string {
    const path = makeScratchFolder(stage).path('fifo')
    spawnSync('mkfifo', [path])
    return path
  }
})

describe('holdfast run with a command that runs as another user', () => {
  needs('root', 'setpriv')
  const stage = Stage.forEachTest()

  it('keeps the lock until the command ends by itself', async () => {
    const { url, broker } = await stage.startBroker()
    const fifo = makeScratchFolder(stage).path('fifo')
    spawnSync('mkfifo', [fifo])
    // The other user, 65534 (nobody), must be able to open the pipe.
    chmodSync(dirname(fifo), 0o755)
    chmodSync(fifo, 0o666)
    const args = ['run', '--url', url, 'k', 'setpriv', '--reuid=65534', '--clear-groups']
    const line = `echo up; cat ${fifo}; echo done`
    // Root without the capability CAP_KILL cannot send signals to processes of another user.
    const wrapper = ['setpriv', '--bounding-set=-kill', '--inh-caps=-kill']
    const holdfast = Holdfast.start(stage, [...args, 'sh', '-c', line], { wrapper })
    await holdfast.out.waitForCount(1)
    // `holdfast run` can pass neither signal to the command.
    holdfast.process.kill('SIGTERM')
    holdfast.process.kill('SIGTERM')
    const [message] = await holdfast.err.waitForCount(1)
    expect(message).to.match(/^holdfast: Cannot send SIGTERM.*another user \(EPERM\).*lock is kept/)
    expect(broker.query().heldCount).to.equal(1)
    await writeFile(fifo, 'on\n')
    expect(await holdfast.ended()).to.deep.include({ code: 0, out: ['up', 'on', 'done'] })
    expect(broker.query().heldCount).to.equal(0)
  })
})

/** Resolves when the process with this id has no child. */
async function untilNoChild(pid: number): Promise<void> {
  while ((await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8')).trim() !== '') {
    await new Promise((resolve) => setImmediate(resolve))
  }
}
