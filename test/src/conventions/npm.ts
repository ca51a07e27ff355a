/** Runs npm as a person would: without what an outer npm (`npm test`) passes to its scripts. */
import { spawnSync } from 'node:child_process'

const keep = ['npm_config_cache', 'npm_config_registry', 'npm_config_userconfig']

interface NpmCommand {
  readonly command: string
  readonly args: readonly string[]
  readonly env: NodeJS.ProcessEnv
}

export function npm(...args: readonly string[]): NpmCommand {
  const { npm_execpath: script } = process.env
  const env = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^npm_/i.test(name) || keep.includes(name)),
  )
  return script === undefined
    ? { command: 'npm', args, env }
    : { command: process.execPath, args: [script, ...args], env }
}

/** Runs npm to its end in a folder and returns what it printed; throws with it if npm failed. */
export function runNpm(folder: string, ...args: readonly string[]): string {
  const { command, args: all, env } = npm(...args)
  const result = spawnSync(command, all, { cwd: folder, env, encoding: 'utf8' })
  if (result.status === 0) return result.stdout
  throw new Error(`npm ${args.join(' ')} failed\n${result.stdout}\n${result.stderr}`)
}
