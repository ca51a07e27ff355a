/**
 * Opens a journal that may be damaged, in a process that may crash. Prints a digest of everything,
 * or the error message. Not a test: tests start this program.
 *
 *   node loading.js DIRECTORY
 */
import { createHash } from 'node:crypto'
import { HoldfastError, journalLog } from '@holdfast/server'

const found = createHash('sha256')
const add = (item: unknown): void => void found.update(JSON.stringify(item))
const log = journalLog({ dir: process.argv[2] ?? '' })
try {
  await log.start({
    restore: (items) => {
      for (const item of items) add(item)
    },
    replay: add,
    apply: () => {},
    fail: () => {},
    serve: () => {},
    resign: () => {},
    digest: () => '',
    dump: () => [],
  })
  await log.close()
  process.stdout.write(found.digest('hex'))
} catch (error) {
  if (!(error instanceof HoldfastError)) throw error
  process.stdout.write(error.message)
}
