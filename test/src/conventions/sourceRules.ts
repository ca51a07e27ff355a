/**
 * Rules for the text of source files that no tool of the project knows: where time, chance and
 * output come from, what runs in a browser, how a file opens, and how long a line is. Biome checks
 * the length of files and functions, and dependency-cruiser checks imports.
 */
import type { SourceFile } from './repository.js'
import { syntaxOf } from './syntax.js'

/** "path:line: what is wrong". */
export type Breach = string

/** Says where files break a rule; an empty list if they do not. */
export type Rule = (files: readonly SourceFile[]) => Breach[]

/** Names that are banned with all their members, and names that are banned without them. */
interface Ban {
  readonly all: readonly string[]
  readonly exactly: readonly string[]
}

/** How a program gets time, chance and later turns. `Math` alone can be destructured. */
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

/** The lock table uses no clock, chance or timer, and does nothing later. */
export const pureCore: Rule = (files) => {
  const more = ['console', 'Promise', 'window', 'self', 'WeakRef', 'FinalizationRegistry']
  const ban: Ban = {
    all: [...timeAndChance.all, ...nodeOnly.all, ...more, 'import.meta', 'AbortSignal'],
    exactly: timeAndChance.exactly,
  }
  // The lock table imports the id table.
  const idTable = files.filter(({ path }) => path === 'shared/src/internal/idTable.ts')
  return [...within(files, 'server/src/core/'), ...idTable].flatMap((file) => [
    ...namesOf(file, ban),
    ...syntaxOf(file).asyncLines.map((line) => breach(file, line, 'async')),
  ])
}

/** The command line writes in one file, which shows control characters and notices a full disk. */
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

/** Time and chance come from one place in each package, which passes them to the other files. */
export const oneClock: Rule = (files) => {
  const platform = [
    'server/src/platform/environment.ts',
    'server/src/cli/',
    'client/src/platform/environment.ts',
    'client/src/platform/',
    'client/src/platform/webSocket/',
    'server/src/dashboard/pageEnvironment.ts',
  ]
  return products(files)
    .filter(({ path }) => !platform.some((place) => path.startsWith(place)))
    .flatMap((file) => namesOf(file, timeAndChance))
}

/** The client, of which one file knows Node, and the dashboard run in a browser. */
export const browserSafe: Rule = (files) =>
  [
    ...within(files, 'client/src/'),
    ...within(files, 'server/src/dashboard/'),
    ...within(files, 'shared/src/'),
  ]
    .filter(({ path }) => !/^client\/src\/(websocket|platform\/webSocket)\/node\.ts$/.test(path))
    .flatMap((file) => namesOf(file, nodeOnly))

const maxColumns = 100
const unbreakable = /(['"`]).{40,}\1|https?:\S{60,}/

/** At most 100 columns, except where the formatter cannot break: a long literal, an address. */
export const shortLines: Rule = (files) =>
  files.flatMap((file) =>
    file.text
      .split('\n')
      .map((line, index) => ({ line, number: index + 1 }))
      .filter(({ line }) => line.replace(unbreakable, '').length > maxColumns)
      .map(({ line, number }) => breach(file, number, `${line.length} columns`)),
  )

/** Every file opens with a comment of at least a sentence. */
export const opensWithComment: Rule = (files) =>
  files
    .filter(({ text }) => {
      const opening = /^(?:#!.*\n)?\/\*\*(.*?)\*\//s.exec(text)?.[1] ?? ''
      return (opening.match(/\w+/g) ?? []).length < 5
    })
    .map((file) => breach(file, 1, 'does not open with a comment that says what it is for'))

/** No file names a folder of the computer that it was written on: one of these, or a home. */
export function homeless(places: readonly string[]): Rule {
  return (files) =>
    files.flatMap((file) => {
      const home = /(?<![\w.*-])\/((home|Users)\/\w+|root\/[\w.]+)/.exec(file.text)?.[0]
      const found = [...places, ...(home === undefined ? [] : [home])]
      return found
        .filter((place) => file.text.includes(place))
        .map((place) => breach(file, lineOf(file, place), `names ${place}`))
    })
}

function breach(file: SourceFile, line: number, fault: string): Breach {
  return `${file.path}:${line}: ${fault}`
}

function lineOf({ text }: SourceFile, part: string): number {
  return text.slice(0, text.indexOf(part)).split('\n').length
}

/** The files of the published packages. */
function products(files: readonly SourceFile[]): SourceFile[] {
  return files.filter(({ path }) => /^(shared|client|server)\/src\//.test(path))
}

function within(files: readonly SourceFile[], folder: string): SourceFile[] {
  return files.filter(({ path }) => path.startsWith(folder))
}

function namesOf(file: SourceFile, ban: Ban): Breach[] {
  return syntaxOf(file)
    .names.filter(({ name }) => {
      const head = ban.all.some((banned) => name === banned || name.startsWith(`${banned}.`))
      return head || ban.exactly.includes(name)
    })
    .map(({ name, line }) => breach(file, line, `uses ${name}`))
}
