/**
 * How the command ends: its exit codes, as in sysexits.h where that has one, and the sentence that
 * goes with an error.
 */
import { HoldfastError } from '@holdfast/shared'
import { CommanderError } from 'commander'

export const exits = {
  done: 0,
  /** What was asked for is not so: no such lock, or a broker that is not ready. */
  failed: 1,
  usage: 64,
  /** No broker answers, or not what the broker shares a log by. */
  unavailable: 69,
  /** The broker's log or its fence file cannot be written, or is damaged. */
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
answers, 74 the log or the fence file cannot be used, 75 the lock was not acquired, 76 the lock
was lost or in danger, 77 not allowed, 78 a setting that cannot be.`

/** An end with a code and a sentence of its own. */
export class Exit extends Error {
  readonly code: number

  constructor(code: number, message: string) {
    super(message)
    this.code = code
  }
}

const byCode: Partial<Record<HoldfastError['code'], number>> = {
  LOCK_HELD: exits.notAcquired,
  LOCK_TIMEOUT: exits.notAcquired,
  LOCK_NOT_HELD: exits.failed,
  LOCK_LOST: exits.lost,
  UNAVAILABLE: exits.unavailable,
  SESSION_EXPIRED: exits.unavailable,
  UNAUTHORIZED: exits.forbidden,
  FORBIDDEN: exits.forbidden,
  QUOTA_EXCEEDED: exits.unavailable,
  INVALID_KEY: exits.usage,
  INVALID_TTL: exits.usage,
  INVALID_TIMEOUT: exits.usage,
}

/** Says what is wrong, and returns the exit code; whatever is not an error of ours is thrown on. */
export function reportError(error: unknown): number {
  // Commander has already printed its own.
  if (error instanceof CommanderError) return error.exitCode === 0 ? exits.done : exits.usage
  if (error instanceof Exit) {
    if (error.message !== '') complain(error.message)
    return error.code
  }
  if (error instanceof HoldfastError) {
    complain(error.message)
    return byCode[error.code] ?? exits.config
  }
  throw error
}

export function complain(sentence: string): void {
  process.stderr.write(`holdfast: ${sentence}\n`)
}
