/**
 * A worker thread that makes a snapshot while the broker goes on. The thread builds the lock table
 * from the previous snapshot and the records after it, and saves the table as the new snapshot.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { dump, LockTable, restore } from '../../core/index.js'
import { nodeEnvironment } from '../../platform/environment.js'
import { JournalStore, type SnapshotInfo } from './store.js'

interface SnapshotTask {
  readonly dir: string
  /** Whether a write completes only when its data is on the disk. */
  readonly isFlushed: boolean
  /** The number of the last record that the snapshot includes. */
  readonly upTo: number
}

const { dir, isFlushed, upTo } = workerData as SnapshotTask

const store = await JournalStore.open(dir, isFlushed)
const formerSnapshot = store.snapshot()
const table = formerSnapshot === undefined ? new LockTable() : restore(formerSnapshot.items)
let sequence = formerSnapshot?.sequence ?? 0
let checksum = formerSnapshot?.checksum ?? 0
for (const record of store.recordsAfter(sequence, checksum)) {
  // The broker writes further records meanwhile. The next snapshot includes those records.
  if (record.sequence > upTo) break
  for (const command of record.commands) table.apply(command)
  sequence = record.sequence
  checksum = record.checksum
}
const at = nodeEnvironment.clock.wall()
await store.saveSnapshot({ sequence, checksum, at, items: dump(table) })
await store.close()
parentPort!.postMessage({ sequence, at } satisfies SnapshotInfo)
