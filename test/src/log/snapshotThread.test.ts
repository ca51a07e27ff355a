/** A snapshot of a shared log that is made in a worker thread. */
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

  /** A log that serves and makes a snapshot every three entries, in a thread. */
  async function start(fault?: string): Promise<{ store: MemoryStore; replica: RecordingTable }> {
    const store = new MemoryStore(nodeEnvironment)
    const source = new MemorySource(store)
    const file = join(dir, 'snapshot.json')
    const options = (): ThreadOptions => ({ entries: [...store.entries], file, fault })
    const thread = new URL('./programs/snapshotThread.js', import.meta.url)
    Object.defineProperty(source, 'snapshotWorker', { get: () => ({ thread, options: options() }) })
    log = new ReplicatedLog(source, { snapshotEntries: 3 }, nodeEnvironment)
    const replica = new RecordingTable()
    await log.start(replica)
    return { store, replica }
  }

  /** Submits until the condition holds. Each call adds one entry. */
  async function until(isSo: () => boolean, replica: RecordingTable): Promise<void> {
    for (let i = 0; !isSo() && i < 20_000; i++) {
      log.submit(raiseFenceFloor(i))
      await replica.hasApplied(replica.applied.length + 1)
    }
    expect(isSo()).to.equal(true)
  }

  it('contains the state at its position, and is announced in the log', async () => {
    const { replica } = await start()
    await until(() => log.status.snapshot !== undefined, replica)
    const { position, parts } = JSON.parse(readFileSync(join(dir, 'snapshot.json'), 'utf8'))
    expect(log.status.snapshot?.position).to.be.at.most(position)
    const store = new MemoryStore(nodeEnvironment)
    store.snapshots.push({ position, parts })
    const loaded = await loadSnapshot(new MemorySource(store).create())
    const [head] = loaded!.items
    expect(loaded?.members.oldest).to.equal(log.name)
    expect(head).to.deep.include({ item: 'table' })
    const fence = (head as { fence: number }).fence
    expect(loaded?.members.count).to.equal(fence + 2)
  })

  it('does not stop the log if it fails, and the failure is reported', async () => {
    const { replica } = await start('out of paper')
    await until(() => log.status.problem?.includes('out of paper') === true, replica)
    expect(replica.failure).to.equal(undefined)
  })
})
