/**
 * A wrapper of `lmdb` that kills this process with SIGKILL at a point of the work of the journal.
 * The journal is a record of all changes of locks on disk. After SIGKILL no data is flushed and no
 * handler runs. The wrapper derives the point from the journal's calls.
 */
import { type CrashPoint, crashAtVariable } from '../points.js'

/** The methods of a database that the journal uses to write. */
interface Database {
  put(key: readonly number[], value: Buffer): Promise<boolean>
  remove(key: readonly number[]): Promise<boolean>
  readonly flushed: PromiseLike<unknown>
}

/** The first elements of the journal's keys, by the kind of the value. */
const [record, chunk, pointer] = [0, 1, 2]

const realLmdb = (await import(new URL(import.meta.url).searchParams.get('real')!)) as {
  readonly open: (options: object) => Database
}
// The variable has the point and the number of the visit, such as `before a commit:3`.
const [, crashPoint, crashVisit] = /^(.+):(\d+)$/.exec(process.env[crashAtVariable] ?? '') ?? []
let visits = 0

/** Kills the process if this visit to the point is the selected visit. */
function reach(point: CrashPoint): void {
  if (point === crashPoint && ++visits === Number(crashVisit)) process.kill(process.pid, 'SIGKILL')
}

/** Opens a database. Its methods kill this process when a write reaches the selected point. */
export function open(options: object): Database {
  const database = realLmdb.open(options)
  const put = database.put.bind(database)
  const remove = database.remove.bind(database)
  const { flushed } = database
  /** Whether the last write was a record; the journal then waits for `flushed`. */
  let isRecord = false
  database.put = async (key, value) => {
    isRecord = key[0] === record
    if (isRecord) reach('before a commit')
    if (key[0] === chunk) reach('before a part of a snapshot')
    if (key[0] === pointer) reach('before the pointer moves')
    const done = await put(key, value)
    if (isRecord) reach('committed, not flushed')
    return done
  }
  database.remove = (key) => {
    if (key[0] === record) reach('before the old records are removed')
    if (key[0] === chunk) reach('before the old parts are removed')
    return remove(key)
  }
  Object.defineProperty(database, 'flushed', {
    get: async () => {
      await flushed
      if (isRecord) reach('flushed, not answered')
    },
  })
  return database
}
