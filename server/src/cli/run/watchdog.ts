/**
 * Kills the command when this process is killed: by SIGKILL, the OOM killer, or a signal that Node
 * cannot catch. The watchdog is a shell in its own session of the operating system (setsid). The
 * watchdog reads from a pipe of this process. When the pipe closes before the line "done" has
 * arrived, the watchdog kills the process group of the command.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { printError } from '../exitCodes.js'

/**
 * The script of the watchdog. The script ignores the signals that a terminal or a supervisor may
 * send to all processes of a job.
 */
const script = `
trap '' HUP INT QUIT TERM USR1 USR2 ALRM
group=$1
while read -r line; do
  case $line in
    done) exit 0 ;;
    *) group=$line ;;
  esac
done
[ -n "$group" ] && kill -9 "-$group"`

/** How many dead watchdogs are replaced for one command. The death after these prints an error. */
const maxReplacements = 10

/** Watches one command. If the watchdog process dies, this class starts a new watchdog process. */
export class Watchdog {
  #process: ChildProcess
  #group: number | undefined
  /** Whether no watchdog is wanted any more, or too many watchdogs have died. */
  #isFinished = false
  #replacements = 0

  constructor() {
    this.#process = this.#start()
  }

  /**
   * Tells the watchdog which process group (that of the command) to kill if this process is killed.
   * The command must not start before the promise has resolved, because until then the watchdog
   * does not know the group.
   */
  async watch(group: number): Promise<void> {
    this.#group = group
    await this.#write(String(group))
  }

  /** Ends the watchdog without killing the group. Call this method when the command has ended. */
  end(): void {
    if (this.#isFinished) return
    this.#isFinished = true
    this.#process.stdin?.end('done\n')
  }

  #start(): ChildProcess {
    // A watchdog that replaces a dead watchdog gets the group as an argument, so that it knows the
    // group from its start.
    const group = this.#group === undefined ? [] : [String(this.#group)]
    // The watchdog runs in `/`, so that it does not prevent the deletion or unmounting of another
    // folder. Without environment variables, the watchdog knows no token.
    const child = spawn('/bin/sh', ['-c', script, 'holdfast-watchdog', ...group], {
      stdio: ['pipe', 'ignore', 'ignore'],
      detached: true,
      cwd: '/',
      env: {},
    })
    // Ignore a failed write to a dead watchdog, because the event `exit` reports the death.
    child.stdin?.on('error', () => {})
    child.on('error', () => this.#onEnd())
    child.on('exit', () => this.#onEnd())
    // This process must not wait for the watchdog, which ends by itself when this process ends.
    child.unref()
    return child
  }

  #onEnd(): void {
    if (this.#isFinished) return
    this.#replacements++
    if (this.#replacements > maxReplacements) {
      this.#isFinished = true
      printError(
        `The watchdog of the command has ended ${maxReplacements + 1} times and is not started ` +
          'again: if holdfast is killed now, the command goes on without the lock',
      )
      return
    }
    this.#process = this.#start()
  }

  /**
   * Writes a line to the watchdog. Resolves even if the watchdog has died, because the watchdog
   * that replaces it gets the group as an argument.
   */
  #write(line: string): Promise<void> {
    return new Promise((resolve) => {
      if (this.#process.stdin === null) resolve()
      else this.#process.stdin.write(`${line}\n`, () => resolve())
    })
  }
}
