/**
 * Wrong use of the command line: every command refuses unknown flags and surplus arguments,
 * suggests the right flag, and prints the range of a number.
 */
import { expect } from 'chai'
import { Stage } from '../e2e/stage.js'
import { Holdfast } from './command.js'

interface Output {
  readonly writeErr: (text: string) => void
  readonly outputError: (text: string, write: (text: string) => void) => void
}

interface Command {
  readonly commands: readonly Command[]
  configureOutput(): object
  configureOutput(output: object): this
  parseAsync(args: string[], how: { from: 'user' }): Promise<unknown>
}

const server = import.meta.resolve('@holdfast/server')
const { createProgram } = (await import(new URL('./cli/program.js', server).href)) as {
  createProgram: () => Command
}
const { reportError } = (await import(new URL('./cli/exitCodes.js', server).href)) as {
  reportError: (error: unknown) => number
}

/** What each command needs beside the flag that is wrong. */
const commands: Readonly<Record<string, readonly string[]>> = {
  serve: [],
  run: [],
  ls: [],
  show: ['k'],
  watch: [],
  top: [],
  stats: [],
  status: [],
  unlock: ['k', '--fence', '1', '--reason', 'r'],
  token: ['ann'],
  ping: [],
  bench: [],
  completion: ['bash'],
}

describe('a wrong command line of holdfast', () => {
  const stage = Stage.forEachTest()

  /** Parses in this process, which is what a process of its own would do before anything else. */
  async function refused(args: readonly string[], expected: RegExp): Promise<void> {
    const program = createProgram()
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

  it('exits 64 with the suggested flag, and prints nothing else', async () => {
    const { code, out, err } = await Holdfast.run(stage, ['ls', '--JSON'])
    expect([code, out, err[1]]).to.deep.equal([64, [], '(Did you mean --json?)'])
  })

  it('is refused for an unknown flag and for a surplus argument', async () => {
    await Promise.all(
      Object.entries(commands).flatMap(([command, rest]) => [
        refused([command, '--hepl', ...rest], /Did you mean --help\?/),
        ...(command === 'run'
          ? []
          : [refused([command, ...rest, 'one', 'more'], /too many arguments for/)]),
      ]),
    )
  })

  it('gets a suggestion for a mistyped flag or command', async () => {
    await Promise.all([
      refused(['ls', '--JSON'], /Did you mean --json\?/),
      refused(['serve', '--fenceFile', 'x'], /Did you mean --fence-file\?/),
      refused(['serve', '--fence_file', 'x'], /Did you mean --fence-file\?/),
      refused(['token', 'ann', '--files', 'x'], /Did you mean --file\?/),
      refused(['run', '-n', 'k', 'true'], /Did you mean --try\?/),
      refused(['run', '--nonblock', 'k', 'true'], /Did you mean --try\?/),
      refused(['run', '-w', '5', 'k', 'true'], /Did you mean --timeout\?/),
      refused(['run', '--wait=5', 'k', 'true'], /Did you mean --timeout\?/),
      refused(['run', '-x', 'k', 'true'], /exclusive without --shared/),
      refused(['run', '-c', 'echo', 'k'], /holdfast run KEY -c LINE/),
      refused(['run', '-o', 'k', 'true'], /Did you mean --leader-only\?/),
      refused(['ls', '-k'], /^error: unknown option '-k'\n\(try --help\)\n$/),
      refused(['LS'], /Did you mean ls\?/),
      refused(['sttaus'], /Did you mean sta/),
      refused(['completion', 'tcsh'], /bash, zsh, fish/),
      refused(['serve', '--durability', 'flushd'], /flushed, relaxed/),
      refused([], /Usage: holdfast/),
    ])
  })

  it('prints the range of a number or a time', async () => {
    await Promise.all([
      refused(['serve', '--drain', '30d'], /from 0 to 2147483647ms/),
      refused(['serve', '--port', 'http'], /a whole number/),
      refused(['ping', '--count', '0'], /from 1 to 1000000/),
      refused(['bench', '--sessions', '0'], /from 1 to 10000/),
      refused(['top', '--interval', '99ms'], /from 100ms to/),
      refused(['ls', '--limit', '0'], /at least 1/),
      refused(['show', 'k', '--limit', '1001'], /from 1 to 1000/),
      refused(['unlock', 'k', '--fence', '0', '--reason', 'r'], /at least 1/),
    ])
  })

  it('prints the range of a setting from every source', async () => {
    const log = ['--log', 'etcd://127.0.0.1:1/x']
    const wrong: readonly (readonly [readonly string[], Record<string, string>, RegExp])[] = [
      [['--port', '65536'], {}, /--port .* 0 to 65535, not 65536/],
      [['--admin-port', '70000'], {}, /--admin-port .* 0 to 65535, not 70000/],
      [['--dead-time', '500', ...log], {}, /from 1000 to 60000/],
      [['--lease-min', '0'], {}, /lease\.min .* from 1 to 2147483647/],
      [[], { HOLDFAST_PORT: '65536' }, /HOLDFAST_PORT .* 0 to 65535, not 65536/],
      [[], { HOLDFAST_ADMIN_PORT: 'http' }, /HOLDFAST_ADMIN_PORT .* 0 to 65535, not "http"/],
      [[], { HOLDFAST_DRAIN: '30d' }, /HOLDFAST_DRAIN .* 0 to 2147483647, .* not "30d"/],
    ]
    await Promise.all(
      wrong.map(async ([args, env, sentence]) => {
        const { code, err } = await Holdfast.run(stage, ['serve', '--check', ...args], { env })
        expect([code, err.length], String(sentence)).to.deep.equal([78, 1])
        expect(err[0]).to.match(sentence)
      }),
    )
  })

  it('is helped by grouped flags of serve, with shared flags last', async () => {
    const headings = async (command: string) =>
      (await Holdfast.run(stage, [command, '--help'])).out.filter((line) => /^[A-Z].*:$/.test(line))
    const serve = await headings('serve')
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
