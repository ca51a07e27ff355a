/**
 * `lmdb` with points at which this process is killed, as by `kill -9`: nothing is flushed and no
 * handler runs. The calls to the store reveal at which point of its work the journal is.
 */
import { type CrashPoint, crashAtVariable } from '../points.js'

/** The methods of a database that the journal uses to write. */
interface Database {
  put(key: readonly number[], value: Buffer): Promise<boolean>
  remove(key: readonly number[]): Promise<boolean>
  readonly flushed: PromiseLike<unknown>
}

/** The first element of a key, as in the journal's store. */
const [record, chunk, pointer] = [0, 1, 2]

const real = (await import(new URL(import.meta.url).searchParams.get('real')!)) as {
  readonly open: (options: object) => Database
}
const [, point, times] = /^(.+):(\d+)$/.exec(process.env[crashAtVariable] ?? '') ?? []
let visits = 0

function reach(here: CrashPoint): void {
  if (here === point && ++visits === Number(times)) process.kill(process.pid, 'SIGKILL')
}

export function open(options: object): Database {
  const database = real.open(options)
  const put = database.put.bind(database)
  const remove = database.remove.bind(database)
  const { flushed } = database
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
