/**
 * A model of the command line for completion, read from the commander program. The completion
 * scripts of all shells are generated from this model.
 */
import type { Command } from 'commander'

export interface FlagModel {
  /** As typed: `-p`, `--port`. */
  readonly names: readonly string[]
  readonly description: string
  /** Undefined if the flag takes no value. */
  readonly value: ValueModel | undefined
}

/** The values that a flag or argument accepts: one of `choices`, a file, or any text. */
export interface ValueModel {
  /** The placeholder in the help: `file` for `--ca <file>`. */
  readonly name: string
  readonly choices: readonly string[]
  readonly isFile: boolean
}

export interface CommandModel {
  readonly name: string
  readonly description: string
  readonly flags: readonly FlagModel[]
  readonly args: readonly ValueModel[]
  /**
   * The index of the argument at which the command line of another program begins: 1 for
   * `run KEY COMMAND`. Undefined if the command runs no other program.
   */
  readonly wrappedCommandAt: number | undefined
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
      // The argument of `help` is the name of a command, but commander lists no choices for it.
      return { ...model, args: [{ name: 'command', choices: names, isFile: false }] }
    }),
  }
}

/**
 * Makes the model of a command. An argument `[command...]`, as in `run` and `once`, is the command
 * line of another program.
 */
function commandModel(command: Command): CommandModel {
  const args = command.registeredArguments
  const wrappedAt = args.findIndex((arg) => arg.variadic && arg.name() === 'command')
  return {
    name: command.name(),
    description: command.description(),
    flags: flagsOf(command),
    args: args.map((arg) => valueModel(arg.name(), arg.argChoices)),
    wrappedCommandAt: wrappedAt < 0 ? undefined : wrappedAt,
  }
}

function flagsOf(command: Command): FlagModel[] {
  return command
    .createHelp()
    .visibleOptions(command)
    .map(({ short, long, description, required, optional, argChoices, flags }) => ({
      names: [short, long].filter((name) => name !== undefined),
      description,
      // `flags` is one text, such as `-p, --port <n>`. With `<n>` the flag requires a value, and
      // `required` is true. With `[n]` the value is optional, and `optional` is true.
      value:
        required || optional
          ? valueModel(/[<[]([\w-]+)/.exec(flags)?.[1] ?? 'value', argChoices)
          : undefined,
    }))
}

/** Makes the model of a value. A value with the name `file` or `folder` is a path. */
function valueModel(name: string, choices: readonly string[] = []): ValueModel {
  return { name, choices, isFile: name === 'file' || name === 'folder' }
}

/** Quotes a text in single quotes for bash and zsh. */
export function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`
}
