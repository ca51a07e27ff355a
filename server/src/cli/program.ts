/**
 * Defines the whole command line as one commander program. `main.ts` parses the command line with
 * this program. The completion scripts and the manual page are generated from this program.
 */
import { readFileSync } from 'node:fs'
import { nearestName } from '@holdfast/shared'
import { Command, type Help, type Option } from 'commander'
import { brokerGroup } from './connecting.js'
import { exitHelp } from './exitCodes.js'
import { escapeLines, writeError, writeOut } from './output.js'
import { timeHelp } from './parse.js'
import { refuseInvalidUtf8 } from './run/bytes.js'
import { flockHint } from './run/options.js'

/** Loads the code of a command, and makes the command. The parameter is the whole program. */
type CommandLoader = (program: Command) => Promise<Command>

/**
 * The commands by name, grouped by the headings of the help. The code of a command is loaded only
 * when the command is made, so that a broker starts without the code of all other commands.
 */
const commandGroups: Readonly<Record<string, Readonly<Record<string, CommandLoader>>>> = {
  'Locks:': {
    run: async () => (await import('./run/run.js')).runCommand(),
    elect: async () => (await import('./run/elect.js')).electCommand(),
    hold: async () => (await import('./run/hold.js')).holdCommand(),
    once: async () => (await import('./once.js')).onceCommand(),
    unlock: async () => (await import('./unlock.js')).unlockCommand(),
  },
  'Inspecting a broker:': {
    ls: async () => (await import('./inspect.js')).lsCommand(),
    show: async () => (await import('./inspect.js')).showCommand(),
    session: async () => (await import('./session.js')).sessionCommand(),
    watch: async () => (await import('./watch.js')).watchCommand(),
    top: async () => (await import('./top.js')).topCommand(),
    stats: async () => (await import('./inspect.js')).statsCommand(),
    status: async () => (await import('./status.js')).statusCommand(),
    ping: async () => (await import('./ping.js')).pingCommand(),
    bench: async () => (await import('./bench.js')).benchCommand(),
  },
  'Running a broker:': {
    serve: async () => (await import('./serve.js')).serveCommand(),
    token: async () => (await import('./token.js')).tokenCommand(),
    rebalance: async () => (await import('./rebalance.js')).rebalanceCommand(),
  },
  'The shell:': {
    completion: async (program) => (await import('./completion.js')).completionCommand(program),
  },
}

/**
 * Creates the program. The version comes from package.json of this package.
 *
 * @param firstWord The first word of the command line. If the word is the name of a command other
 *   than `completion`, the program has only this command. Otherwise the program has all commands.
 */
export async function createProgram(firstWord?: string): Promise<Command> {
  const { version } = JSON.parse(
    readFileSync(new URL('../../package.json', import.meta.url), 'utf8'),
  ) as { version: string }
  const program = new Command('holdfast')
    .description(
      'A lock broker: sessions hold locks, and the broker pushes each grant to its waiter.',
    )
    .version(version)
    .addHelpText('after', exitHelp)
    // Options after the name of a command belong to that command.
    .enablePositionalOptions()
    // All words must be UTF-8, except the command line that `run` or `elect` starts.
    .hook('preAction', (_, command) => refuseInvalidUtf8(wrappedWordCount(command)))
  for (const [heading, loaders] of Object.entries(neededCommands(firstWord))) {
    for (const loadCommand of Object.values(loaders)) {
      const command = await loadCommand(program)
      if (command.options.some(({ flags }) => flags.endsWith('<time>'))) {
        command.addHelpText('after', timeHelp)
      }
      program.addCommand(command.helpGroup(heading))
    }
  }
  program.commandsGroup('The shell:').helpCommand('help [command]', 'print the help of a command')
  for (const command of [program, ...program.commands]) configure(command)
  return program
}

/** The groups with the commands that a command line with this first word needs. */
function neededCommands(firstWord: string | undefined): typeof commandGroups {
  // `completion` lists all commands.
  if (firstWord === undefined || firstWord === 'completion') return commandGroups
  for (const [heading, loaders] of Object.entries(commandGroups)) {
    const loadCommand = Object.hasOwn(loaders, firstWord) ? loaders[firstWord] : undefined
    if (loadCommand !== undefined) return { [heading]: { [firstWord]: loadCommand } }
  }
  // The first word is an option or `help`, or is misspelled. A message may then name any command.
  return commandGroups
}

/** How many words at the end are a command line that `run` or `elect` starts. */
function wrappedWordCount(command: Command): number {
  // `once` starts its command with words that Node has decoded, so these must be UTF-8 too.
  if (!['run', 'elect'].includes(command.name())) return 0
  // The arguments of `run` and `elect` are a key or a name, and then the command line to start.
  const [, words = []] = command.processedArgs as [string, string[]?]
  return words.length
}

/** Sets how a command reports errors and prints its help. */
function configure(command: Command): void {
  command
    .exitOverride()
    .showHelpAfterError('(try --help)')
    // suggestionFor() replaces commander's suggestion, which misses names in capitals and flags
    // with one dash.
    .showSuggestionAfterError(false)
    .configureOutput({
      writeOut,
      writeErr: writeError,
      // Escape the message, because it quotes arguments. A file name among them may have control
      // characters.
      outputError: (text, write) =>
        write(escapeLines(`${text.trimEnd()}${suggestionFor(command, text)}\n`)),
    })
    .configureHelp({ groupItems: ownGroupsFirst })
}

/** A line with the option or command that the user probably meant; empty if there is none. */
function suggestionFor(command: Command, errorMessage: string): string {
  const [, kind, name] = /^error: unknown (option|command) '([^']*)'/.exec(errorMessage) ?? []
  if (name === undefined) return ''
  const flockText =
    kind === 'option' && mayReplaceFlock(command) ? flockHint(command, name) : undefined
  if (flockText !== undefined) return `\n(${flockText})`
  // Suggest nothing for a single letter, because many options are equally similar to a single
  // letter.
  if (/^-.$/.test(name)) return ''
  const options = command.createHelp().visibleOptions(command)
  const names =
    kind === 'option'
      ? options.flatMap(({ long }) => (long === undefined ? [] : [long.slice(2)]))
      : command.commands.map((subcommand) => subcommand.name())
  const suggestion = nearestName(name.replace(/^-+/, ''), names)
  if (suggestion === undefined) return ''
  return `\n(Did you mean ${kind === 'option' ? '--' : ''}${suggestion}?)`
}

/**
 * Whether users may run the command in place of flock(1), which locks a file on one machine. They
 * may then type an option of flock(1).
 */
function mayReplaceFlock(command: Command): boolean {
  return ['run', 'elect', 'hold'].includes(command.name())
}

/**
 * Groups the items of a help by heading. `brokerGroup`, the options for the connection to a broker,
 * comes last.
 */
function ownGroupsFirst<T extends Command | Option>(
  this: Help,
  all: T[],
  visibleItems: T[],
  headingOf: (item: T) => string,
): Map<string, T[]> {
  const groups = new Map<string, T[]>()
  // The groups keep the order in which the first item of each group was defined.
  for (const item of [...all, ...visibleItems]) groups.set(headingOf(item), [])
  for (const item of visibleItems) groups.get(headingOf(item))?.push(item)
  const filledGroups = [...groups].filter(([, items]) => items.length > 0)
  // 1 for `brokerGroup`, and 0 for all other groups.
  const rankOf = (heading: string) => Number(heading === brokerGroup)
  return new Map(filledGroups.sort(([a], [b]) => rankOf(a) - rankOf(b)))
}
