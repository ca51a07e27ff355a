/**
 * A look at a journal by a process that may die of it. LMDB believes what its pages say of
 * themselves, so damage in one of those ends whoever reads it with a signal rather than a sentence;
 * better that is not the broker.
 */
import { spawn } from 'node:child_process'
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { dataFile, inUse } from './directory.js'
import { damaged } from './record.js'

const program = fileURLToPath(new URL('./integrityCheckProcess.js', import.meta.url))

/**
 * How long it may read: so many ms, and one for so many bytes, which is a slow disk. Pages that
 * point at each other in a circle have no end.
 */
const leastMs = 10_000
const bytesPerMs = 20_000
/** What ends a process for its own faults; others come from elsewhere, as at Ctrl-C. */
const crashes: readonly string[] = ['SIGSEGV', 'SIGBUS', 'SIGABRT', 'SIGILL', 'SIGFPE', 'SIGTRAP']
/** What it ends with if another process has the journal. */
export const inUseCode = 100
/** Windows has codes for crashes, from here on. */
const firstCrashCode = 0xc0000000

export interface IntegrityCheckOptions {
  /** Whether this process itself has the journal's file open. */
  readonly isOurs: boolean
  /** Nobody wants to know any more. */
  readonly signal: AbortSignal
}

/**
 * Resolves when all of it could be read, and a commit made; or nobody else can be asked to.
 *
 * @throws {HoldfastError} `UNAVAILABLE` if whoever did that died of it, came to no end, or found
 *   that another process is at it.
 */
export async function checkIntegrity(path: string, terms: IntegrityCheckOptions): Promise<void> {
  const fault = await faultOf(path, terms)
  if (fault === inUseCode) throw inUse(path)
  if (fault !== undefined) throw damaged(`reading it ${fault}`)
}

function faultOf(path: string, { isOurs, signal }: IntegrityCheckOptions) {
  return new Promise<string | typeof inUseCode | undefined>((resolve) => {
    // What holds for how this process was started does not hold for a program of ours.
    const env = { ...process.env, NODE_OPTIONS: '', ELECTRON_RUN_AS_NODE: '1' }
    const options = { env, stdio: 'ignore', windowsHide: true } as const
    const timeout = leastMs + Math.ceil(statSync(join(path, dataFile)).size / bytesPerMs)
    const limits = { timeout, signal, killSignal: 'SIGKILL' } as const
    const args = [program, path, ...(isOurs ? [String(process.pid)] : [])]
    const reader = spawn(process.execPath, args, { ...options, ...limits })
    reader.once('error', () => {
      // Unless it is there, and is ended: not before it has gone is the journal free again.
      if (reader.pid === undefined) resolve(undefined)
    })
    reader.once('exit', (code, signalCode) => {
      if (code === inUseCode) resolve(code)
      else if (signal.aborted) resolve(undefined)
      else resolve(reader.killed ? 'comes to no end' : crashIn(code, signalCode))
    })
  })
}

/** How a process died of what it did; undefined if it did not. */
export function crashIn(code: number | null, signal: string | null): string | undefined {
  if (signal !== null) return crashes.includes(signal) ? `ends with ${signal}` : undefined
  const unsigned = (code ?? 0) >>> 0
  return unsigned >= firstCrashCode ? `ends with code 0x${unsigned.toString(16)}` : undefined
}
