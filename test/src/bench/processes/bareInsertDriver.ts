/**
 * Measures the largest rate of inserts into PostgreSQL without a broker. Like a broker that writes
 * its command log, each insert adds one row with a batch of commands (requests of clients). One
 * insert is under way at a time. Usage: `bareInsertDriver.js URL COMMANDS`, where COMMANDS is the
 * number of commands in a batch.
 */
import postgres from 'postgres'

const [url = '', commandCount = ''] = process.argv.slice(2)

/** A command that is about as long as a command in the log of a broker. */
const command = JSON.stringify({
  type: 'lock',
  session: 'V1StGXR8_Z5jdHi6B-myT',
  attachEpoch: 1,
  id: 12_345,
  key: 'bench:12:3',
  mode: 'exclusive',
  at: 1_700_000_000_000,
})
const batch = Array.from({ length: Number(commandCount) }, () => command).join()

// One connection, because one insert is under way at a time.
const sql = postgres(url, { max: 1, onnotice: () => {} })
let isRunning = false

/** Inserts rows until the parent sends `stop`, and then reports the number of inserted commands. */
async function insertUntilStopped(): Promise<void> {
  let insertedCount = 0
  while (isRunning) {
    await sql`insert into bench (entry) values (${batch})`
    insertedCount += Number(commandCount)
  }
  process.send!(insertedCount)
}

process.on('message', (instruction: 'go' | 'stop') => {
  isRunning = instruction === 'go'
  if (isRunning) void insertUntilStopped()
})
process.on('disconnect', () => process.exit())
// The package connects at the first query.
await sql`select 1`
process.send!('ready')
