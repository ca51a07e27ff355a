/**
 * `holdfast run KEY COMMAND`: a command under a lock, like flock(1), over the network.
 *
 * The session has a grace of its whole lease, so a dropped connection costs nothing while the
 * broker is back in time. When it is not, the command is stopped while the lock is still certainly
 * ours: it is dead before the broker can grant the lock to another session. The same holds when
 * this process is killed, because a watchdog kills the command then.
 */
import { hostname } from 'node:os'
import type { Lock, Session } from '@holdfast/client'
import type { Command } from 'commander'
import { quietCommand } from '../connecting.js'
import { Exit, exitCodes, printError } from '../exitCodes.js'
import { duration } from '../parse.js'
import { visible } from '../print.js'
import { acquire, Deadline, open, release } from './acquire.js'
import type { Child } from './child.js'
import { groupEnd } from './group.js'
import { runNotes } from './help.js'
import { LockGuard } from './lockGuard.js'
import {
  addHoldingOptions,
  commandName,
  commandOf,
  type HoldingFlags,
  killAfterFor,
  reserveMs,
  short,
} from './options.js'
import { Signals } from './signals.js'
import { startChild } from './terminalChild.js'
import { Watchdog } from './watchdog.js'

interface RunFlags extends HoldingFlags {
  /** In ms. */
  readonly killAfter?: number | undefined
  /** In ms. */
  readonly minHold?: number | undefined
  readonly leaderOnly?: boolean | undefined
  readonly passToken?: boolean | undefined
}

export function runCommand(): Command {
  const command = quietCommand(
    'run',
    'run a command under a lock',
    `holdfast run nightly-report ./report.sh
holdfast run --try backup rsync -a src/ dst/         # exits 75 if the lock is held
holdfast run --timeout 10s orders:42 -- node job.js  # one -- after the key is left out
holdfast run deploy -c 'make && make install'        # a line for the shell
holdfast run --shared catalogue ./read-only-job
holdfast run --try -E 0 --min-hold 1m daily ./job    # from cron, on many machines
holdfast run --lease 60s --kill-after 20s db-migration npm run migrate`,
  )
  return (
    addHoldingOptions(command)
      .usage('[options] <key> [--] <command...>\n       holdfast run [options] <key> -c <line>')
      .argument('<key>')
      .argument('[command...]', 'everything after the key')
      .option(
        '--kill-after <time>',
        'from SIGTERM to SIGKILL (default a fifth of the lease)',
        duration,
      )
      .option('--min-hold <time>', 'keep the lock for at least so long from its grant', duration)
      .option('--leader-only', 'unlock when the command itself ends, whatever it has left running')
      .option('--pass-token', 'leave HOLDFAST_TOKEN in the environment of the command')
      // What follows the key is the command's, even where it looks like an option of ours.
      .passThroughOptions()
      .addHelpText('after', runNotes)
      .action((key: string, words: string[], flags: RunFlags) => run(key, words, flags))
  )
}

async function run(key: string, words: readonly string[], flags: RunFlags): Promise<void> {
  if (process.platform === 'win32') {
    throw new Exit(
      exitCodes.usage,
      'holdfast run needs process groups, which Windows does not have: ' +
        'run it in WSL, or use "holdfast hold KEY" and do the work beside it',
    )
  }
  const command = commandOf(words)
  const deadline = new Deadline(flags.timeout)
  const controller = new AbortController()
  const signals = new Signals((signal) => {
    if (Signals.isDeadly(signal)) controller.abort(signal)
  })
  const metadata = { command: commandName(words), host: short(hostname()), pid: process.pid }
  const name = `${metadata.command} on ${metadata.host}`
  const wanted = { key, flags, name, metadata, signal: controller.signal }
  let isInterrupted: boolean
  try {
    const session = await open(wanted, deadline)
    try {
      const killAfterMs = killAfterFor(flags, session)
      const lock = await acquire(wanted, session, deadline)
      signals.hold()
      isInterrupted = await new Run({ session, lock, command, killAfterMs, signals, flags }).end()
    } finally {
      await session.close()
    }
  } finally {
    signals.end()
  }
  // Ctrl-C reached the command alone; the script around us has to hear of it too, and that we ended
  // by it, or it would go on with its next line.
  if (isInterrupted) process.kill(0, 'SIGINT')
}

interface RunDeps {
  readonly session: Session
  readonly lock: Lock
  readonly command: readonly string[]
  readonly killAfterMs: number
  readonly signals: Signals
  readonly flags: RunFlags
}

/** One command, from its start to the end of the lock. */
class Run {
  readonly #deps: RunDeps
  readonly #granted = performance.now()

  constructor(deps: RunDeps) {
    this.#deps = deps
  }

  /**
   * Sets our exit code. Resolves with whether the command was ended by Ctrl-C at its terminal.
   * @throws {Exit} 76 if the lock was lost; 126 or 127 if the command could not be run
   */
  async end(): Promise<boolean> {
    const { lock, command, flags } = this.#deps
    const watchdog = new Watchdog()
    try {
      const env = environmentFor(lock, flags)
      const mayContinue = () => lock.held
      const child = await startChild({ command, env, watchdog, mayContinue })
      try {
        process.exitCode = await this.#guarded(child)
      } finally {
        child.end()
      }
      watchdog.end()
      await this.#minimum()
      await release(lock)
      return child.wasInterrupted
    } finally {
      watchdog.end()
    }
  }

  async #guarded(child: Child): Promise<number> {
    const { session, lock, killAfterMs, signals, flags } = this.#deps
    signals.give((signal) => {
      // Once stopped, it goes on only under the lock.
      if (signal !== 'SIGCONT' || lock.held) child.signal(signal)
    })
    const what = 'stopping the command'
    const guard = new LockGuard({ session, lock, child, killAfterMs, reserveMs, what })
    try {
      const exit = await child.exited
      // What it has started may not have minded the SIGTERM, and after our goodbye another session
      // may hold the lock.
      if (guard.danger !== undefined) child.signal('SIGKILL')
      if (!flags.leaderOnly) await groupEnd(child.group, (members) => this.#sayWaiting(members))
      if (guard.danger !== undefined) throw new Exit(exitCodes.lost, '')
      return exit
    } finally {
      guard.end()
    }
  }

  #sayWaiting(members: number): void {
    const { lock, flags } = this.#deps
    if (flags.quiet) return
    const what = members === 1 ? '1 process' : `${members} processes`
    printError(
      `the command has ended; ${visible(lock.key)} is kept for ${what} of its group ` +
        '(--leader-only does not wait for them)',
    )
  }

  /** Keeps the lock for the rest of --min-hold; a signal or the loss of the lock ends that. */
  async #minimum(): Promise<void> {
    const { lock, flags, signals } = this.#deps
    const left = (flags.minHold ?? 0) - (performance.now() - this.#granted)
    if (left <= 0 || !lock.held) return
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, left)
      const end = () => {
        clearTimeout(timer)
        resolve()
      }
      lock.signal.addEventListener('abort', end, { once: true })
      signals.give((signal) => {
        if (Signals.isDeadly(signal)) end()
      })
    })
  }
}

/** The token can do more than hold this lock, so the command does not get it unasked. */
function environmentFor(lock: Lock, { passToken }: RunFlags): NodeJS.ProcessEnv {
  const { HOLDFAST_TOKEN: token, ...rest } = process.env
  return {
    ...rest,
    ...(passToken && token !== undefined ? { HOLDFAST_TOKEN: token } : {}),
    HOLDFAST_KEY: lock.key,
    HOLDFAST_FENCE: String(lock.fence),
  }
}
