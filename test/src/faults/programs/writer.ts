/**
 * A program that adds one to a number in a database while it holds a lock: it reads the number,
 * computes, and writes. Between read and write, the program waits for a message of its parent. The
 * parent, a test, may pause the program at this point for longer than the lock lasts.
 */
import { connect } from '@holdfast/client'
import postgres from 'postgres'
import type { Address } from '../../support/postgres.js'

/**
 * What protects the store (the table in the database) from late writes: nothing, or a check of
 * fences. A fence is a number that rises with every grant of a lock.
 */
export type Protection = 'none' | 'fence'

/**
 * A message of the writer to its parent. `ready`: the writer has connected to the broker and to the
 * database. `read`: the writer has tried to read the number, and waits for the message `go`.
 * `wrote`: the store has accepted the write. `refused`: the store has refused the read or the
 * write.
 */
export type WriterMessage = 'ready' | 'read' | 'wrote' | 'refused'

const [, , url = '', address = '', protection = 'none'] = process.argv
const { host, port, user } = JSON.parse(address) as Address
const sql = postgres({ host, port, user, database: 'postgres', max: 1, onnotice: () => {} })
const session = await connect(url)

/** Sends a message to the parent. */
function tell(message: WriterMessage): void {
  process.send!(message)
}

/**
 * Reads the number. With the protection `fence`, the read also stores the fence of this writer, so
 * that the store refuses writes with lower fences from now on.
 *
 * @returns undefined if the store has seen a higher fence than the fence of this writer
 */
async function read(fence: number): Promise<number | undefined> {
  const rows =
    protection === 'fence'
      ? await sql`update counter set fence = ${fence} where fence <= ${fence} returning value`
      : await sql`select value from counter`
  return rows[0] === undefined ? undefined : Number(rows[0]['value'])
}

/** Writes the number. @returns whether the store accepted the write */
async function write(value: number, fence: number): Promise<boolean> {
  const rows =
    protection === 'fence'
      ? await sql`update counter set value = ${value}, fence = ${fence}
          where fence <= ${fence} returning value`
      : await sql`update counter set value = ${value} returning value`
  return rows.length === 1
}

/** Adds one to the number under a lock. Waits between read and write for the message `go`. */
async function addOne(): Promise<void> {
  const lock = await session.lock('counter', { ttl: 400 })
  const value = await read(lock.fence)
  // The parent sends no other message before the outcome.
  const goMessage = new Promise((resolve) => process.once('message', resolve))
  tell('read')
  await goMessage
  const isWritten = value !== undefined && (await write(value + 1, lock.fence))
  await lock.unlock().catch(() => {})
  tell(isWritten ? 'wrote' : 'refused')
}

process.on('message', (command: 'add' | 'go') => {
  // `addOne` itself receives `go`.
  if (command === 'add') void addOne()
})
process.on('disconnect', () => process.exit(0))
// Connects to the database, so that the first command does not wait for the connection.
await sql`select 1`
tell('ready')
