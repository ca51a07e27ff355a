/**
 * Runs commands of `holdfast` within the process of the tests. In a quick run, commands that only
 * print and then end run in this way. The start of a process would cost more than the command. A
 * full run starts a process for every command.
 */
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { PassThrough } from 'node:stream'
import type { Stage } from '../e2e/stage.js'
import type { Ended } from './command.js'

const server = import.meta.resolve('@holdfast/server')
const { createProgram } = await import(new URL('./cli/program.js', server).href)
const { reportError } = await import(new URL('./cli/exitCodes.js', server).href)

/** The commands that only print and then end, whatever their flags are. */
const endingCommands = new Set([
  ...['ls', 'show', 'session', 'stats', 'status', 'unlock', 'token', 'completion', 'help'],
])

/** The signals for which a command may leave a listener behind. */
const signals = ['SIGINT', 'SIGTERM'] as const

/**
 * Resolves when the newest command in this process has ended. Each command waits for the command
 * before it, because the commands share the standard output.
 */
let newestEnded: Promise<unknown> = Promise.resolve()

/** Whether a command with these arguments only prints and then ends. */
export function endsByItself(args: readonly string[]): boolean {
  const [command = '', firstArgument] = args
  // `--help` at another place may be a word of the command that `holdfast run` starts.
  if (endingCommands.has(command) || command === '--help' || firstArgument === '--help') return true
  if (command === 'serve') return args.includes('--check')
  return ['top', 'ping'].includes(command) && args.includes('--count')
}

/**
 * Runs a command within this process, after all earlier commands.
 *
 * @param env The environment variables that the command sees.
 */
export function runInProcess(
  stage: Stage,
  args: readonly string[],
  env: NodeJS.ProcessEnv,
): Promise<Ended> {
  const ended = newestEnded.then(() => runNow(stage, args, env))
  newestEnded = ended.catch(() => {})
  return ended
}

/** Runs a command without waiting for an earlier command. */
async function runNow(
  stage: Stage,
  args: readonly string[],
  env: NodeJS.ProcessEnv,
): Promise<Ended> {
  const [out, err] = [new Output(), new Output()]
  const restore = replaceProcess(args, env, out, err)
  // Restores the standard output for the next test even if a test times out during its command.
  stage.onCleanUp(restore)
  let code: number
  try {
    const program = await createProgram(args[0])
    await program.parseAsync([...args], { from: 'user' })
    code = Number(process.exitCode ?? 0)
  } catch (error) {
    code = reportError(error)
  } finally {
    restore()
  }
  return { code, signal: null, out: await out.lines(), err: await err.lines() }
}

/** Collects what a command writes to one of its two outputs. */
class Output extends PassThrough {
  /**
   * A command writes past the stream only if `fd` is a file or a device. -1 is neither, so the
   * command writes to this stream.
   */
  readonly fd = -1
  readonly #lines: string[] = []
  readonly #closed: Promise<unknown>

  constructor() {
    super()
    const reader = createInterface(this).on('line', (line) => this.#lines.push(line))
    this.#closed = once(reader, 'close')
  }

  /** Ends the output, and resolves with its lines. */
  async lines(): Promise<readonly string[]> {
    this.end()
    await this.#closed
    return this.#lines
  }
}

/**
 * Gives this process the arguments, environment and outputs of a command. Returns a function that
 * restores the former values.
 */
function replaceProcess(
  args: readonly string[],
  env: NodeJS.ProcessEnv,
  stdout: Output,
  stderr: Output,
): () => void {
  const names = ['argv', 'env', 'stdout', 'stderr'] as const
  const originalDescriptors = names.map((name) => Object.getOwnPropertyDescriptor(process, name)!)
  const originalListeners = signals.map((signal) => process.listeners(signal))
  const { exitCode } = process
  // The first two words of `argv` are Node and its script.
  const replacements = { argv: [...process.argv.slice(0, 2), ...args], env, stdout, stderr }
  for (const [name, value] of Object.entries(replacements)) {
    Object.defineProperty(process, name, { value, configurable: true, writable: true })
  }
  process.exitCode = undefined
  let isRestored = false
  return () => {
    if (isRestored) return
    isRestored = true
    process.exitCode = exitCode
    for (const [i, name] of names.entries())
      Object.defineProperty(process, name, originalDescriptors[i]!)
    for (const [i, signal] of signals.entries()) {
      const added = process
        .listeners(signal)
        .filter((each) => !originalListeners[i]!.includes(each))
      for (const listener of added) process.off(signal, listener)
    }
  }
}
