/**
 * The exit codes of the command, and the functions that print its error messages. The codes follow
 * sysexits.h where sysexits.h has a fitting code.
 */
import { HoldfastError } from '@holdfast/shared'
import { CommanderError } from 'commander'
import { withFlags } from './flagNames.js'
import { escapeLines, escapeText, onOutputFailure, writeError } from './output.js'

export const exitCodes = {
  done: 0,
  /**
   * The lock or session does not exist, the broker is not ready, a listing is incomplete, or the
   * output of `once` cannot be shared.
   */
  failed: 1,
  /** The command line is wrong. */
  usage: 64,
  /**
   * No broker answers, a broker answers in another protocol, or the PostgreSQL or etcd of the
   * broker does not answer. Also: the session has ended, or a limit of the broker is reached.
   */
  unavailable: 69,
  /** A bug of this program. */
  internal: 70,
  /**
   * The broker's command log (all changes of locks) is damaged. Also: this log, the output or the
   * fence file cannot be written. In the fence file, the broker reserves the numbers of grants.
   */
  io: 74,
  /**
   * The lock was not acquired, because other sessions hold the lock, the timeout was over, or the
   * request would cause a deadlock.
   */
  notAcquired: 75,
  /** The lock was lost or about to be lost, and the command was stopped. */
  lost: 76,
  /** The broker refused the token or the request. */
  forbidden: 77,
  /** A setting is invalid. */
  config: 78,
} as const

/** The exit codes as text, for the end of every `--help`. */
export const exitHelp = `
Exit codes: 0 success; 1 no such lock or session, or the broker is not ready, or the listing is
incomplete, or the output of once cannot be shared; 64 wrong usage; 69 no broker (or no PostgreSQL
or etcd) answers, or the session has ended, or a limit of the broker is reached; 70 bug in holdfast;
74 the log, the fence file or the output cannot be written; 75 the lock was not acquired; 76 the
lock was lost or about to be lost; 77 not allowed; 78 invalid setting.`

/** An error that ends the command with an exit code. Its message is printed unless it is empty. */
export class Exit extends Error {
  readonly code: number

  constructor(code: number, message: string) {
    super(message)
    this.code = code
  }
}

/** The longest error message that is printed whole, in UTF-16 units. */
const maxMessageLength = 2_000

/**
 * Exit codes by the error codes of the client and the broker. Any other error code means that an
 * option is invalid, and has the exit code 78.
 */
const exitCodeOf: Partial<Record<HoldfastError['code'], number>> = {
  LOCK_HELD: exitCodes.notAcquired,
  LOCK_TIMEOUT: exitCodes.notAcquired,
  LOCK_NOT_HELD: exitCodes.failed,
  LOCK_LOST: exitCodes.lost,
  UNAVAILABLE: exitCodes.unavailable,
  SESSION_EXPIRED: exitCodes.unavailable,
  SESSION_CLOSED: exitCodes.unavailable,
  // The broker does not know a message of this command, and has closed the connection.
  BAD_MESSAGE: exitCodes.unavailable,
  UNAUTHORIZED: exitCodes.forbidden,
  FORBIDDEN: exitCodes.forbidden,
  QUOTA_EXCEEDED: exitCodes.unavailable,
  INVALID_KEY: exitCodes.usage,
  INVALID_TTL: exitCodes.usage,
  INVALID_TIMEOUT: exitCodes.usage,
  CAPACITY_MISMATCH: exitCodes.usage,
  DEADLOCK: exitCodes.notAcquired,
}

/** Prints the message of an error and returns the exit code for the error. */
export function reportError(error: unknown): number {
  // Commander has already printed its own errors.
  if (error instanceof CommanderError)
    return error.exitCode === 0 ? exitCodes.done : exitCodes.usage
  if (error instanceof Exit) {
    if (error.message !== '') printError(error.message)
    return error.code
  }
  if (error instanceof HoldfastError) {
    printError(sentenceCase(withFlags(error.message)))
    return exitCodeOf[error.code] ?? exitCodes.config
  }
  return reportBug(error)
}

/**
 * Begins a message of the client with a capital letter. Changes only the words in the
 * pattern below, because another first word may be a key, an option or a name.
 */
function sentenceCase(message: string): string {
  return message.replace(/^(the|no|a|an|this) /, (word) => word[0]!.toUpperCase() + word.slice(1))
}

/**
 * Prints the stack of an unexpected error. The stack is escaped, because it may contain text that a
 * broker sent.
 */
function reportBug(error: unknown): number {
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
  writeError(`holdfast: Unexpected error, please report it\n${escapeLines(text)}\n`)
  return exitCodes.internal
}

/**
 * Prints a message on standard error, with every control character escaped. Cuts a long message,
 * because a broker may send an error message or a name of any length.
 */
export function printError(message: string): void {
  const shown =
    message.length <= maxMessageLength ? message : `${message.slice(0, maxMessageLength)}…`
  writeError(`holdfast: ${escapeText(shown)}\n`)
}

/**
 * Handles the errors that no command handles. Sets the exit code {@link exitCodes.io} when the
 * output cannot be written. Escapes uncaught errors and warnings, because Node would print them
 * without escaping.
 */
export function watchProcess(): void {
  let outputFailed = false
  // Without any listener, an error would end the process. `onOutputFailure` listens only to the
  // first error.
  process.stdout.on('error', () => {})
  onOutputFailure(({ code, message }) => {
    // The reader of a pipe has closed the pipe, as `head` does. The command has not failed.
    if (code === 'EPIPE') return
    outputFailed = true
    printError(
      `Cannot write to standard output (${code ?? message}): the printed output is incomplete`,
    )
  })
  // Ignore errors of standard error, because no other output could report them.
  process.stderr.on('error', () => {})
  process.on('exit', (code) => {
    if (outputFailed && code === exitCodes.done) process.exitCode = exitCodes.io
  })
  process.on('uncaughtException', (error) => process.exit(reportBug(error)))
  // Node's own listener is missing if the user has turned warnings off (--no-warnings).
  if (process.listenerCount('warning') === 0) return
  process.removeAllListeners('warning')
  process.on('warning', ({ name, message }) => printError(`${name}: ${message}`))
}
