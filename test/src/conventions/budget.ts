/**
 * What keeps a source file readable: its length, the length of its functions and lines, a first
 * paragraph that says what it is for. And a repository that says nothing of the machine it was
 * written on.
 */
import type { SourceFile } from './repository.js'
import { syntaxOf } from './syntax.js'
import { type Breach, breach, type Rule } from './walls.js'

const maxLines = 500
const maxFunctionLines = 70
const maxColumns = 100
const unbreakable = /(['"`]).{40,}\1|https?:\S{60,}/

/** At most 500 lines a file, but for the exceptions, each with its reason; stale ones are named. */
export function shortFiles(exceptions: Readonly<Record<string, string>>): Rule {
  return (files) => {
    const long = files.filter(({ text }) => lineCount(text) > maxLines)
    const excused = (path: string) => Object.hasOwn(exceptions, path)
    const isLong = (path: string) => long.some((file) => file.path === path)
    return [
      ...long
        .filter(({ path }) => !excused(path))
        .map((file) => breach(file, lineCount(file.text), `more than ${maxLines} lines`)),
      ...Object.keys(exceptions)
        .filter((path) => !isLong(path))
        .map((path): Breach => `${path}: is excused for its length, and is not long`),
    ]
  }
}

/** At most 70 lines a function. A test's `describe` is no function in this sense. */
export const shortFunctions: Rule = (files) =>
  files.flatMap((file) =>
    syntaxOf(file)
      .functions.filter(({ lines }) => lines > maxFunctionLines)
      .map(({ name, line, lines }) => breach(file, line, `${name} has ${lines} lines`)),
  )

/** At most 100 columns, but for what the formatter cannot break: a long literal, an address. */
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
    .map((file) => breach(file, 1, 'does not open by saying what it is for'))

/** No path of the machine it was written on: neither one of these nor anyone's home. */
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

function lineCount(text: string): number {
  return text.replace(/\n$/, '').split('\n').length
}

function lineOf({ text }: SourceFile, part: string): number {
  return text.slice(0, text.indexOf(part)).split('\n').length
}
