/**
 * Tests the arguments of `holdfast run`: as with flock(1), options stand before the key. All words
 * after the key belong to the command, except `--` or `-c` directly after the key.
 */
import { expect } from 'chai'
import { Stage } from '../e2e/stage.js'
import { quickOrFull } from '../support/counts.js'
import { Holdfast } from './command.js'

/** The words of each spelling of each option of `run`, and other unusual words. */
const spellings: readonly (readonly string[])[] = [
  ...['-s', '--shared', '-t', '--try', '-q', '--quiet', '-h', '--help'].map(toSpelling),
  ...['--leader-only', '--pass-token', '--allow-insecure', '--version', '-V'].map(toSpelling),
  ...['-st', '-qts', '-c', '--'].map(toSpelling),
  ...['--timeout', '--lease', '--grace', '--kill-after', '--min-hold'].flatMap((name) => [
    [name, '5s'],
    [`${name}=5s`],
  ]),
  ...['--name', '--url', '-u', '--token-file', '--command', '-c'].flatMap((name) => [
    [name, 'x'],
    [`${name}=x`],
  ]),
  ...[['-E', '3'], ['-E3'], ['-sE3'], ['--conflict-exit-code=3'], ['--conflict-exit-code', '3']],
  ...[['-uws://127.0.0.1:1'], ['--no-such-option'], ['-'], ['', ' ', "a'b"]],
]

/** Makes a spelling of one word. */
function toSpelling(word: string): string[] {
  return [word]
}

/** A program that prints its arguments as a JSON array on one line. */
const printer = [
  process.execPath,
  '-e',
  'console.log(JSON.stringify(process.argv.slice(1)))',
  // This `--` ends the options of Node, so Node passes all later words to the program.
  '--',
]

describe('the arguments of holdfast run', () => {
  const stage = Stage.forEachTest()

  it('pass each option that stands after the key to the command', async () => {
    const { url } = await stage.startBroker()
    // A quick run tests every 40th spelling.
    const chosenSpellings = spellings.filter((_, i) => i % quickOrFull(40, 1) === 0)
    const variants = chosenSpellings.flatMap((words) => [
      { words, args: ['k', ...printer, ...words, 'last'] },
      { words, args: ['k', '--', ...printer, ...words, 'last'] },
    ])
    // Four commands run at once, each with a key of its own.
    for (const batch of inBatches(variants, 4)) {
      const ended = await Promise.all(
        batch.map(({ args: [key, ...rest] }, i) =>
          Holdfast.run(stage, ['run', '--url', url, `${key}${i}`, ...rest]),
        ),
      )
      ended.forEach(({ code, out, err }, i) => {
        const { words, args } = batch[i]!
        expect({ code, out, err }, args.join(' ')).to.deep.equal({
          code: 0,
          out: [JSON.stringify([...words, 'last'])],
          err: [],
        })
      })
    }
  }).timeout(120_000)

  it('pass all options together to the command if they stand after the key', async () => {
    const { url } = await stage.startBroker()
    const words = spellings.flat()
    const { out } = await Holdfast.run(stage, ['run', '--url', url, 'k', ...printer, ...words])
    expect(out).to.deep.equal([JSON.stringify(words)])
  })

  const forms: readonly (readonly [string, readonly string[]])[] = [
    ['a key and a command', ['k', 'printf', '%s', 'ok']],
    ['-- between the key and the command', ['k', '--', 'printf', '%s', 'ok']],
    ['-- before the key', ['--', 'k', 'printf', '%s', 'ok']],
    ['-- before and after the key', ['--', 'k', '--', 'printf', '%s', 'ok']],
    ['a key that looks like an option', ['--', '-t', 'printf', '%s', 'ok']],
    ['-c and a line', ['k', '-c', 'printf %s ok; exit 0']],
    ['--command and a line', ['k', '--command', 'printf ok && true']],
    ['options before the key', ['-sq', '--timeout=30s', '-E', '9', 'k', 'printf', '%s', 'ok']],
  ]
  it('run the command in each form of the command line', async () => {
    const runs = chooseSome(forms).map(async ([form, args]) => {
      const { url } = await stage.startBroker()
      const ended = await Holdfast.run(stage, ['run', '--url', url, ...args])
      expect(ended, form).to.deep.include({ code: 0, out: ['ok'], err: [] })
    })
    await Promise.all(runs)
  })

  it('can be -c and a line, which the shell in the variable SHELL runs, as with flock', async () => {
    const { url } = await stage.startBroker()
    // In place of a shell, `echo` prints the arguments that a shell would get.
    const env = { SHELL: '/bin/echo' }
    const { out } = await Holdfast.run(stage, ['run', '--url', url, 'k', '-c', 'a b'], { env })
    expect(out).to.deep.equal(['-c a b'])
  })

  const refused: readonly (readonly [readonly string[], RegExp])[] = [
    [['k'], /The command after the key is missing.*holdfast hold KEY/],
    [['k', '--'], /The command after the key is missing/],
    [['k', '-c'], /-c takes exactly one argument, a line for the shell, but has 0/],
    [['k', '-c', 'echo', 'x'], /-c takes exactly one argument.*but has 2/],
    [['-E', '256', 'k', 'true'], /exit code from 0 to 255/],
    [['--min-hold', 'long', 'k', 'true'], /It must be a time/],
    [[], /missing required argument 'key'/],
  ]
  it('are refused with a message if they are invalid', async () => {
    const runs = chooseSome(refused).map(async ([args, message]) => {
      const { code, out, err } = await Holdfast.runRefused(stage, ['run', ...args])
      expect({ code, out }, args.join(' ')).to.deep.equal({ code: 64, out: [] })
      expect(err.join('\n')).to.match(message)
    })
    await Promise.all(runs)
  })

  it('have the command right after the key, and the error explains this for an option after the key', async () => {
    const { url, broker } = await stage.startBroker()
    const args = ['run', '--url', url, 'k', '--timeout', '5s', '--', 'echo', 'never']
    const { code, out, err } = await Holdfast.run(stage, args)
    expect({ code, out }).to.deep.equal({ code: 127, out: [] })
    expect(err[0]).to.match(/Cannot run "--timeout".*the options of holdfast before the key/)
    expect(broker.query().heldCount).to.equal(0)
  })
})

/** Chooses every second element in a quick run, and all elements in a full run. */
function chooseSome<T>(elements: readonly T[]): T[] {
  return elements.filter((_, i) => i % quickOrFull(2, 1) === 0)
}

/** Splits a list into lists of at most this size. */
function inBatches<T>(elements: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(elements.length / size) }, (_, i) =>
    elements.slice(i * size, (i + 1) * size),
  )
}
