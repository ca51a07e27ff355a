/**
 * A command as a process group of its own, so that a signal reaches all that it has started. Here
 * it is in a session of its own too, without a terminal; `TerminalChild` gives it the terminal.
 */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import { constants } from 'node:os'
import type { Writable } from 'node:stream'
import { printError } from '../exitCodes.js'
import { signalGroup } from './group.js'
import {
  cannotRun,
  checkCommand,
  type Launch,
  launchEnvironment,
  launchScript,
  launchWords,
  shell,
  shellName,
} from './launch.js'
import { ignoredNames } from './launcher.js'
import type { Watchdog } from './watchdog.js'

export interface ChildDeps extends Launch {
  readonly watchdog: Watchdog
  /** Whether the lock is still held: a command that was stopped goes on only then. */
  readonly mayContinue: () => boolean
}

/** The command and its group, however it was started. */
export abstract class Child {
  /** The id of its process group. */
  readonly group: number
  #hasEnded = false
  #isForbiddenSaid = false

  constructor(group: number) {
    this.group = group
    if (!ignoredNames.has('SIGTSTP')) process.on('SIGTSTP', this.#pause)
  }

  /** Resolves with the exit code of the command, 128 + n for signal n. Its group may live on. */
  abstract readonly exited: Promise<number>

  /** Whether it ended by a SIGINT that did not come from us, but from the terminal. */
  get wasInterrupted(): boolean {
    return false
  }

  /** The group is empty, or none of our business any more: its id may be another's from now on. */
  end(): void {
    this.#hasEnded = true
    process.off('SIGTSTP', this.#pause)
  }

  /** To all of the group; nothing if none of it is left. */
  signal(signal: NodeJS.Signals): void {
    if (this.#hasEnded || signalGroup(this.group, signal) !== 'forbidden') return
    if (this.#isForbiddenSaid) return
    this.#isForbiddenSaid = true
    printError(
      `${signal} cannot be sent to the command, which runs as another user (EPERM): ` +
        'the lock is kept until the command has ended by itself',
    )
  }

  /** Stops this process as the terminal would; returns when it was continued. */
  protected stopSelf(signal: 'SIGSTOP' | 'SIGTSTP', target: number): void {
    process.off('SIGTSTP', this.#pause)
    process.kill(target, signal)
    if (!this.#hasEnded) process.on('SIGTSTP', this.#pause)
  }

  /** Ctrl-Z: the command stops first. It goes on by the SIGCONT that continues us, if it may. */
  readonly #pause = (): void => {
    this.signal('SIGSTOP')
    this.stopSelf('SIGSTOP', process.pid)
  }
}

/** A command in a session of its own. */
export class DetachedChild extends Child {
  readonly exited: Promise<number>

  private constructor(process: ChildProcess) {
    super(process.pid as number)
    this.exited = exitOf(process)
  }

  static async start(parts: ChildDeps): Promise<Child> {
    const launched = await launch(parts, launchScript(parts, false), {
      stdio: ['inherit', 'inherit', 'inherit', 'pipe'],
      detached: true,
    })
    const child = new DetachedChild(launched)
    await parts.watchdog.watch(child.group)
    const gate = launched.stdio[3] as Writable
    gate.on('error', () => {})
    gate.end('go\n')
    return child
  }
}

/**
 * Starts a shell with this script, which becomes the command.
 * @throws Exit 126 or 127 if the command cannot be run
 */
export async function launch(
  parts: Launch,
  script: string,
  options: SpawnOptions,
): Promise<ChildProcess> {
  checkCommand(parts)
  const [name = ''] = parts.command
  let launched: ChildProcess
  try {
    const env = launchEnvironment(parts)
    launched = spawn(shell, ['-c', script, shellName, ...launchWords(parts)], { ...options, env })
  } catch (error) {
    throw cannotRun(name, codeOf(error))
  }
  if (launched.pid !== undefined) return launched
  return new Promise((_, reject) => {
    launched.once('error', (error) => reject(cannotRun(name, codeOf(error))))
  })
}

export function exitOf(child: ChildProcess): Promise<number> {
  return new Promise((resolve) => {
    child.once('exit', (code, signal) =>
      resolve(signal === null ? (code ?? 0) : exitOfSignal(signal)),
    )
  })
}

export function exitOfSignal(signal: NodeJS.Signals): number {
  return 128 + constants.signals[signal]
}

/** Node refuses a null byte with a code of its own. */
function codeOf(error: unknown): string {
  const { code = 'EINVAL' } = error as NodeJS.ErrnoException
  return code === 'ERR_INVALID_ARG_VALUE' ? 'EINVAL' : code
}
