/**
 * Starts and stops the measured servers in processes of their own. The processes are pinned to a
 * core, if the machine allows this.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { type Endpoint, type Job, type Placement, tokenOf } from '../job.js'
import { hasProc, type Usage, usageFromProc } from './usage.js'

/** The default of {@link ServerOptions.startMs}, in ms. */
const defaultStartMs = 30_000
/** The largest number of lines of server output in the error message of a failed start. */
const maxShownLines = 20

/** The JavaScript file that the shell script `holdfast` starts. */
export const brokerScript = fileURLToPath(
  new URL('../../../../server/dist/cli/main.js', import.meta.url),
)
const echoScript = fileURLToPath(new URL('./echoServer.js', import.meta.url))
/** The module through which a server reports its usage. */
const usagePreload = new URL('./answerUsage.js', import.meta.url).href
/** The flags of Node that make a broker record the stalls of its event loop. */
export const watchLoopFlags: readonly string[] = [
  '--import',
  new URL('./watchLoop.js', import.meta.url).href,
]

const hasTaskset = spawnSync('taskset', ['--version'], { stdio: 'ignore' }).status === 0

/** Whether the bench can pin processes to cores, which needs `taskset` and two cores. */
export const canPin: boolean = hasTaskset && availableParallelism() >= 2

/** The core of the measured servers. */
export const serverCore = 0

/** The core of the load generator. */
export function generatorCore(placement: Placement): number {
  return placement === 'shared' ? serverCore : 1
}

/** A program and its arguments. */
export type CommandLine = readonly [program: string, args: readonly string[]]

/** Pins a command to one core, if the machine allows it. */
export function pinned(core: number, program: string, args: readonly string[]): CommandLine {
  return canPin ? ['taskset', ['-c', String(core), program, ...args]] : [program, args]
}

export class Server implements Endpoint {
  readonly #process: ChildProcess
  readonly url: string
  readonly pid: number

  constructor(process: ChildProcess, url: string) {
    this.#process = process
    this.pid = process.pid!
    this.url = url
  }

  /** The CPU time and memory of the server. Without `/proc`, the server itself reports them. */
  async usage(): Promise<Usage> {
    if (hasProc) return usageFromProc(this.pid)
    if (!this.#process.connected) return { cpuUs: Number.NaN, rssBytes: Number.NaN }
    const answer = once(this.#process, 'message')
    this.#process.send('askUsage')
    return (await answer)[0] as Usage
  }

  /**
   * Ends the server.
   *
   * @param signal SIGKILL, or SIGINT for a server that must write data or end child processes.
   */
  async stop(signal: NodeJS.Signals): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return
    const exit = once(this.#process, 'exit')
    this.#process.kill(signal)
    await exit
  }
}

/** The fields of a job that decide how its broker starts. */
type BrokerJob = Pick<
  Job,
  'limits' | 'journal' | 'profile' | 'principals' | 'heapMiB' | 'watchesLoop'
>

/**
 * Starts a broker with `holdfast serve`, and removes its files when the broker exits.
 *
 * @param flags Further flags of Node, and further flags of `holdfast serve`.
 */
export function startBroker(
  { limits, journal: durability, profile, principals, heapMiB, watchesLoop }: BrokerJob,
  {
    nodeFlags = [],
    serveFlags = [],
  }: { readonly nodeFlags?: readonly string[]; readonly serveFlags?: readonly string[] } = {},
): Promise<Server> {
  const limitFlags = Object.entries(limits).flatMap(([name, value]) => [
    '--limit',
    `${name}=${value}`,
  ])
  const folder =
    durability === undefined && principals === undefined ? undefined : makeTemporaryFolder()
  const journalFlags =
    durability === undefined ? [] : ['--journal', folder!, '--durability', durability]
  const tokenFlags = principals === undefined ? [] : ['--tokens', writeTokens(folder!, principals)]
  const profileFlags = profile === undefined ? [] : ['--profile', profile]
  const serve = ['serve', '--port', '0', '--drain', '0', ...profileFlags, ...limitFlags]
  const heapFlags = heapMiB === undefined ? [] : [`--max-old-space-size=${heapMiB}`]
  const preloadFlags = watchesLoop === true ? watchLoopFlags : []
  return startNode(
    [
      ...nodeFlags,
      ...heapFlags,
      ...preloadFlags,
      brokerScript,
      ...serve,
      ...serveFlags,
      ...journalFlags,
      ...tokenFlags,
    ],
    () => removeTemporaryFolder(folder),
  )
}

/** The folders of running brokers. This process removes these folders when it exits. */
const temporaryFolders = new Set<string>()

/** Makes a folder that is removed when this process exits, at the latest. */
function makeTemporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-bench-'))
  temporaryFolders.add(folder)
  return folder
}

function removeTemporaryFolder(folder: string | undefined): void {
  if (folder === undefined || !temporaryFolders.delete(folder)) return
  rmSync(folder, { recursive: true, force: true })
}

/** Writes a token file in which each principal has all permissions, and returns its path. */
function writeTokens(folder: string, principals: readonly string[]): string {
  const file = join(folder, 'tokens')
  const lines = principals.map((principal) => {
    const hash = createHash('sha256').update(tokenOf(principal)).digest('hex')
    return `${hash} ${principal} all\n`
  })
  writeFileSync(file, lines.join(''), { mode: 0o600 })
  return file
}

/** Starts the echo server, and resolves when it listens. */
export function startEcho(): Promise<Server> {
  return startNode([echoScript])
}

/** Starts a program in Node on the core of the servers, and resolves when the program is ready. */
function startNode(args: readonly string[], onExit: () => void = () => {}): Promise<Server> {
  // A pinned server has only one processor. In this case, the shell script `holdfast` would set
  // these flags, but the bench starts the broker without the script.
  const flags = canPin ? ['--single-threaded-gc', '--v8-pool-size=1'] : []
  if (!hasProc) flags.push('--import', usagePreload)
  const command = pinned(serverCore, process.execPath, [...flags, ...args])
  return startServer(command, {
    ready: /\bws:\/\/\S+/,
    url: undefined,
    answersUsage: true,
    onExit,
  })
}

export interface ServerOptions {
  /** Matches the output of a server that listens. */
  readonly ready: RegExp
  /** The URL of the server; undefined if the match of `ready` is the URL. */
  readonly url: string | undefined
  readonly cwd?: string
  readonly uid?: number
  readonly gid?: number
  /** Whether the server can report its usage through an IPC channel, if there is no `/proc`. */
  readonly answersUsage?: boolean
  /** How long the server may take until it listens, in ms. Default 30,000. */
  readonly startMs?: number | undefined
  readonly onExit?: () => void
}

/** Starts a server, and resolves when its output matches `ready`. */
export async function startServer(
  [program, args]: CommandLine,
  { ready, url, answersUsage = false, startMs = defaultStartMs, onExit, ...options }: ServerOptions,
): Promise<Server> {
  const channel = answersUsage && !hasProc ? (['ipc'] as const) : []
  const child = spawn(program, args, { ...options, stdio: ['ignore', 'pipe', 'pipe', ...channel] })
  endWithParent(child)
  if (onExit !== undefined) child.once('exit', onExit)
  const match = await firstMatch(child, ready, startMs)
  return new Server(child, url ?? match)
}

/**
 * Resolves with the first match of the pattern in the output of a process. Rejects with the output
 * if the process ends before a match. Kills the process if it has no match after `startMs`.
 */
function firstMatch(child: ChildProcess, pattern: RegExp, startMs: number): Promise<string> {
  const output: string[] = []
  // The exit of the killed process rejects the promise.
  const timer = setTimeout(() => child.kill('SIGKILL'), startMs)
  return new Promise<string>((resolve, reject) => {
    for (const input of [child.stdout!, child.stderr!]) {
      createInterface({ input }).on('line', (line) => {
        const match = pattern.exec(line)?.[0]
        if (match !== undefined) resolve(match)
        if (output.length < maxShownLines) output.push(line)
      })
    }
    child.once('error', reject)
    child.once('exit', () =>
      reject(
        new Error(`The server exited before it listened:
${output.join('\n')}`),
      ),
    )
  }).finally(() => clearTimeout(timer))
}

/** The processes to kill when this process exits. */
const running = new Set<ChildProcess>()
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL')
  for (const folder of temporaryFolders) removeTemporaryFolder(folder)
})

/** Kills the child when the bench ends. */
export function endWithParent(child: ChildProcess): void {
  running.add(child)
  child.once('exit', () => running.delete(child))
}
