/** Reads files of this repository, and package.json files in particular, for the tests. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The path of the repository with a slash at the end. */
export const root = fileURLToPath(new URL('../../../', import.meta.url))

/** The folders of the packages that users install. */
export const packages = ['shared', 'client', 'server'] as const

/** A text file of the repository: not only source files, but also Markdown files, for instance. */
export interface SourceFile {
  /** From the root of the repository, with forward slashes. */
  readonly path: string
  readonly text: string
}

/** The folders with files that are installed, generated or secret. */
const skippedFolders = new Set(['node_modules', 'dist', '.git', '.cache', 'tmp', 'secrets'])

/**
 * Returns all files with one of these endings (`''` for any) under a folder (`''` for the root),
 * except those in `skippedFolders`.
 */
export function filesUnder(folder: string, ...endings: readonly string[]): SourceFile[] {
  const found: SourceFile[] = []
  for (const entry of readdirSync(join(root, folder), { withFileTypes: true })) {
    const path = folder === '' ? entry.name : `${folder}/${entry.name}`
    if (entry.isDirectory() && !skippedFolders.has(entry.name)) {
      found.push(...filesUnder(path, ...endings))
    }
    if (entry.isFile() && endings.some((ending) => path.endsWith(ending))) found.push(read(path))
  }
  return found
}

/** Reads a file. @param path Relative to the root of the repository. */
export function read(path: string): SourceFile {
  return { path, text: readFileSync(join(root, path), 'utf8') }
}

/**
 * A target in the `exports` or `imports` of a package.json: a file, or a target for each condition,
 * such as `types`.
 */
export type Target = string | { readonly [condition: string]: Target }

/** The files of a target for all conditions. */
export function filesOf(target: Target): string[] {
  return typeof target === 'string' ? [target] : Object.values(target).flatMap(filesOf)
}

/** The fields of a package.json that the tests read. */
export interface Manifest {
  readonly name: string
  readonly version?: string
  readonly scripts?: Readonly<Record<string, string>>
  readonly engines?: Readonly<Record<string, string>>
  readonly license?: string
  readonly exports?: Readonly<Record<string, Target>>
  readonly imports?: Readonly<Record<string, Target>>
  readonly main?: string
  readonly types?: string
  readonly typesVersions?: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>>
  readonly bin?: Readonly<Record<string, string>>
  readonly dependencies?: Readonly<Record<string, string>>
  readonly devDependencies?: Readonly<Record<string, string>>
  readonly optionalDependencies?: Readonly<Record<string, string>>
  readonly peerDependencies?: Readonly<Record<string, string>>
}

/** The `package.json` of a folder (`''` for the root of the repository). */
export function manifest(folder: string): Manifest {
  return JSON.parse(read(folder === '' ? 'package.json' : `${folder}/package.json`).text)
}
