/**
 * Prepares the shell that starts a command. The shell first waits for the watchdog, the process
 * that kills the command if `holdfast run` dies. When the watchdog is ready, the shell ignores the
 * signals that were ignored at the start of `holdfast run`, and replaces itself with the command.
 */
import { accessSync, constants, statSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { Exit } from '../exitCodes.js'
import { escapeText } from '../output.js'
import { bytesOfVariable, encodeForPrintf, rawBytesOf } from './bytes.js'
import { ignoredSignals, shellVariableName } from './launcher.js'

/** A command to start, and its environment. */
export interface Launch {
  /** The program and its arguments. */
  readonly command: readonly string[]
  readonly env: NodeJS.ProcessEnv
}

export const shell = '/bin/sh'
/** The shell's name in its own messages, such as "holdfast: 5: exec: …". */
export const shellName = 'holdfast'

/**
 * The prefix of the names under which odd variables are passed through the shell. A variable is odd
 * if its name is no name for a POSIX shell, such as `spring.profile`, or if its bytes are not
 * UTF-8. The shell or Node would drop or change such a variable.
 */
const oddPrefix = '_HOLDFAST_ODD_'

/**
 * The script of the shell. Before the script starts the command, the script waits for a line on
 * descriptor 3. The line says that the watchdog is ready. If the descriptor is closed without a
 * line, `holdfast run` has died, so the shell ends with 125 and does not start the command. The
 * command does not get the descriptors 3 and 4.
 *
 * @param writesPid Whether the shell first writes its process id, which becomes the id of the
 *   command, to descriptor 4.
 */
export function launchScript(launch: Launch, writesPid: boolean): string {
  const variables = oddVariables(launch)
  const decodeLines = variables.map((_, i) => {
    const passedName = `${oddPrefix}${i}`
    return `${decodeLine(`_holdfast_${i}`, `$${passedName}`)}; unset ${passedName}`
  })
  // Each `_holdfast_N` has the text "NAME=value", which `env` takes as an assignment.
  const assignments = variables.map((_, i) => `"$_holdfast_${i}" `).join('')
  const startsWithDash = launch.command[0]?.startsWith('-') ?? false
  // Start a command whose name begins with "-" through `env`, because `env` understands "--", but
  // the `exec` of some shells does not.
  const envPrefix =
    variables.length === 0 && !startsWithDash
      ? ''
      : `env ${startsWithDash ? '-- ' : ''}${assignments}`
  return [
    writesPid ? `echo "pid $$" >&4` : '',
    'read -r _holdfast_go <&3 || exit 125',
    ...decodeLines,
    hasNonUtf8Words(launch) ? wordDecoder : '',
    ignoredSignals.length === 0 ? '' : `trap '' ${ignoredSignals.join(' ')}`,
    `exec ${envPrefix}"$@" 3<&- 4>&-`,
  ]
    .filter((line) => line !== '')
    .join('\n')
}

/**
 * Returns the line of the script that decodes `encoded` into the variable `name`. `$(…)` drops
 * line feeds at the end of a text. So the line first adds a "." to the text, and then removes it.
 */
function decodeLine(name: string, encoded: string): string {
  return `${name}=$(printf '%b.' "${encoded}"); ${name}=\${${name}%.}`
}

/**
 * The part of the script that decodes the words of {@link launchWords}. Each round of the loop
 * removes the first argument, and appends this argument without its encoding.
 */
const wordDecoder = `
for _holdfast_word do
  shift
  case $_holdfast_word in
    b*) ${decodeLine('_holdfast_word', `\${_holdfast_word#b}`)} ;;
    *) _holdfast_word=\${_holdfast_word#t} ;;
  esac
  set -- "$@" "$_holdfast_word"
done`

/**
 * The words of the command for the shell. If all words are UTF-8, the words are unchanged. If not,
 * each word has a prefix: "t" for text and "b" for encoded bytes.
 */
export function launchWords({ command }: Launch): readonly string[] {
  const nonUtf8Words = rawBytesOf(command)
  if (nonUtf8Words.every((bytes) => bytes === undefined)) return command
  return command.map((word, i) => {
    const bytes = nonUtf8Words[i]
    return bytes === undefined ? `t${word}` : `b${encodeForPrintf(bytes)}`
  })
}

function hasNonUtf8Words({ command }: Launch): boolean {
  return rawBytesOf(command).some((word) => word !== undefined)
}

/** The environment for the shell. Odd variables are encoded, under names that the shell keeps. */
export function launchEnvironment(launch: Launch): NodeJS.ProcessEnv {
  const env = { ...launch.env }
  for (const [i, { name, bytes }] of oddVariables(launch).entries()) {
    delete env[name]
    env[`${oddPrefix}${i}`] = encodeForPrintf(bytes)
  }
  return env
}

/** The odd variables (see `oddPrefix`), with the bytes of "NAME=value". */
function oddVariables({ env }: Launch): { readonly name: string; readonly bytes: Buffer }[] {
  return Object.entries(env).flatMap(([name, value]) => {
    const rawBytes = bytesOfVariable(name, value)
    if (rawBytes === undefined && shellVariableName.test(name)) return []
    return [{ name, bytes: rawBytes ?? Buffer.from(`${name}=${value}`) }]
  })
}

/**
 * Looks for the command as the shell will, to print a clearer error message than the shell would.
 * @throws {Exit} 127 if the command does not exist, 126 if the command cannot be run
 */
export function checkCommand({ command, env }: Launch): void {
  const [programName = ''] = command
  // A name that is not UTF-8 cannot be checked here, because Node would look for other bytes.
  if (rawBytesOf(command)[0] !== undefined) return
  let failureCode: string | undefined
  // The shell does not search the PATH for a name with "/", so the loop checks only this file.
  const isPath = programName.includes('/')
  const folders = isPath ? [''] : (env['PATH'] ?? '/usr/bin:/bin').split(delimiter)
  for (const folder of folders) {
    const code =
      programName === ''
        ? 'ENOENT'
        : codeWhyNotRunnable(isPath ? programName : join(folder, programName))
    if (code === undefined) return
    if (code !== 'ENOENT' && code !== 'ENOTDIR') failureCode ??= code
    // In a search of the PATH, these two codes only mean that this folder lacks the program, so the
    // search goes on.
    else if (isPath) failureCode = code
  }
  throw cannotRun(programName, failureCode ?? 'ENOENT')
}

/** How many characters of the name of a command an error message shows. */
const maxShownLength = 80

/** The error for a command that could not be started, from the error code of the system. */
export function cannotRun(name: string, code: string): Exit {
  const shortName = name.length > maxShownLength ? `${name.slice(0, maxShownLength)}…` : name
  const reason = reasons[code] ?? 'the system refuses to run it'
  const hint = hintFor(name, code)
  // As in shells: 127 for a command that does not exist, 126 for a command that cannot be run.
  return new Exit(
    code === 'ENOENT' ? 127 : 126,
    `Cannot run "${escapeText(shortName)}": ${reason} (${code})${hint}`,
  )
}

/** Advice for the user, with a colon in front; empty if there is none. */
function hintFor(name: string, code: string): string {
  if (code === 'EACCES') return ': make it executable with chmod +x'
  if (code !== 'ENOENT' || !name.startsWith('-')) return ''
  return ': put the options of holdfast before the key, because the command follows the key'
}

/** The reasons in words, by the error code of the system. */
const reasons: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such command',
  EACCES: 'it is not an executable file, or not for this user',
  ENOTDIR: 'a part of its path is not a directory',
  ELOOP: 'its path has too many symbolic links',
  ENAMETOOLONG: 'its name is too long',
  E2BIG: 'its arguments and environment are too long for the system',
  ETXTBSY: 'the file is open for writing',
  EINVAL: 'its name or an argument contains a null byte, or the file is damaged',
  EAGAIN: 'this user may not start more processes',
  ENOMEM: 'there is not enough memory',
  EMFILE: 'too many files are open',
  ENFILE: 'too many files are open',
}

/** The error code for a file that cannot be executed; undefined if no reason is found. */
function codeWhyNotRunnable(path: string): string | undefined {
  try {
    if (!statSync(path).isFile()) return 'EACCES'
    accessSync(path, constants.X_OK)
    return undefined
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    return code === undefined || code === 'ERR_INVALID_ARG_VALUE' ? 'EINVAL' : code
  }
}
