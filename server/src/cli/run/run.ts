/**
 * `holdfast run KEY COMMAND`: runs a command while holding a lock, like flock(1) over the network.
 *
 * The lease is how long the broker keeps a silent session. The grace is how long the broker keeps a
 * session after its connection dropped. By default the grace of `run` is as long as the lease, so
 * that the lock survives a dropped connection if the client reconnects in time. If the client does
 * not, this process kills the command before the broker can grant the lock to another session.
 * If this process is killed, its watchdog kills the command.
 */
import { hostname } from 'node:os'
import type { Lock, Session } from '@holdfast/client'
import type { Command } from 'commander'
import { brokerCommandWithoutJson } from '../connecting.js'
import { Exit, exitCodes, printError } from '../exitCodes.js'
import { escapeText } from '../output.js'
import { parseDuration } from '../parse.js'
import { acquire, Deadline, openSession, release } from './acquire.js'
import type { Child } from './child.js'
import { LockGuard } from './lockGuard.js'
import {
  addHoldingOptions,
  commandName,
  commandOf,
  type HoldingFlags,
  killAfterFor,
  reserveMs,
  shortened,
} from './options.js'
import { untilGroupEnds } from './processes.js'
import { Signals } from './signals.js'
import { startChild } from './terminalChild.js'
import { Watchdog } from './watchdog.js'

export interface RunFlags extends HoldingFlags {
  /** Time from SIGTERM to SIGKILL, in ms. */
  readonly killAfter?: number | undefined
  /** The shortest time for which the lock is held, in ms. */
  readonly minHold?: number | undefined
  /**
   * Whether to unlock when the command itself (the leader of its process group) ends, even if its
   * child processes still run.
   */
  readonly leaderOnly?: boolean | undefined
  /** Whether the environment of the command has HOLDFAST_TOKEN. */
  readonly passToken?: boolean | undefined
}

export function runCommand(): Command {
  const command = brokerCommandWithoutJson(
    'run',
    'run a command under a lock',
    `holdfast run nightly-report ./report.sh
holdfast run --try backup rsync -a src/ dst/         # exits 75 if the lock is held
holdfast run --timeout 10s orders:42 -- node job.js  # the -- is optional
holdfast run deploy -c 'make && make install'        # a line for the shell
holdfast run --shared catalogue ./read-only-job
holdfast run --capacity 3 render ./render.sh         # at most three at once
holdfast run --also account:2 account:1 ./transfer   # both keys or none
holdfast run --try -E 0 --min-hold 1m daily ./job    # in cron on many machines: one runs it
holdfast run --lease 60s --kill-after 20s db-migration npm run migrate`,
  )
  return addRunOptions(addHoldingOptions(command))
    .usage('[options] <key> [--] <command...>\n       holdfast run [options] <key> -c <line>')
    .argument('<key>')
    .argument('[command...]', 'everything after the key')
    .addHelpText('after', notes)
    .action((key: string, words: string[], flags: RunFlags) => run(key, words, flags))
}

/** The options about the command, which `run` and `elect` share. */
export function addRunOptions(command: Command): Command {
  return (
    command
      .option(
        '--kill-after <time>',
        'time from SIGTERM to SIGKILL (default a fifth of the lease)',
        parseDuration,
      )
      .option(
        '--min-hold <time>',
        'shortest time for which the lock is kept after its grant',
        parseDuration,
      )
      .option(
        '--leader-only',
        'unlock when the command ends, even if its child processes still run',
      )
      .option('--pass-token', 'leave HOLDFAST_TOKEN in the environment of the command')
      // Words after the key belong to the command, even if they look like options of `run`.
      .passThroughOptions()
  )
}

/** The end of `holdfast run --help`. */
const notes = `
Options stand before the key. Everything after the key is the command and its arguments, as in
flock(1), with or without one "--" between. "-c LINE" directly after the key runs LINE with the
shell that the variable SHELL names.

With --capacity N the key has N permits, and each lock takes --permits of them. All users of the key
must name the same capacity; otherwise the exit code is 64. With --also the lock is a set of keys.
While a set waits, even if only one of its keys is held, later requests for any of its keys wait
behind the set. HOLDFAST_KEY is the key of the command line, and HOLDFAST_FENCE is the fence of the
whole set.

The command inherits standard input, output and error. Its environment has HOLDFAST_KEY and
HOLDFAST_FENCE, and has HOLDFAST_TOKEN only with --pass-token. The exit code is that of the command:
128 + n if signal n ended it, 126 or 127 if it could not be run. The other exit codes are below.
--timeout includes the time to connect; if no broker answers in time, the exit code is 75, even
with -E. With --try, the broker has 2 s for the connection and then 2 s to answer the request;
otherwise the exit code is 69.

The lock is kept until every process of the command's process group has ended, also those in the
background. A process that leaves the group, as with setsid(1), as a daemon, or as a job of an
interactive shell, is neither waited for nor stopped. --leader-only waits only for the command
itself.

Signals to "holdfast run" are passed to the process group. If a signal that "holdfast run" cannot
catch (SIGKILL, a real-time signal) ends "holdfast run", a watchdog immediately kills the group with
SIGKILL. Signals that were ignored at the start of "holdfast run", as with nohup(1), stay ignored
for the command.

The command gets the terminal if standard input is a terminal, "holdfast run" is in the foreground,
and no other process of the same job runs. Ctrl-C, Ctrl-Z, /dev/tty and job control then work as if
the command was started directly. In a pipeline ("holdfast run ... | less") the command has no
terminal.

If the broker does not answer, the whole process group gets SIGTERM, and SIGKILL after the time of
--kill-after. Both happen before the lease is over: the command is dead before the broker can
grant the lock to another session. In the same way the command is stopped before it has held the
lock for the time of --max-hold, or for the longest time that the operator allows. The command may
outlive the lock in these cases:
- The lock is revoked or stolen. The command is stopped only when the broker's message arrives.
- "holdfast run" is suspended with SIGSTOP, or is killed together with its watchdog. Nothing then
  stops the command.
- The command runs as another user, whom "holdfast run" may not signal. "holdfast run" then keeps
  the lock until the command has ended. If the broker does not answer, the lock is lost before that.
In these cases only the fence protects: pass HOLDFAST_FENCE to the resource that the lock
protects, and let the resource refuse every fence that is lower than the highest fence it has
seen.

In a container, use an init (docker run --init), because "holdfast run" as process 1 does not
collect orphaned processes. On Windows there is no "holdfast run", but "holdfast hold" works
there.`

/**
 * Runs a command while this process holds a lock.
 *
 * @param isCampaign Whether the lock is the leadership of the election whose name is `key`.
 */
export async function run(
  key: string,
  words: readonly string[],
  flags: RunFlags,
  isCampaign = false,
): Promise<void> {
  if (process.platform === 'win32') {
    throw new Exit(
      exitCodes.usage,
      'holdfast run and holdfast elect need process groups, which Windows does not have: ' +
        'use them in WSL, or use "holdfast hold KEY" while another program does the work',
    )
  }
  const command = commandOf(words, isCampaign ? 'elect' : 'run')
  const deadline = new Deadline(flags.timeout)
  const controller = new AbortController()
  const signals = new Signals((signal) => {
    if (Signals.isDeadly(signal)) controller.abort(signal)
  })
  const metadata = { command: commandName(words), host: shortened(hostname()), pid: process.pid }
  const name = `${metadata.command} on ${metadata.host}`
  const params = { key, flags, name, metadata, signal: controller.signal, isCampaign }
  let wasCommandInterrupted: boolean
  try {
    const session = await openSession(params, deadline)
    try {
      const killAfterMs = killAfterFor(flags, session, 'run')
      const lock = await acquire(params, session, deadline)
      // Signals that arrive before the command has started wait for the command.
      signals.holdBack()
      const lockedRun = new Run({ session, lock, command, killAfterMs, signals, flags })
      wasCommandInterrupted = await lockedRun.execute()
    } finally {
      await session.close()
    }
  } finally {
    signals.end()
  }
  // The terminal sent the SIGINT of Ctrl-C only to the command. Send SIGINT to the process group of
  // this process too, because a shell script that called `run` would otherwise go on with its next
  // line.
  if (wasCommandInterrupted) process.kill(0, 'SIGINT')
}

interface RunDeps {
  readonly session: Session
  readonly lock: Lock
  readonly command: readonly string[]
  readonly killAfterMs: number
  readonly signals: Signals
  readonly flags: RunFlags
}

/** Runs one command from its start to the unlock. */
class Run {
  readonly #deps: RunDeps
  readonly #grantedAt = performance.now()

  constructor(deps: RunDeps) {
    this.#deps = deps
  }

  /**
   * Runs the command and sets the exit code of this process.
   * @returns Whether Ctrl-C at the terminal ended the command
   * @throws {Exit} 76 if the lock was lost; 126 or 127 if the command could not be run
   */
  async execute(): Promise<boolean> {
    const { lock, command, flags } = this.#deps
    const watchdog = new Watchdog()
    try {
      const env = environmentFor(lock, flags)
      // A suspended command (Ctrl-Z) may continue only while the lock is held.
      const mayContinue = () => lock.held
      const child = await startChild({ command, env, watchdog, mayContinue })
      try {
        process.exitCode = await this.#waitGuarded(child)
      } finally {
        child.end()
      }
      // The command has ended, so the watchdog must kill nothing during --min-hold.
      watchdog.end()
      await this.#untilMinHold()
      await release(lock)
      return child.wasInterrupted
    } finally {
      watchdog.end()
    }
  }

  /** Waits for the end of the command, and stops it if the lock is lost or may soon be lost. */
  async #waitGuarded(child: Child): Promise<number> {
    const { session, lock, killAfterMs, signals, flags } = this.#deps
    // Without the lock, a suspended command must not continue, so SIGCONT is not passed on.
    signals.handle((signal) => {
      if (signal !== 'SIGCONT' || lock.held) child.signal(signal)
    })
    const action = 'stopping the command'
    const guard = new LockGuard({ session, lock, child, killAfterMs, reserveMs, action })
    try {
      const exitCode = await child.exited
      // Kill the other processes of the group, which may have ignored the SIGTERM of the guard.
      // Another session may soon hold the lock.
      if (guard.stopReason !== undefined) child.signal('SIGKILL')
      if (!flags.leaderOnly)
        await untilGroupEnds(child.group, (livingCount) => this.#printWait(livingCount))
      // The guard has printed the reason, so the error has no message.
      if (guard.stopReason !== undefined) throw new Exit(exitCodes.lost, '')
      return exitCode
    } finally {
      guard.end()
    }
  }

  /** Prints that the lock is kept although the command itself has ended. */
  #printWait(livingCount: number): void {
    const { lock, flags } = this.#deps
    if (flags.quiet) return
    const processesText = livingCount === 1 ? '1 process' : `${livingCount} processes`
    printError(
      `The command has ended, but ${processesText} of its group still run: ${escapeText(lock.key)} is ` +
        'kept until they end (--leader-only does not wait for them)',
    )
  }

  /** Keeps the lock until the end of --min-hold, a deadly signal, or the loss of the lock. */
  async #untilMinHold(): Promise<void> {
    const { lock, flags, signals } = this.#deps
    const remainingMs = (flags.minHold ?? 0) - (performance.now() - this.#grantedAt)
    if (remainingMs <= 0 || !lock.held) return
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, remainingMs)
      const endHold = () => {
        clearTimeout(timer)
        resolve()
      }
      lock.signal.addEventListener('abort', endHold, { once: true })
      signals.handle((signal) => {
        if (Signals.isDeadly(signal)) endHold()
      })
    })
  }
}

/**
 * The environment of the command. Without --pass-token the environment has no HOLDFAST_TOKEN,
 * because the token may allow more than holding this lock.
 */
function environmentFor(lock: Lock, { passToken }: RunFlags): NodeJS.ProcessEnv {
  const { HOLDFAST_TOKEN: token, ...otherVariables } = process.env
  return {
    ...otherVariables,
    ...(passToken && token !== undefined ? { HOLDFAST_TOKEN: token } : {}),
    HOLDFAST_KEY: lock.key,
    HOLDFAST_FENCE: String(lock.fence),
  }
}
