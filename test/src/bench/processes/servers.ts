/**
 * Starts and stops what is measured: servers in processes of their own, held to a core where the
 * machine can do that.
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

/** How long a server may take to say that it listens, in ms. */
const startMs = 30_000

export const brokerCommand = fileURLToPath(
  new URL('../../../../server/dist/cli/main.js', import.meta.url),
)
const echoCommand = fileURLToPath(new URL('./echoServer.js', import.meta.url))
const usagePreload = new URL('./answerUsage.js', import.meta.url).href
const loopPreload = new URL('./watchLoop.js', import.meta.url).href

const hasTaskset = spawnSync('taskset', ['--version'], { stdio: 'ignore' }).status === 0

/** Whether server and generator can be held to a core each. */
export const canPin: boolean = hasTaskset && availableParallelism() >= 2

/** The core of a generator; the server's is 0. */
export function generatorCore(placement: Placement): number {
  return placement === 'shared' ? 0 : 1
}

/** A program and its arguments. */
export type CommandLine = readonly [program: string, args: readonly string[]]

/** Puts a command on one core, if that can be done. */
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

  /** What it has used; asked of itself where the machine does not tell. */
  async usage(): Promise<Usage> {
    if (hasProc) return usageFromProc(this.pid)
    if (!this.#process.connected) return { cpuUs: Number.NaN, rssBytes: Number.NaN }
    const answer = once(this.#process, 'message')
    this.#process.send('usage')
    return (await answer)[0] as Usage
  }

  /**
   * Ends it.
   *
   * @param signal SIGKILL for a server that has nothing to put away.
   */
  async stop(signal: NodeJS.Signals): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return
    const exit = once(this.#process, 'exit')
    this.#process.kill(signal)
    await exit
  }
}

type BrokerJob = Pick<
  Job,
  'limits' | 'journal' | 'profile' | 'principals' | 'heapMiB' | 'watchesLoop'
>

/** A broker as `holdfast serve` runs it, with some limits raised by name, and what it keeps. */
export function startBroker(
  { limits, journal, profile, principals, heapMiB, watchesLoop }: BrokerJob,
  nodeFlags: readonly string[] = [],
): Promise<Server> {
  const raised = Object.entries(limits).flatMap(([name, value]) => ['--limit', `${name}=${value}`])
  const kept = journal === undefined ? [] : journalFlags(journal)
  const known = principals === undefined ? [] : tokenFlags(principals)
  const profiled = profile === undefined ? [] : ['--profile', profile]
  const serve = ['serve', '--port', '0', '--drain', '0', ...profiled, ...raised, ...kept, ...known]
  const heap = heapMiB === undefined ? [] : [`--max-old-space-size=${heapMiB}`]
  const watch = watchesLoop === true ? ['--import', loopPreload] : []
  return startNode([...nodeFlags, ...heap, ...watch, brokerCommand, ...serve])
}

/** A directory of its own, gone with this process. */
function ownDirectory(): string {
  const dir = mkdtempSync(join(tmpdir(), 'holdfast-bench-'))
  process.once('exit', () => rmSync(dir, { recursive: true, force: true }))
  return dir
}

function journalFlags(durability: 'flushed' | 'relaxed'): string[] {
  return ['--journal', ownDirectory(), '--durability', durability]
}

/** A file of tokens: everybody in it may do everything. */
function tokenFlags(principals: readonly string[]): string[] {
  const file = join(ownDirectory(), 'tokens')
  const lines = principals.map((principal) => {
    const hash = createHash('sha256').update(tokenOf(principal)).digest('hex')
    return `${hash} ${principal} all\n`
  })
  writeFileSync(file, lines.join(''), { mode: 0o600 })
  return ['--tokens', file]
}

export function startEcho(): Promise<Server> {
  return startNode([echoCommand])
}

function startNode(args: readonly string[]): Promise<Server> {
  const flags = hasProc ? [] : ['--import', usagePreload]
  const command = pinned(0, process.execPath, [...flags, ...args])
  return startServer(command, { ready: /\bws:\/\/\S+/, url: undefined, answersUsage: true })
}

export interface ServerOptions {
  /** What it prints when it listens. */
  readonly ready: RegExp
  /** Where it listens; undefined if that is what `ready` finds. */
  readonly url: string | undefined
  readonly cwd?: string
  readonly uid?: number
  readonly gid?: number
  /** Whether it can be asked what it has used. */
  readonly answersUsage?: boolean
  readonly onExit?: () => void
}

/** Starts a server that says in its output when it listens. */
export async function startServer(
  [program, args]: CommandLine,
  { ready, url, answersUsage = false, onExit, ...options }: ServerOptions,
): Promise<Server> {
  const channel = answersUsage && !hasProc ? (['ipc'] as const) : []
  const child = spawn(program, args, { ...options, stdio: ['ignore', 'pipe', 'pipe', ...channel] })
  endWithParent(child)
  if (onExit !== undefined) child.once('exit', onExit)
  const found = await firstMatch(child, ready)
  return new Server(child, url ?? found)
}

/** What the output of a process matches first; rejects with the output if it ends before. */
function firstMatch(child: ChildProcess, pattern: RegExp): Promise<string> {
  const said: string[] = []
  const giveUp = setTimeout(() => child.kill('SIGKILL'), startMs)
  return new Promise<string>((resolve, reject) => {
    for (const input of [child.stdout!, child.stderr!]) {
      createInterface({ input }).on('line', (line) => {
        const match = pattern.exec(line)?.[0]
        if (match !== undefined) resolve(match)
        if (said.length < 20) said.push(line)
      })
    }
    child.once('error', reject)
    child.once('exit', () => reject(new Error(`a server ended:\n${said.join('\n')}`)))
  }).finally(() => clearTimeout(giveUp))
}

const running = new Set<ChildProcess>()
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

/** Nothing outlives the bench, however it ends. */
export function endWithParent(child: ChildProcess): void {
  running.add(child)
  child.once('exit', () => running.delete(child))
}
