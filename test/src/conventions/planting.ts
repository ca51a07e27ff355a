/**
 * How walls are tested: they hold for what is there, and catch a few planted lines that break them.
 */
import { assert } from 'chai'
import type { SourceFile } from './repository.js'
import type { Rule } from './walls.js'

/** The wall stands everywhere in these files. */
export function holds(wall: Rule, files: readonly SourceFile[]): void {
  assert.deepEqual(wall(files), [])
}

/** A file that there is not. */
export function file(path: string, text: string): SourceFile {
  return { path, text }
}

/** The wall says where: in each file with a line of these, and not in a file with the others. */
export function catches(
  wall: Rule,
  path: string,
  bad: readonly string[],
  good: readonly string[],
): void {
  for (const text of bad) {
    const breaches = wall([file(path, `\n${text}\n`)])
    assert.isNotEmpty(breaches, `not caught: ${text}`)
    assert.match(breaches[0] as string, /^[\w./]+:2: /, text)
  }
  for (const text of good) assert.deepEqual(wall([file(path, text)]), [], text)
}
