/**
 * Tests that `holdfast run` passes signals to its command, and prints a message if the command
 * cannot be started. Signals that were already ignored at the start of `holdfast run`, for instance
 * by nohup(1), must stay ignored. But Node stops ignoring them when it starts. So with the option
 * `usesLauncher`, a test starts `holdfast` by the launcher, a shell script that first reads which
 * signals are ignored.
 */
import { spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, symlinkSync } from 'node:fs'
import { open, writeFile } from 'node:fs/promises'
import { constants } from 'node:os'
import { expect } from 'chai'
import { Stage } from '../e2e/stage.js'
import { quickOrFull } from '../support/counts.js'
import { Holdfast, type StartOptions } from './command.js'
import { makeScratchFolder } from './scratch.js'

/**
 * The signals that `holdfast run` passes on: all signals that Node can catch, with exceptions. The
 * exceptions are signals that suspend a process, such as SIGTSTP, signals of crashes, such as
 * SIGSEGV, and signals that an action of the process causes, such as SIGPIPE.
 */
const passedSignals = [
  ...['HUP', 'INT', 'QUIT', 'ABRT', 'USR1', 'USR2', 'ALRM', 'TERM', 'STKFLT', 'CONT', 'URG'],
  ...['XCPU', 'VTALRM', 'PROF', 'WINCH', 'IO', 'PWR', 'SYS'],
].map((name) => constants.signals[`SIG${name}` as NodeJS.Signals])

describe('holdfast run with signals', () => {
  const stage = Stage.forEachTest()
  const start = (url: string, args: string[], options?: StartOptions) =>
    Holdfast.start(stage, ['run', '--url', url, ...args], options)

  it('passes on every signal that it can catch, with few exceptions', async () => {
    const { url } = await stage.startBroker()
    const traps = passedSignals.map((signal) => `trap 'echo ${signal}' ${signal}`).join('; ')
    // While the shell waits for its child, it handles a signal at once. The child ignores the
    // signals, which `holdfast run` sends to the whole process group.
    const idle = `(trap '' ${passedSignals.join(' ')}; exec sleep 600) & while :; do wait $!; done`
    const run = start(url, ['k', '-c', `${traps}; echo up; ${idle}`])
    await run.out.waitForCount(1)
    for (const [i, signal] of passedSignals.entries()) {
      process.kill(run.process.pid as number, signal)
      // The first line is `up`.
      expect((await run.out.waitForCount(i + 2))[i + 1]).to.equal(String(signal))
    }
    expect(run.err.items).to.deep.equal([])
    run.process.kill('SIGKILL')
    await run.ended()
  })

  it('ignores SIGHUP and SIGINT if they were ignored at its start, and so does its command', async () => {
    const { url } = await stage.startBroker()
    const args = ['k', '-c', 'grep SigIgn /proc/self/status; cat']
    // This shell ignores SIGHUP and SIGINT, and so does the program that the shell starts.
    const wrapper = ['sh', '-c', 'trap "" HUP INT; exec "$@"', 'sh']
    const run = start(url, args, { wrapper, usesLauncher: true, keepStdinOpen: true })
    const [line] = await run.out.waitForCount(1)
    // The mask 3 has the bits of the signals 1 (SIGHUP) and 2 (SIGINT).
    expect(line).to.match(/^SigIgn:\s0+3$/)
    // SIGHUP and SIGINT must not end `holdfast`. SIGWINCH never ends a program.
    for (const signal of ['SIGHUP', 'SIGINT', 'SIGWINCH'] as const) run.process.kill(signal)
    run.process.stdin!.end('on\n')
    expect(await run.ended()).to.deep.include({ code: 0, signal: null })
  })

  it('ignores a SIGHUP under nohup while it waits for the lock', async () => {
    const { url, sessions } = await stage.startBrokerWithSessions('ann')
    const lock = await sessions[0]!.lock('k')
    const run = start(url, ['k', 'echo', 'up'], { wrapper: ['nohup'], usesLauncher: true })
    await run.err.waitUntil((lines) => lines.some((line) => line.includes('Waiting for k')))
    run.process.kill('SIGHUP')
    await lock.unlock()
    expect(await run.ended()).to.deep.include({ code: 0, out: ['up'] })
  })

  it('holdfast serve also ignores SIGHUP and SIGINT if they were ignored at its start', async () => {
    const wrapper = ['sh', '-c', 'trap "" HUP INT; exec "$@"', 'sh']
    const serve = Holdfast.start(stage, ['serve', '--port', '0'], { wrapper, usesLauncher: true })
    const url = (await serve.out.waitForCount(1))[0]!.split(' ').at(-1)!
    serve.process.kill('SIGHUP')
    serve.process.kill('SIGINT')
    expect((await start(url, ['k', 'true']).ended()).code).to.equal(0)
    serve.process.kill('SIGTERM')
    expect(await serve.ended()).to.deep.include({ code: 0, signal: null })
  })

  it('starts the command with no ignored signals if none were ignored before', async () => {
    const { url } = await stage.startBroker()
    const args = ['k', 'grep', 'SigIgn', '/proc/self/status']
    const { out } = await start(url, args, { usesLauncher: true }).ended()
    expect(out[0]).to.match(/^SigIgn:\s0+$/)
  })

  it('passes the environment without the token to the command', async () => {
    const { url } = await stage.startBroker()
    // Some shells drop variables whose names are invalid in a shell. The launcher must keep them.
    // The launcher must also not use names such as `name` and `value` for its own variables.
    const env = {
      HOLDFAST_TOKEN: 'secret',
      'spring.profile': "it's\nodd",
      'a-b': '',
      name: 'mine',
      value: 'mine too',
    }
    for (const launched of [true, false]) {
      const args = ['k', process.execPath, '-p', 'JSON.stringify(process.env)']
      const { out } = await start(url, args, { env, usesLauncher: launched }).ended()
      const { HOLDFAST_TOKEN: _, ...otherVariables } = env
      const envOfCommand = JSON.parse(out[0]!)
      expect(envOfCommand).to.include(otherVariables)
      expect(envOfCommand).to.include({ HOLDFAST_KEY: 'k' })
      // The names of the launcher's own variables begin with `_holdfast` or `_HOLDFAST`.
      expect(
        Object.keys(envOfCommand).filter((name) => /token|^_holdfast/i.test(name)),
      ).to.deep.equal([])
    }
  })

  it('passes the token to the command with --pass-token', async () => {
    const { url } = await stage.startBroker()
    const env = { HOLDFAST_TOKEN: 'secret' }
    const { out } = await start(url, ['--pass-token', 'k', '-c', 'echo $HOLDFAST_TOKEN'], {
      env,
    }).ended()
    expect(out).to.deep.equal(['secret'])
  })
})

describe('holdfast run with a command that cannot be started', () => {
  const stage = Stage.forEachTest()

  /**
   * Lets `holdfast run` try to start a command, which must fail. Returns the exit code of `holdfast
   * run` and the first line of its message.
   */
  async function runFailing(command: readonly string[], env?: Record<string, string>) {
    const { url, broker } = await stage.startBroker()
    const args = ['run', '--url', url, 'k', ...command]
    const { code, out, err } = await Holdfast.run(stage, args, { env })
    expect(out).to.deep.equal([])
    expect(err.join('\n'), 'a sentence, and no stack').to.not.match(/\n\s+at /)
    // If the shell reports the problem, its message may have two lines.
    expect(err.length).to.be.within(1, 2)
    expect(broker.query().heldCount).to.equal(0)
    return { code, firstLine: err[0] }
  }

  /** Makes a file with this mode. Returns its path. */
  const file = (name: string, mode = 0o755, text = '#!/bin/sh\n') => {
    const path = makeScratchFolder(stage).write(name, text)
    chmodSync(path, mode)
    return path
  }

  // A name in a path has at most 255 bytes, and a path at most 4,096.
  const cases: readonly (readonly [string, () => readonly string[], number, RegExp])[] = [
    ['is empty', () => [''], 127, /Cannot run "": there is no such command \(ENOENT\)/],
    ['does not exist', () => ['/no/such'], 127, /Cannot run "\/no\/such".*ENOENT/],
    ['has a name that is too long', () => ['x'.repeat(5_000)], 126, /ENAMETOOLONG/],
    ['has a path that is too long', () => ['/x'.repeat(5_000)], 126, /ENAMETOOLONG/],
    ['is under a file', () => [`${file('f')}/x`], 126, /ENOTDIR/],
    ['is not executable', () => [file('f', 0o644)], 126, /EACCES/],
    ['is a directory', () => ['/'], 126, /EACCES/],
    ['is a link to itself', () => [linkToItself()], 126, /ELOOP/],
    [
      'names a missing interpreter',
      () => [file('f', 0o755, '#!/no/such\n')],
      127,
      /^holdfast.*not found/,
    ],
  ]
  it('prints a message, and exits like a shell with 126 or 127', async () => {
    // The cases with the same exit code take the same path in `holdfast`. So every second case is
    // enough in a quick run.
    const chosenCases = cases.filter((_, i) => i % quickOrFull(2, 1) === 0)
    const runs = chosenCases.map(async ([label, command, code, message]) => {
      const ended = await runFailing(command())
      expect(ended.code, label).to.equal(code)
      expect(ended.firstLine, label).to.match(message)
    })
    await Promise.all(runs)
  })

  it('prints a message if another process has opened the program for writing', async () => {
    const path = makeScratchFolder(stage).path('busy')
    spawnSync('cp', ['/bin/true', path])
    const writing = await open(path, 'r+')
    stage.onCleanUp(() => writing.close())
    const { code, firstLine } = await runFailing([path])
    expect(code).to.equal(126)
    expect(firstLine).to.match(/busy/)
  })

  it('prints a message if the command is not on the PATH or not executable', async () => {
    const folder = makeScratchFolder(stage).path('bin')
    mkdirSync(folder)
    await writeFile(`${folder}/tool`, '')
    expect((await runFailing(['tool'], { PATH: '/nowhere' })).code).to.equal(127)
    expect((await runFailing(['tool'], { PATH: folder })).code).to.equal(126)
  })

  /** Makes a symbolic link that leads to itself. Returns its path. */
  function linkToItself(): string {
    const path = makeScratchFolder(stage).path('loop')
    symlinkSync(path, path)
    return path
  }
})
