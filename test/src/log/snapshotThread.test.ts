/**
 * Tests the worker thread that makes the snapshots of a replicated log (a command log that several
 * brokers share). A snapshot contains the lock table as it was after a certain entry of the log.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { loadSnapshot, nodeEnvironment, ReplicatedLog } from '@holdfast/server/internal'
import { expect } from 'chai'
import { fenceFloorCommand, RecordingTable } from './logSuite.js'
import { MemorySource, MemoryStore } from './memoryEngine.js'
import type { ThreadOptions } from './programs/snapshotThread.js'

describe('snapshot thread', () => {
  let dir: string
  let log: ReplicatedLog
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'holdfast-snapshot-'))
  })
  afterEach(async () => {
    await log.close()
    rmSync(dir, { recursive: true, force: true })
  })

  /**
   * Starts a log whose thread makes a snapshot every three entries. If `fault` is given, the thread
   * throws an error with this text instead.
   */
  async function start(fault?: string): Promise<{ store: MemoryStore; table: RecordingTable }> {
    const store = new MemoryStore(nodeEnvironment)
    const source = new MemorySource(store)
    const file = join(dir, 'snapshot.json')
    const thread = new URL('./programs/snapshotThread.js', import.meta.url)
    // A getter, because each thread gets the entries that the log has when the thread starts.
    const get = (): { thread: URL; options: ThreadOptions } => ({
      thread,
      options: { entries: [...store.entries], file, fault },
    })
    Object.defineProperty(source, 'snapshotWorker', { get })
    log = new ReplicatedLog(source, { snapshotEntries: 3 }, nodeEnvironment)
    const table = new RecordingTable()
    await log.start(table)
    return { store, table }
  }

  /**
   * Submits commands, each in an entry of its own, until `condition` returns true. Each command
   * raises the fence floor: the fence (number) of the next grant must be higher than this floor.
   */
  async function submitUntil(condition: () => boolean, table: RecordingTable): Promise<void> {
    // The limit only ends a test that would run forever.
    for (let i = 0; !condition() && i < 20_000; i++) {
      log.submit(fenceFloorCommand(i))
      await table.whenApplied(table.applied.length + 1)
    }
    expect(condition()).to.equal(true)
  }

  it('writes the table as of the position that the log reports, or as of a later position', async () => {
    const { table } = await start()
    await submitUntil(() => log.status.snapshot !== undefined, table)
    const { position, parts } = JSON.parse(readFileSync(join(dir, 'snapshot.json'), 'utf8'))
    // The thread may have written a later snapshot to the file.
    expect(log.status.snapshot?.position).to.be.at.most(position)
    const store = new MemoryStore(nodeEnvironment)
    store.snapshots.push({ position, parts })
    const loaded = await loadSnapshot(new MemorySource(store).create())
    const [head] = loaded!.items
    expect(loaded?.members.oldest).to.equal(log.name)
    expect(head).to.deep.include({ item: 'table' })
    const fenceFloor = (head as { fence: number }).fence
    // The broker appended its `join`, and one entry for each fence floor from 0 to `fenceFloor`.
    expect(loaded?.members.entryCount).to.equal(1 + fenceFloor + 1)
  })

  it('reports its error as a problem of the log, and does not stop the log', async () => {
    const { table } = await start('out of paper')
    await submitUntil(() => log.status.problem?.includes('out of paper') === true, table)
    expect(table.failure).to.equal(undefined)
  })
})
