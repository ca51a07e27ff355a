/**
 * A program for the crash tests, which start and kill it: a broker with a journal (a command log on
 * disk). The small `snapshotBytes` makes the journal make snapshots often.
 *
 *   node broker.js DIRECTORY PORT
 */
import { createBroker, journalLog } from '@holdfast/server'

const [dir = '', port] = process.argv.slice(2)
process.on('disconnect', () => process.exit())
const broker = createBroker({ log: journalLog({ dir, snapshotBytes: 10_000 }) })
await broker.listen({ port: Number(port) })
process.send?.('listening')
