/**
 * Runs npm as a user does. An outer npm, such as the npm of `npm test`, sets environment variables.
 * The inner npm gets only a few of these variables.
 */
import { spawnSync } from 'node:child_process'

/** The variables of an outer npm that the inner npm needs too. */
const keptVariables = ['npm_config_cache', 'npm_config_registry', 'npm_config_userconfig']

interface NpmCommand {
  readonly command: string
  readonly args: readonly string[]
  readonly env: NodeJS.ProcessEnv
}

/** Returns the command that runs npm with these arguments. */
export function npmCommand(...args: readonly string[]): NpmCommand {
  // An outer npm sets this variable to the path of its own script.
  const { npm_execpath: script } = process.env
  const env = Object.fromEntries(
    Object.entries(process.env).filter(
      ([name]) => !/^npm_/i.test(name) || keptVariables.includes(name),
    ),
  )
  return script === undefined
    ? { command: 'npm', args, env }
    : { command: process.execPath, args: [script, ...args], env }
}

/**
 * Runs npm in a folder, and returns the text on stdout. Throws an error with all output if npm
 * fails.
 */
export function runNpm(folder: string, ...args: readonly string[]): string {
  const { command, args: allArgs, env } = npmCommand(...args)
  const result = spawnSync(command, allArgs, { cwd: folder, env, encoding: 'utf8' })
  if (result.status === 0) return result.stdout
  throw new Error(`npm ${args.join(' ')} failed\n${result.stdout}\n${result.stderr}`)
}
