/**
 * Processes that tests can kill: clients, which execute the commands of a test, and brokers, which
 * `holdfast serve` starts. A fence is the number of a grant. The commands name a lock by its fence.
 */
import { type ChildProcess, fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { ConnectOptions, LockOptions, LockStats } from '@holdfast/client'
import { bundleOrBuiltFile, holdfastFile } from '../support/programs.js'
import { Collector, type Stage } from './stage.js'

/** A command that a test sends to a client in another process. */
export type Command =
  | {
      readonly do: 'connect'
      readonly url: string | readonly string[]
      readonly options: ConnectOptions
    }
  | { readonly do: 'lock'; readonly key: string; readonly options: LockOptions }
  | { readonly do: 'unlock'; readonly fence: number }
  | { readonly do: 'isHeld'; readonly fence: number }
  // `leave` disconnects the process from the test; `crash` throws an error that nothing catches.
  | { readonly do: 'stats' | 'close' | 'leave' | 'crash' }

/** A message of a client in another process to the test: the result of a command, or an event. */
export type Report =
  | { readonly kind: 'done'; readonly id: number; readonly value: unknown }
  | { readonly kind: 'failed'; readonly id: number; readonly code: string }
  | ({ readonly kind: 'event' } & RemoteEvent)

export interface RemoteEvent {
  readonly event: string
  readonly fence: number | undefined
  /** A detail of the event, such as the reason of `lost`. */
  readonly text: string | undefined
  /** Nanoseconds on the monotonic clock of the machine, which all its processes share. */
  readonly at: bigint
}

/** How a process ended. */
export interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

/** The file that starts a program of `e2e/programs`: a bundle of the program, or the program. */
export function pathOf(program: string): string {
  return bundleOrBuiltFile(fileURLToPath(new URL(`./programs/${program}.js`, import.meta.url)))
}

/** Resolves when the process has ended and all of its output was read. */
export async function exitOf(child: ChildProcess): Promise<Exit> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  // The pipes may still contain the last output of the process.
  for (const pipe of [child.stdout, child.stderr]) {
    if (pipe !== null && !pipe.closed) await once(pipe, 'close')
  }
  return { code: child.exitCode, signal: child.signalCode }
}

/** Kills the process after the test, if it still runs. */
function killAfterTest(stage: Stage, child: ChildProcess): void {
  stage.onCleanUp(async () => {
    child.kill('SIGKILL')
    await exitOf(child)
  })
}

/** A client in another process, which executes the commands of the test. */
export class RemoteClient {
  readonly process: ChildProcess
  readonly events = new Collector<RemoteEvent>()
  readonly #settleById = new Map<number, (report: Report) => void>()
  #id = 0

  private constructor(child: ChildProcess) {
    this.process = child
    child.on('message', (report: Report) => {
      if (report.kind === 'event') this.events.add(report)
      else this.#settleById.get(report.id)?.(report)
    })
  }

  /**
   * Starts a client in a process of its own, and connects the client.
   *
   * @param wrapper A command with its arguments, which runs the process, for example in another
   * network namespace.
   */
  static async start(
    stage: Stage,
    url: string | readonly string[],
    options: ConnectOptions = {},
    wrapper: readonly string[] = [],
  ): Promise<RemoteClient> {
    const [execPath = process.execPath, ...args] = wrapper
    const child = fork(pathOf('client'), {
      // The times of events are bigints, which JSON cannot contain.
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
      // With a wrapper, `fork` starts the wrapper, and the wrapper starts Node.
      execPath,
      execArgv: wrapper.length === 0 ? [] : [...args, process.execPath],
    })
    killAfterTest(stage, child)
    const client = new RemoteClient(child)
    await client.execute({ do: 'connect', url, options })
    return client
  }

  /** Executes a command. Rejects with an error whose message is the code of the client's error. */
  execute(command: Command): Promise<unknown> {
    const id = ++this.#id
    return new Promise((resolve, reject) => {
      this.#settleById.set(id, (report) => {
        this.#settleById.delete(id)
        if (report.kind === 'done') resolve(report.value)
        else if (report.kind === 'failed') reject(new Error(report.code))
      })
      this.process.send({ id, command })
    })
  }

  /** Acquires a lock, and resolves with its fence. */
  async lock(key: string, options: LockOptions = {}): Promise<number> {
    return (await this.execute({ do: 'lock', key, options })) as number
  }

  /** Resolves with statistics when the broker has handled all earlier messages of the client. */
  async untilMessagesHandled(): Promise<LockStats> {
    return (await this.execute({ do: 'stats' })) as LockStats
  }

  /**
   * Resolves with the first event of this name, also if the event came earlier. With a fence, only
   * events of that lock count.
   */
  async event(name: string, fence?: number): Promise<RemoteEvent> {
    const matches = (event: RemoteEvent) =>
      event.event === name && (fence === undefined || event.fence === fence)
    return (await this.events.waitUntil((items) => items.some(matches))).find(matches)!
  }

  kill(signal: NodeJS.Signals): void {
    this.process.kill(signal)
  }

  exit(): Promise<Exit> {
    return exitOf(this.process)
  }
}

/** The command `holdfast`, usually `holdfast serve`, in a process of its own. */
export class ServeProcess {
  readonly process: ChildProcess
  /** The standard output, line by line. */
  readonly lines = new Collector<string>()
  readonly errorLines = new Collector<string>()

  private constructor(args: readonly string[], nodeFlags: readonly string[] = []) {
    this.process = spawn(process.execPath, [...nodeFlags, holdfastFile, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    createInterface(this.process.stdout!).on('line', this.lines.add)
    createInterface(this.process.stderr!).on('line', this.errorLines.add)
  }

  /** Starts `holdfast` with any arguments, and does not wait for output. The command may fail. */
  static runCommand(stage: Stage, ...args: readonly string[]): ServeProcess {
    const serveProcess = new ServeProcess(args)
    killAfterTest(stage, serveProcess.process)
    return serveProcess
  }

  /** Starts a broker, on a free port unless the flags have `--port`. Waits until it listens. */
  static async startListening(stage: Stage, ...flags: readonly string[]): Promise<ServeProcess> {
    const port = flags.includes('--port') ? [] : ['--port', '0']
    const serveProcess = ServeProcess.runCommand(stage, 'serve', ...port, ...flags)
    await serveProcess.lines.waitForCount(1)
    return serveProcess
  }

  /** Starts a broker with a heap of at most this many MiB. */
  static async startWithSmallHeap(
    stage: Stage,
    heapMiB: number,
    ...flags: readonly string[]
  ): Promise<ServeProcess> {
    const nodeFlags = [`--max-old-space-size=${heapMiB}`]
    const serveProcess = new ServeProcess(['serve', '--port', '0', ...flags], nodeFlags)
    killAfterTest(stage, serveProcess.process)
    await serveProcess.lines.waitForCount(1)
    return serveProcess
  }

  /**
   * The URL at which the broker listens. If the broker does not listen, returns a text that says
   * so. A client that connects to this text shows the text in its error.
   */
  get url(): string {
    return /ws:\/\/\S+/.exec(this.lines.items[0] ?? '')?.[0] ?? 'the broker does not listen'
  }

  get port(): string {
    return new URL(this.url).port
  }

  kill(signal: NodeJS.Signals): void {
    this.process.kill(signal)
  }

  exit(): Promise<Exit> {
    return exitOf(this.process)
  }
}
