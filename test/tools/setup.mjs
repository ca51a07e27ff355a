/**
 * Sets a clone up: installs missing packages, builds changed sources, and removes the built files
 * of deleted sources. Every command in a clone runs this first, so this file uses only modules of
 * Node.
 */
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join, relative } from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'

export const root = fileURLToPath(new URL('../../', import.meta.url))
/** The packages for users, each after the packages that it needs. */
export const packages = ['shared', 'client', 'server']
export const projects = [...packages, 'test']

/** Folders in `dist` with files of other tools than the compiler. These files have no sources. */
const bundled = /^(bundle|dashboard\/page|man|superstruct)(\/|$)/

const windows = process.platform === 'win32'

/**
 * Installs missing packages, and builds `project` and the projects that it references if a file
 * has changed since the last build.
 */
export async function setUp(project) {
  requireNode()
  if (!isInstalled(root)) await install()
  // The build of a later project includes the build of this project.
  if (projects.slice(projects.indexOf(project)).some(isBuilt)) return
  process.stderr.write('holdfast: building the packages, which takes about ten seconds\n')
  await build(project)
  mkdirSync(dirname(stampOf(project)), { recursive: true })
  writeFileSync(stampOf(project), fingerprintOf(root, project))
}

/** The file with the fingerprint of the last build of a project. */
function stampOf(project) {
  return join(root, `.cache/build-${project}.txt`)
}

/** Whether the last build of a project has read and written the present files. */
function isBuilt(project) {
  const stamp = stampOf(project)
  return existsSync(stamp) && readFileSync(stamp, 'utf8') === fingerprintOf(root, project)
}

/**
 * The fingerprint of all files that a build of `project` reads or writes, by their sizes and the
 * times of their last changes. So a change of a source and a removed built file both change it.
 */
export function fingerprintOf(folder, project) {
  const hash = createHash('sha256')
  const add = (path) => {
    const stat = statSync(path, { throwIfNoEntry: false })
    hash.update(`${path} ${stat?.size} ${stat?.mtimeMs}\n`)
  }
  const built = projects.slice(0, projects.indexOf(project) + 1)
  for (const each of [...built.flatMap((name) => [`${name}/src`, `${name}/dist`]), 'test/tools']) {
    const path = join(folder, each)
    const files = existsSync(path)
      ? readdirSync(path, { withFileTypes: true, recursive: true }).filter((file) => file.isFile())
      : []
    files
      .map((file) => join(file.parentPath ?? file.path, file.name))
      .sort()
      .forEach(add)
    add(join(folder, dirname(each), 'package.json'))
    add(join(folder, dirname(each), 'tsconfig.json'))
  }
  add(join(folder, 'tsconfig.base.json'))
  add(join(folder, 'node_modules/.package-lock.json'))
  add(join(folder, 'node_modules/.bin', windows ? 'holdfast.cmd' : 'holdfast'))
  return hash.digest('hex')
}

/** Compiles the changed parts of `project`, a folder of the repository, and of its references. */
export async function build(project) {
  for (const each of projects) removeStale(join(root, each))
  const made = packages.slice(0, projects.indexOf(project) + 1)
  let bundled
  if (made.includes('client')) {
    await compile('client')
    await makeCommonJs('shared', 'client')
    // The bundles take as long as the compilation of the other projects, so both run at once.
    bundled = run(join(root, 'test/tools/bundle.mjs'))
  }
  await compile(project)
  if (project === 'shared') await makeCommonJs('shared')
  await bundled
  if (!made.includes('server')) return
  await makeCommand()
  await makeCommonJs('server')
  await run(join(root, 'test/tools/dashboard.mjs'))
  await run(join(root, 'test/tools/manual.mjs'))
}

function compile(project) {
  return run(join(root, 'node_modules/typescript/bin/tsc'), '-b', join(root, project))
}

/** Makes the CommonJS form of these packages. */
function makeCommonJs(...folders) {
  return run(join(root, 'test/tools/commonjs.mjs'), ...folders)
}

/**
 * Links the command, so that `npx holdfast` works in the clone. npm links only existing files, and
 * the command is not built yet when npm installs the packages of a clone.
 */
async function makeCommand() {
  const command = join(root, 'server/dist/cli/main.js')
  if (!existsSync(command)) return
  chmodSync(command, 0o755)
  if (existsSync(join(root, 'node_modules/.bin', windows ? 'holdfast.cmd' : 'holdfast'))) return
  const code = await runNpm('rebuild', '--ignore-scripts', '--loglevel=error', '@holdfast/server')
  if (code !== 0) process.exit(code)
}

/** Runs a Node script. If the script fails, this process exits with the same exit code. */
export async function run(script, ...args) {
  const code = await exitOf(process.execPath, [script, ...args], {})
  if (code !== 0) process.exit(code)
}

/**
 * Removes the files in `project/dist` whose sources were deleted. The compiler does not remove such
 * files, so a deleted test would still run.
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
    // An optional package is for one platform, so it may be missing on this machine.
    if (path === '' || (optional && found[path] === undefined)) continue
    if (found[path]?.version !== version || found[path]?.link !== link) return false
  }
  return Object.keys(found).every((path) => wanted[path] !== undefined)
}

/** The packages in a lock file; undefined if the file does not exist or is not JSON. */
function packagesOf(lockFile) {
  try {
    return JSON.parse(readFileSync(lockFile, 'utf8')).packages
  } catch {
    return undefined
  }
}

/** Installs the packages of the lock file, or exits. */
async function install() {
  process.stderr.write('holdfast: installing the packages of package-lock.json\n')
  const code = await runNpm('ci', '--include=dev', '--no-audit', '--no-fund', '--loglevel=error')
  if (code === 0) return
  process.stderr.write('holdfast: npm could not install the packages; its message is above\n')
  process.exit(code)
}

/** Runs npm in the clone, with its output on stderr. Resolves with its exit code. */
export function runNpm(...args) {
  const npm = process.env.npm_execpath
  return npm
    ? exitOf(process.execPath, [npm, ...args], { env: environmentForNpm() })
    : exitOf('npm', args, { env: environmentForNpm(), shell: windows })
}

/**
 * The environment without the settings of an outer npm. For instance, the set-up during
 * `npm pack --dry-run -w client` must not install with `--dry-run`.
 */
function environmentForNpm() {
  const outerSettings =
    /^npm_config_(dry_run|workspace|workspaces|omit|production|global|json|ignore_scripts)$/i
  return Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !outerSettings.test(name)),
  )
}

/**
 * Runs a command and resolves with its exit code. The output goes to stderr, because stdout is for
 * the program that runs after the set-up.
 */
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

/** Exits with a message if this version of Node is too old. */
function requireNode() {
  const [, major, minor] = /(\d+)\.(\d+)/.exec(
    JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).engines.node,
  )
  const [actualMajor, actualMinor] = process.versions.node.split('.').map(Number)
  if (actualMajor > Number(major)) return
  if (actualMajor === Number(major) && actualMinor >= Number(minor)) return
  process.stderr.write(
    `holdfast: Node ${process.versions.node} is too old: use Node ${major}.${minor} or newer\n`,
  )
  process.exit(1)
}
