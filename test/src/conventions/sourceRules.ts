/**
 * Checks sources for what no other tool checks:
 *
 * - which files use time, randomness, output, and the globals of Node
 * - the comment at the start of each file
 * - paths on the author's computer
 * - the length of lines
 *
 * Biome checks the length of files and functions, and dependency-cruiser checks imports.
 */
import type { SourceFile } from './repository.js'
import { syntaxOf } from './syntax.js'

/** A place that breaks a rule, as "path:line: problem". */
export type Breach = string

/** Finds the places in these files that break the rule. */
export type Rule = (files: readonly SourceFile[]) => Breach[]

/** Names that a rule forbids. */
interface Ban {
  /** Names that are forbidden together with their members: `Date` also forbids `Date.now`. */
  readonly all: readonly string[]
  /** Names that are forbidden without their members: `Math` does not forbid `Math.floor`. */
  readonly exactly: readonly string[]
}

/**
 * Names that give a program time, randomness or a later turn of the event loop. Some names, like
 * `eval`, give access to all other names. `Math` without a member is banned, because a program can
 * destructure `random` from `Math`.
 */
const timeAndRandomness: Ban = {
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

/** The globals that only Node has. */
const nodeOnly: Ban = {
  all: ['process', 'Buffer', 'global', '__dirname', '__filename', 'setImmediate'],
  exactly: [],
}

/** The lock table uses no clock, no randomness and no timer, and is never asynchronous. */
export const pureCore: Rule = (files) => {
  const otherNames = ['console', 'Promise', 'window', 'self', 'WeakRef', 'FinalizationRegistry']
  const ban: Ban = {
    all: [...timeAndRandomness.all, ...nodeOnly.all, ...otherNames, 'import.meta', 'AbortSignal'],
    exactly: timeAndRandomness.exactly,
  }
  // The rule includes the id table, because the lock table imports the id table.
  const idTable = files.filter(({ path }) => path === 'shared/src/internal/idTable.ts')
  return [...within(files, 'server/src/core/'), ...idTable].flatMap((file) => [
    ...bannedNamesIn(file, ban),
    ...syntaxOf(file).asyncLines.map((line) => breach(file, line, 'async')),
  ])
}

/**
 * In the sources of the command line, only `output.ts` may print. `output.ts` escapes control
 * characters, and throws if a write fails.
 */
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

/** Only the platform files of the packages, and the command line, may use time and randomness. */
export const oneClock: Rule = (files) => {
  const allowed = [
    'server/src/platform/environment.ts',
    'server/src/cli/',
    'client/src/platform/',
    'server/src/dashboard/pageEnvironment.ts',
  ]
  return products(files)
    .filter(({ path }) => !allowed.some((place) => path.startsWith(place)))
    .flatMap((file) => bannedNamesIn(file, timeAndRandomness))
}

/** `node.ts` and `nodeFrames.ts`, the only files of the client that use Node. */
const clientOnNode = /^client\/src\/platform\/webSocket\/node(Frames)?\.ts$/

/** The dashboard, the shared package and the client run in browsers, except `clientOnNode`. */
export const browserSafe: Rule = (files) =>
  [
    ...within(files, 'client/src/'),
    ...within(files, 'server/src/dashboard/'),
    ...within(files, 'shared/src/'),
  ]
    .filter(({ path }) => !clientOnNode.test(path))
    .flatMap((file) => bannedNamesIn(file, nodeOnly))

const maxColumns = 100
/** The smallest number of words in the comment that opens a file. */
const minOpeningWords = 5
/** A text of at least 40 characters in quotes, or a URL of at least 60 characters. */
const unbreakable = /(['"`]).{40,}\1|https?:\S{60,}/

/** A line has at most 100 columns, except for texts and URLs that the formatter cannot break. */
export const shortLines: Rule = (files) =>
  files.flatMap((file) =>
    file.text
      .split('\n')
      .map((line, index) => ({ line, number: index + 1 }))
      .filter(({ line }) => line.replace(unbreakable, '').length > maxColumns)
      .map(({ line, number }) => breach(file, number, `${line.length} columns`)),
  )

/** Every file starts with a comment of at least five words. */
export const opensWithComment: Rule = (files) =>
  files
    .filter(({ text }) => {
      const opening = /^(?:#!.*\n)?\/\*\*(.*?)\*\//s.exec(text)?.[1] ?? ''
      return (opening.match(/\w+/g) ?? []).length < minOpeningWords
    })
    .map((file) => breach(file, 1, 'does not start with a comment about the purpose of the file'))

/** No file contains a path on the author's computer: one of `folders`, or a home folder. */
export function hasNoLocalPath(folders: readonly string[]): Rule {
  return (files) =>
    files.flatMap((file) => {
      const home = /(?<![\w.*-])\/((home|Users)\/\w+|root\/[\w.]+)/.exec(file.text)?.[0]
      const localPaths = [...folders, ...(home === undefined ? [] : [home])]
      return localPaths
        .filter((path) => file.text.includes(path))
        .map((path) => breach(file, lineOf(file, path), `contains the local path ${path}`))
    })
}

function breach(file: SourceFile, line: number, problem: string): Breach {
  return `${file.path}:${line}: ${problem}`
}

/** The number of the first line that contains the part. */
function lineOf({ text }: SourceFile, part: string): number {
  return text.slice(0, text.indexOf(part)).split('\n').length
}

/** The sources of the packages that users install. */
function products(files: readonly SourceFile[]): SourceFile[] {
  return files.filter(({ path }) => /^(shared|client|server)\/src\//.test(path))
}

/** The files in a folder of the repository. */
function within(files: readonly SourceFile[], folder: string): SourceFile[] {
  return files.filter(({ path }) => path.startsWith(folder))
}

/** The uses of banned names in a file. */
function bannedNamesIn(file: SourceFile, ban: Ban): Breach[] {
  return syntaxOf(file)
    .names.filter(({ name }) => {
      const isInAll = ban.all.some((banned) => name === banned || name.startsWith(`${banned}.`))
      return isInAll || ban.exactly.includes(name)
    })
    .map(({ name, line }) => breach(file, line, `uses ${name}`))
}
