/**
 * Runs dependency-cruiser with the rules of `test/dependency-cruiser.mjs`, over the sources of this
 * repository or over small files that a test writes to a temporary folder.
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

/** One import, or one cycle, that a rule forbids. */
export interface Violation {
  readonly rule: string
  /** The file or folder that imports. */
  readonly from: string
  /** The file, folder or package that it imports. */
  readonly to: string
}

export interface Cruise {
  /** The source files, with what each of them imports. */
  readonly modules: readonly IModule[]
  readonly violations: readonly Violation[]
}

/** The sources of the three packages, under the rules and `more`. */
export function cruiseSources(more: readonly IForbiddenRuleType[] = []): Promise<Cruise> {
  return cruiseIn(root, more)
}

/** The given files, by their path from the root, under the rules and `more`. */
export async function cruisePlanted(
  files: Readonly<Record<string, string>>,
  more: readonly IForbiddenRuleType[] = [],
): Promise<Cruise> {
  // In this repository, so that packages are found in its node_modules.
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

/** The TypeScript sources that git knows or would add. */
export function sourcesInGit(): string[] {
  const folders = packages.map((name) => `${name}/src`)
  const args = ['ls-files', '--cached', '--others', '--exclude-standard', ...folders]
  return execFileSync('git', args, { cwd: root, encoding: 'utf8' })
    .split('\n')
    .filter((path) => /\.tsx?$/.test(path) && existsSync(join(root, path)))
}

/** The files that nothing leads to from the entries of their package. */
export function unreachable(folder: string, entries: readonly string[]): IForbiddenRuleType {
  const escaped = entries.map((entry) => entry.replaceAll('.', '\\.'))
  return {
    name: `every file of ${folder} is reached from an entry of the package`,
    severity: 'error',
    from: { path: `^(?:${escaped.join('|')})$` },
    to: {
      path: `^${folder}/src/`,
      pathNot: ['\\.d\\.ts$', `^(?:${escaped.join('|')})$`],
      reachable: false,
    },
  } as IForbiddenRuleType
}

/** The source files of a package that its manifest opens, and those that run as threads. */
export function entriesOf(folder: string): string[] {
  const { exports = {}, imports = {}, bin = {} } = manifest(folder)
  const started = Object.values(bin).map((launcher) => startedBy(folder, launcher))
  const page = folder === 'server' ? ['server/src/dashboard/main.tsx'] : []
  return [...filesOf({ exports, imports }), ...started]
    .filter((target) => target.endsWith('.js'))
    .map((target) => target.replace(/^\.\/dist/, `${folder}/src`).replace(/\.js$/, '.ts'))
    .concat(page, threadsOf(folder))
}

/** The script that a shell script of the package starts with Node. */
function startedBy(folder: string, launcher: string): string {
  const script = /\/\.\.(\/dist\/[\w/]+\.js)"/.exec(read(`${folder}/${launcher}`).text)?.[1]
  return `.${script}`
}

/** The source files that other source files start as threads or processes, by their URL. */
function threadsOf(folder: string): string[] {
  return sourcesInGit()
    .filter((path) => path.startsWith(`${folder}/`))
    .map(read)
    .flatMap(({ path, text }) =>
      [...text.matchAll(/new URL\('\.\/(\w+)\.js', import\.meta\.url\)/g)].map(
        ([, name]) => `${dirname(path)}/${name}.ts`,
      ),
    )
}

/** Imports of packages that the own package does not declare, as "file imports package". */
export function undeclared(
  modules: readonly IModule[],
  declaredBy: (file: string) => readonly string[],
): string[] {
  return modules.flatMap(({ source, dependencies }) =>
    dependencies
      .filter(({ module, coreModule }) => !coreModule && !/^[.#]|^node:/.test(module))
      .map(({ module }) => /^(@[^/]+\/)?[^/]+/.exec(module)?.[0] ?? module)
      .filter((name) => !declaredBy(source).includes(name))
      .map((name) => `${source} imports ${name}`),
  )
}
