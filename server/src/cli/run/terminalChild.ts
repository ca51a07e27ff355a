/**
 * Runs a command in its own process group, in the foreground of the terminal of this process.
 * Ctrl-C and Ctrl-Z then reach the command, `/dev/tty` works, and a command that is a shell has job
 * control. This process keeps the lock until the group is empty, so this process must not be in the
 * group.
 *
 * Node cannot give the terminal to another group (tcsetpgrp), but a shell with job control can. So
 * a shell runs between this process and the command. Over a pipe, this process tells the shell when
 * to bring the command to the foreground again.
 */
import type { ChildProcess } from 'node:child_process'
import { createInterface, type Interface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { isatty } from 'node:tty'
import { Child, type ChildDeps, DetachedChild, exitOf, exitOfSignal, launch } from './child.js'
import { launchScript, shell, shellName } from './launch.js'
import { ignoredSignalNames } from './launcher.js'
import { isDead, isInForeground, isStopped, processes, processOf } from './processes.js'

/** Time between two checks of a command that is not in the foreground, in ms. */
const backgroundCheckMs = 200

/**
 * The script for one command, which a shell with job control runs. This process writes lines to
 * descriptor 3: first `go`, which the script of `launchScript` reads, and then orders for this
 * script:
 * - `fg` brings the command to the foreground.
 * - `wait PID` reads the exit code of a command that ended in the background.
 * - `end` ends the shell with the exit code of the command.
 *
 * When the command has ended or was stopped, the script writes a line to descriptor 4: `back` and
 * the exit code that the shell saw. The line only wakes this process, which then reads the state of
 * the command.
 *
 * Descriptor 5 keeps the original standard error for the command. The shell's own standard error
 * becomes /dev/null, to hide messages about jobs. The exception is bash, which needs its standard
 * error to give the terminal to the command.
 *
 * @param script The script that starts the command, see `launchScript`.
 */
function jobScript(script: string): string {
  return `
set -m
exec 5>&2
[ -n "\${BASH_VERSION-}" ] || exec 2>/dev/null
${shell} -c '${script.replaceAll("'", "'\\''")}' ${shellName} "$@" 2>&5 5>&-
_holdfast_status=$?
echo "back $_holdfast_status" >&4
while read -r _holdfast_order _holdfast_pid <&3; do
  case $_holdfast_order in
    fg) fg >/dev/null; _holdfast_status=$? ;;
    wait) wait "$_holdfast_pid"; _holdfast_status=$? ;;
    end) exit "$_holdfast_status" ;;
  esac
  echo "back $_holdfast_status" >&4
done`
}

/** Starts a command. The command gets the terminal if this process can give the terminal away. */
export async function startChild(deps: ChildDeps): Promise<Child> {
  if (!hasTerminalToGive()) return DetachedChild.start(deps)
  return (await TerminalChild.start(deps)) ?? (await DetachedChild.start(deps))
}

/**
 * Whether the command may have the terminal. The terminal must be standard input, and this process
 * must be in the foreground of the terminal. This job must have no other process, because that
 * process may need the terminal: for instance `less` in `holdfast run … | less`. Ancestors of this
 * process, such as npx, do not count.
 */
export function hasTerminalToGive(): boolean {
  if (process.platform === 'win32' || !isatty(/* standard input */ 0)) return false
  if (!isInForeground()) return false
  const byPid = new Map(processes().map((info) => [info.pid, info]))
  const self = byPid.get(process.pid)
  const ancestors = new Set<number>()
  for (let info = self; info !== undefined; info = byPid.get(info.parentPid)) {
    // The processes are not listed at one instant, so a reused id could make the chain a circle.
    if (ancestors.has(info.pid)) break
    ancestors.add(info.pid)
  }
  return ![...byPid.values()].some(
    (info) => info.group === self?.group && !ancestors.has(info.pid) && !isDead(info),
  )
}

/** A command that has the terminal, behind a shell with job control. */
export class TerminalChild extends Child {
  readonly exited: Promise<number>
  readonly #jobShell: ChildProcess
  /** The pipe to the shell, for orders such as `fg`. */
  readonly #shellOrders: Writable
  /** Whether the lock is still held, so that the command may continue. */
  readonly #mayContinue: () => boolean
  #timer: NodeJS.Timeout | undefined
  #exitCode: number | undefined
  /**
   * Whether this process has sent the command a SIGINT. If so, the SIGINT that ended the command
   * did not necessarily come from the terminal.
   */
  #hasPassedInterrupt = false

  private constructor(
    group: number,
    jobShell: ChildProcess,
    lineReader: Interface,
    deps: ChildDeps,
  ) {
    super(group)
    this.#jobShell = jobShell
    this.#shellOrders = jobShell.stdio[3] as Writable
    this.#mayContinue = deps.mayContinue
    lineReader.on('line', () => this.#onBack())
    this.exited = exitOf(jobShell).then((exit) => {
      clearTimeout(this.#timer)
      this.#exitCode = exit
      return exit
    })
  }

  override get wasInterrupted(): boolean {
    // If SIGINT was ignored at the start, the command ignores the terminal's SIGINT. A SIGINT that
    // ended the command may then have another sender.
    const mayHaveOtherSender = this.#hasPassedInterrupt || ignoredSignalNames.has('SIGINT')
    return this.#exitCode === exitOfSignal('SIGINT') && !mayHaveOtherSender
  }

  override signal(signal: NodeJS.Signals): void {
    if (signal === 'SIGINT') this.#hasPassedInterrupt = true
    super.signal(signal)
  }

  /** Starts the command; undefined if the shell has no job control. */
  static async start(deps: ChildDeps): Promise<TerminalChild | undefined> {
    const jobShell = await launch(deps, jobScript(launchScript(deps, /* writesPid */ true)), {
      stdio: ['inherit', 'inherit', 'inherit', 'pipe', 'pipe'],
    })
    const shellOrders = jobShell.stdio[3] as Writable
    // A write fails if the shell has ended already, and then `exited` reports its exit code.
    shellOrders.on('error', () => {})
    const shellEnded = exitOf(jobShell)
    const lineReader = createInterface(jobShell.stdio[4] as Readable)
    const firstLine = await new Promise<string>((resolve) => {
      lineReader.once('line', resolve)
      lineReader.once('close', () => resolve(''))
    })
    // The script of `launchScript` first writes "pid" and its process id. If the shell has job
    // control, that script runs in a group of its own, and the group has the id of the process.
    const group = Number(/^pid (\d+)$/.exec(firstLine)?.[1])
    if (processOf(group)?.group !== group) {
      // The shell has no job control, so the shell must end without starting the command.
      shellOrders.end()
      await shellEnded
      return undefined
    }
    const child = new TerminalChild(group, jobShell, lineReader, deps)
    // Before the command starts, the watchdog must know which group to kill.
    await deps.watchdog.watch(group)
    shellOrders.write('go\n')
    return child
  }

  /** Handles the shell's line "back": the command has ended or was stopped. */
  #onBack(): void {
    const leader = processOf(this.group)
    if (isDead(leader)) this.#shellOrders.write('end\n')
    else if (isStopped(leader)) this.#checkCommand(/* wasInForeground */ true)
    // Another process has continued the command after the stop, so check again later.
    else this.#checkLater()
  }

  #checkLater(): void {
    this.#timer = setTimeout(
      () => this.#checkCommand(/* wasInForeground */ false),
      backgroundCheckMs,
    )
  }

  /**
   * Handles a command that is not in the foreground, or that was stopped in the foreground just
   * now. This method is called again and again, because no event reports that the state of such a
   * command has changed.
   */
  #checkCommand(wasInForeground: boolean): void {
    const leader = processOf(this.group)
    if (isDead(leader)) {
      this.#shellOrders.write(`wait ${this.group}\n`)
      return
    }
    // If a command was in the background and its job has the terminal now, the user wants the
    // command to continue, which the code below does.
    const shouldStop = wasInForeground || !this.#hasTerminal()
    // Stop this job together with the command. The user continues the job with `fg` or `bg` of the
    // user's shell. If no such shell exists, the system ignores SIGTSTP, and the command continues.
    if (isStopped(leader) && shouldStop && this.#mayContinue()) {
      this.suspendSelf('SIGTSTP', /* all processes of this group */ 0)
    }
    // Ask again whether the lock is held, because this process may have been stopped for hours. If
    // the lock was lost, `LockGuard` kills the command, and the command must not continue.
    if (this.#mayContinue()) {
      if (this.#hasTerminal()) {
        this.#shellOrders.write('fg\n')
        return
      }
      if (isStopped(leader)) this.signal('SIGCONT')
    }
    this.#checkLater()
  }

  /** Whether this process, the command, or the shell between them is in the foreground. */
  #hasTerminal(): boolean {
    const self = processOf(process.pid)
    const jobShellPid = this.#jobShell.pid as number
    return (
      self !== undefined &&
      [self.group, jobShellPid, this.group].includes(self.foregroundGroup ?? -1)
    )
  }
}
