/**
 * Helpers for the tests of the rules in `sourceRules.ts`. `holds` checks that the sources keep a
 * rule. `catches` checks that a rule finds bad lines in planted files, which exist only in memory.
 */
import { assert } from 'chai'
import type { SourceFile } from './repository.js'
import type { Rule } from './sourceRules.js'

/** Asserts that these files keep a rule. */
export function holds(rule: Rule, files: readonly SourceFile[]): void {
  assert.deepEqual(rule(files), [])
}

/** Makes a planted file. */
export function file(path: string, text: string): SourceFile {
  return { path, text }
}

/** Asserts that a rule finds each bad text with its line number, and no good text. */
export function catches(
  rule: Rule,
  path: string,
  bad: readonly string[],
  good: readonly string[],
): void {
  for (const text of bad) {
    // The bad text begins in the second line of the file.
    const breaches = rule([file(path, `\n${text}\n`)])
    assert.isNotEmpty(breaches, `not caught: ${text}`)
    assert.match(breaches[0] as string, /^[\w./]+:2: /, text)
  }
  for (const text of good) assert.deepEqual(rule([file(path, text)]), [], text)
}
