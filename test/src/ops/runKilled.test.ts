/**
 * Tests that the command of `holdfast run` does not outlive the lock. If a signal that Node cannot
 * handle kills `holdfast run`, a watchdog process kills the command. So the command is dead before
 * the lease ends. After the lease, the broker may grant the lock to another session. The lease is
 * how long the broker keeps a silent session.
 */
import { expect } from 'chai'
import { collectWatchEvents, Stage, untilMessagesHandled } from '../e2e/stage.js'
import { quickOrFull } from '../support/counts.js'
import { Holdfast } from './command.js'
import { isAlive, parentOf, processesWithArgument } from './processes.js'

/** How many rounds run at the same time. Each round waits for the end of a lease of two seconds. */
const parallelRounds = quickOrFull(2, 5)

describe('holdfast run after a kill', () => {
  const stage = Stage.forEachTest()

  it('leaves no command alive when the next session gets the lock', async () => {
    const { url } = await stage.startBroker()
    const rounds = quickOrFull(parallelRounds, 100)
    // Each step of the loop runs `parallelRounds` rounds. A quick run has one step.
    for (let firstRound = 0; firstRound < rounds; firstRound += parallelRounds) {
      const keys = Array.from({ length: parallelRounds }, (_, i) => `k${firstRound + i}`)
      await Promise.all(keys.map((key) => killAndExpectDeath(url, key)))
    }
  }).timeout(300_000)

  /** Kills `holdfast run`, and checks that all its processes are dead before the next grant. */
  async function killAndExpectDeath(url: string, key: string): Promise<void> {
    const stubbornScript = "trap '' TERM HUP INT; echo $$; while :; do sleep 0.05; done"
    // The command is a shell that starts a second shell in the background, and runs a pipeline.
    // Both shells print their ids, and must die. The backslashes keep the first shell from
    // expanding the `$$` of the second.
    const line = `(sh -c "${stubbornScript.replace('$$', '\\$\\$')}") & ${stubbornScript} | cat`
    const args = ['run', '--url', url, '--lease', '2s', key, '-c', line]
    const holdfastRun = Holdfast.start(stage, args)
    const pids = (await holdfastRun.out.waitForCount(2)).map(Number)
    const waiter = await stage.openSession(url)
    const granted = waiter.lock(key)
    await untilMessagesHandled(waiter)
    expect(pids.map(isAlive), 'before').to.deep.equal([true, true])
    holdfastRun.process.kill('SIGKILL')
    await granted
    expect(pids.map(isAlive), 'after the grant to the waiter').to.deep.equal([false, false])
  }

  it('leaves no command alive after a kill during the start of the command', async () => {
    const { url, sessions } = await stage.startBrokerWithSessions('watcher')
    const rounds = quickOrFull(parallelRounds, 50)
    // Each step of the loop runs `parallelRounds` rounds. A quick run has one step.
    for (let firstRound = 0; firstRound < rounds; firstRound += parallelRounds) {
      const runs = Array.from({ length: parallelRounds }, async (_, i) => {
        const key = `k${firstRound + i}`
        const events = await collectWatchEvents(sessions[0]!, key)
        // The command sleeps for about 600 s. The digits after the point mark its process.
        const marker = `600.${process.pid}${firstRound + i}`
        const args = ['run', '--url', url, '--lease', '2s', key, 'sleep', marker]
        const holdfastRun = Holdfast.start(stage, args)
        await events.waitUntil((items) => items.some(({ event }) => event === 'locked'))
        holdfastRun.process.kill('SIGKILL')
        const waiter = await stage.openSession(url)
        await waiter.lock(key)
        expect(processesWithArgument(marker)).to.deep.equal([])
      })
      await Promise.all(runs)
    }
  }).timeout(300_000)

  for (const [cause, signal] of [
    ['SIGKILL, as from the OOM killer', 'SIGKILL'],
    ['a real-time signal', 34],
    ['a segmentation fault', 'SIGSEGV'],
  ] as const) {
    it(`leaves no command alive after ${cause}`, async () => {
      const { url } = await stage.startBroker()
      const line = "trap '' TERM HUP; echo $$; while :; do sleep 0.05; done"
      const holdfastRun = Holdfast.start(stage, ['run', '--url', url, 'k', '-c', line])
      const [pid] = (await holdfastRun.out.waitForCount(1)).map(Number)
      process.kill(holdfastRun.process.pid as number, signal)
      // The command writes to the output of `holdfast run`. Therefore this output ends only when
      // the command is dead or dying.
      await holdfastRun.ended()
      while (isAlive(pid as number)) await new Promise((resolve) => setImmediate(resolve))
    })
  }

  it('starts another watchdog process when the first watchdog is killed', async () => {
    const { url } = await stage.startBroker()
    const line = "trap '' TERM HUP; echo $$; while :; do sleep 0.05; done"
    const holdfastRun = Holdfast.start(stage, ['run', '--url', url, 'k', '-c', line])
    await holdfastRun.out.waitForCount(1)
    const [firstWatchdog] = watchdogsOf(holdfastRun.process.pid as number)
    process.kill(firstWatchdog as number, 'SIGKILL')
    let secondWatchdog: number | undefined
    while (secondWatchdog === undefined || secondWatchdog === firstWatchdog) {
      await new Promise((resolve) => setImmediate(resolve))
      secondWatchdog = watchdogsOf(holdfastRun.process.pid as number)[0]
    }
    holdfastRun.process.kill('SIGKILL')
    // The output ends only after the second watchdog has killed the command.
    await holdfastRun.ended()
  })

  it('leaves no watchdog process alive after the end of the command', async () => {
    const { url } = await stage.startBroker()
    const args = ['run', '--url', url, 'k', '-c', 'echo up; cat']
    const holdfastRun = Holdfast.start(stage, args, { keepStdinOpen: true })
    await holdfastRun.out.waitForCount(1)
    const [watchdog] = watchdogsOf(holdfastRun.process.pid as number)
    expect(isAlive(watchdog as number)).to.equal(true)
    holdfastRun.process.stdin!.end()
    expect((await holdfastRun.ended()).code).to.equal(0)
    while (isAlive(watchdog as number)) await new Promise((resolve) => setImmediate(resolve))
  })

  /** The ids of the watchdog processes of `holdfast run`. */
  function watchdogsOf(parent: number): number[] {
    return processesWithArgument('holdfast-watchdog').filter((pid) => parentOf(pid) === parent)
  }
})
