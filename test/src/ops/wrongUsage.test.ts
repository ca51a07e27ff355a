/**
 * Tests wrong command lines: the commands refuse unknown flags and surplus arguments, suggest the
 * right flag, and print the range of a number.
 */
import { expect } from 'chai'
import { Stage } from '../e2e/stage.js'
import { Holdfast } from './command.js'

/** The part of commander's output configuration that the tests use. */
interface Output {
  readonly writeErr: (text: string) => void
  readonly outputError: (text: string, write: (text: string) => void) => void
}

/** The part of a command of commander that the tests use. */
interface Command {
  name(): string
  readonly commands: readonly Command[]
  configureOutput(): object
  configureOutput(output: object): this
  parseAsync(args: string[], how: { from: 'user' }): Promise<unknown>
}

// The package does not export these two files, so the tests import them by URL.
const serverUrl = import.meta.resolve('@holdfast/server')
const { createProgram } = (await import(new URL('./cli/program.js', serverUrl).href)) as {
  createProgram: (firstWord?: string) => Promise<Command>
}
const { reportError } = (await import(new URL('./cli/exitCodes.js', serverUrl).href)) as {
  reportError: (error: unknown) => number
}

/** For each command, the arguments to which the tests add a wrong flag or surplus arguments. */
const baseArguments: Readonly<Record<string, readonly string[]>> = {
  serve: [],
  run: [],
  hold: ['k'],
  elect: [],
  once: [],
  ls: [],
  show: ['k'],
  session: ['s'],
  watch: [],
  top: [],
  stats: [],
  status: [],
  rebalance: [],
  unlock: ['k', '--fence', '1', '--reason', 'r'],
  token: ['ann'],
  ping: [],
  bench: [],
  completion: ['bash'],
}

describe('a wrong command line of holdfast', () => {
  const stage = Stage.forEachTest()

  /**
   * Parses the arguments in this process with the code of the command, which is faster than to
   * start the command. Checks that the exit code is 64, and checks the output.
   */
  async function expectRefused(args: readonly string[], expected: RegExp): Promise<void> {
    const program = await createProgram(args[0])
    let output = ''
    const writeErr = (text: string) => {
      output += text
    }
    for (const command of [program, ...program.commands]) {
      const { outputError } = command.configureOutput() as Output
      const redirected: Output = { writeErr, outputError: (text) => outputError(text, writeErr) }
      command.configureOutput(redirected)
    }
    let code: number | undefined
    try {
      await program.parseAsync([...args], { from: 'user' })
    } catch (error) {
      code = reportError(error)
    }
    expect(code, args.join(' ')).to.equal(64)
    expect(output, args.join(' ')).to.match(expected)
  }

  it('ends with exit code 64, and with the suggested flag only on standard error', async () => {
    const { code, out, err } = await Holdfast.run(stage, ['ls', '--JSON'])
    expect([code, out, err[1]]).to.deep.equal([64, [], '(Did you mean --json?)'])
  })

  it('is refused for an unknown flag and for a surplus argument', async () => {
    const commands = (await createProgram()).commands.map((command) => command.name())
    expect(Object.keys(baseArguments)).to.have.members(commands)
    await Promise.all(
      Object.entries(baseArguments).flatMap(([command, args]) => [
        expectRefused([command, '--hepl', ...args], /Did you mean --help\?/),
        // `status` takes any number of URLs. `run`, `elect` and `once` take the command line of any
        // program.
        ...(['run', 'elect', 'once', 'status'].includes(command)
          ? []
          : [expectRefused([command, ...args, 'one', 'more'], /too many arguments for/)]),
      ]),
    )
  })

  it('is refused with a suggestion for a mistyped flag or command', async () => {
    await Promise.all([
      expectRefused(['ls', '--JSON'], /Did you mean --json\?/),
      expectRefused(['serve', '--fenceFile', 'x'], /Did you mean --fence-file\?/),
      expectRefused(['serve', '--fence_file', 'x'], /Did you mean --fence-file\?/),
      expectRefused(['token', 'ann', '--files', 'x'], /Did you mean --file\?/),
      // The flags of `run` here are flags of flock(1), which users may know.
      expectRefused(['run', '-n', 'k', 'true'], /Did you mean --try\?/),
      expectRefused(['run', '--nonblock', 'k', 'true'], /Did you mean --try\?/),
      expectRefused(['run', '-w', '5', 'k', 'true'], /Did you mean --timeout\?/),
      expectRefused(['run', '--wait=5', 'k', 'true'], /Did you mean --timeout\?/),
      expectRefused(['run', '-x', 'k', 'true'], /exclusive without --shared/),
      expectRefused(['run', '-c', 'echo', 'k'], /holdfast run KEY -c LINE/),
      expectRefused(['run', '-o', 'k', 'true'], /Did you mean --leader-only\?/),
      expectRefused(['ls', '-k'], /^error: unknown option '-k'\n\(try --help\)\n$/),
      expectRefused(['LS'], /Did you mean ls\?/),
      expectRefused(['sttaus'], /Did you mean status\?/),
      expectRefused(['completion', 'tcsh'], /bash, zsh, fish/),
      expectRefused(['serve', '--durability', 'flushd'], /flushed, relaxed/),
      expectRefused([], /Usage: holdfast/),
    ])
  })

  it('is refused with a message that says which values are allowed', async () => {
    await Promise.all([
      expectRefused(['serve', '--drain', '30d'], /from 0 to 2147483647ms/),
      expectRefused(['serve', '--port', 'http'], /a whole number/),
      expectRefused(['ping', '--count', '0'], /from 1 to 1000000/),
      expectRefused(['bench', '--sessions', '0'], /from 1 to 10000/),
      expectRefused(['top', '--interval', '99ms'], /from 100ms to/),
      expectRefused(['ls', '--limit', '0'], /at least 1/),
      expectRefused(['show', 'k', '--limit', '1001'], /from 1 to 1000/),
      expectRefused(['unlock', 'k', '--fence', '0', '--reason', 'r'], /at least 1/),
      expectRefused(['unlock', 'k', '--fence', '1', '--reason', ''], /1 to 256 characters/),
      expectRefused(['run', '--name', 'x'.repeat(257), 'k', 'true'], /1 to 256 characters/),
      expectRefused(['run', '--lease', '0', 'k', 'true'], /from 1ms to/),
      expectRefused(['once', '--keep', '0', 'k', 'true'], /from 1ms to/),
      expectRefused(
        ['elect', '--value', `${'['.repeat(65)}${']'.repeat(65)}`, 'k', 'true'],
        /at most 64 levels/,
      ),
    ])
  })

  it('is refused if a time has no unit', async () => {
    const patternFor = (flag: string) =>
      new RegExp(`'[^']*${flag} <time>' argument '12' is invalid. It has no unit: write .* 12s or`)
    const timeFlags: readonly (readonly [string, readonly string[]])[] = [
      ['run', ['--timeout', '--lease', '--grace', '--max-hold', '--kill-after', '--min-hold']],
      ['hold', ['--timeout']],
      ['elect', ['--timeout']],
      ['once', ['--keep', '--timeout']],
      ['top', ['--interval']],
      ['bench', ['--time']],
      ['serve', ['--drain', '--quiet-start', '--dead-time', '--snapshot-every', '--lease-max']],
    ]
    await Promise.all(
      timeFlags.flatMap(([command, flags]) =>
        flags.map((flag) => expectRefused([command, flag, '12'], patternFor(flag))),
      ),
    )
  })

  it('can be corrected with --help, which explains <time> for each command that has a <time>', async () => {
    for (const command of ['run', 'hold', 'elect', 'once', 'top', 'bench', 'serve']) {
      const { out } = await Holdfast.run(stage, [command, '--help'])
      const lines = out.filter((line) => line.startsWith('A <time> is a number with a unit'))
      expect(lines, command).to.have.length(1)
    }
    expect((await Holdfast.run(stage, ['ls', '--help'])).out.join()).to.not.include('<time>')
  })

  it('is refused with the allowed values of a setting, which may be a flag or an environment variable', async () => {
    // `serve` accepts `--dead-time` only with a shared log.
    const log = ['--log', 'etcd://127.0.0.1:1/x']
    const wrongSettings: readonly (readonly [readonly string[], Record<string, string>, RegExp])[] =
      [
        [['--port', '65536'], {}, /--port .* 0 to 65535, not 65536/],
        [['--admin-port', '70000'], {}, /--admin-port .* 0 to 65535, not 70000/],
        [['--dead-time', '500ms', ...log], {}, /from 1000 to 60000/],
        [['--lease-min', '0'], {}, /--lease-min .* from 1 to 2147483647/],
        [[], { HOLDFAST_PORT: '65536' }, /HOLDFAST_PORT .* 0 to 65535, not 65536/],
        [[], { HOLDFAST_ADMIN_PORT: 'http' }, /HOLDFAST_ADMIN_PORT .* 0 to 65535, not "http"/],
        [[], { HOLDFAST_DRAIN: '10' }, /HOLDFAST_DRAIN has no unit: .* 10s or 10ms, not "10"/],
        [[], { HOLDFAST_DRAIN: '30d' }, /HOLDFAST_DRAIN .* 0 to 2147483647ms, .* not "30d"/],
      ]
    await Promise.all(
      wrongSettings.map(async ([args, env, pattern]) => {
        const { code, err } = await Holdfast.run(stage, ['serve', '--check', ...args], { env })
        // 78 is the exit code for an invalid setting.
        expect([code, err.length], String(pattern)).to.deep.equal([78, 1])
        expect(err[0]).to.match(pattern)
      }),
    )
  })

  it('can be corrected with --help, which groups the flags', async () => {
    const headings = async (command: string) =>
      (await Holdfast.run(stage, [command, '--help'])).out.filter((line) => /^[A-Z].*:$/.test(line))
    const serve = await headings('serve')
    // The last heading is that of the examples.
    expect(serve.slice(0, -1)).to.deep.equal([
      'Options:',
      'Listening:',
      'Keeping locks over a restart:',
      'Sharing a log with other brokers:',
      'Clients and their tokens:',
      'TLS, web pages and proxies:',
      'Leases and limits:',
      'Monitoring:',
    ])
    expect(await headings('ls')).to.deep.equal(['Arguments:', 'Options:', 'Broker:', 'Examples:'])
  })
})
