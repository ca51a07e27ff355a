/**
 * Planted bugs: small edits that each break a promise, kept in `test/planted`, one a file. Each is
 * applied to a copy of the build, never to the build itself, and the simulation runs on that copy
 * until a world fails. An edit whose text is not found exactly once fails too: it no longer says
 * what it was meant to say.
 */
import { type ChildProcess, fork } from 'node:child_process'
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

/** One edit, as its file has it. */
export interface Mutant {
  readonly name: string
  /** A built file, from the root of the repository. */
  readonly file: string
  /** Text that is in the file exactly once. */
  readonly find: string
  readonly replace: string
  /** What is broken by it. */
  readonly why: string
  /** How many brokers it takes. Default 1. */
  readonly brokers?: number | undefined
}

/** The world that caught it; seed undefined if none did. */
export interface Catch {
  readonly seed: number | undefined
  readonly rule: string | undefined
  readonly seeds: number
  readonly seconds: number
}

export interface Hunt {
  readonly seeds: number
  readonly from: number
  readonly events: number
}

/** A hunt in worlds of this many brokers. */
export interface HuntOrder extends Hunt {
  readonly brokers: number
}

const root = fileURLToPath(new URL('../../../', import.meta.url))
const folder = join(root, 'test/planted')
const packages = ['shared', 'client', 'server', 'test']

export function readMutants(): Mutant[] {
  const files = readdirSync(folder).filter((file) => file.endsWith('.json'))
  return files.sort().map((file) => {
    const edit = JSON.parse(readFileSync(join(folder, file), 'utf8')) as Omit<Mutant, 'name'>
    return { ...edit, name: basename(file, '.json') }
  })
}

/** The text with the edit in it. @throws if the edit does not apply, or applies twice. */
export function applyEdit(text: string, { name, file, find, replace }: Mutant): string {
  const places = text.split(find).length - 1
  if (places !== 1)
    throw new Error(`${name}: its text is found ${places} times in ${file}, not once`)
  return text.replace(find, () => replace)
}

/** Runs the simulation on a copy with the bug in it, until a world fails. */
export async function hunt(planted: Mutant, task: Hunt): Promise<Catch> {
  const copy = copyBuild()
  try {
    const file = join(copy, planted.file)
    writeFileSync(file, applyEdit(readFileSync(file, 'utf8'), planted))
    return await runIn(copy, { ...task, brokers: planted.brokers ?? 1 })
  } finally {
    rmSync(copy, { recursive: true, force: true })
  }
}

/** The packages as they were built, in a folder where they find each other and what they need. */
function copyBuild(): string {
  const copy = mkdtempSync(join(tmpdir(), 'holdfast-planted-'))
  const modules = join(copy, 'node_modules')
  mkdirSync(join(modules, '@holdfast'), { recursive: true })
  for (const name of packages) {
    const [from, to] = [join(root, name), join(copy, name)]
    cpSync(join(from, 'package.json'), join(to, 'package.json'))
    cpSync(join(from, 'dist'), join(to, 'dist'), {
      recursive: true,
      filter: (source) => isWanted(relative(join(from, 'dist'), source), name),
    })
    symlinkSync(to, join(modules, '@holdfast', name))
  }
  for (const name of readdirSync(join(root, 'node_modules'))) {
    if (name.startsWith('.') || name === '@holdfast') continue
    symlinkSync(join(root, 'node_modules', name), join(modules, name))
  }
  return copy
}

function isWanted(path: string, name: string): boolean {
  if (/\.(map|d\.ts|tsbuildinfo)$/.test(path)) return false
  return name !== 'test' || path === '' || path.startsWith('sim') || path.startsWith('table')
}

function runIn(copy: string, task: HuntOrder): Promise<Catch> {
  const child = fork(join(copy, 'test/dist/sim/hunt.js'), [JSON.stringify(task)], {
    stdio: 'inherit',
  })
  return new Promise((resolve, reject) => {
    child.once('message', (caught) => resolve(caught as Catch))
    child.once('error', reject)
    child.once('exit', (code) => reject(new Error(`the hunt ended with ${code} and said nothing`)))
  }).finally(() => end(child)) as Promise<Catch>
}

function end(child: ChildProcess): void {
  if (child.exitCode === null) child.kill('SIGKILL')
}
