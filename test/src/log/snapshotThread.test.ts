/**
 * Tests the worker thread that makes the snapshots of a replicated log (a command log that several
 * brokers share). A snapshot contains the lock table as it was after a certain entry of the log. A
 * fence is the number of a grant.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { loadSnapshot, nodeEnvironment, ReplicatedLog } from '@holdfast/server/internal'
import { expect } from 'chai'
import { RecordingTable, raiseFenceFloor } from './logSuite.js'
import { MemorySource, MemoryStore } from './memoryEngine.js'
import type { ThreadOptions } from './programs/snapshotThread.js'

describe('snapshot in a thread', () => {
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
    const options = (): ThreadOptions => ({ entries: [...store.entries], file, fault })
    const thread = new URL('./programs/snapshotThread.js', import.meta.url)
    // A getter, because each thread needs the entries at the time of its start.
    Object.defineProperty(source, 'snapshotWorker', { get: () => ({ thread, options: options() }) })
    log = new ReplicatedLog(source, { snapshotEntries: 3 }, nodeEnvironment)
    const table = new RecordingTable()
    await log.start(table)
    return { store, table }
  }

  /**
   * Submits commands, each in an entry of its own, until `condition` returns true. Each command
   * raises the fence floor: the next fence must be higher.
   */
  async function submitUntil(condition: () => boolean, table: RecordingTable): Promise<void> {
    // The limit only ends a test that would run forever.
    for (let i = 0; !condition() && i < 20_000; i++) {
      log.submit(raiseFenceFloor(i))
      await table.whenApplied(table.applied.length + 1)
    }
    expect(condition()).to.equal(true)
  }

  it('contains the table at its position, and the log announces the position', async () => {
    const { table } = await start()
    await submitUntil(() => log.status.snapshot !== undefined, table)
    const { position, parts } = JSON.parse(readFileSync(join(dir, 'snapshot.json'), 'utf8'))
    // The file may be of a later snapshot than the announced snapshot.
    expect(log.status.snapshot?.position).to.be.at.most(position)
    const store = new MemoryStore(nodeEnvironment)
    store.snapshots.push({ position, parts })
    const loaded = await loadSnapshot(new MemorySource(store).create())
    const [head] = loaded!.items
    expect(loaded?.members.oldest).to.equal(log.name)
    expect(head).to.deep.include({ item: 'table' })
    const fence = (head as { fence: number }).fence
    // The entries are the `join` of the broker, and one entry for each of the fences 0 to `fence`.
    expect(loaded?.members.entryCount).to.equal(fence + 2)
  })

  it('does not stop the log after a failure, which the log reports as a problem', async () => {
    const { table } = await start('out of paper')
    await submitUntil(() => log.status.problem?.includes('out of paper') === true, table)
    expect(table.failure).to.equal(undefined)
  })
})
