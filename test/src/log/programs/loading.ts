/**
 * A program for a test, which may crash: it opens a journal that may be damaged, and prints a
 * digest of all restored items and commands, or the error message. The journal is a command log on
 * disk.
 *
 *   node loading.js DIRECTORY
 */
import { createHash } from 'node:crypto'
import { HoldfastError, journalLog } from '@holdfast/server'

const hash = createHash('sha256')
const add = (item: unknown): void => void hash.update(JSON.stringify(item))
const log = journalLog({ dir: process.argv[2] ?? '' })
try {
  await log.start({
    *restore(items) {
      for (const item of items) {
        add(item)
        yield
      }
    },
    replay: add,
    apply: () => {},
    fail: () => {},
    serve: () => {},
    resign: () => {},
    digest: () => '',
    beginSnapshot: () => {
      throw new Error('a journal does not ask the state machine for a snapshot')
    },
  })
  await log.close()
  process.stdout.write(hash.digest('hex'))
} catch (error) {
  if (!(error instanceof HoldfastError)) throw error
  process.stdout.write(error.message)
}
