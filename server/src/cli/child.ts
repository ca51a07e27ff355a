/**
 * A command as a process group of its own, so that a signal reaches all that it has started.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { constants } from 'node:os'
import { Exit } from './exits.js'

export class Child {
  readonly #process: ChildProcess
  /** Resolves with the exit code, 128 + n for signal n; rejects if there is no such command. */
  readonly exited: Promise<number>

  constructor([command = '', ...args]: readonly string[], env: Readonly<Record<string, string>>) {
    this.#process = spawn(command, args, {
      stdio: 'inherit',
      detached: true,
      env: { ...process.env, ...env },
    })
    process.on('SIGTSTP', this.#pause)
    this.exited = this.#exit().finally(() => process.off('SIGTSTP', this.#pause))
  }

  /** To all of the group; nothing if none of it is left. */
  signal(signal: NodeJS.Signals): void {
    const { pid } = this.#process
    if (pid === undefined) return
    try {
      process.kill(-pid, signal)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
    }
  }

  /** Ctrl-Z: the command stops first, and goes on only when we do and still may. */
  readonly #pause = (): void => {
    this.signal('SIGSTOP')
    process.once('SIGCONT', () => this.signal('SIGCONT'))
    process.kill(process.pid, 'SIGSTOP')
  }

  #exit(): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#process.once('error', (error: NodeJS.ErrnoException) => {
        // As shells have it: 127 for a command that is not there, 126 for one that cannot be run.
        reject(new Exit(error.code === 'ENOENT' ? 127 : 126, error.message))
      })
      this.#process.once('exit', (code, signal) => {
        resolve(signal === null ? (code ?? 0) : exitOfSignal(signal))
      })
    })
  }
}

export function exitOfSignal(signal: NodeJS.Signals): number {
  return 128 + constants.signals[signal]
}
