/**
 * Starts a broker: the real command, in a process of its own. The broker runs in a place, which is
 * this machine, or a network namespace that stands for another machine.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { Place } from '../support/etcd.js'
import { holdfastFile } from '../support/programs.js'

export class BrokerProcess {
  readonly #place: Place
  readonly #flags: readonly string[]
  #process: ChildProcess | undefined
  /** The port of the broker; 0 before the first start, so that the system chooses a port. */
  #port = 0
  /** The lines that the broker wrote to standard error. */
  readonly errorLines: string[] = []

  constructor(place: Place, flags: readonly string[]) {
    this.#place = place
    this.#flags = flags
  }

  get url(): string {
    return `ws://${this.#place.host}:${this.#port}`
  }

  /** Starts the broker; resolves when it serves. A restarted broker uses its former port. */
  async start(): Promise<void> {
    const { host, command: commandPrefix } = this.#place
    const serveCommand = [
      process.execPath,
      holdfastFile,
      'serve',
      '--host',
      host,
      '--port',
      `${this.#port}`,
    ]
    // `setpriv` asks the operating system to kill the broker when the process of the test ends.
    const commandLine = [
      ...commandPrefix,
      'setpriv',
      '--pdeathsig',
      'KILL',
      ...serveCommand,
      ...this.#flags,
    ]
    const [program, ...args] = commandLine as [string, ...string[]]
    const broker = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] })
    this.#process = broker
    createInterface(broker.stderr).on('line', (line) => this.errorLines.push(line))
    for await (const line of createInterface(broker.stdout)) {
      const [, port] = /listening on ws:\/\/[\d.]+:(\d+)/.exec(line) ?? []
      if (port === undefined) continue
      this.#port = Number(port)
      // The loop stops reading here. Without a reader, the pipe would become full, and the broker
      // would wait.
      broker.stdout.resume()
      return
    }
    throw new Error(`A broker did not start: ${this.errorLines.join(' ')}`)
  }

  /** Sends the signal to the broker, and resolves when its process has ended. */
  async end(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    const broker = this.#process
    this.#process = undefined
    if (broker === undefined || broker.exitCode !== null || broker.signalCode !== null) return
    const exited = once(broker, 'exit')
    broker.kill(signal)
    await exited
  }

  /** Pauses the process by SIGSTOP. */
  freeze(): void {
    this.#process?.kill('SIGSTOP')
  }

  /** Continues the process after `freeze`. */
  thaw(): void {
    this.#process?.kill('SIGCONT')
  }

  get isRunning(): boolean {
    const broker = this.#process
    return broker !== undefined && broker.exitCode === null && broker.signalCode === null
  }
}
