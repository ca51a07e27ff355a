/**
 * The processes of the soak program: the broker, which is the real command `holdfast serve`, and
 * the clients. Each process loads `measure.js` first. So the soak program can ask each process how
 * much memory it uses.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { ActionCounts } from './client.js'
import type { Measured, SoakCommand } from './measure.js'
import type { Sample } from './slopes.js'

const brokerProgram = fileURLToPath(
  new URL('./cli/main.js', import.meta.resolve('@holdfast/server')),
)
const clientProgram = fileURLToPath(new URL('./client.js', import.meta.url))
const measureModule = new URL('./measure.js', import.meta.url).href

/** How many of the last lines of standard error an error message shows. */
const maxErrorLines = 20

/** A process that the soak program measures. */
export class MeasuredProcess {
  readonly name: string
  readonly samples: Sample[] = []
  readonly #child: ChildProcess
  readonly #errorLines: string[] = []
  #onActions: (counts: ActionCounts['counts']) => void = () => {}
  #isEnding = false
  /**
   * Rejects when the process ends, except with exit code 0 after a call of `stop` or `kill`. Has no
   * meaning for a visitor, which ends without such a call.
   */
  readonly failed: Promise<never>

  /** @param modules URLs of modules that the process loads before its program. */
  private constructor(
    name: string,
    program: string,
    args: readonly string[],
    modules: readonly string[],
  ) {
    this.name = name
    const imports = [measureModule, ...modules].flatMap((module) => ['--import', module])
    this.#child = fork(program, args, {
      execArgv: ['--expose-gc', ...imports],
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    })
    createInterface(this.#child.stderr!).on('line', (line) => {
      this.#errorLines.push(line)
      if (this.#errorLines.length > maxErrorLines) this.#errorLines.shift()
    })
    this.#child.on('message', (message: Measured | ActionCounts) => {
      if (message.kind === 'actions') this.#onActions(message.counts)
    })
    this.failed = new Promise((_, reject) => {
      this.#child.on('exit', (code, signal) => {
        if (this.#isEnding && code === 0) return
        const lines = this.#errorLines.join('\n')
        reject(new Error(`${name} ended with ${code ?? signal}\n${lines}`))
      })
    })
    // No code awaits `failed` of a visitor, or of a process that is killed at the end of a run.
    this.failed.catch(() => {})
  }

  /** Starts a broker, and resolves with its URLs when it listens. */
  static async broker(
    flags: readonly string[],
    modules: readonly string[],
  ): Promise<{
    readonly broker: MeasuredProcess
    readonly url: string
    readonly adminUrl: string
  }> {
    const args = ['serve', '--port', '0', '--admin-port', '0', '--metrics', ...flags]
    const broker = new MeasuredProcess('broker', brokerProgram, args, modules)
    const readUrls = async () => {
      const urls: string[] = []
      for await (const line of createInterface(broker.#child.stdout!)) {
        urls.push(...(/(?:ws|http):\/\/[\d.]+:\d+/.exec(line) ?? []))
        const [url, adminUrl] = urls
        if (url !== undefined && adminUrl !== undefined) return { url, adminUrl }
      }
      // The output has ended without both URLs, so the broker is about to end, or has ended.
      return broker.failed
    }
    const urls = await Promise.race([readUrls(), broker.failed])
    // Discard later output, because a full pipe would block the broker.
    broker.#child.stdout!.resume()
    return { broker, ...urls }
  }

  /** Starts a client with the arguments of `client.ts`. */
  static client(
    name: string,
    args: readonly string[],
    onActions: (counts: ActionCounts['counts']) => void,
  ): MeasuredProcess {
    const client = new MeasuredProcess(name, clientProgram, args, [])
    client.#onActions = onActions
    client.#child.stdout!.resume()
    return client
  }

  /** Measures the process now. Adds a sample with the time `at`, the result and `moreValues`. */
  async measure(at: number, moreValues: Sample['values'] = {}): Promise<Sample> {
    const answered = new Promise<Sample['values']>((resolve) => {
      const onMessage = (message: Measured | ActionCounts): void => {
        if (message.kind !== 'measured') return
        this.#child.off('message', onMessage)
        resolve(message.values)
      }
      this.#child.on('message', onMessage)
    })
    this.#send('measure')
    const values = await Promise.race([answered, this.failed])
    const sample = { at, values: { ...values, ...moreValues } }
    this.samples.push(sample)
    return sample
  }

  /**
   * Asks a resident (a client that runs until this call) to end. Resolves when the process has
   * ended with exit code 0. Otherwise rejects, as {@link failed} does.
   */
  async stop(): Promise<void> {
    const exited = this.exited()
    this.#isEnding = true
    this.#send('stop')
    await Promise.race([exited, this.failed])
  }

  /** Ends the process, and resolves when it has ended. */
  async kill(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    this.#isEnding = true
    const exited = this.exited()
    this.#child.kill(signal)
    await exited
  }

  /** Resolves when the process has ended, in any way. */
  async exited(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      await once(this.#child, 'exit')
    }
  }

  #send(command: SoakCommand): void {
    // A process that has ended cannot get the command; `failed` reports its end.
    this.#child.send(command, () => {})
  }
}
