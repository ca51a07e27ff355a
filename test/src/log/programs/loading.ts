/**
 * A program for a test. The program opens a journal, a record on disk of all changes of locks. The
 * program prints a digest of all restored items and commands, or the error message. The program
 * runs in a process of its own, because a damaged journal may crash the process.
 *
 *   node loading.js DIRECTORY
 */
import { createHash } from 'node:crypto'
import { HoldfastError, journalLog } from '@holdfast/server'

const hash = createHash('sha256')
const addToHash = (item: unknown): void => void hash.update(JSON.stringify(item))
const log = journalLog({ dir: process.argv[2] ?? '' })
try {
  // A state machine that only adds to the hash what the journal restores and replays.
  await log.start({
    *restore(items) {
      for (const item of items) {
        addToHash(item)
        yield
      }
    },
    replay: addToHash,
    apply: () => {},
    fail: () => {},
    serve: () => {},
    resign: () => {},
    digest: () => '',
    beginSnapshot: () => {
      throw new Error('a journal makes its snapshots without the state machine')
    },
  })
  await log.close()
  process.stdout.write(hash.digest('hex'))
} catch (error) {
  if (!(error instanceof HoldfastError)) throw error
  process.stdout.write(error.message)
}
