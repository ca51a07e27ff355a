/**
 * The whole command line as one commander program: what `main.ts` parses, and what the completion
 * scripts and the manual page are generated from.
 */
import { readFileSync } from 'node:fs'
import { nearest } from '@holdfast/shared'
import { Command, type Help, type Option } from 'commander'
import { benchCommand } from './bench.js'
import { completionCommand } from './completion.js'
import { brokerGroup } from './connecting.js'
import { exitHelp } from './exitCodes.js'
import { lsCommand, showCommand, statsCommand, watchCommand } from './inspect.js'
import { writeError, writeOut } from './output.js'
import { pingCommand } from './ping.js'
import { visibleLines } from './print.js'
import { refuseOwnBytes } from './run/bytes.js'
import { holdCommand } from './run/hold.js'
import { flockHint } from './run/options.js'
import { runCommand } from './run/run.js'
import { serveCommand } from './serve.js'
import { statusCommand } from './status.js'
import { tokenCommand } from './token.js'
import { topCommand } from './top.js'
import { unlockCommand } from './unlock.js'

/** What the commands are for, as headings of the help. */
const groups = (): Readonly<Record<string, readonly Command[]>> => ({
  'Locks:': [runCommand(), holdCommand(), unlockCommand()],
  'Looking at a broker:': [
    ...[lsCommand(), showCommand(), watchCommand(), topCommand(), statsCommand()],
    ...[statusCommand(), pingCommand(), benchCommand()],
  ],
  'Running a broker:': [serveCommand(), tokenCommand()],
})

export function createProgram(): Command {
  const { version } = JSON.parse(
    readFileSync(new URL('../../package.json', import.meta.url), 'utf8'),
  ) as { version: string }
  const program = new Command('holdfast')
    .description('A lock broker: sessions own locks, and whoever waits is pushed the grant.')
    .version(version)
    .addHelpText('after', exitHelp)
    // What follows a command's name is for that command to read.
    .enablePositionalOptions()
    .hook('preAction', (_, command) => refuseOwnBytes(handedOn(command)))
  for (const [heading, commands] of Object.entries(groups())) {
    for (const command of commands) program.addCommand(command.helpGroup(heading))
  }
  program
    .commandsGroup('The shell:')
    .addCommand(completionCommand(program))
    .helpCommand('help [command]', 'print the help of a command')
  for (const command of [program, ...program.commands]) setUp(command)
  return program
}

/** How many words at the end of the command line are for another program. */
function handedOn(command: Command): number {
  if (command.name() !== 'run') return 0
  const [, words = []] = command.processedArgs as [string, string[]?]
  return words.length
}

/** What all commands have in common: how they fail, and how they print. */
function setUp(command: Command): void {
  command
    .exitOverride()
    .showHelpAfterError('(try --help)')
    // Ours knows upper case and short flags as well.
    .showSuggestionAfterError(false)
    .configureOutput({
      writeOut,
      writeErr: writeError,
      // What was typed can come from anywhere, such as a file name.
      outputError: (text, write) =>
        write(visibleLines(`${text.trimEnd()}${hint(command, text)}\n`)),
    })
    .configureHelp({ groupItems: ownFirst })
}

/** For a misspelt option or command: the one that was probably meant. */
function hint(command: Command, text: string): string {
  const [, kind, name] = /^error: unknown (option|command) '([^']*)'/.exec(text) ?? []
  if (name === undefined) return ''
  const ofFlock = kind === 'option' && takesKey(command) ? flockHint(command, name) : undefined
  if (ofFlock !== undefined) return `\n(${ofFlock})`
  // No option is near a single letter.
  if (/^-.$/.test(name)) return ''
  const options = command.createHelp().visibleOptions(command)
  const names =
    kind === 'option'
      ? options.flatMap(({ long }) => (long === undefined ? [] : [long.slice(2)]))
      : command.commands.map((one) => one.name())
  const meant = nearest(name.replace(/^-+/, ''), names)
  if (meant === undefined) return ''
  return `\n(Did you mean ${kind === 'option' ? '--' : ''}${meant}?)`
}

/** Whether it takes a lock as flock(1) does. */
function takesKey(command: Command): boolean {
  return ['run', 'hold'].includes(command.name())
}

/** A command's own options stand before those that all commands share. */
function ownFirst<T extends Command | Option>(
  this: Help,
  all: T[],
  shown: T[],
  headingOf: (item: T) => string,
): Map<string, T[]> {
  const found = new Map<string, T[]>()
  for (const item of [...all, ...shown]) found.set(headingOf(item), [])
  for (const item of shown) found.get(headingOf(item))?.push(item)
  const headings = [...found].filter(([, items]) => items.length > 0)
  const shared = (heading: string) => Number(heading === brokerGroup)
  return new Map(headings.sort(([a], [b]) => shared(a) - shared(b)))
}
