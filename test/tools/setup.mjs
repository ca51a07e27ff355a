/**
 * Makes a fresh clone ready to run: installs what is missing, builds what has changed, and removes
 * what was built from deleted files. Every command in a clone begins here, so this file needs
 * nothing but Node.
 */
import { spawn } from 'node:child_process'
import { chmodSync, existsSync, readdirSync, readFileSync, rmdirSync, rmSync } from 'node:fs'
import { join, relative } from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'

export const root = fileURLToPath(new URL('../../', import.meta.url))
/** The published packages, each after those that it needs. */
export const packages = ['shared', 'client', 'server']
export const projects = [...packages, 'test']

/** Folders in `dist` with files of other tools than the compiler; no source has their names. */
const bundled = /^(bundle|dashboard\/page|man|superstruct)(\/|$)/

const windows = process.platform === 'win32'

/**
 * Installs if needed, and builds `project` with its references. Takes half a second if nothing has
 * changed.
 */
export async function setUp(project) {
  requireNode()
  if (!isInstalled(root)) await install()
  await build(project)
}

/** Compiles the changed parts of `project`, a folder of the repository, and of its references. */
export async function build(project) {
  for (const each of projects) removeStale(join(root, each))
  await run(join(root, 'node_modules/typescript/bin/tsc'), '-b', join(root, project))
  await makeCommand()
  const made = packages.slice(0, projects.indexOf(project) + 1)
  await run(join(root, 'test/tools/commonjs.mjs'), ...made)
  if (made.includes('client')) await run(join(root, 'test/tools/bundle.mjs'))
  if (project === 'server' || project === 'test') {
    await run(join(root, 'test/tools/dashboard.mjs'))
    await run(join(root, 'test/tools/manual.mjs'))
  }
}

/**
 * Makes `npx holdfast` work in the clone. When npm installs the packages of a clone, the command is
 * not built yet, so npm leaves it out.
 */
async function makeCommand() {
  const command = join(root, 'server/dist/cli/main.js')
  if (!existsSync(command)) return
  chmodSync(command, 0o755)
  if (existsSync(join(root, 'node_modules/.bin', windows ? 'holdfast.cmd' : 'holdfast'))) return
  const code = await runNpm('rebuild', '--ignore-scripts', '--loglevel=error', '@holdfast/server')
  if (code !== 0) process.exit(code)
}

/** Runs a Node script with this terminal; exits with its exit code if it fails. */
export async function run(script, ...args) {
  const code = await exitOf(process.execPath, [script, ...args], {})
  if (code !== 0) process.exit(code)
}

/**
 * Removes from `project/dist` what no source makes any more. The compiler leaves such files, and a
 * deleted test would still run.
 */
export function removeStale(project) {
  const dist = join(project, 'dist')
  if (!existsSync(dist)) return
  for (const entry of readdirSync(dist, { withFileTypes: true, recursive: true })) {
    if (!entry.isFile() || entry.name === '.tsbuildinfo') continue
    const folder = entry.parentPath ?? entry.path
    if (bundled.test(relative(dist, folder).replaceAll('\\', '/'))) continue
    const source = entry.name.replace(/(\.d\.c?ts|\.c?js)(\.map)?$/, '.ts')
    const path = join(project, 'src', folder.slice(dist.length), source)
    if (existsSync(path) || existsSync(`${path}x`)) continue
    rmSync(join(folder, entry.name))
    removeIfEmpty(folder, dist)
  }
}

/** Whether `node_modules` under `folder` is exactly what its package-lock.json requires here. */
export function isInstalled(folder) {
  const wanted = packagesOf(join(folder, 'package-lock.json'))
  const found = packagesOf(join(folder, 'node_modules/.package-lock.json'))
  if (wanted === undefined || found === undefined) return false
  for (const [path, { version, link, optional }] of Object.entries(wanted)) {
    // Each optional package is for one platform, so the others are missing.
    if (path === '' || (optional && found[path] === undefined)) continue
    if (found[path]?.version !== version || found[path]?.link !== link) return false
  }
  return Object.keys(found).every((path) => wanted[path] !== undefined)
}

function packagesOf(lockFile) {
  try {
    return JSON.parse(readFileSync(lockFile, 'utf8')).packages
  } catch {
    return undefined
  }
}

async function install() {
  process.stderr.write('holdfast: installing what package-lock.json names\n')
  const code = await runNpm('ci', '--include=dev', '--no-audit', '--no-fund', '--loglevel=error')
  if (code === 0) return
  process.stderr.write('holdfast: npm could not install the packages; its message is above\n')
  process.exit(code)
}

/** Runs npm in the clone, with its output on stderr; resolves with its exit code. */
export function runNpm(...args) {
  const npm = process.env.npm_execpath
  return npm
    ? exitOf(process.execPath, [npm, ...args], { env: environmentForNpm() })
    : exitOf('npm', args, { env: environmentForNpm(), shell: windows })
}

/**
 * Without the settings of an outer npm: `npm pack --dry-run -w client` must not install with them.
 */
function environmentForNpm() {
  const told =
    /^npm_config_(dry_run|workspace|workspaces|omit|production|global|json|ignore_scripts)$/i
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !told.test(name)))
}

/** Set-up prints to stderr, because stdout belongs to the program. */
function exitOf(command, args, options) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: root, stdio: ['ignore', 2, 2], ...options })
    const pass = (signal) => child.kill(signal)
    process.on('SIGINT', pass).on('SIGTERM', pass)
    child.once('error', reject)
    child.once('exit', (code) => {
      process.off('SIGINT', pass).off('SIGTERM', pass)
      resolve(code ?? 1)
    })
  })
}

function removeIfEmpty(folder, top) {
  if (folder !== top && readdirSync(folder).length === 0) rmdirSync(folder)
}

function requireNode() {
  const [, major, minor] = /(\d+)\.(\d+)/.exec(
    JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).engines.node,
  )
  const [ourMajor, ourMinor] = process.versions.node.split('.').map(Number)
  if (ourMajor > Number(major) || (ourMajor === Number(major) && ourMinor >= Number(minor))) return
  process.stderr.write(
    `holdfast: needs Node ${major}.${minor} or newer, and this is ${process.versions.node}\n`,
  )
  process.exit(1)
}
