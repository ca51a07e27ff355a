/**
 * A command in the foreground of the terminal that this process has, in a process group of its own:
 * Ctrl-C and Ctrl-Z reach the command, `/dev/tty` works, and a shell has job control. A group with
 * this process in it would never be empty. Only a shell with job control can do that, so one stands
 * between, and is told over a pipe when to bring the command to the foreground again.
 */
import type { ChildProcess } from 'node:child_process'
import { createInterface, type Interface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { isatty } from 'node:tty'
import { Child, type ChildDeps, DetachedChild, exitOf, exitOfSignal, launch } from './child.js'
import { launchScript, shell, shellName } from './launch.js'
import { ignoredNames } from './launcher.js'
import { isDead, isInForeground, isStopped, processes, processOf } from './processes.js'

/** How often a command in the background is looked at, in ms. */
const backgroundMs = 200

/**
 * Job control for one command. Descriptor 5 keeps standard error for it, away from what the shell
 * says of its jobs. Bash needs its own standard error, since it gives the terminal away by that.
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

/** With the terminal if there is one to give, else in a session of its own. */
export async function startChild(parts: ChildDeps): Promise<Child> {
  if (!hasTerminalToGive()) return DetachedChild.start(parts)
  return (await TerminalChild.start(parts)) ?? (await DetachedChild.start(parts))
}

/**
 * Whether the command may have the terminal: it is our standard input, we are in its foreground,
 * and no other process of our job could want it, as one of `holdfast run … | less` does.
 */
export function hasTerminalToGive(): boolean {
  if (process.platform === 'win32' || !isatty(0)) return false
  if (!isInForeground()) return false
  const all = new Map(processes().map((one) => [one.pid, one]))
  const family = new Set<number>()
  for (let one = all.get(process.pid); one !== undefined; one = all.get(one.parent)) {
    if (family.has(one.pid)) break
    family.add(one.pid)
  }
  return ![...all.values()].some(
    (one) => one.group === all.get(process.pid)?.group && !family.has(one.pid) && !isDead(one),
  )
}

export class TerminalChild extends Child {
  readonly exited: Promise<number>
  readonly #job: ChildProcess
  readonly #orders: Writable
  readonly #mayContinue: () => boolean
  #timer: NodeJS.Timeout | undefined
  #exit: number | undefined
  #hasPassedInterrupt = false

  private constructor(group: number, job: ChildProcess, lines: Interface, deps: ChildDeps) {
    super(group)
    this.#job = job
    this.#orders = job.stdio[3] as Writable
    this.#mayContinue = deps.mayContinue
    lines.on('line', () => this.#onBack())
    this.exited = exitOf(job).then((exit) => {
      clearTimeout(this.#timer)
      this.#exit = exit
      return exit
    })
  }

  override get wasInterrupted(): boolean {
    const isOurs = this.#hasPassedInterrupt || ignoredNames.has('SIGINT')
    return this.#exit === exitOfSignal('SIGINT') && !isOurs
  }

  override signal(signal: NodeJS.Signals): void {
    if (signal === 'SIGINT') this.#hasPassedInterrupt = true
    super.signal(signal)
  }

  /** Undefined if the shell could not take the terminal. */
  static async start(parts: ChildDeps): Promise<TerminalChild | undefined> {
    const job = await launch(parts, jobScript(launchScript(parts, true)), {
      stdio: ['inherit', 'inherit', 'inherit', 'pipe', 'pipe'],
    })
    const orders = job.stdio[3] as Writable
    orders.on('error', () => {})
    const ended = exitOf(job)
    const lines = createInterface(job.stdio[4] as Readable)
    const said = await new Promise<string>((resolve) => {
      lines.once('line', resolve)
      lines.once('close', () => resolve(''))
    })
    const group = Number(/^pid (\d+)$/.exec(said)?.[1])
    if (processOf(group)?.group !== group) {
      // No job control here: the shell ends, and the command was not started.
      orders.end()
      await ended
      return undefined
    }
    const child = new TerminalChild(group, job, lines, parts)
    await parts.watchdog.watch(group)
    orders.write('go\n')
    return child
  }

  /** The shell has the terminal back: the command has ended or was stopped. */
  #onBack(): void {
    const leader = processOf(this.group)
    if (isDead(leader)) this.#orders.write('end\n')
    else if (isStopped(leader)) this.#tend(true)
    // Continued by another process meanwhile; a moment later the shell can be asked again.
    else this.#tendLater()
  }

  #tendLater(): void {
    this.#timer = setTimeout(() => this.#tend(false), backgroundMs)
  }

  /**
   * What a command needs that is not in the foreground, or was until now; nothing tells of its
   * changes.
   */
  #tend(wasInForeground: boolean): void {
    const leader = processOf(this.group)
    if (isDead(leader)) {
      this.#orders.write(`wait ${this.group}\n`)
      return
    }
    // Our job stops with the command, and goes on by `fg` or `bg` of the user's shell. A job
    // without a shell that looks after it is not stopped by this signal: the command goes on.
    const isWanted = wasInForeground || !this.#isOurs()
    if (isStopped(leader) && isWanted && this.#mayContinue()) this.stopSelf('SIGTSTP', 0)
    // That can have taken hours; if the lock is gone, the guard ends the command as it is.
    if (this.#mayContinue()) {
      if (this.#isOurs()) {
        this.#orders.write('fg\n')
        return
      }
      if (isStopped(leader)) this.signal('SIGCONT')
    }
    this.#tendLater()
  }

  /** Whether the terminal is with this job: with us, the command, or the shell between. */
  #isOurs(): boolean {
    const self = processOf(process.pid)
    const job = this.#job.pid as number
    return self !== undefined && [self.group, job, this.group].includes(self.foreground ?? -1)
  }
}
