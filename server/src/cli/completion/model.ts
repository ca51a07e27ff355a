/**
 * What a shell needs to know of the command line to complete it, read from the commander program.
 * The scripts of all shells are made from this, so they know the same.
 */
import type { Command } from 'commander'

export interface FlagModel {
  /** As typed: `-p`, `--port`. */
  readonly names: readonly string[]
  readonly description: string
  /** Undefined if the flag takes no value. */
  readonly value: ValueModel | undefined
}

/** What can be typed in a place: one of some words, a file, or what no shell can guess. */
export interface ValueModel {
  readonly name: string
  readonly choices: readonly string[]
  readonly isFile: boolean
}

export interface CommandModel {
  readonly name: string
  readonly description: string
  readonly flags: readonly FlagModel[]
  readonly args: readonly ValueModel[]
  /** How many arguments stand before a command line of another program; undefined for none. */
  readonly wrapsAfter: number | undefined
}

export interface ProgramModel {
  readonly name: string
  readonly flags: readonly FlagModel[]
  readonly commands: readonly CommandModel[]
}

export function modelOf(program: Command): ProgramModel {
  const commands = program.createHelp().visibleCommands(program)
  const names = commands.map((command) => command.name())
  return {
    name: program.name(),
    flags: flagsOf(program),
    commands: commands.map((command) => {
      const model = commandModel(command)
      if (command.name() !== 'help') return model
      return { ...model, args: [{ name: 'command', choices: names, isFile: false }] }
    }),
  }
}

function commandModel(command: Command): CommandModel {
  const args = command.registeredArguments
  const wrapped = args.findIndex((one) => one.variadic && one.name() === 'command')
  return {
    name: command.name(),
    description: command.description(),
    flags: flagsOf(command),
    args: args.map((one) => valueModel(one.name(), one.argChoices)),
    wrapsAfter: wrapped < 0 ? undefined : wrapped,
  }
}

function flagsOf(command: Command): FlagModel[] {
  return command
    .createHelp()
    .visibleOptions(command)
    .map(({ short, long, description, required, optional, argChoices, flags }) => ({
      names: [short, long].filter((name) => name !== undefined),
      description,
      value:
        required || optional
          ? valueModel(/[<[]([\w-]+)/.exec(flags)?.[1] ?? 'value', argChoices)
          : undefined,
    }))
}

function valueModel(name: string, choices: readonly string[] = []): ValueModel {
  return { name, choices, isFile: name === 'file' || name === 'folder' }
}

/** The text in single quotes, as bash and zsh read it. */
export function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`
}
