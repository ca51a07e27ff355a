/**
 * A worker thread that makes a snapshot while the broker goes on. It builds the table from the
 * previous snapshot and the records since, and saves it.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { dump, LockTable, restore } from '../../core/index.js'
import { nodeEnvironment } from '../../platform/environment.js'
import { JournalStore, type MadeSnapshot } from './store.js'

interface Order {
  readonly dir: string
  readonly isFlushed: boolean
  readonly upTo: number
}

const { dir, isFlushed, upTo } = workerData as Order

const store = await JournalStore.open(dir, isFlushed)
const former = store.snapshot()
const table = former === undefined ? new LockTable() : restore(former.items)
let sequence = former?.sequence ?? 0
let checksum = former?.checksum ?? 0
for (const record of store.recordsAfter(sequence, checksum)) {
  if (record.sequence > upTo) break
  for (const command of record.commands) table.apply(command)
  sequence = record.sequence
  checksum = record.checksum
}
const at = nodeEnvironment.clock.wall()
await store.saveSnapshot({ sequence, checksum, at, items: dump(table) })
await store.close()
parentPort!.postMessage({ sequence, at } satisfies MadeSnapshot)
