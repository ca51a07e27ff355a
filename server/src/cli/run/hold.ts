/**
 * `holdfast hold KEY`: holds a lock without running a command, for a script that does its work
 * while the lock is held. The lock is held until standard input ends or a signal arrives.
 */
import { fstatSync, statSync } from 'node:fs'
import { hostname } from 'node:os'
import { isatty } from 'node:tty'
import type { Command } from 'commander'
import { brokerCommand } from '../connecting.js'
import { Exit, exitCodes } from '../exitCodes.js'
import { escapeText, onOutputFailure, print, printJson } from '../output.js'
import { acquire, Deadline, openSession, release } from './acquire.js'
import { LockGuard } from './lockGuard.js'
import {
  addHoldingOptions,
  type HoldingFlags,
  killAfterFor,
  reserveMs,
  shortened,
} from './options.js'
import { isInForeground } from './processes.js'
import { Signals } from './signals.js'

export function holdCommand(): Command {
  const command = brokerCommand(
    'hold',
    'hold a lock without a command, until standard input ends or a signal arrives',
    `holdfast hold maintenance                            # until Ctrl-D or Ctrl-C
mkfifo pipe && holdfast hold backup < pipe &         # until the other end is closed
holdfast hold --try --json leader < /dev/null        # until a signal, not the end of input`,
  )
  return addHoldingOptions(command)
    .argument('<key>')
    .addHelpText('after', notes)
    .action((key: string, flags: HoldingFlags) => hold(key, flags))
}

/** The end of `holdfast hold --help`. */
const notes = `
When the lock is held, the command prints one line: "held KEY fence N", or JSON with --json. The
resource that the lock protects should refuse every fence that is lower than the highest fence it
has seen.

The lock is released when standard input ends, or at the first signal that would end a program
(SIGINT, SIGTERM, SIGHUP, …). The exit code is 0 then. A signal n that arrives while the command
still waits for the lock gives 128 + n. With /dev/null as standard input, as services and background
jobs have it, only a signal releases the lock. When the lock is lost, or may soon be lost (within
about a fifth of the lease), the exit code is 76: end your work at once, because the broker may
grant the lock to another session.`

async function hold(key: string, flags: HoldingFlags): Promise<void> {
  const deadline = new Deadline(flags.timeout)
  /** Ends the wait for the lock. */
  const waitController = new AbortController()
  /** Ends the holding of the lock. */
  const holdController = new AbortController()
  const signals = new Signals((signal) => {
    if (Signals.isDeadly(signal)) waitController.abort(signal)
  })
  const name = `hold on ${shortened(hostname())}`
  const metadata = { host: shortened(hostname()), pid: process.pid }
  const params = { key, flags, name, metadata, signal: waitController.signal }
  try {
    const session = await openSession(params, deadline)
    try {
      const killAfterMs = killAfterFor(flags, session, 'hold')
      const lock = await acquire(params, session, deadline)
      // From now on, a deadly signal ends the hold instead of the wait.
      signals.handle((signal) => {
        if (Signals.isDeadly(signal)) holdController.abort()
      })
      onInputEnd(() => holdController.abort())
      onOutputFailure(() => holdController.abort())
      const { signal: endOfHold } = holdController
      // The guard signals its child when the lock is lost, or may be lost within `killAfterMs` plus
      // `reserveMs`. `hold` has no child, so any signal of the guard ends the hold.
      const child = { signal: () => holdController.abort() }
      // The last word of the message that the guard prints.
      const action = 'ending'
      const guard = new LockGuard({ session, lock, child, killAfterMs, reserveMs, action })
      if (flags.json) printJson({ key, fence: lock.fence, held: true })
      else print(`held ${escapeText(key)} fence ${lock.fence}`)
      if (!endOfHold.aborted) {
        await new Promise((resolve) => endOfHold.addEventListener('abort', resolve, { once: true }))
      }
      guard.end()
      // The guard has printed the reason, so the error has no message.
      if (guard.stopReason !== undefined) throw new Exit(exitCodes.lost, '')
      await release(lock)
    } finally {
      await session.close()
    }
  } finally {
    signals.end()
    process.stdin.destroy()
  }
}

/** The file descriptor of standard input. */
const stdinFd = 0

/**
 * Calls `onEnd` at the end of standard input. Never calls `onEnd` for /dev/null, which is always at
 * its end. Does not read a terminal while this process is in the background, because the system
 * would suspend this process.
 */
function onInputEnd(onEnd: () => void): void {
  if (isDevNull() || (isatty(stdinFd) && process.platform !== 'win32' && !isInForeground())) return
  process.stdin.on('end', onEnd).on('error', onEnd).resume()
}

function isDevNull(): boolean {
  try {
    const input = fstatSync(stdinFd)
    return input.isCharacterDevice() && input.rdev === statSync('/dev/null').rdev
  } catch {
    return false
  }
}
