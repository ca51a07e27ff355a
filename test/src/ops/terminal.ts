/**
 * A pseudo-terminal for tests, made with script(1): a test types into the terminal and reads its
 * screen.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Stage } from '../e2e/stage.js'
import { holdfastFile } from '../support/programs.js'

/** The words that start `holdfast` in a shell command line. */
export const holdfast = `'${process.execPath}' '${holdfastFile}'`

/** The characters that Ctrl-C, Ctrl-Z and Ctrl-D send. */
export const keys = { interrupt: '\x03', suspend: '\x1a', endOfFile: '\x04' }

export class Terminal {
  readonly #process: ChildProcess
  readonly #ended: Promise<unknown>
  #screen = ''
  /** Whether the process has ended and all its output has arrived. */
  #isClosed = false
  /** The length of all output that `until` has returned so far. */
  #readLength = 0
  /** Lets `until` look at the screen again. */
  #wake: () => void = () => {}

  private constructor(line: string, env: Readonly<Record<string, string>>) {
    this.#process = spawn('script', ['-qefc', line, '/dev/null'], {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { ...process.env, SHELL: '/bin/sh', ...env },
      // Detaches from the terminal of the user who runs the tests.
      detached: true,
    })
    // A write fails if the terminal has ended. `until` reports this end.
    this.#process.stdin!.on('error', () => {})
    this.#process.stdout!.setEncoding('utf8').on('data', (text: string) => {
      this.#screen += text
      this.#wake()
    })
    this.#ended = once(this.#process, 'close').then(() => {
      this.#isClosed = true
      this.#wake()
    })
  }

  /** Runs a shell command line in a terminal. The end of the test kills the command line. */
  static start(stage: Stage, line: string, env: Readonly<Record<string, string>> = {}): Terminal {
    const terminal = new Terminal(line, env)
    stage.onCleanUp(async () => {
      terminal.#process.kill('SIGKILL')
      await terminal.#ended
    })
    return terminal
  }

  /** Types this text at the terminal. */
  type(text: string): void {
    this.#process.stdin!.write(text)
  }

  /**
   * Waits for a match in the output that follows the previous match. Resolves with the output from
   * the previous match to the end of the new match.
   */
  async until(pattern: RegExp): Promise<string> {
    for (;;) {
      const unread = this.#screen.slice(this.#readLength)
      const match = pattern.exec(unread)
      if (match !== null) {
        const end = match.index + match[0].length
        this.#readLength += end
        return unread.slice(0, end)
      }
      if (this.#isClosed) {
        throw new Error(`The terminal has ended without a match for ${pattern}: ${unread}`)
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }

  /** Resolves with the exit code of the command line: 128 + n if the signal n ended the command. */
  async ended(): Promise<number | null> {
    await this.#ended
    return this.#process.exitCode
  }

  /** All output of the command line until now, and all typed text that the terminal has shown. */
  get screen(): string {
    return this.#screen
  }
}
