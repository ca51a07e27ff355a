/**
 * Generates the completion script for zsh. The script uses the function `_arguments` of zsh. The
 * script can be sourced after `compinit`, or be saved as `_holdfast` in a folder of `$fpath`.
 */
import {
  type CommandModel,
  type FlagModel,
  type ProgramModel,
  quoted,
  type ValueModel,
} from './model.js'

/**
 * Makes the script. The last line of the script has two cases. Zsh loads a script from `$fpath`
 * only at the first Tab, so the last line then completes the words of the user at once. If the user
 * sources the script, the last line only registers the function for later Tabs.
 */
export function zshScript({ name, flags, commands }: ProgramModel): string {
  return `#compdef ${name}
# zsh completion for ${name}. To load it: source <(${name} completion zsh)
_${name}_commands() {
  local -a commands=(
${commands.map((command) => `    ${quoted(`${command.name}:${escapeForDescribe(command.description)}`)}`).join('\n')}
  )
  _describe -t commands command commands
}

_${name}() {
  local curcontext=$curcontext state line
  typeset -A opt_args
  _arguments -C -S \\
${flagLines(flags, '    ')} \\
    ${quoted(`1:command:_${name}_commands`)} \\
    '*::argument:->rest' && return
  [[ $state == rest ]] || return 1
  curcontext=\${curcontext%:*}-$words[1]:
  case $words[1] in
${commands.map(commandCase).join('\n')}
  esac
}

if [[ $funcstack[1] == _${name} ]]; then _${name} "$@"; else compdef _${name} ${name}; fi
`
}

/** The case of one command in the script: its flags and arguments for `_arguments`. */
function commandCase({ name, flags, args, wrappedCommandAt }: CommandModel): string {
  const argLines = args.map((arg, i) => {
    if (wrappedCommandAt === undefined) return quoted(`${i + 1}:${arg.name}:${completionOf(arg)}`)
    // The command runs another program, as `run KEY COMMAND` does. `(-)` ends the flags of holdfast
    // at the first argument, because later flags may belong to that program.
    return i === wrappedCommandAt
      ? quoted('(-)*:::command:_normal')
      : quoted(`(-)${i + 1}:${arg.name}:${completionOf(arg)}`)
  })
  const lines = [flagLines(flags, '        '), ...argLines.map((line) => `        ${line}`)]
  return `    ${name})
      _arguments -S \\
${lines.filter((line) => line !== '').join(' \\\n')}
      ;;`
}

/** The lines for `_arguments` of these flags. */
function flagLines(flags: readonly FlagModel[], indent: string): string {
  return flags
    .flatMap(({ names, description, value }) =>
      names.map((flag) => {
        // With `=` or `+`, the value may be in the word of the flag, as in `--port=1` or `-p1`.
        const valueMark = value === undefined ? '' : flag.startsWith('--') ? '=' : '+'
        const valuePart = value === undefined ? '' : `:${value.name}:${completionOf(value)}`
        // The `*` lets the user repeat the flag.
        return `${indent}${quoted(`*${flag}${valueMark}[${escapeForArguments(description)}]${valuePart}`)}`
      }),
    )
    .join(' \\\n')
}

/** What `_arguments` completes for a value: file names, or one of the choices. */
function completionOf({ choices, isFile }: ValueModel): string {
  if (isFile) return '_files'
  // Without choices, returns the empty list `()`. The usual text for no choices is a space. But for
  // a space, `_arguments` prints the name of the value as a message. After a message, zsh inserts
  // no flag, not even the only flag that matches.
  return `(${choices.join(' ')})`
}

/** Escapes a description for `_arguments`. */
function escapeForArguments(text: string): string {
  return text.replace(/[[\]\\:]/g, '\\$&')
}

/** Escapes a description for `_describe`. */
function escapeForDescribe(text: string): string {
  return text.replaceAll('\\', '\\\\')
}
