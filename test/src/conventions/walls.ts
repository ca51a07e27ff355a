/**
 * The walls of the architecture, as code: given source files, each of these says where one is
 * broken. `architecture.test.ts` holds the repository to them and shows, on small planted files,
 * that each of them catches what it is there for.
 */
import { builtinModules } from 'node:module'
import { posix } from 'node:path'
import type { SourceFile } from './repository.js'
import { type Import, syntaxOf } from './syntax.js'

/** "path:line: what is wrong". */
export type Breach = string

/** Says where a wall is broken; nowhere if all is well. */
export type Rule = (files: readonly SourceFile[]) => Breach[]

/** Names that are banned with all their members, and names that are banned just so. */
interface Ban {
  readonly all: readonly string[]
  readonly exactly: readonly string[]
}

/** How a program gets at time, chance and later turns; `Math` alone can be taken apart. */
const timeAndChance: Ban = {
  all: [
    'Date',
    'performance',
    'setTimeout',
    'setInterval',
    'setImmediate',
    'queueMicrotask',
    'requestAnimationFrame',
    'requestIdleCallback',
    'crypto',
    'globalThis',
    'eval',
    'Function',
  ],
  exactly: ['Math', 'Math.random', 'AbortSignal.timeout', 'process.nextTick', 'process.hrtime'],
}

const nodeOnly: Ban = {
  all: ['process', 'Buffer', 'global', '__dirname', '__filename', 'setImmediate'],
  exactly: [],
}

/** Modules of Node that give time, chance or later turns. */
const timeModules = ['crypto', 'perf_hooks', 'timers', 'timers/promises', 'worker_threads']

/** The table: nothing but its own files and types, no clock, no chance, no timer, no later. */
export const pureCore: Rule = (files) => {
  const core = 'server/src/core/'
  const more = ['console', 'Promise', 'window', 'self', 'WeakRef', 'FinalizationRegistry']
  const ban: Ban = {
    all: [...timeAndChance.all, ...nodeOnly.all, ...more, 'import.meta', 'AbortSignal'],
    exactly: timeAndChance.exactly,
  }
  // The client has a use for it too.
  const roster = files.filter(({ path }) => path === 'shared/src/internal/idTable.ts')
  const isPure = (file: SourceFile, found: Import): boolean =>
    found.specifier === '@holdfast/shared/idTable' ||
    targetOf(file, found)?.startsWith(core) === true
  return [...within(files, core), ...roster].flatMap((file) => [
    ...importsOf(file, (found) => !found.typeOnly && !isPure(file, found)),
    ...namesOf(file, ban),
    ...syntaxOf(file).asyncLines.map((line) => breach(file, line, 'async')),
  ])
}

/** Writing past the one place that spells out control characters and notices a full disk. */
export const oneOutput: Rule = (files) =>
  within(files, 'server/src/cli/')
    .filter(({ path }) => path !== 'server/src/cli/output.ts')
    .flatMap((file) =>
      file.text
        .split('\n')
        .flatMap((line, i) =>
          /\bconsole\.|\bstd(out|err)\.write\(/.test(line) ? breach(file, i + 1, 'prints') : [],
        ),
    )

/** Where a thread is started, and what runs in it: it works beside the broker, not in its time. */
const threads = ['server/src/log/journal/', 'server/src/log/replicated/']

/** A page of its own that is built with the server, and is served by it. */
const dashboard = 'server/src/dashboard/'

/** Time and chance come from one place in each package, which is passed in. */
export const oneClock: Rule = (files) => {
  const machine = [
    'server/src/platform/environment.ts',
    'server/src/cli/',
    'client/src/environment.ts',
    'client/src/websocket/',
    'server/src/dashboard/pageEnvironment.ts',
  ]
  return products(files)
    .filter(({ path }) => !machine.some((place) => path.startsWith(place)))
    .flatMap((file) => [
      ...namesOf(file, timeAndChance),
      ...importsOf(
        file,
        ({ specifier }) =>
          (timeModules.includes(specifier.replace(/^node:/, '')) && !isThread(file, specifier)) ||
          specifier === 'nanoid',
      ),
    ])
}

function isThread({ path }: SourceFile, specifier: string): boolean {
  return specifier === 'node:worker_threads' && threads.some((place) => path.startsWith(place))
}

/** What runs in a browser: the client, of which one file knows Node, and the dashboard. */
export const browserSafe: Rule = (files) =>
  [...within(files, 'client/src/'), ...within(files, dashboard)]
    .filter(({ path }) => path !== 'client/src/websocket/node.ts')
    .flatMap((file) => [
      ...importsOf(file, ({ specifier }) => isNode(specifier) || specifier === 'ws'),
      ...namesOf(file, nodeOnly),
    ])

/**
 * `client` and `server` meet in `shared`; the command line and the dashboard may use the client, as
 * anybody may. The dashboard has nothing else of the server, and nothing of it is in the server.
 */
export const meetInShared: Rule = (files) => {
  const allowed: Record<string, RegExp> = {
    shared: /^$/,
    client: /^@holdfast\/shared(\/idTable)?$/,
    server: /^@holdfast\/shared(\/|$)/,
    cli: /^@holdfast\/(shared|client)(\/|$)/,
    dashboard: /^@holdfast\/client$/,
  }
  return products(files).flatMap((file) => {
    const inner = ['cli', 'dashboard'].find((name) => file.path.startsWith(`server/src/${name}/`))
    const home = inner ?? (file.path.split('/')[0] as string)
    return importsOf(file, (found) => {
      const target = targetOf(file, found)
      if (target !== undefined) {
        const isApart = target.startsWith(dashboard) !== file.path.startsWith(dashboard)
        return isApart || !target.startsWith(`${file.path.split('/')[0]}/src/`)
      }
      return found.specifier.startsWith('@holdfast/') && !allowed[home]?.test(found.specifier)
    })
  })
}

/** One file of the server knows which WebSocket library it is. */
export const oneSocketLibrary: Rule = (files) => {
  const found = within(files, 'server/src/').flatMap((file) =>
    importsOf(file, ({ specifier }) => specifier === 'ws'),
  )
  return found.length > 1 ? found : []
}

/** What every browser loads of `shared` is light: superstruct stays with the broker's checks. */
export const lightShared: Rule = (files) => {
  const checks = ['clientSchemas', 'brokerSchemas', 'clientChecks'].map(
    (name) => `shared/src/messages/${name}.ts`,
  )
  return within(files, 'shared/src/').flatMap((file) => [
    ...namesOf(file, nodeOnly),
    ...importsOf(file, ({ specifier }) => isNode(specifier)),
    ...importsOf(file, (found) => {
      if (checks.includes(file.path) || found.typeOnly) return false
      return found.specifier === 'superstruct' || checks.includes(targetOf(file, found) ?? '')
    }),
  ])
}

/**
 * What a package imports it declares, or it breaks for whoever installs it alone. What is bundled
 * into a package is declared for those who build it.
 */
export function declaredOnly(
  dependencies: Readonly<Record<string, readonly string[]>>,
  bundled: readonly string[] = [],
): Rule {
  return (files) =>
    products(files).flatMap((file) => {
      const declared = [
        ...(dependencies[file.path.split('/')[0] as string] ?? []),
        ...(file.path.startsWith(dashboard) ? bundled : []),
      ]
      return importsOf(file, ({ specifier }) => {
        if (/^[.#]/.test(specifier) || isNode(specifier)) return false
        const name = /^(@[^/]+\/)?[^/]+/.exec(specifier)?.[0] ?? specifier
        return !declared.includes(name)
      })
    })
}

/** The source file that a relative import means. */
export function targetOf(file: SourceFile, { specifier }: Import): string | undefined {
  if (!specifier.startsWith('.')) return undefined
  return posix.join(posix.dirname(file.path), specifier).replace(/\.js$/, '.ts')
}

export function breach(file: SourceFile, line: number, what: string): Breach {
  return `${file.path}:${line}: ${what}`
}

/** The files of the published packages. */
function products(files: readonly SourceFile[]): SourceFile[] {
  return files.filter(({ path }) => /^(shared|client|server)\/src\//.test(path))
}

function within(files: readonly SourceFile[], folder: string): SourceFile[] {
  return files.filter(({ path }) => path.startsWith(folder))
}

function importsOf(file: SourceFile, isBanned: (found: Import) => boolean): Breach[] {
  return syntaxOf(file)
    .imports.filter(isBanned)
    .map(({ specifier, line }) => breach(file, line, `imports ${specifier}`))
}

function namesOf(file: SourceFile, ban: Ban): Breach[] {
  return syntaxOf(file)
    .names.filter(({ name }) => {
      const head = ban.all.some((banned) => name === banned || name.startsWith(`${banned}.`))
      return head || ban.exactly.includes(name)
    })
    .map(({ name, line }) => breach(file, line, `uses ${name}`))
}

function isNode(specifier: string): boolean {
  return specifier.startsWith('node:') || builtinModules.includes(specifier)
}
