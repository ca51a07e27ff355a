/**
 * `holdfast run` that is killed by a signal that no program can catch: the command is dead before
 * the lock is granted to another session.
 */
import { expect } from 'chai'
import { Stage, untilHandled, watching } from '../e2e/stage.js'
import { count } from '../support/counts.js'
import { Holdfast } from './command.js'
import { isAlive, parentOf, withArgument } from './processes.js'

/**
 * The number of rounds that run at the same time, because each round waits for a lease of two
 * seconds.
 */
const abreast = count(2, 5)

describe('holdfast run after a kill', () => {
  const stage = Stage.forEachTest()

  it('leaves no command alive when the next session gets the lock', async () => {
    const { url } = await stage.broker()
    for (let round = 0; round < count(abreast, 100); round += abreast) {
      const keys = Array.from({ length: abreast }, (_, i) => `k${round + i}`)
      await Promise.all(keys.map((key) => kill(url, key)))
    }
  }).timeout(300_000)

  async function kill(url: string, key: string): Promise<void> {
    const stubborn = "trap '' TERM HUP INT; echo $$; while :; do sleep 0.05; done"
    // The command starts a background process and a pipeline. All these processes must die.
    const line = `(sh -c "${stubborn.replace('$$', '\\$\\$')}") & ${stubborn} | cat`
    const args = ['run', '--url', url, '--lease', '2s', key, '-c', line]
    const command = Holdfast.start(stage, args)
    const pids = (await command.out.count(2)).map(Number)
    const waiter = await stage.session(url)
    const granted = waiter.lock(key)
    await untilHandled(waiter)
    expect(pids.map(isAlive), 'before').to.deep.equal([true, true])
    command.process.kill('SIGKILL')
    await granted
    expect(pids.map(isAlive), 'when the next was granted').to.deep.equal([false, false])
  }

  it('leaves no command alive if it was killed while it started the command', async () => {
    const { url, sessions } = await stage.brokerWith('watcher')
    const rounds = count(abreast, 50)
    for (let round = 0; round < rounds; round += abreast) {
      const runs = Array.from({ length: abreast }, async (_, i) => {
        const key = `k${round + i}`
        const events = await watching(sessions[0]!, key)
        const marker = `600.${process.pid}${round + i}`
        const args = ['run', '--url', url, '--lease', '2s', key, 'sleep', marker]
        const command = Holdfast.start(stage, args)
        await events.until((all) => all.some(({ event }) => event === 'locked'))
        command.process.kill('SIGKILL')
        const waiter = await stage.session(url)
        await waiter.lock(key)
        expect(withArgument(marker)).to.deep.equal([])
      })
      await Promise.all(runs)
    }
  }).timeout(300_000)

  for (const [moment, signal] of [
    ['the OOM killer', 'SIGKILL'],
    ['a real-time signal', 34],
    ['a fault of its own', 'SIGSEGV'],
  ] as const) {
    it(`kills the command with it at ${moment}`, async () => {
      const { url } = await stage.broker()
      const line = "trap '' TERM HUP; echo $$; while :; do sleep 0.05; done"
      const command = Holdfast.start(stage, ['run', '--url', url, 'k', '-c', line])
      const [pid] = (await command.out.count(1)).map(Number)
      process.kill(command.process.pid as number, signal)
      // The command shares this output, so the output ends when all processes are dead or dying.
      await command.ended()
      while (isAlive(pid as number)) await new Promise((resolve) => setImmediate(resolve))
    })
  }

  it('starts another watchdog when the first is killed', async () => {
    const { url } = await stage.broker()
    const line = "trap '' TERM HUP; echo $$; while :; do sleep 0.05; done"
    const command = Holdfast.start(stage, ['run', '--url', url, 'k', '-c', line])
    await command.out.count(1)
    const [first] = watchdogsOf(command.process.pid as number)
    process.kill(first as number, 'SIGKILL')
    let second: number | undefined
    while (second === undefined || second === first) {
      await new Promise((resolve) => setImmediate(resolve))
      second = watchdogsOf(command.process.pid as number)[0]
    }
    command.process.kill('SIGKILL')
    await command.ended()
  })

  it('leaves no watchdog alive', async () => {
    const { url } = await stage.broker()
    const args = ['run', '--url', url, 'k', '-c', 'echo $PPID; cat']
    const command = Holdfast.start(stage, args, { open: true })
    await command.out.count(1)
    const [watchdog] = watchdogsOf(command.process.pid as number)
    expect(isAlive(watchdog as number)).to.equal(true)
    command.process.stdin!.end()
    expect((await command.ended()).code).to.equal(0)
    while (isAlive(watchdog as number)) await new Promise((resolve) => setImmediate(resolve))
  })

  function watchdogsOf(parent: number): number[] {
    return withArgument('holdfast-watchdog').filter((pid) => parentOf(pid) === parent)
  }
})
