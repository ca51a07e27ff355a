/**
 * Runs dependency-cruiser with the rules of `test/dependency-cruiser.mjs`, either on the sources of
 * this repository, or on files that a test plants in a temporary folder. `dependency-cruiser.mjs`
 * also lists the layers of each package. A layer may import only layers before it in the list.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import {
  cruise,
  type IConfiguration,
  type IForbiddenRuleType,
  type IModule,
} from 'dependency-cruiser'
import { filesOf, manifest, packages, read, root } from './repository.js'

interface Rules {
  readonly default: IConfiguration & { readonly forbidden: IForbiddenRuleType[] }
  readonly layers: Readonly<Record<string, readonly string[]>>
}

const { default: configuration, layers }: Rules = await import(
  pathToFileURL(join(root, 'test/dependency-cruiser.mjs')).href
)

export { layers }

/** An import or a cycle that a rule forbids. */
export interface Violation {
  readonly rule: string
  /** The file or folder that imports. */
  readonly from: string
  /** The imported file, folder or package. */
  readonly to: string
}

/** The result of dependency-cruiser. */
export interface Cruise {
  /** The source files with their imports. */
  readonly modules: readonly IModule[]
  readonly violations: readonly Violation[]
}

/** Checks the sources of the three packages with the usual rules and with the rules `more`. */
export function cruiseSources(more: readonly IForbiddenRuleType[] = []): Promise<Cruise> {
  return cruiseIn(root, more)
}

/**
 * Checks planted files with the usual rules and the rules `more`.
 *
 * @param files The text of each file by its path.
 */
export async function cruisePlanted(
  files: Readonly<Record<string, string>>,
  more: readonly IForbiddenRuleType[] = [],
): Promise<Cruise> {
  // The folder is in this repository, so that dependency-cruiser finds packages in node_modules.
  mkdirSync(join(root, 'test/tmp'), { recursive: true })
  const folder = mkdtempSync(join(root, 'test/tmp/layers-'))
  try {
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(dirname(join(folder, path)), { recursive: true })
      writeFileSync(join(folder, path), text)
    }
    return await cruiseIn(folder, more)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Checks the packages in this folder. @param more Further rules. */
async function cruiseIn(folder: string, more: readonly IForbiddenRuleType[]): Promise<Cruise> {
  const sources = packages
    .map((name) => `${name}/src`)
    .filter((src) => existsSync(join(folder, src)))
  const { output } = await cruise([...sources], {
    ...configuration.options,
    baseDir: folder,
    validate: true,
    ruleSet: { forbidden: [...configuration.forbidden, ...more] },
  })
  if (typeof output === 'string') throw new Error(output)
  return {
    modules: output.modules.filter(({ source }) => /^\w+\/src\/.*\.tsx?$/.test(source)),
    violations: output.summary.violations.map(({ rule, from, to }) => ({
      rule: rule.name,
      from,
      to,
    })),
  }
}

/** The paths of the TypeScript sources of the packages, except files that git ignores. */
export function packageSources(): string[] {
  const folders = packages.map((name) => `${name}/src`)
  const args = ['ls-files', '--cached', '--others', '--exclude-standard', ...folders]
  return execFileSync('git', args, { cwd: root, encoding: 'utf8' })
    .split('\n')
    .filter((path) => /\.tsx?$/.test(path) && existsSync(join(root, path)))
}

/** Makes a rule against files of the package that are loaded by no entry (see `entriesOf`). */
export function unreachable(folder: string, entries: readonly string[]): IForbiddenRuleType {
  const escaped = entries.map((entry) => entry.replaceAll('.', '\\.'))
  return {
    name: `every file of ${folder} is loaded by an entry`,
    severity: 'error',
    from: { path: `^(?:${escaped.join('|')})$` },
    to: {
      path: `^${folder}/src/`,
      pathNot: ['\\.d\\.ts$', `^(?:${escaped.join('|')})$`],
      reachable: false,
    },
  } as IForbiddenRuleType
}

/**
 * The entries of a package: the files in `exports` and `imports`, the commands, the dashboard, and
 * `threadsOf`. No source file needs to import an entry.
 */
export function entriesOf(folder: string): string[] {
  const { exports = {}, imports = {}, bin = {} } = manifest(folder)
  const started = Object.values(bin).map((launcher) => startedBy(folder, launcher))
  const dashboard = folder === 'server' ? ['server/src/dashboard/main.tsx'] : []
  return [...filesOf({ exports, imports }), ...started]
    .filter((target) => target.endsWith('.js'))
    .map((target) => target.replace(/^\.\/dist/, `${folder}/src`).replace(/\.js$/, '.ts'))
    .concat(dashboard, threadsOf(folder))
}

/** The JavaScript file that a launcher (a shell script of the package) starts with Node. */
function startedBy(folder: string, launcher: string): string {
  const path = /\/\.\.(\/dist\/[\w/]+\.js)"/.exec(read(`${folder}/${launcher}`).text)?.[1]
  return `.${path}`
}

/** The files that other source files start as threads or processes, and name in `new URL(…)`. */
function threadsOf(folder: string): string[] {
  return packageSources()
    .filter((path) => path.startsWith(`${folder}/`))
    .map(read)
    .flatMap(({ path, text }) =>
      [...text.matchAll(/new URL\('\.\/(\w+)\.js', import\.meta\.url\)/g)].map(
        ([, name]) => `${dirname(path)}/${name}.ts`,
      ),
    )
}

/** Lists the undeclared dependencies of the modules, as "file imports dependency". */
export function undeclared(
  modules: readonly IModule[],
  declaredBy: (file: string) => readonly string[],
): string[] {
  return modules.flatMap(({ source, dependencies }) =>
    dependencies
      // Omits files, entries of the same package such as `#websocket`, and modules of Node.
      .filter(({ module, coreModule }) => !coreModule && !/^[.#]|^node:/.test(module))
      .map(({ module }) => /^(@[^/]+\/)?[^/]+/.exec(module)?.[0] ?? module)
      .filter((name) => !declaredBy(source).includes(name))
      .map((name) => `${source} imports ${name}`),
  )
}
