/**
 * Kills the command when this process dies without a word: by SIGKILL, the OOM killer, or a signal
 * that Node cannot catch. It is a shell of its own session that reads from a pipe of ours; when the
 * pipe is closed before it was told that the command has ended, it kills the command's group.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { printError } from '../exitCodes.js'

/** Ignores what a terminal or a supervisor may send to all that belongs to a job. */
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

/** How many dead watchdogs are replaced before the machine is taken to be at fault. */
const mostReplaced = 10

export class Watchdog {
  #process: ChildProcess
  #group: number | undefined
  #isOver = false
  #replaced = 0

  constructor() {
    this.#process = this.#start()
  }

  /** Resolves when it watches over this group; a command is let loose only then. */
  async watch(group: number): Promise<void> {
    this.#group = group
    await this.#tell(String(group))
  }

  /** The command has ended, and its group is no longer to be killed. */
  end(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#process.stdin?.end('done\n')
  }

  #start(): ChildProcess {
    // A watchdog that replaces another knows the group from its first moment.
    const group = this.#group === undefined ? [] : [String(this.#group)]
    const child = spawn('/bin/sh', ['-c', script, 'holdfast-watchdog', ...group], {
      stdio: ['pipe', 'ignore', 'ignore'],
      detached: true,
      cwd: '/',
      env: {},
    })
    child.stdin?.on('error', () => {})
    child.on('error', () => this.#onEnd())
    child.on('exit', () => this.#onEnd())
    // It ends by itself when we do.
    child.unref()
    return child
  }

  #onEnd(): void {
    if (this.#isOver) return
    this.#replaced++
    if (this.#replaced > mostReplaced) {
      this.#isOver = true
      printError(
        'the watchdog of the command cannot be kept running: a SIGKILL would leave it behind',
      )
      return
    }
    this.#process = this.#start()
  }

  #tell(line: string): Promise<void> {
    return new Promise((resolve) => {
      if (this.#process.stdin === null) resolve()
      else this.#process.stdin.write(`${line}\n`, () => resolve())
    })
  }
}
