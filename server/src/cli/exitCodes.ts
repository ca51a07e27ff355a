/**
 * How the command ends: its exit codes, as in sysexits.h where that has one, and the sentence that
 * goes with an error.
 */
import { HoldfastError } from '@holdfast/shared'
import { CommanderError } from 'commander'
import { onOutputFailure, writeError } from './output.js'
import { visible, visibleLines } from './print.js'

export const exitCodes = {
  done: 0,
  /** What was asked for is not so: no such lock, or a broker that is not ready. */
  failed: 1,
  usage: 64,
  /** No broker answers, or not what the broker shares a log by. */
  unavailable: 69,
  /** A fault of this program, not of its user. */
  internal: 70,
  /** The broker's log, its fence file or the output cannot be written, or the log is damaged. */
  io: 74,
  /** The lock was not to be had, in time or at all. */
  notAcquired: 75,
  /** The lock was in danger or lost, and the command was stopped for it. */
  lost: 76,
  forbidden: 77,
  /** A setting that cannot be. */
  config: 78,
} as const

/** For the end of `--help`. */
export const exitHelp = `
Exit codes: 0 done, 1 no such lock (of status: not ready), 64 wrong usage, 69 no broker (or no etcd)
answers, 70 a fault of holdfast itself, 74 the log, the fence file or the output cannot be written,
75 the lock was not acquired, 76 the lock was lost or in danger, 77 not allowed, 78 a setting that
cannot be.`

/** An end with a code and a sentence of its own. */
export class Exit extends Error {
  readonly code: number

  constructor(code: number, message: string) {
    super(message)
    this.code = code
  }
}

const byCode: Partial<Record<HoldfastError['code'], number>> = {
  LOCK_HELD: exitCodes.notAcquired,
  LOCK_TIMEOUT: exitCodes.notAcquired,
  LOCK_NOT_HELD: exitCodes.failed,
  LOCK_LOST: exitCodes.lost,
  UNAVAILABLE: exitCodes.unavailable,
  SESSION_EXPIRED: exitCodes.unavailable,
  UNAUTHORIZED: exitCodes.forbidden,
  FORBIDDEN: exitCodes.forbidden,
  QUOTA_EXCEEDED: exitCodes.unavailable,
  INVALID_KEY: exitCodes.usage,
  INVALID_TTL: exitCodes.usage,
  INVALID_TIMEOUT: exitCodes.usage,
}

/** Says what is wrong, and returns the exit code. */
export function reportError(error: unknown): number {
  // Commander has already printed its own.
  if (error instanceof CommanderError)
    return error.exitCode === 0 ? exitCodes.done : exitCodes.usage
  if (error instanceof Exit) {
    if (error.message !== '') printError(error.message)
    return error.code
  }
  if (error instanceof HoldfastError) {
    printError(error.message)
    return byCode[error.code] ?? exitCodes.config
  }
  return reportFault(error)
}

/** Prints the stack of an unexpected error. The stack can hold what a broker sent. */
function reportFault(error: unknown): number {
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
  writeError(`holdfast: unexpected error, please report it\n${visibleLines(text)}\n`)
  return exitCodes.internal
}

/** Prints one sentence on standard error, with every control character in it spelt out. */
export function printError(sentence: string): void {
  writeError(`holdfast: ${visible(sentence)}\n`)
}

/**
 * Watches what happens outside of a command's own code: output that cannot be written ends in
 * {@link exitCodes.io}, and errors and warnings that Node would print raw are made visible.
 */
export function watchProcess(): void {
  let outputFailed = false
  process.stdout.on('error', () => {})
  onOutputFailure(({ code, message }) => {
    // The reader has seen enough, as `head` has.
    if (code === 'EPIPE') return
    outputFailed = true
    printError(
      `standard output cannot be written (${code ?? message}): what was printed is not whole`,
    )
  })
  process.stderr.on('error', () => {})
  process.on('exit', (code) => {
    if (outputFailed && code === exitCodes.done) process.exitCode = exitCodes.io
  })
  process.on('uncaughtException', (error) => process.exit(reportFault(error)))
  // Node prints warnings raw, unless it was told to print none.
  if (process.listenerCount('warning') === 0) return
  process.removeAllListeners('warning')
  process.on('warning', ({ name, message }) => printError(`${name}: ${message}`))
}
