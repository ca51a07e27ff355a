/**
 * Checks a journal in a child process, before the broker opens the journal. The database LMDB does
 * not check its pages, so a damaged page can kill the process that reads the page. In this check,
 * such a page kills the child process and not the broker.
 */
import { spawn } from 'node:child_process'
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { dataFile, inUseError } from './directory.js'
import { damagedJournal } from './record.js'

const program = fileURLToPath(new URL('./integrityCheckProcess.js', import.meta.url))

/**
 * The check may take this many ms, plus one ms for each {@link bytesPerMs} bytes of the journal. A
 * timeout is necessary, because damaged pages can refer to each other in a circle.
 */
const minTimeoutMs = 10_000
/** How many bytes even a slow disk reads in one ms. */
const bytesPerMs = 20_000
/**
 * The signals that end a process when it crashes. Other signals, such as SIGINT, come from other
 * processes.
 */
const crashSignals: readonly string[] = [
  'SIGSEGV',
  'SIGBUS',
  'SIGABRT',
  'SIGILL',
  'SIGFPE',
  'SIGTRAP',
]
/** The exit code of the child process if another process uses the journal. */
export const inUseExitCode = 100
/** Exit codes of crashes on Windows begin here. */
const firstCrashCode = 0xc0000000

export interface IntegrityCheckOptions {
  /** Whether this process still has the data file open, because an earlier journal failed. */
  readonly isOpenInThisProcess: boolean
  /** Cancels the check. */
  readonly signal: AbortSignal
}

/**
 * Resolves when the child process has read the whole journal and committed a test write. Also
 * resolves if no child process can be started, or if the child process fails without a crash.
 *
 * @throws {HoldfastError} `UNAVAILABLE` if the child process crashed or ran into the timeout, or if
 *   another process uses the journal.
 */
export async function checkIntegrity(path: string, options: IntegrityCheckOptions): Promise<void> {
  const result = await runChildProcess(path, options)
  if (result === inUseExitCode) throw inUseError(path)
  if (result !== undefined) throw damagedJournal(`reading it ${result}`)
}

/**
 * Resolves with the words that follow "reading it" in the error message, or with
 * {@link inUseExitCode}. Undefined if the child process ended without a crash or could not start,
 * or if the check was cancelled.
 */
function runChildProcess(path: string, { isOpenInThisProcess, signal }: IntegrityCheckOptions) {
  return new Promise<string | typeof inUseExitCode | undefined>((resolve) => {
    // Options of this process, such as --inspect or a preload, must not apply to the child process.
    // Under Electron, `ELECTRON_RUN_AS_NODE` makes the child process run Node instead of an
    // application.
    const env = { ...process.env, NODE_OPTIONS: '', ELECTRON_RUN_AS_NODE: '1' }
    const options = { env, stdio: 'ignore', windowsHide: true } as const
    const timeout = minTimeoutMs + Math.ceil(statSync(join(path, dataFile)).size / bytesPerMs)
    const stopRules = { timeout, signal, killSignal: 'SIGKILL' } as const
    // With this id, the child process ignores that this process has the journal open.
    const args = [program, path, ...(isOpenInThisProcess ? [String(process.pid)] : [])]
    const child = spawn(process.execPath, args, { ...options, ...stopRules })
    child.once('error', () => {
      // Without a pid, the child process did not start. With a pid, the check was cancelled, which
      // kills the child process. Wait for its exit, because it uses the journal until then.
      if (child.pid === undefined) resolve(undefined)
    })
    child.once('exit', (code, signalCode) => {
      if (code === inUseExitCode) resolve(code)
      // The caller itself reports that the check was cancelled.
      else if (signal.aborted) resolve(undefined)
      // Without a cancellation, only the timeout kills the child process.
      else resolve(child.killed ? 'does not end' : crashReason(code, signalCode))
    })
  })
}

/** How a process crashed; undefined for a process that did not crash. */
export function crashReason(code: number | null, signal: string | null): string | undefined {
  if (signal !== null) return crashSignals.includes(signal) ? `ends with ${signal}` : undefined
  // `>>> 0` makes a negative code positive, because the codes of Windows are unsigned.
  const unsigned = (code ?? 0) >>> 0
  return unsigned >= firstCrashCode ? `ends with code 0x${unsigned.toString(16)}` : undefined
}
