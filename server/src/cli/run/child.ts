/**
 * Starts a command in its own process group, so that a signal reaches the command and every process
 * that the command starts. `DetachedChild` runs the command without a terminal, in its own session
 * of the operating system (setsid). `TerminalChild` (`terminalChild.ts`) gives the terminal to
 * the command.
 */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import { constants } from 'node:os'
import type { Writable } from 'node:stream'
import { printError } from '../exitCodes.js'
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
import { ignoredSignalNames } from './launcher.js'
import { signalGroup } from './processes.js'
import type { Watchdog } from './watchdog.js'

export interface ChildDeps extends Launch {
  /** Kills the command if this process is killed. */
  readonly watchdog: Watchdog
  /** Whether the lock is still held. A suspended command may continue only while this is true. */
  readonly mayContinue: () => boolean
}

/** A running command and its process group. */
export abstract class Child {
  /** The id of the process group of the command. */
  readonly group: number
  #hasEnded = false
  #hasReportedForbidden = false

  constructor(group: number) {
    this.group = group
    this.#listenForSuspend()
  }

  /**
   * Resolves with the exit code of the command, 128 + n if signal n ended the command. Other
   * processes of the group may still run at that time.
   */
  abstract readonly exited: Promise<number>

  /**
   * Whether a SIGINT from the terminal, and not from this process, ended the command.
   * `TerminalChild` overrides this getter. A command without a terminal gets no such SIGINT.
   */
  get wasInterrupted(): boolean {
    return false
  }

  /**
   * Stops signalling the group. Call this method when the group is empty, because the system may
   * then give the id of the group to another group.
   */
  end(): void {
    this.#hasEnded = true
    process.off('SIGTSTP', this.#onSuspend)
  }

  /** Sends a signal to all processes of the group; does nothing if the group is empty. */
  signal(signal: NodeJS.Signals): void {
    if (this.#hasEnded) return
    const result = signalGroup(this.group, signal)
    if (result !== 'forbidden' || this.#hasReportedForbidden) return
    this.#hasReportedForbidden = true
    printError(
      `Cannot send ${signal} to the command, which runs as another user (EPERM): ` +
        'the lock is kept until the command ends by itself',
    )
  }

  /**
   * Suspends this process as the terminal would; returns when another process continues this
   * process.
   *
   * @param pid The id of this process, or 0 to suspend its whole process group with it.
   */
  protected suspendSelf(signal: 'SIGSTOP' | 'SIGTSTP', pid: number): void {
    // A SIGTSTP suspends this process only while no listener catches the signal.
    process.off('SIGTSTP', this.#onSuspend)
    process.kill(pid, signal)
    this.#listenForSuspend()
  }

  /** Listens for Ctrl-Z (SIGTSTP), unless SIGTSTP was ignored when this process started. */
  #listenForSuspend(): void {
    if (this.#hasEnded || ignoredSignalNames.has('SIGTSTP')) return
    process.on('SIGTSTP', this.#onSuspend)
  }

  /**
   * Handles Ctrl-Z: suspends the command and then this process. When a SIGCONT continues this
   * process, `run.ts` sends SIGCONT to the command too if the lock is still held.
   */
  readonly #onSuspend = (): void => {
    this.signal('SIGSTOP')
    this.suspendSelf('SIGSTOP', process.pid)
  }
}

/** A command in its own session of the operating system (setsid), without a terminal. */
export class DetachedChild extends Child {
  readonly exited: Promise<number>

  private constructor(commandProcess: ChildProcess) {
    super(commandProcess.pid as number)
    this.exited = exitOf(commandProcess)
  }

  static async start(deps: ChildDeps): Promise<Child> {
    // The fourth item of `stdio` is descriptor 3. The script starts the command only after it has
    // read a line from this pipe.
    const launched = await launch(deps, launchScript(deps, /* writesPid */ false), {
      stdio: ['inherit', 'inherit', 'inherit', 'pipe'],
      detached: true,
    })
    const child = new DetachedChild(launched)
    await deps.watchdog.watch(child.group)
    const startPipe = launched.stdio[3] as Writable
    // The write fails if the shell has ended already, and then `exited` reports its exit code.
    startPipe.on('error', () => {})
    // The watchdog knows the group now, so the command may start.
    startPipe.end('go\n')
    return child
  }
}

/**
 * Starts a shell with a script that starts the command.
 * @throws {Exit} 126 or 127 if the command cannot be run
 */
export async function launch(
  target: Launch,
  script: string,
  options: SpawnOptions,
): Promise<ChildProcess> {
  checkCommand(target)
  const [programName = ''] = target.command
  let launched: ChildProcess
  try {
    const env = launchEnvironment(target)
    launched = spawn(shell, ['-c', script, shellName, ...launchWords(target)], { ...options, env })
  } catch (error) {
    throw cannotRun(programName, codeOf(error))
  }
  if (launched.pid !== undefined) return launched
  return new Promise((_, reject) => {
    launched.once('error', (error) => reject(cannotRun(programName, codeOf(error))))
  })
}

/** Resolves with the exit code of a process: 128 + n if signal n ended the process. */
export function exitOf(child: ChildProcess): Promise<number> {
  return new Promise((resolve) => {
    child.once('exit', (code, signal) =>
      resolve(signal === null ? (code ?? 0) : exitOfSignal(signal)),
    )
  })
}

/** The exit code that shells report for a process that this signal ended. */
export function exitOfSignal(signal: NodeJS.Signals): number {
  return 128 + constants.signals[signal]
}

/** The error code of the system; EINVAL if Node itself refused a text with a null byte. */
function codeOf(error: unknown): string {
  const { code = 'EINVAL' } = error as NodeJS.ErrnoException
  return code === 'ERR_INVALID_ARG_VALUE' ? 'EINVAL' : code
}
