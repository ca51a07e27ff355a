/**
 * How a command is started: by a shell that waits until the watchdog watches, sets the signals to
 * be ignored that this process was told to ignore, and then becomes the command.
 */
import { accessSync, constants, statSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { Exit } from '../exitCodes.js'
import { visible } from '../print.js'
import { bytesOfLast, bytesOfVariable, octal } from './bytes.js'
import { ignoredSignals, plainName } from './launcher.js'

export interface Launch {
  readonly command: readonly string[]
  readonly env: NodeJS.ProcessEnv
}

export const shell = '/bin/sh'
/** What the shell calls itself in its own messages, such as "holdfast: 5: exec: …". */
export const shellName = 'holdfast'

/** POSIX shells drop variables with names that they cannot write, such as `spring.profile`. */
const oddPrefix = '_HOLDFAST_ODD_'

/**
 * What the shell does before it becomes the command. It reads from descriptor 3 that it may start;
 * when that is closed instead, this process is dead, and the command must not run. With `tells` the
 * shell first writes its id to descriptor 4.
 */
export function launchScript(launch: Launch, tells: boolean): string {
  const odd = oddVariables(launch)
  const kept = odd.map((_, i) => {
    const from = `${oddPrefix}${i}`
    return `${decode(`_holdfast_${i}`, `$${from}`)}; unset ${from}`
  })
  const settings = odd.map((_, i) => `"$_holdfast_${i}" `).join('')
  const isOption = launch.command[0]?.startsWith('-') ?? false
  // Not every shell's exec knows "--", but env does.
  const env = odd.length === 0 && !isOption ? '' : `env ${isOption ? '-- ' : ''}${settings}`
  return [
    tells ? `echo "pid $$" >&4` : '',
    'read -r _holdfast_go <&3 || exit 125',
    ...kept,
    hasBytes(launch) ? decodeWords : '',
    ignoredSignals.length === 0 ? '' : `trap '' ${ignoredSignals.join(' ')}`,
    `exec ${env}"$@" 3<&- 4>&-`,
  ]
    .filter((line) => line !== '')
    .join('\n')
}

/** Sets a variable to the bytes that `octal` encoded; the "." keeps line feeds at their end. */
function decode(name: string, encoded: string): string {
  return `${name}=$(printf '%b.' "${encoded}"); ${name}=\${${name}%.}`
}

/** Undoes `launchWords`. */
const decodeWords = `
for _holdfast_word do
  shift
  case $_holdfast_word in
    b*) ${decode('_holdfast_word', `\${_holdfast_word#b}`)} ;;
    *) _holdfast_word=\${_holdfast_word#t} ;;
  esac
  set -- "$@" "$_holdfast_word"
done`

/**
 * The command for the shell: as it is; or, if a word is not UTF-8, with "t" before text and "b"
 * before encoded bytes.
 */
export function launchWords({ command }: Launch): readonly string[] {
  const bytes = bytesOfLast(command)
  if (bytes.every((word) => word === undefined)) return command
  return command.map((word, i) => {
    const raw = bytes[i]
    return raw === undefined ? `t${word}` : `b${octal(raw)}`
  })
}

function hasBytes({ command }: Launch): boolean {
  return bytesOfLast(command).some((word) => word !== undefined)
}

/** The environment for the shell: odd variables encoded, under names that it keeps. */
export function launchEnvironment(launch: Launch): NodeJS.ProcessEnv {
  const env = { ...launch.env }
  for (const [i, { name, bytes }] of oddVariables(launch).entries()) {
    delete env[name]
    env[`${oddPrefix}${i}`] = octal(bytes)
  }
  return env
}

/** Variables that neither Node nor every shell hands on: the bytes of each "NAME=value". */
function oddVariables({ env }: Launch): { readonly name: string; readonly bytes: Buffer }[] {
  return Object.entries(env).flatMap(([name, value]) => {
    const raw = bytesOfVariable(name, value)
    if (raw === undefined && plainName.test(name)) return []
    return [{ name, bytes: raw ?? Buffer.from(`${name}=${value}`) }]
  })
}

/**
 * Looks for the command as the shell will, for a better message than the shell has.
 * @throws {Exit} 127 if there is none, 126 if it cannot be run
 */
export function checkCommand({ command, env }: Launch): void {
  const [name = ''] = command
  // Files are looked for by text here; the shell finds this one, or says itself that it does not.
  if (bytesOfLast(command)[0] !== undefined) return
  let worst: string | undefined
  const folders = name.includes('/') ? [''] : (env['PATH'] ?? '/usr/bin:/bin').split(delimiter)
  for (const folder of folders) {
    const code =
      name === '' ? 'ENOENT' : troubleWith(name.includes('/') ? name : join(folder, name))
    if (code === undefined) return
    if (code !== 'ENOENT' && code !== 'ENOTDIR') worst ??= code
    else if (name.includes('/')) worst = code
  }
  throw cannotRun(name, worst ?? 'ENOENT')
}

/** The end of a run whose command could not be started, by the code of the system. */
export function cannotRun(name: string, code: string): Exit {
  const shown = name.length > 80 ? `${name.slice(0, 80)}…` : name
  const why = reasons[code] ?? 'the system refuses'
  const hint =
    name.startsWith('-') && code === 'ENOENT'
      ? '. Options of holdfast run stand before the key; what follows the key is the command'
      : ''
  // As shells have it: 127 for a command that is not there, 126 for one that cannot be run.
  return new Exit(
    code === 'ENOENT' ? 127 : 126,
    `cannot run "${visible(shown)}": ${why} (${code})${hint}`,
  )
}

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

/** Why a file cannot be run, as far as can be known without trying; undefined for no reason. */
function troubleWith(path: string): string | undefined {
  try {
    if (!statSync(path).isFile()) return 'EACCES'
    accessSync(path, constants.X_OK)
    return undefined
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    return code === undefined || code === 'ERR_INVALID_ARG_VALUE' ? 'EINVAL' : code
  }
}
