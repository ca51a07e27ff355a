/**
 * `holdfast run KEY -- COMMAND`: a command under a lock, like flock(1), over the network.
 *
 * The session has a grace of its whole lease, so a dropped connection costs nothing while the
 * broker is back in time. When it is not, the command is stopped while the lock is still certainly
 * ours: it is dead before the broker can grant the lock to anyone else.
 */
import { hostname } from 'node:os'
import { basename } from 'node:path'
import type { Lock, Session } from '@holdfast/client'
import { HoldfastError } from '@holdfast/shared'
import { type Command, Option } from 'commander'
import { Child, exitOfSignal } from './child.js'
import { type BrokerFlags, connectTo, quietCommand } from './connecting.js'
import { complain, Exit, exits } from './exits.js'
import { Guard } from './guard.js'
import { duration } from './parse.js'
import { visible } from './print.js'
import { Signals } from './signals.js'

/** How long to wait before saying what for, in ms. */
const quietMs = 1_000
/** What is kept back of the time to stop a command, for the machine to do it, in ms. */
const reserveMs = 300
/** Of the names of a command and a machine, so many characters are shown to others. */
const shownChars = 64

interface RunFlags extends BrokerFlags {
  readonly shared?: boolean | undefined
  readonly try?: boolean | undefined
  readonly timeout?: number | undefined
  readonly ttl?: number | undefined
  readonly grace?: number | undefined
  readonly killAfter?: number | undefined
}

export function runCommand(): Command {
  return quietCommand(
    'run',
    'run a command under a lock',
    `holdfast run nightly-report -- ./report.sh
holdfast run --try backup -- rsync -a src/ dst/      # exits 75 if somebody holds it
holdfast run --timeout 10s orders:42 -- node job.js
holdfast run --shared catalogue -- ./read-only-job
holdfast run --ttl 60s --kill-after 20s db-migration -- npm run migrate`,
  )
    .argument('<key>')
    .argument('<command...>', 'after --')
    .addOption(new Option('-s, --shared', 'beside others who share it'))
    .addOption(new Option('-t, --try', 'do not wait: exit 75 if it is taken').conflicts('timeout'))
    .option('--timeout <time>', 'wait for at most so long, then exit 75', duration)
    .option('--ttl <time>', 'the lease: how long the broker waits for a silent client', duration)
    .option('--grace <time>', 'give up sooner than the lease when the connection drops', duration)
    .option(
      '--kill-after <time>',
      'from SIGTERM to SIGKILL (default a fifth of the lease)',
      duration,
    )
    .addHelpText('after', notes)
    .action((key: string, command: string[], flags: RunFlags) => run(key, command, flags))
}

const notes = `
The command has HOLDFAST_KEY and HOLDFAST_FENCE in its environment, and our standard input, output
and error. Signals are passed to its process group; its exit code is ours, 128 + n if signal n ended
it, and 75 and 76 as above.

When nothing is heard of the broker, the whole process group gets SIGTERM, and --kill-after later
SIGKILL, both before the lease is over: after silence the command is dead before anybody else is
granted the lock. Two things no client can promise that for: a lock that is revoked or stolen (the
command is stopped when the news arrives), and a SIGKILL or SIGSTOP of "holdfast run" itself. There
only the fence protects: hand HOLDFAST_FENCE to what the lock is for, and let that refuse a lower
one than the highest it has seen.`

async function run(key: string, command: readonly string[], flags: RunFlags): Promise<void> {
  const session = await connectTo(flags, {
    name: `${commandName(command)} on ${short(hostname())}`,
    ttl: flags.ttl,
    grace: flags.grace ?? 'lease',
    reconnect: undefined,
  })
  const controller = new AbortController()
  const signals = new Signals((signal) => {
    if (signal !== 'SIGWINCH') controller.abort(signal)
  })
  try {
    const killAfter = killAfterFor(flags, session)
    const lock = await acquire(session, key, command, flags, controller.signal)
    signals.hold()
    process.exitCode = await underLock({ session, lock, command, killAfter, signals })
  } finally {
    await session.close()
    signals.end()
  }
}

/** A whole command line given as one word is no name, and too long for one. */
function commandName([command = '']: readonly string[]): string {
  return short(basename(command))
}

function short(text: string): string {
  return [...text].slice(0, shownChars).join('')
}

function killAfterFor({ killAfter, ttl, grace }: RunFlags, session: Session): number {
  // A lease is renewed every third of it, so this much is always left to those who are heard.
  const always = Math.min(session.ttl, session.grace) / 2
  const chosen = killAfter ?? Math.round(Math.min(session.ttl, session.grace) / 5)
  if (chosen + reserveMs < always) return chosen
  const wanted =
    [ttl, grace].filter((one) => one !== undefined).length > 0 ? ' --ttl or --grace' : ' --ttl'
  throw new Exit(
    exits.usage,
    `--kill-after ${chosen} ms is too long for a lease of ${session.ttl} ms and a grace of ` +
      `${session.grace} ms: it has to be below ${Math.floor(always - reserveMs)} ms, or${wanted} longer`,
  )
}

async function acquire(
  session: Session,
  key: string,
  command: readonly string[],
  flags: RunFlags,
  signal: AbortSignal,
): Promise<Lock> {
  const talk = setTimeout(() => complain(`waiting for ${visible(key)}`), quietMs)
  const metadata = { command: commandName(command), host: short(hostname()), pid: process.pid }
  const mode = flags.shared ? 'shared' : 'exclusive'
  const timeout = flags.try ? 0 : flags.timeout
  try {
    return await session.lock(key, { mode, timeout, metadata, signal })
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error
    if (error.code === 'ABORTED') throw new Exit(exitOfSignal(signal.reason as NodeJS.Signals), '')
    if (error.code === 'LOCK_HELD')
      throw new Exit(exits.notAcquired, `${visible(key)} ${heldBy(error)}`)
    throw error
  } finally {
    clearTimeout(talk)
  }
}

function heldBy({ holders = [] }: HoldfastError): string {
  const names = holders.map(({ name, session }) => visible(name ?? session))
  return names.length === 0 ? 'is taken' : `is held by ${names.join(', ')}`
}

interface Undertaking {
  readonly session: Session
  readonly lock: Lock
  readonly command: readonly string[]
  readonly killAfter: number
  readonly signals: Signals
}

async function underLock(undertaking: Undertaking): Promise<number> {
  const { session, lock, command, killAfter, signals } = undertaking
  const child = new Child(command, { HOLDFAST_KEY: lock.key, HOLDFAST_FENCE: String(lock.fence) })
  signals.give((signal) => child.signal(signal))
  const guard = new Guard({ session, lock, child, killAfterMs: killAfter, reserveMs })
  let exit: number
  try {
    exit = await child.exited
  } finally {
    guard.end()
  }
  if (guard.danger !== undefined) {
    // The command is gone, but what it has started may not have minded the SIGTERM, and from our
    // goodbye on somebody else may hold the lock.
    child.signal('SIGKILL')
    throw new Exit(exits.lost, '')
  }
  // A lock that went at the very end was held while the command ran, or the guard would know.
  await lock.unlock().catch(() => {})
  return exit
}
