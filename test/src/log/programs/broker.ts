/**
 * A program for the crash tests, which start and kill it: a broker with a journal that makes a
 * snapshot every few records. The journal is a command log on disk.
 *
 *   node broker.js DIRECTORY PORT
 */
import { createBroker, journalLog } from '@holdfast/server'

const [dir = '', port] = process.argv.slice(2)
process.on('disconnect', () => process.exit())
const broker = createBroker({ log: journalLog({ dir, snapshotBytes: 10_000 }) })
await broker.listen({ port: Number(port) })
process.send?.('listening')
