/**
 * A wrapper of `lmdb` that kills this process with SIGKILL at the selected point of the journal's
 * work. The journal keeps on disk all changes of locks. The wrapper recognizes the point by the
 * journal's calls to its database. `crashingHooks.ts` adds the URL of the real `lmdb` to the URL of
 * this module, as the query parameter `real`.
 */
import { type CrashPoint, crashAtVariable } from '../points.js'

/** The methods of a database that the journal uses to write. */
interface Database {
  put(key: readonly number[], value: Buffer): Promise<boolean>
  remove(key: readonly number[]): Promise<boolean>
  readonly flushed: PromiseLike<unknown>
}

/**
 * The kind of a value is the first element of its key: a record of changes, a part of a snapshot,
 * or the pointer to the valid snapshot.
 */
const [record, snapshotPart, pointer] = [0, 1, 2]

const realLmdb = (await import(new URL(import.meta.url).searchParams.get('real')!)) as {
  readonly open: (options: object) => Database
}
// The value `before a commit:3` kills the process at the third visit of the journal to this point.
const [, crashPoint, crashVisit] = /^(.+):(\d+)$/.exec(process.env[crashAtVariable] ?? '') ?? []
let visits = 0

/** Counts the visits to the selected point, and kills the process at the selected visit. */
function reach(point: CrashPoint): void {
  if (point === crashPoint && ++visits === Number(crashVisit)) process.kill(process.pid, 'SIGKILL')
}

/** Opens a database. Its methods kill this process when a write reaches the selected point. */
export function open(options: object): Database {
  const database = realLmdb.open(options)
  const put = database.put.bind(database)
  const remove = database.remove.bind(database)
  // Each `await` of this object waits for the writes so far.
  const { flushed } = database
  /** Whether the last write was a record, so that `flushed` waits for this record. */
  let lastWasRecord = false
  database.put = async (key, value) => {
    lastWasRecord = key[0] === record
    if (lastWasRecord) reach('before a commit')
    if (key[0] === snapshotPart) reach('before a part of a snapshot')
    if (key[0] === pointer) reach('before the pointer moves')
    const done = await put(key, value)
    if (lastWasRecord) reach('committed, not flushed')
    return done
  }
  database.remove = (key) => {
    if (key[0] === record) reach('before the old records are removed')
    if (key[0] === snapshotPart) reach('before the old parts are removed')
    return remove(key)
  }
  Object.defineProperty(database, 'flushed', {
    get: async () => {
      await flushed
      if (lastWasRecord) reach('flushed, not answered')
    },
  })
  return database
}
