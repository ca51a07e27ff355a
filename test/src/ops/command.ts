/**
 * Runs the real `holdfast` command in a process of its own, and collects its output line by line.
 * In a quick run, some commands run within the process of the tests: see `inProcess.ts`.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { Collector, type Stage } from '../e2e/stage.js'
import { isFullRun } from '../support/counts.js'
import { holdfastFile } from '../support/programs.js'
import { endsByItself, runInProcess } from './inProcess.js'

/** The shell script that npm installs as `holdfast`. It starts Node with the JavaScript file. */
export const launcher = fileURLToPath(
  new URL('../bin/holdfast', import.meta.resolve('@holdfast/server')),
)

/** The result of a command that has ended. */
export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly out: readonly string[]
  readonly err: readonly string[]
}

/** How a test starts a command. */
export interface StartOptions {
  readonly env?: Readonly<Record<string, string>> | undefined
  /** The text for the standard input of the command. */
  readonly input?: string | undefined
  /**
   * The words before `holdfast`: a command that starts `holdfast`, for instance in another network
   * namespace.
   */
  readonly wrapper?: readonly string[] | undefined
  /**
   * The JavaScript file of the command, for instance of another build (see `otherBuild.ts`).
   * Default: the file of this build.
   */
  readonly main?: string | undefined
  /** Whether the test starts the launcher. By default, the test starts Node itself. */
  readonly usesLauncher?: boolean | undefined
  /** The standard input of the command: `pipe` (the default), or `ignore` for /dev/null. */
  readonly stdin?: 'pipe' | 'ignore' | undefined
  /** Whether standard input stays open after `input`. Default false. */
  readonly keepStdinOpen?: boolean | undefined
}

/** A running command in a process of its own, and the lines that the command has printed. */
export class Holdfast {
  readonly process: ChildProcess
  readonly out = new Collector<string>()
  readonly err = new Collector<string>()
  readonly #ended: Promise<unknown>

  private constructor(args: readonly string[], options: StartOptions) {
    const { env, input, wrapper = [], stdin = 'pipe' } = options
    const mainFile = options.main ?? holdfastFile
    const holdfastCommand = options.usesLauncher ? [launcher] : [process.execPath, mainFile]
    const [program, ...programArgs] = [...wrapper, ...holdfastCommand, ...args]
    this.process = spawn(program!, programArgs, {
      stdio: [stdin, 'pipe', 'pipe'],
      env: environment(env),
    })
    createInterface(this.process.stdout!).on('line', this.out.add)
    createInterface(this.process.stderr!).on('line', this.err.add)
    // The write fails if the command ends before it has read its input. The test ignores this.
    this.process.stdin?.on('error', () => {})
    if (options.keepStdinOpen) this.process.stdin?.write(input ?? '')
    else this.process.stdin?.end(input ?? '')
    // `close` comes after the end of the output, `exit` may come before.
    this.#ended = once(this.process, 'close')
    this.process.once('close', (code, signal) => {
      const reason = `holdfast ${args.join(' ')} has ended with ${code ?? signal}`
      this.out.end(reason)
      this.err.end(reason)
    })
  }

  /** Starts the command. The command is killed at the end of the test if it still runs. */
  static start(stage: Stage, args: readonly string[], options: StartOptions = {}): Holdfast {
    const command = new Holdfast(args, options)
    stage.onCleanUp(async () => {
      command.process.kill('SIGKILL')
      await command.ended()
    })
    return command
  }

  /**
   * Runs the command to its end. A quick run uses the process of the tests for a command that ends
   * by itself after it has printed. If `options` has more than `env`, the command always gets a
   * process of its own.
   */
  static run(stage: Stage, args: readonly string[], options: StartOptions = {}): Promise<Ended> {
    const { env, ...others } = options
    if (!isFullRun && endsByItself(args) && Object.keys(others).length === 0) {
      return runInProcess(stage, args, environment(env))
    }
    return Holdfast.start(stage, args, options).ended()
  }

  /**
   * Runs a command with wrong arguments. The command must refuse them before it connects or starts
   * a program, because a quick run uses the process of the tests for the command.
   */
  static runRefused(stage: Stage, args: readonly string[]): Promise<Ended> {
    if (isFullRun) return Holdfast.start(stage, args).ended()
    return runInProcess(stage, args, environment(undefined))
  }

  /** Resolves when the command has ended and its whole output was read. */
  async ended(): Promise<Ended> {
    await this.#ended
    const { exitCode: code, signalCode: signal } = this.process
    return { code, signal, out: this.out.items, err: this.err.items }
  }
}

/** The variables of this process without those of Holdfast, and the variables in `own`. */
function environment(own: StartOptions['env']): NodeJS.ProcessEnv {
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('HOLDFAST_'))
  return { ...Object.fromEntries(inherited), ...own }
}
