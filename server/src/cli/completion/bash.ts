/**
 * Generates the completion script for bash 3.2 and newer. The script needs no other package. After
 * `run KEY COMMAND`, the script uses the completion script of COMMAND if the package
 * bash-completion is loaded.
 */
import { type CommandModel, type FlagModel, type ProgramModel, quoted } from './model.js'

/** If a value is the name of a file, the script has this text instead of a list of choices. */
const fileNameChoice = '<file>'

export function bashScript({ name, flags, commands }: ProgramModel): string {
  // The flags of the program itself, such as `--version`, precede the command. The script knows no
  // command then, and its variable `command` is empty. So the program has the name '' here.
  const allCommands = [{ name: '', flags }, ...commands]
  const flagsOfCommands = allCommands.flatMap((command) =>
    command.flags.map((flag) => [command.name, flag] as const),
  )
  const flagsWithValue = flagsOfCommands.filter(([, { value }]) => value !== undefined)
  return `# bash completion for ${name}. To load it: source <(${name} completion bash)
_${name}_flags() {
  case $1 in
${allCommands.map((command) => `    ${quoted(command.name)}) list=${quoted(allNames(command.flags))} ;;`).join('\n')}
  esac
}

# Whether the flag $2 of the command $1 takes a value.
_${name}_takes() {
  case "$1 $2" in
${flagsWithValue.map(([command, flag]) => `    ${casePattern(command, flag)}) return 0 ;;`).join('\n')}
  esac
  return 1
}

# The values of the flag $2 of the command $1.
_${name}_values() {
  case "$1 $2" in
${flagsWithValue.flatMap(valueLine).join('\n')}
  esac
}

# The values of the argument with the index $2 of the command $1.
_${name}_args() {
  case "$1 $2" in
${commands.flatMap(argLines).join('\n')}
  esac
}

# How many arguments of the command $1 stand before the command line of another program.
_${name}_wraps() {
  case $1 in
${commands.flatMap(wrapLine).join('\n')}
  esac
}

${mainFunction.replaceAll('NAME', name).replaceAll('COMMANDS', commands.map((command) => command.name).join(' '))}
complete -F _${name} ${name}
`
}

function allNames(flags: readonly FlagModel[]): string {
  return flags.flatMap(({ names }) => names).join(' ')
}

/** The pattern of a `case` in bash: matches the command, a space, and any name of the flag. */
function casePattern(command: string, { names }: FlagModel): string {
  return names.map((name) => quoted(`${command} ${name}`)).join(' | ')
}

/** The line of a `case` with the values of a flag; none if the flag takes any text. */
function valueLine([command, flag]: readonly [string, FlagModel]): string[] {
  const { choices = [], isFile = false } = flag.value ?? {}
  if (choices.length === 0 && !isFile) return []
  return [
    `    ${casePattern(command, flag)}) list=${quoted(isFile ? fileNameChoice : choices.join(' '))} ;;`,
  ]
}

/** The lines of a `case` with the values of the arguments of a command. */
function argLines({ name, args }: CommandModel): string[] {
  return args.flatMap(({ choices, isFile }, i) => {
    if (choices.length === 0 && !isFile) return []
    return [
      `    ${quoted(`${name} ${i}`)}) list=${quoted(isFile ? fileNameChoice : choices.join(' '))} ;;`,
    ]
  })
}

/** The line of a `case` for a command that starts another program; none for other commands. */
function wrapLine({ name, wrappedCommandAt }: CommandModel): string[] {
  return wrappedCommandAt === undefined ? [] : [`    ${quoted(name)}) wraps=${wrappedCommandAt} ;;`]
}

/**
 * The main function of the script, and functions that use its local variables. The main function
 * walks over the words before the cursor to find the command, and then completes the word at the
 * cursor. The functions that set `list` or `wraps` return their results in these local variables,
 * because a function in bash can set the local variables of its caller.
 * - `words`: the words of the user. Bash splits each word at ":" and "=" into parts.
 * - `starts`: for each word, the index of its first part in COMP_WORDS.
 * - `list`: the words that are possible at the cursor.
 * - `wraps`: how many arguments stand before the command line of another program: 1 for
 *   `run KEY COMMAND`. Empty if the command starts no other program.
 * - `ended`: set after `--`, which ends the flags.
 * - `count`: the number of arguments of the command so far.
 *
 * `bashScript` replaces NAME by the name of the program, and COMMANDS by the names of its commands.
 */
const mainFunction = `_NAME() {
  local IFS=$' \\t\\n' rest=\${COMP_LINE:0:COMP_POINT} word i last
  local -a words=() starts=()
  # Join the words that bash has split at ":" and "=", because keys contain these characters.
  for ((i = 0; i <= COMP_CWORD; i++)); do
    if ((i == 0)) || [[ $rest == [[:blank:]]* ]]; then
      while [[ $rest == [[:blank:]]* ]]; do rest=\${rest#?}; done
      words+=("")
      starts+=("$i")
    fi
    word=\${COMP_WORDS[i]}
    # The last word ends at the cursor, even if more text follows the cursor.
    ((i < COMP_CWORD)) || word=$rest
    last=$((\${#words[@]} - 1))
    words[last]+=$word
    rest=\${rest#"$word"}
  done

  local command= flag= list= wraps= ended= count=0 cur=\${words[last]}
  for ((i = 1; i < last; i++)); do
    word=\${words[i]}
    if [[ -n $flag ]]; then
      flag=
    elif [[ -z $ended && $word == -- ]]; then
      ended=1
    elif [[ -z $ended && $word == -* ]]; then
      if _NAME_takes "$command" "$word"; then flag=$word; fi
    elif [[ -z $command ]]; then
      command=$word
      _NAME_wraps "$command"
    else
      count=$((count + 1))
      if [[ $count == "$wraps" ]]; then
        i=$((i + 1))
        if ((i < last)) && [[ \${words[i]} == -- ]]; then i=$((i + 1)); fi
        _NAME_wrapped "$i"
        return
      fi
    fi
  done

  COMPREPLY=()
  if [[ -n $flag ]]; then
    _NAME_values "$command" "$flag"
    _NAME_reply "$list" "$cur"
  elif [[ -z $ended && $cur == --*=* ]]; then
    _NAME_values "$command" "\${cur%%=*}"
    _NAME_reply "$list" "\${cur#*=}"
    # If readline does not split words at "=", it replaces the flag and the "=" too.
    if [[ $COMP_WORDBREAKS != *=* ]]; then
      COMPREPLY=("\${COMPREPLY[@]/#/\${cur%%=*}=}")
    fi
  elif [[ -z $ended && $cur == -* ]]; then
    _NAME_flags "$command"
    _NAME_reply "$list" "$cur"
  elif [[ -z $command ]]; then
    _NAME_reply 'COMMANDS' "$cur"
  else
    _NAME_args "$command" "$count"
    _NAME_reply "$list" "$cur"
  fi
}

_NAME_reply() {
  if [[ $1 == '${fileNameChoice}' ]]; then
    local IFS=$'\\n'
    COMPREPLY=($(compgen -f -- "$2"))
    compopt -o filenames 2>/dev/null
  else
    COMPREPLY=($(compgen -W "$1" -- "$2"))
  fi
}

# Completes the command line of another program, which begins with the word $1.
_NAME_wrapped() {
  if declare -F _comp_command_offset >/dev/null; then
    _comp_command_offset "\${starts[$1]}"
  elif declare -F _command_offset >/dev/null; then
    _command_offset "\${starts[$1]}"
  else
    local IFS=$'\\n'
    if (($1 == last)); then COMPREPLY=($(compgen -c -- "$cur")); else COMPREPLY=($(compgen -f -- "$cur")); fi
    compopt -o filenames 2>/dev/null
  fi
}
`
