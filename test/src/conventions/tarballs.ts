/**
 * Packs the three packages as a release would and installs the tarballs in an empty folder. On a
 * copy of the sources: packing builds from nothing, and the build that is here is in use.
 */
import { cp, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { runNpm } from './npm.js'
import { packages, root } from './repository.js'

/** What `npm pack --json` says of one package. */
export interface Packed {
  readonly name: string
  readonly filename: string
  readonly files: readonly { readonly path: string }[]
}

/** What a package would contain with the build that is here. */
export function contents(): Packed[] {
  return pack(root, '--dry-run', '--ignore-scripts')
}

/** The tarballs that one run of the tests makes. */
export interface Tarballs {
  /** Where they are. */
  readonly folder: string
  readonly packed: readonly Packed[]
}

let tarballs: Promise<Tarballs> | undefined

/** Packs once for all tests of a run, from a copy with leftovers of an older build in it. */
export function packOnce(): Promise<Tarballs> {
  tarballs ??= packCopy()
  return tarballs
}

after(async () => {
  const { folder } = (await tarballs?.catch(() => undefined)) ?? {}
  if (folder !== undefined) await rm(folder, { recursive: true, force: true })
})

async function packCopy(): Promise<Tarballs> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-packaging-'))
  const copy = join(folder, 'copy')
  await copySources(copy)
  await linkInstalled(copy)
  for (const each of packages) {
    await mkdir(join(copy, each, 'dist'), { recursive: true })
    await writeFile(join(copy, each, 'dist/leftover.js'), 'export {}\n')
  }
  return { folder, packed: pack(copy, '--pack-destination', folder) }
}

/** Makes a new folder into a project where the tarballs, and `more`, are installed. */
export async function installIn(
  folder: string,
  { folder: from, packed }: Tarballs,
  ...more: readonly string[]
): Promise<void> {
  await mkdir(folder, { recursive: true })
  await writeFile(join(folder, 'package.json'), '{ "private": true, "type": "module" }\n')
  const files = packed.map(({ filename }) => join(from, basename(filename)))
  const quiet = ['--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error']
  runNpm(folder, 'install', ...quiet, ...files, ...more)
}

function pack(folder: string, ...options: readonly string[]): Packed[] {
  const workspaces = packages.flatMap((each) => ['--workspace', each])
  // Before the JSON stands what the scripts of the packages print.
  const output = runNpm(folder, 'pack', '--json', '--loglevel=error', ...options, ...workspaces)
  const packed = JSON.parse(output.slice(output.search(/^[[{]/m))) as
    | Packed[]
    | Record<string, Packed>
  return Object.values(packed)
}

/** Copies what a clone has. */
export async function copySources(copy: string): Promise<void> {
  const left = new Set(['node_modules', 'dist', 'dist-packages', '.git', '.cache'])
  await cp(root, copy, { recursive: true, filter: (path) => !left.has(basename(path)) })
}

async function linkInstalled(copy: string): Promise<void> {
  // What is installed is linked, but for the links to the packages themselves, which are relative.
  const installed = join(root, 'node_modules')
  await mkdir(join(copy, 'node_modules'))
  for (const name of await readdir(installed)) {
    const [from, to] = [join(installed, name), join(copy, 'node_modules', name)]
    if (name === '@holdfast') await cp(from, to, { recursive: true, verbatimSymlinks: true })
    else await symlink(from, to)
  }
}
