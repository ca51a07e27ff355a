/**
 * Reads the modules of the build, finds the module that a mutant changes, and copies the build with
 * the mutant in it. A mutant is a planted bug that the simulation or a test file must catch. The
 * build itself never changes.
 */
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Mutant } from './mutant.js'
import { changeIn, declares, propertiesAddedBy, symbolsWith } from './patterns.js'

/** A module of the build, either unchanged or with the change of a mutant. */
export interface Module {
  /** The path from the root of the repository. */
  readonly file: string
  readonly code: string
}

const root = fileURLToPath(new URL('../../../', import.meta.url))
const products = ['shared', 'client', 'server']
/**
 * The folders of `test` that a simulation needs: the simulation, the checks of tables, and the
 * program that runs the simulation for a mutant.
 */
const simulationFolders = ['sim', 'table', 'mutants']

/** Returns the modules of the product, without the bundles that are built from these modules. */
export function readModules(): Module[] {
  return products.flatMap((name) =>
    readdirSync(join(root, name, 'dist'), { recursive: true, encoding: 'utf8' })
      .map((path) => join(name, 'dist', path))
      // The folders `bundle` and `page` have the bundles.
      .filter((file) => file.endsWith('.js') && !/\/(bundle|page)\//.test(file))
      .sort()
      .map((file) => ({ file, code: readFileSync(join(root, file), 'utf8') })),
  )
}

/**
 * Returns the module that the mutant changes, with the change in it.
 *
 * @throws if the mutant does not fit the modules; the message says what to do
 */
export function applyMutant(mutant: Mutant, modules: readonly Module[]): Module {
  try {
    const { file, code } = moduleOf(mutant, modules)
    const unknownProperties = propertiesAddedBy(mutant).filter((name) => !isUsed(name, modules))
    if (unknownProperties.length > 0)
      throw new Error(
        `No module of the build uses ${unknownProperties.join(' and ')}, which the replacement uses: ` +
          'write the replacement with the present names',
      )
    return { file, code: changeIn(code, symbolOf(mutant), mutant) }
  } catch (error) {
    throw new Error(
      `Mutant ${mutant.name} in test/src/mutants/catalogue does not fit the build: ` +
        (error as Error).message,
    )
  }
}

/**
 * Copies the build, with a mutant in it, to a new folder. The copy has all tests if the mutant
 * names a test file; otherwise it has the modules that the simulation needs.
 *
 * @returns the folder
 */
export function copyBuildWith(mutant: Mutant): string {
  const { file, code } = applyMutant(mutant, readModules())
  const needsAllTests = mutant.testFile !== undefined
  const copy = mkdtempSync(join(tmpdir(), 'holdfast-mutant-'))
  const nodeModules = join(copy, 'node_modules')
  mkdirSync(join(nodeModules, '@holdfast'), { recursive: true })
  for (const name of [...products, 'test']) {
    const [source, target] = [join(root, name), join(copy, name)]
    cpSync(join(source, 'package.json'), join(target, 'package.json'))
    cpSync(join(source, 'dist'), join(target, 'dist'), {
      recursive: true,
      filter: (path) => isCopied(relative(join(source, 'dist'), path), name, needsAllTests),
    })
    symlinkSync(target, join(nodeModules, '@holdfast', name))
  }
  // Links the packages of other projects. The packages of this project are copies, see above.
  for (const name of readdirSync(join(root, 'node_modules'))) {
    if (name.startsWith('.') || name === '@holdfast') continue
    symlinkSync(join(root, 'node_modules', name), join(nodeModules, name))
  }
  writeFileSync(join(copy, file), code)
  return copy
}

/** The symbol that a mutant changes, without the package: `Lock.held` for `client/Lock.held`. */
function symbolOf(mutant: Mutant): string {
  return mutant.in.slice(mutant.in.indexOf('/') + 1)
}

/** Returns the only module that declares the mutant's symbol. */
function moduleOf(mutant: Mutant, modules: readonly Module[]): Module {
  const folder = mutant.in.includes('/') ? mutant.in.slice(0, mutant.in.indexOf('/') + 1) : ''
  const symbol = symbolOf(mutant)
  const [topLevelName = symbol] = symbol.split('.')
  // Excludes most modules before `declares`, which is slow because it parses the whole module.
  const declaration = new RegExp(`(class|function\\*?|const|let|var) ${topLevelName}\\b`)
  const candidates = modules.filter(
    ({ file, code }) => file.startsWith(folder) && declaration.test(code) && declares(code, symbol),
  )
  const [module] = candidates
  if (module === undefined) {
    throw new Error(
      `No module of the build declares ${mutant.in}: ` +
        `change \`in\` of the mutant to the present name${hintAtSymbols(mutant, modules)}, or build first`,
    )
  }
  if (candidates.length > 1) {
    const files = candidates.map(({ file }) => file).join(' and ')
    throw new Error(
      `Several modules declare ${mutant.in}, ${files}: write the package in front, for instance server/${symbol}`,
    )
  }
  return module
}

/**
 * Returns a hint for the error message: the symbols in which the pattern of the mutant matches, if
 * there are at most five symbols.
 */
function hintAtSymbols({ find }: Mutant, modules: readonly Module[]): string {
  const symbols = modules.flatMap(({ code }) => symbolsWith(code, find))
  return symbols.length === 0 || symbols.length > 5
    ? ''
    : ` (the pattern is in ${symbols.join(', ')})`
}

/** Whether a module uses the name of this property. */
function isUsed(property: string, modules: readonly Module[]): boolean {
  const propertyName = new RegExp(`\\b${property}\\b`)
  return modules.some(({ code }) => propertyName.test(code))
}

/** Whether the copy has the file of this path in the folder `dist` of the package. */
function isCopied(path: string, packageName: string, needsAllTests: boolean): boolean {
  if (/\.(map|d\.ts|tsbuildinfo)$/.test(path)) return false
  if (needsAllTests) return true
  const isDistItself = path === ''
  if (packageName !== 'test' || isDistItself) return true
  return simulationFolders.some((folder) => path.startsWith(folder))
}
