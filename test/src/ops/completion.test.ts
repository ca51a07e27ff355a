/**
 * Tests `holdfast completion`, which prints a completion script for a shell. Real shells complete
 * command lines with these scripts.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdirSync, readFileSync } from 'node:fs'
import { expect } from 'chai'
import { Stage } from '../e2e/stage.js'
import { needs } from '../support/needs.js'
import { Holdfast } from './command.js'
import { makeScratchFolder, type ScratchFolder } from './scratch.js'

/**
 * What the test types after `holdfast`, each with the words that `holdfast` gets from the completed
 * line. A `\t` is the Tab key.
 */
const completionCases: readonly (readonly [typedLine: string, words: readonly string[]])[] = [
  ['ser\t', ['serve']],
  ['serve --fence-f\t x', ['serve', '--fence-file', 'x']],
  ['serve --durability fl\t', ['serve', '--durability', 'flushed']],
  ['serve --durability=rel\t', ['serve', '--durability=relaxed']],
  ['serve --log-level si\t --metr\t', ['serve', '--log-level', 'silent', '--metrics']],
  ['serve --journal fold\t', ['serve', '--journal', 'folder/']],
  ['ls --js\t', ['ls', '--json']],
  ['completion fi\t', ['completion', 'fish']],
  ['help unl\t', ['help', 'unlock']],
  ['run orders:42 uniq-comm\t', ['run', 'orders:42', 'uniq-command']],
  ['run --shared k -- uniq-comm\t', ['run', '--shared', 'k', '--', 'uniq-command']],
  [
    'run --timeout 5s k uniq-command note\t',
    ['run', '--timeout', '5s', 'k', 'uniq-command', 'notes.txt'],
  ],
  // The shell completes no flag of `holdfast` here, because `--shar` belongs to `uniq-command`.
  ['run k uniq-command --shar\t', ['run', 'k', 'uniq-command', '--shar']],
]

describe('holdfast completion', () => {
  const stage = Stage.forEachTest()

  /** Makes a folder with the completion script of a shell, and with files that a line can name. */
  async function makeFolder(shell: string): Promise<ScratchFolder & { readonly folder: string }> {
    const files = makeScratchFolder(stage)
    const { code, out } = await Holdfast.run(stage, ['completion', shell])
    expect(code).to.equal(0)
    files.write(`script.${shell}`, `${out.join('\n')}\n`)
    files.write('notes.txt', '')
    files.write('uniq-command', '#!/bin/sh\n')
    chmodSync(files.path('uniq-command'), 0o755)
    mkdirSync(files.path('folder'))
    return { ...files, folder: files.path('') }
  }

  /**
   * Types the line of each case into an interactive shell on a terminal. Returns the words that
   * `holdfast` got from each line. Here `holdfast` is a shell function, which appends its words to
   * a file.
   *
   * @param firstLines Lines that the shell runs before it defines the function `holdfast`.
   */
  async function typeCases(shell: string, firstLines: readonly string[]) {
    const files = await makeFolder(shell)
    const setupLines = [
      `PATH=$PWD:$PATH`,
      ...firstLines,
      `holdfast() { printf '<%s>' "$@" >>words; printf '\\n' >>words; }`,
      `. ${files.path(`script.${shell}`)}`,
    ]
    files.write('rc', `${setupLines.join('\n')}\n`)
    const command = shell === 'bash' ? 'bash --norc --noprofile -i' : 'zsh -f -i'
    const terminal = spawn('script', ['-qec', command, '/dev/null'], {
      cwd: files.folder,
      env: { ...process.env, TERM: 'dumb', PS1: '', INPUTRC: '/dev/null' },
      stdio: ['pipe', 'pipe', 'pipe'],
    })
    stage.onCleanUp(() => terminal.kill('SIGKILL'))
    let shown = ''
    terminal.stdout.setEncoding('utf8').on('data', (text: string) => {
      shown += text
    })
    const untilShown = async (text: string) => {
      while (!shown.includes(text)) await once(terminal.stdout, 'data')
    }
    // The terminal also shows each typed line. Because of the quotes, a typed line does not contain
    // the text that the test waits for.
    terminal.stdin.write(`. ./rc; echo rea''dy\n`)
    await untilShown('ready')
    for (const [i, [line]] of completionCases.entries()) {
      terminal.stdin.write(`holdfast ${line}\n echo do''ne-${i}-\n`)
      await untilShown(`done-${i}-`)
    }
    terminal.stdin.write('exit\n')
    await once(terminal, 'close')
    return readFileSync(files.path('words'), 'utf8').trimEnd().split('\n')
  }

  const expected = completionCases.map(([, words]) => words.map((word) => `<${word}>`).join(''))

  describe('bash', () => {
    // The program script(1) gives the shell a terminal.
    needs('scriptWithoutFlush')

    it('completes commands, flags, values, files and the command of run', async () => {
      expect(await typeCases('bash', [])).to.deep.equal(expected)
    })

    it('uses no syntax that is newer than bash 3.2', async () => {
      const { out } = await Holdfast.run(stage, ['completion', 'bash'])
      expect(out.join('\n')).not.to.match(/mapfile|readarray|declare -A|\$\{\w+,,|\[-1\]/)
    })
  })

  describe('zsh', () => {
    needs('scriptWithoutFlush', 'zsh')

    it('completes commands, flags, values, files and the command of run', async () => {
      const firstLines = [
        'autoload -Uz compinit',
        'compinit -u -d ./dump',
        // Otherwise zsh removes the slash of a completed folder when the line ends.
        'setopt no_auto_remove_slash',
      ]
      expect(await typeCases('zsh', firstLines)).to.deep.equal(expected)
    })
  })

  describe('fish', () => {
    needs('fish')

    it('completes commands, flags, values, files and the command of run', async () => {
      const files = await makeFolder('fish')
      const linesUpToLastTab = completionCases.map(
        ([line]) => `holdfast ${line.slice(0, line.lastIndexOf('\t'))}`,
      )
      // An earlier tab becomes a space, because fish completes only the last word.
      const fishCommands = linesUpToLastTab.map(
        (line) => `complete -C'${line.replaceAll('\t', ' ')}'; echo ---`,
      )
      const program = `set -x PATH $PWD $PATH; source script.fish; ${fishCommands.join('; ')}`
      const fish = spawn('fish', ['--no-config', '-c', program], { cwd: files.folder })
      stage.onCleanUp(() => fish.kill('SIGKILL'))
      let out = ''
      fish.stdout.setEncoding('utf8').on('data', (text: string) => {
        out += text
      })
      await once(fish, 'close')
      const answers = out.split('---\n').map((answer) =>
        answer
          .trimEnd()
          .split('\n')
          .map((line) => line.split('\t')[0]),
      )
      // fish may print a value with its flag: `--flag=value`.
      const withoutFlag = (word: string | undefined) => word?.replace(/^--[\w-]+=/, '')
      // fish does not complete the line, but lists the possible completions of the last word. The
      // list must have the completed word: the last word that the typed line does not contain.
      for (const [i, [line, words]] of completionCases.entries()) {
        const completedWord = words.filter((word) => !line.split(/\s+/).includes(word)).at(-1)
        if (completedWord === undefined) expect(answers[i], line).to.deep.equal([''])
        else expect(answers[i]?.map(withoutFlag), line).to.include(withoutFlag(completedWord))
      }
    })
  })

  it('completes every flag of serve in every shell, and refuses an unknown shell', async () => {
    const { out } = await Holdfast.run(stage, ['serve', '--help'])
    const flags = out.flatMap((line) => /^ {2}(?:-\w, )?(--[\w-]+)/.exec(line)?.[1] ?? [])
    // `serve` has more than 40 flags. If the pattern above finds fewer, it does not fit the help.
    expect(flags).to.have.length.above(40)
    for (const shell of ['bash', 'zsh', 'fish']) {
      const script = (await Holdfast.run(stage, ['completion', shell])).out.join('\n')
      for (const flag of flags) {
        // A script for fish has `-l flag` instead of `--flag`.
        const isKnown = script.includes(flag) || script.includes(`-l ${flag.slice(2)}`)
        expect(isKnown, `${flag} in ${shell}`).to.equal(true)
      }
    }
    const forUnknownShell = await Holdfast.run(stage, ['completion', 'tcsh'])
    expect(forUnknownShell.code).to.equal(64)
    expect(forUnknownShell.err.join()).to.include('bash, zsh, fish')
  })
})
