/**
 * `holdfast once KEY COMMAND`: runs a command once for all callers of a key. The first caller runs
 * the command. All callers that wait during this run print the standard output of the run.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once as nextEvent } from 'node:events'
import { constants } from 'node:os'
import type { Run } from '@holdfast/client'
import { HoldfastError, maxDurationMs, maxResultBytes } from '@holdfast/shared'
import type { Command } from 'commander'
import {
  answerInTime,
  type BrokerFlags,
  brokerCommandWithoutJson,
  withSessionFor,
} from './connecting.js'
import { Exit, exitCodes } from './exitCodes.js'
import { escapeText, writeOut } from './output.js'
import { durationParser, parseDuration } from './parse.js'
import { cannotRun } from './run/launch.js'
import { withoutIgnored } from './run/launcher.js'
import { commandOf } from './run/options.js'

interface OnceFlags extends BrokerFlags {
  /** How long later callers get the output, in ms. */
  readonly keep?: number | undefined
  /** How long to wait for the run of another caller, in ms. */
  readonly timeout?: number | undefined
}

/**
 * The shared value: the standard output of the command. The output is in base64, because a command
 * may print bytes that are not text.
 */
interface Output {
  readonly stdout: string
}

/** Bytes of the value that are reserved for the JSON around the output. */
const jsonReserveBytes = 64
/** How many bytes of output fit into the shared value. Base64 needs 4 bytes for 3 bytes. */
const maxOutputBytes = Math.floor(((maxResultBytes - jsonReserveBytes) / 4) * 3)

export function onceCommand(): Command {
  return (
    brokerCommandWithoutJson(
      'once',
      'run a command once for all callers of a key; all print its output',
      `holdfast once report:2026-11 ./build-report.sh
holdfast once --keep 1m exchange-rates -- curl -s https://example.com/rates
holdfast once --timeout 30s token -c './login | jq -r .token'   # a line for the shell`,
    )
      .usage('[options] <key> [--] <command...>\n       holdfast once [options] <key> -c <line>')
      .argument('<key>')
      .argument('[command...]', 'everything after the key')
      .option(
        '--keep <time>',
        'how long after the run further callers still get its output',
        durationParser(1, maxDurationMs),
      )
      .option(
        '--timeout <time>',
        'how long to wait for the run of another caller (default no limit)',
        parseDuration,
      )
      // Words after the key belong to the command, even if they look like options of `once`.
      .passThroughOptions()
      .addHelpText('after', notes)
      .action((key: string, words: string[], flags: OnceFlags) => runOnce(key, words, flags))
  )
}

/** The end of `holdfast once --help`. */
const notes = `
The first caller runs the command under the lock of the key, and every caller that waits meanwhile
prints the standard output of this run and exits with 0. If the command fails, its caller exits with
the exit code of the command, and the next caller runs its own command.

The command has no standard input. Its environment has HOLDFAST_KEY and HOLDFAST_FENCE, but no
HOLDFAST_TOKEN. At most ${maxOutputBytes} bytes of output can be shared, and fewer if the broker has
a smaller "frameBytes". With more output the exit code is 1, and the next caller runs its command.

If the lock is lost, the process group of the command is killed at once, and the exit code is 76.`

async function runOnce(key: string, words: readonly string[], flags: OnceFlags): Promise<void> {
  const command = commandOf(words, 'once')
  const { keep, timeout } = flags
  let hasRunHere = false
  const output = await withSessionFor(
    key,
    flags,
    async (session) => {
      let onOwnRunEnd: () => void = () => {}
      const ownRunEnd = new Promise<void>((resolve) => {
        onOwnRunEnd = resolve
      })
      const run = async (details: Run): Promise<Output> => {
        hasRunHere = true
        const stdout = await execute(key, command, details).finally(onOwnRunEnd)
        return { stdout: stdout.toString('base64') }
      }
      const shared = session.once(key, run, { keep, timeout, metadata: { pid: process.pid } })
      // After a run in this process, `answerInTime` limits the wait for the answer of the broker.
      // While another caller runs its command, only `timeout` limits the wait.
      const answered = Promise.race([shared, ownRunEnd.then(() => answerInTime(shared))])
      return answered.catch((error) => throwOnceError(key, error))
    },
    // `reconnect: undefined` overrides the `false` of `connecting.ts`, so that the session
    // reconnects. `grace` is how long the broker keeps the session without a connection.
    { grace: 'lease', reconnect: undefined },
  )
  // If this process ran the command, this process printed the output during the run.
  if (!hasRunHere) writeOut(outputOf(key, output))
}

/**
 * Throws the error of a call of `once`. For a lost lock, throws an {@link Exit} whose message
 * begins with the key. The message may name the option `maxHold`. In a `HoldfastError`,
 * `reportError` would change this name to `--max-hold`, a flag that `once` does not have.
 */
function throwOnceError(key: string, error: unknown): never {
  const isLoss = error instanceof HoldfastError && error.code === 'LOCK_LOST'
  throw isLoss ? new Exit(exitCodes.lost, `${key}: ${error.message}`) : error
}

/**
 * The standard output in a shared value.
 *
 * @throws {Exit} 1 if the value has no `stdout`, because another program shared the value.
 */
function outputOf(key: string, value: unknown): Buffer {
  const { stdout } = (value ?? {}) as Partial<Record<keyof Output, unknown>>
  if (typeof stdout === 'string') return Buffer.from(stdout, 'base64')
  throw new Exit(
    exitCodes.failed,
    `The value of ${escapeText(key)} does not come from "holdfast once": use another key`,
  )
}

/**
 * Runs the command, and prints each part of its output as soon as the part arrives.
 *
 * @returns The whole output
 * @throws {Exit} With the exit code of a command that fails
 */
async function execute(
  key: string,
  [program, ...args]: readonly string[],
  { fence, signal: lossSignal }: Run,
): Promise<Buffer> {
  // The command must not get the token of this process.
  const { HOLDFAST_TOKEN: _, ...env } = process.env
  const child = spawn(program!, args, {
    // A process group of its own, so that a signal reaches all processes of the command.
    detached: process.platform !== 'win32',
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...env, HOLDFAST_KEY: key, HOLDFAST_FENCE: String(fence) },
  })
  const onLost = () => signalGroup(child, 'SIGKILL')
  const forward = (name: NodeJS.Signals) => signalGroup(child, name)
  // Leaves out the signals that this process ignores, for example under `nohup`.
  const forwardedSignals = withoutIgnored(['SIGINT', 'SIGTERM', 'SIGHUP'])
  lossSignal.addEventListener('abort', onLost)
  for (const name of forwardedSignals) process.on(name, forward)
  try {
    const chunks: Buffer[] = []
    let outputBytes = 0
    child.stdout!.on('data', (chunk: Buffer) => {
      outputBytes += chunk.length
      if (outputBytes <= maxOutputBytes) chunks.push(chunk)
      writeOut(chunk)
    })
    // This call also throws the error of a command that cannot be started.
    const [code, signalName] = (await nextEvent(child, 'close')) as [number | null, string | null]
    // Like a shell, exit with 128 + n if signal n ended the command. The messages are empty,
    // because the command has printed its own errors.
    if (code === null) throw new Exit(128 + signalNumber(signalName), '')
    if (code !== 0) throw new Exit(code, '')
    if (outputBytes <= maxOutputBytes) return Buffer.concat(chunks)
    throw new Exit(
      exitCodes.failed,
      `The output has ${outputBytes} bytes, more than the ${maxOutputBytes} bytes that can be shared: ` +
        'write it to a file, and print the name of the file',
    )
  } catch (error) {
    throw exitFor(program!, error)
  } finally {
    lossSignal.removeEventListener('abort', onLost)
    for (const name of forwardedSignals) process.off(name, forward)
  }
}

/** Sends a signal to all processes of the command, if the command still runs. */
function signalGroup(child: ChildProcess, name: NodeJS.Signals): void {
  if (child.pid === undefined || child.exitCode !== null) return
  try {
    if (process.platform === 'win32') child.kill(name)
    else process.kill(-child.pid, name)
  } catch {
    // The group has ended.
  }
}

function signalNumber(name: string | null): number {
  return constants.signals[name as NodeJS.Signals] ?? 0
}

/**
 * If `error` says that the command could not be started, returns an error with the exit code that
 * a shell would have. Returns every other error unchanged.
 */
function exitFor(program: string, error: unknown): unknown {
  const { code } = error as NodeJS.ErrnoException
  if (error instanceof Exit || typeof code !== 'string') return error
  return cannotRun(program, code)
}
