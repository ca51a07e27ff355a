/**
 * Generates the completion script for fish 3 and newer. Each flag and each command has a line
 * `complete …` in the script. The condition of the line says to which command the word at the
 * cursor must belong.
 */
import type { CommandModel, FlagModel, ProgramModel } from './model.js'

export function fishScript({ name, flags, commands }: ProgramModel): string {
  // Texts such as 'serve --port'.
  const flagsTakingValue = commands.flatMap((command) =>
    command.flags
      .filter(({ value }) => value !== undefined)
      .flatMap(({ names }) => names.map((flag) => fishQuoted(`${command.name} ${flag}`))),
  )
  // The commands that run another program: `run KEY COMMAND` runs COMMAND.
  const wrappingCommands = commands.filter(({ wrappedCommandAt }) => wrappedCommandAt !== undefined)
  // The condition that the word at the cursor belongs to this command. In fish, '' is an empty
  // word. As the command here, '' means that no command precedes the cursor.
  const belongsTo = (command: string) => fishQuoted(`__${name}_at ${command}`)
  return `# fish completion for ${name}. To load it: ${name} completion fish | source
${wordFunctions.replaceAll('NAME', name).replaceAll('TAKING', flagsTakingValue.join(' '))}
function __${name}_wraps
    switch "$argv[1]"
${wrappingCommands.map((command) => `        case ${command.name}\n            echo ${command.wrappedCommandAt}`).join('\n')}
    end
end

complete -c ${name} -f
complete -c ${name} -n ${fishQuoted(`__${name}_wrapped`)} -xa ${fishQuoted(`(__${name}_complete_wrapped)`)}
${flags.map((flag) => `complete -c ${name} -n ${belongsTo("''")} ${flagArgs(flag)}`).join('\n')}
${commands.map((command) => `complete -c ${name} -n ${belongsTo("''")} -xa ${command.name} -d ${fishQuoted(command.description)}`).join('\n')}
${commands.flatMap((command) => linesOf(name, command, belongsTo(command.name))).join('\n')}
`
}

/**
 * The lines for the flags and the choices of one command.
 *
 * @param name The name of the program.
 * @param condition Fish code that is true where these flags and choices may stand.
 */
function linesOf(name: string, { flags, args }: CommandModel, condition: string): string[] {
  const argChoices = args.flatMap(({ choices }) => choices)
  return [
    ...flags.map((flag) => `complete -c ${name} -n ${condition} ${flagArgs(flag)}`),
    ...(argChoices.length === 0
      ? []
      : [`complete -c ${name} -n ${condition} -xa ${fishQuoted(argChoices.join(' '))}`]),
  ]
}

/** The arguments of `complete` for a flag: its names, its value and its description. */
function flagArgs({ names, description, value }: FlagModel): string {
  const flags = names.map((flag) =>
    flag.startsWith('--') ? `-l ${flag.slice(2)}` : `-s ${flag.slice(1)}`,
  )
  return [...flags, ...valueArgs(value), `-d ${fishQuoted(description)}`].join(' ')
}

/**
 * The arguments for the value of a flag: `-r -F` completes files, `-x` takes a value but no file.
 */
function valueArgs(value: FlagModel['value']): string[] {
  if (value === undefined) return []
  if (value.isFile) return ['-r', '-F']
  if (value.choices.length === 0) return ['-x']
  return ['-x', `-a ${fishQuoted(value.choices.join(' '))}`]
}

function fishQuoted(text: string): string {
  return `'${text.replace(/['\\]/g, '\\$&')}'`
}

/**
 * Functions that walk over the words before the cursor to find the command. `fishScript` replaces
 * NAME by the name of the program, and TAKING by the flags that take a value, each after its
 * command, such as `serve --port`. In the script, `wraps` is how many arguments of the command
 * stand before the command line of another program.
 */
const wordFunctions = `
# Prints the command of NAME, and usually returns 1. If the cursor is in the command line of another
# program (run KEY COMMAND), also prints the words of that command line, and returns 0.
function __NAME_split
    set -l words (commandline -opc)
    set -l command ''
    set -l wraps ''
    set -l count 0
    set -l skip 0
    set -e words[1]
    while test (count $words) -gt 0
        set -l word $words[1]
        set -e words[1]
        if test $skip = 1
            set skip 0
        else if string match -q -- '-*' $word
            if contains -- "$command $word" TAKING
                set skip 1
            end
        else if test -z "$command"
            set command $word
            set wraps (__NAME_wraps $command)
        else
            set count (math $count + 1)
            if test "$count" = "$wraps"
                if test "$words[1]" = --
                    set -e words[1]
                end
                echo $command
                string join \\n -- $words
                return 0
            end
        end
    end
    echo "$command"
    return 1
end

# Whether the word at the cursor belongs to the command $argv[1], and not to another program.
# The fish command "set" keeps the status of __NAME_split, and "and" tests this status.
function __NAME_at
    set -l split (__NAME_split)
    and return 1
    test "$split[1]" = "$argv[1]"
end

# Whether the word at the cursor belongs to the command line of another program.
function __NAME_wrapped
    __NAME_split >/dev/null
end

function __NAME_complete_wrapped
    set -l words (__NAME_split)
    set -e words[1]
    set -l line (string escape -- $words) (commandline -ct)
    complete -C "$line"
end
`
