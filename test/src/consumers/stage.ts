/**
 * Makes a project like that of a user: the project has the packages, installed from their tarballs,
 * and the programs of `test/consumers`. The tools are runtimes, bundlers, compilers, test runners
 * and package checkers. `npm ci` installs the tools once in `test/consumers`. The parent folder of
 * the project links to the tools, because Node also looks for packages in this folder.
 */
import { spawn } from 'node:child_process'
import { cp, mkdir, mkdtemp, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { npmCommand } from '../conventions/npm.js'
import { root } from '../conventions/repository.js'
import { installIn, packOnce, type Tarballs } from '../conventions/tarballs.js'

const sources = join(root, 'test/consumers')

/** How a program ended, and what it printed on both streams. */
export interface Outcome {
  readonly code: number | null
  readonly output: string
}

export interface Project {
  /** The folder with the programs and the installed packages. */
  readonly folder: string
  /** An empty output folder outside the project, where a bundle can import no installed package. */
  readonly out: string
  readonly tarballs: Tarballs
  /** Runs the command of a tool in the project. */
  tool(name: string, ...args: readonly string[]): Promise<Outcome>
  /** Runs a program in the project, with the Node that runs the tests. */
  node(...args: readonly string[]): Promise<Outcome>
  remove(): Promise<void>
}

/** Installs the tools. Resolves with undefined, or with an error message if the install fails. */
export async function installTools(): Promise<string | undefined> {
  const setUp = await import(pathToFileURL(join(root, 'test/tools/setup.mjs')).href)
  if (setUp.isInstalled(sources)) return undefined
  const { command, args, env } = npmCommand('ci', '--no-audit', '--no-fund', '--loglevel=error')
  const { code, output } = await runProgram(command, args, sources, env)
  if (code === 0) return undefined
  // The first line of an error of npm has only its code.
  const [firstError] = output.match(/^npm error (?!code).+/m) ?? [output.trim()]
  return `npm ci in test/consumers failed: ${firstError}`
}

/** Makes the project in a folder of its own. */
export async function openProject(): Promise<Project> {
  const tarballs = await packOnce()
  const parent = await mkdtemp(join(tmpdir(), 'holdfast-consumers-'))
  const folder = join(parent, 'project')
  const out = await mkdtemp(join(tmpdir(), 'holdfast-bundles-'))
  await symlink(join(sources, 'node_modules'), join(parent, 'node_modules'))
  await mkdir(folder)
  for (const name of ['programs', 'bundlers', 'jest', 'vitest', 'types']) {
    await cp(join(sources, name), join(folder, name), { recursive: true })
  }
  // Also installs the types of the oldest version of Node that the packages support.
  await installIn(folder, tarballs, '@types/node@20')
  return {
    folder,
    out,
    tarballs,
    tool: (name, ...args) => runProgram(join(sources, 'node_modules/.bin', name), args, folder),
    node: (...args) => runProgram(process.execPath, args, folder),
    remove: async () => {
      for (const path of [parent, out]) await rm(path, { recursive: true, force: true })
    },
  }
}

/** Runs a command, and resolves at its end. */
export function runProgram(
  command: string,
  args: readonly string[],
  cwd: string,
  env: NodeJS.ProcessEnv = process.env,
): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (chunk: string) => {
        output += chunk
      })
    }
    child.once('error', reject)
    child.once('close', (code) => resolve({ code, output }))
  })
}
