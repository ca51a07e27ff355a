/**
 * `holdfast hold KEY`: a lock without a command, for a script that does its work meanwhile. The
 * lock is held until standard input is at its end or a signal arrives.
 */
import { fstatSync, statSync } from 'node:fs'
import { hostname } from 'node:os'
import { isatty } from 'node:tty'
import type { Command } from 'commander'
import { brokerCommand } from '../connecting.js'
import { Exit, exitCodes } from '../exitCodes.js'
import { onOutputFailure } from '../output.js'
import { print, printJson, visible } from '../print.js'
import { acquire, Deadline, open, release } from './acquire.js'
import { LockGuard } from './lockGuard.js'
import { addHoldingOptions, type HoldingFlags, killAfterFor, reserveMs, short } from './options.js'
import { isInForeground } from './processes.js'
import { Signals } from './signals.js'

export function holdCommand(): Command {
  const command = brokerCommand(
    'hold',
    'hold a lock without a command, until standard input ends or a signal arrives',
    `holdfast hold maintenance                            # until Ctrl-D or Ctrl-C
mkfifo hold && holdfast hold backup < hold &         # until the other end is closed
holdfast hold --try --json leader < /dev/null        # until a signal`,
  )
  return addHoldingOptions(command)
    .argument('<key>')
    .addHelpText('after', notes)
    .action((key: string, flags: HoldingFlags) => hold(key, flags))
}

const notes = `
When the lock is held, one line says so: "held KEY fence N", or JSON with --json. What the lock
protects should refuse fences lower than the highest it has seen.

The lock is released when standard input is at its end, or at the first signal that would end a
program (SIGINT, SIGTERM, SIGHUP, …); the exit code is 0 then, and 128 + n for signal n before the
lock was held. With /dev/null as standard input, as services and background jobs have it, only a
signal ends it. When the lock is lost, or a fifth of the lease before that may happen, the exit code
is 76: end at once what you do under the lock, because it may be granted to others.`

async function hold(key: string, flags: HoldingFlags): Promise<void> {
  const deadline = new Deadline(flags.timeout)
  const waiting = new AbortController()
  const end = new AbortController()
  const signals = new Signals((signal) => {
    if (Signals.isDeadly(signal)) waiting.abort(signal)
  })
  const name = `hold on ${short(hostname())}`
  const metadata = { host: short(hostname()), pid: process.pid }
  const wanted = { key, flags, name, metadata, signal: waiting.signal }
  try {
    const session = await open(wanted, deadline)
    try {
      const killAfterMs = killAfterFor(flags, session)
      const lock = await acquire(wanted, session, deadline)
      signals.give((signal) => {
        if (Signals.isDeadly(signal)) end.abort()
      })
      onInputEnd(() => end.abort())
      onOutputFailure(() => end.abort())
      const { signal } = end
      // Only this process can be stopped here: another process works under the lock.
      const child = { signal: () => end.abort() }
      const guard = new LockGuard({ session, lock, child, killAfterMs, reserveMs, what: 'ending' })
      if (flags.json) printJson({ key, fence: lock.fence, held: true })
      else print(`held ${visible(key)} fence ${lock.fence}`)
      if (!signal.aborted) {
        await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
      }
      guard.end()
      if (guard.danger !== undefined) throw new Exit(exitCodes.lost, '')
      await release(lock)
    } finally {
      await session.close()
    }
  } finally {
    signals.end()
    process.stdin.destroy()
  }
}

/**
 * Calls back at the end of standard input. Never for /dev/null, which is always at its end, nor for
 * a terminal whose background this is, since reading from that would stop us.
 */
function onInputEnd(onEnd: () => void): void {
  if (isNull() || (isatty(0) && process.platform !== 'win32' && !isInForeground())) return
  process.stdin.on('end', onEnd).on('error', onEnd).resume()
}

function isNull(): boolean {
  try {
    const input = fstatSync(0)
    return input.isCharacterDevice() && input.rdev === statSync('/dev/null').rdev
  } catch {
    return false
  }
}
