/**
 * Makes tarballs of the three packages as for a release, and installs the tarballs in an empty
 * folder. Packs a copy of the sources, because packing deletes the built files, which the tests
 * use.
 */
import { cp, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { runNpm } from './npm.js'
import { packages, root } from './repository.js'

/** The output of `npm pack --json` for one package. */
export interface Packed {
  readonly name: string
  readonly filename: string
  readonly files: readonly { readonly path: string }[]
}

/** The files that the tarballs of the packages would have with the current build. */
export function tarballContents(): Packed[] {
  return pack(root, '--dry-run', '--ignore-scripts')
}

/** The tarballs of one run of the tests. */
export interface Tarballs {
  /** The folder of the tarballs. */
  readonly folder: string
  readonly packed: readonly Packed[]
}

let tarballs: Promise<Tarballs> | undefined

/** Makes the tarballs once for all tests of a run. */
export function packOnce(): Promise<Tarballs> {
  tarballs ??= packCopy()
  return tarballs
}

after(async () => {
  const { folder } = (await tarballs?.catch(() => undefined)) ?? {}
  if (folder !== undefined) await rm(folder, { recursive: true, force: true })
})

/**
 * Copies the sources, adds `dist/leftover.js` to each package of the copy, and makes tarballs. The
 * build before the packing must remove the added files, so no tarball may have such a file.
 */
async function packCopy(): Promise<Tarballs> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-packaging-'))
  const copy = join(folder, 'copy')
  await copySources(copy)
  await linkInstalled(copy)
  for (const name of packages) {
    await mkdir(join(copy, name, 'dist'), { recursive: true })
    await writeFile(join(copy, name, 'dist/leftover.js'), 'export {}\n')
  }
  return { folder, packed: pack(copy, '--pack-destination', folder) }
}

/** Makes a project in a new folder, and installs the tarballs and the packages `more` there. */
export async function installIn(
  folder: string,
  { folder: tarballFolder, packed }: Tarballs,
  ...more: readonly string[]
): Promise<void> {
  await mkdir(folder, { recursive: true })
  await writeFile(join(folder, 'package.json'), '{ "private": true, "type": "module" }\n')
  const files = packed.map(({ filename }) => join(tarballFolder, basename(filename)))
  const options = ['--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error']
  runNpm(folder, 'install', ...options, ...files, ...more)
}

/** Runs `npm pack` for all packages. */
function pack(folder: string, ...options: readonly string[]): Packed[] {
  const workspaces = packages.flatMap((each) => ['--workspace', each])
  const output = runNpm(folder, 'pack', '--json', '--loglevel=error', ...options, ...workspaces)
  // The JSON comes after the output of the packages' scripts. Some versions of npm print a list,
  // and others print an object with a field for each package.
  const packed = JSON.parse(output.slice(output.search(/^[[{]/m))) as
    | Packed[]
    | Record<string, Packed>
  return Object.values(packed)
}

/** Copies the files that a clone has. */
export async function copySources(copy: string): Promise<void> {
  const skipped = new Set(['node_modules', 'dist', 'dist-packages', '.git', '.cache'])
  await cp(root, copy, { recursive: true, filter: (path) => !skipped.has(basename(path)) })
}

/**
 * Links each installed package of this clone into the copy. For the packages of Holdfast,
 * node_modules has relative links. These links are copied, so that they lead to the packages in the
 * copy.
 */
async function linkInstalled(copy: string): Promise<void> {
  const installed = join(root, 'node_modules')
  await mkdir(join(copy, 'node_modules'))
  for (const name of await readdir(installed)) {
    const [from, to] = [join(installed, name), join(copy, 'node_modules', name)]
    if (name === '@holdfast') await cp(from, to, { recursive: true, verbatimSymlinks: true })
    else await symlink(from, to)
  }
}
