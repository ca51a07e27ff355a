/**
 * `npm run check-history FILE`: checks the history of each key in a file. A history lists the uses
 * of a lock. A violation is, for instance, that two uses of an exclusive lock overlap. Exits with 0
 * if no history has a violation, and otherwise with 1. Exits with 64 if the number of arguments is
 * not 1. Exits with 65 if the program cannot read the file or the file does not fit the format.
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

/** Reads the file. Exits with 65 if the file cannot be read or does not fit the format. */
function loadHistories(file: string): KeyHistory[] {
  try {
    return parseHistories(readFileSync(file, 'utf8'))
  } catch (error) {
    const isExpected =
      error instanceof InvalidHistory || (error as { code?: string }).code !== undefined
    if (!isExpected) throw error
    console.error(`${file}: ${(error as Error).message}`)
    process.exit(65)
  }
}
