/**
 * `npm run check-history FILE`: checks the histories in a file. The history of a key lists the
 * tenures (uses) of the key's lock. Exits with 0 if no history has a violation (for instance two
 * tenures of an exclusive lock that overlap), and otherwise with 1. Exits with 64 if the number of
 * arguments is not 1. Exits with 65 if the file cannot be read or does not fit the format in
 * test/README.md.
 */
import { readFileSync } from 'node:fs'
import process from 'node:process'
import { InvalidHistory, judgeHistory, type KeyHistory, parseHistories } from './historyFile.js'

const [, , path, ...more] = process.argv
if (path === undefined || more.length > 0) {
  console.error('Usage: npm run check-history FILE')
  process.exit(64)
}
let violationCount = 0
for (const history of loadHistories(path)) {
  const violations = judgeHistory(history)
  violationCount += violations.length
  console.log(`${history.key}: ${history.tenures.length} uses, ${violations.length} violations`)
  for (const violation of violations) console.log(`VIOLATION ${history.key}: ${violation}`)
}
process.exitCode = violationCount === 0 ? 0 : 1

/** Reads the file, or exits with 65. */
function loadHistories(file: string): KeyHistory[] {
  try {
    return parseHistories(readFileSync(file, 'utf8'))
  } catch (error) {
    // An error of the file system has a code.
    const isExpected =
      error instanceof InvalidHistory || (error as { code?: string }).code !== undefined
    if (!isExpected) throw error
    console.error(`${file}: ${(error as Error).message}`)
    process.exit(65)
  }
}
