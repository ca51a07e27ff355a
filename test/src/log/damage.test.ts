/**
 * Tests journals with one flipped bit anywhere in the file. A journal is a command log on disk,
 * from which a broker restores its lock table. LMDB is the database of the journal. The broker must
 * restore exactly the written state, or refuse the journal.
 */
import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { connect } from '@holdfast/client'
import { createBroker, journalLog } from '@holdfast/server'
import { expect } from 'chai'
import { Stage } from '../e2e/stage.js'
import { makeScratchFolder } from '../ops/scratch.js'
import { quickOrFull, Random, seed } from '../support/counts.js'
import { bundleOrBuiltFile } from '../support/programs.js'

const program = bundleOrBuiltFile(fileURLToPath(new URL('./programs/loading.js', import.meta.url)))
/** The size of a page of LMDB. */
const pageBytes = 4_096
/**
 * The bytes at the start of a page that are most sensitive to damage: the page header of LMDB, and
 * the offsets of the entries.
 */
const headBytes = 64
/** A full run flips this many bits, each in a copy of the journal. A quick run may flip fewer. */
const maxFlips = 100

interface LoadResult {
  readonly out: string
  readonly signal: NodeJS.Signals | null
}

/** Loads a journal in a child process, which prints a digest (hash) of the state or an error. */
function loadJournal(dir: string): LoadResult {
  const { stdout, signal, error } = spawnSync(process.execPath, [program, dir], {
    encoding: 'utf8',
    timeout: 60_000,
  })
  // After the timeout, the signal of this call looks like the signal of a crash.
  if (error !== undefined) throw error
  return { out: stdout, signal }
}

/** Makes a journal with a snapshot of the lock table, and with records after the snapshot. */
async function makeJournal(dir: string): Promise<void> {
  let resolveSnapshotMade: () => void = () => {}
  const snapshotMade = new Promise<void>((resolve) => {
    resolveSnapshotMade = resolve
  })
  const log = journalLog({ dir, snapshotBytes: 50_000, onSnapshot: () => resolveSnapshotMade() })
  const broker = createBroker({ log })
  const { url } = await broker.listen({ port: 0 })
  const session = await connect(url)
  const locks = Array.from({ length: 600 }, (_, i) => session.lock(`key ${i}`))
  await Promise.all(locks)
  // The records of these locks exceed `snapshotBytes`, so the journal makes a snapshot.
  await snapshotMade
  for (let i = 0; i < 100; i++) await (await session.lock(`later ${i}`)).unlock()
  await session.close()
  await broker.close()
}

describe('journal: a journal with a flipped bit', () => {
  const stage = Stage.forEachTest()

  it('is restored exactly, or refused', async function () {
    this.timeout(600_000)
    const dir = makeScratchFolder(stage).path('journal')
    await makeJournal(dir)
    const file = `${dir}/data.mdb`
    const original = readFileSync(file)
    const expected = loadJournal(dir)
    expect(expected.out).to.match(/^[0-9a-f]{64}$/)
    const random = new Random()
    let refusedCount = 0
    // Most bits of the file belong to unused pages, so the first few flips may all leave the state
    // as it is. The test then continues until one damaged copy is refused.
    const minFlips = quickOrFull(6, maxFlips)
    for (let i = 0; i < minFlips || (refusedCount === 0 && i < maxFlips); i++) {
      const pageStart = random.below(original.length / pageBytes) * pageBytes
      // Alternates between a bit anywhere in a page and a bit at the start of a page.
      const offset = pageStart + random.below(i % 2 === 0 ? pageBytes : headBytes)
      const bytes = Buffer.from(original)
      bytes[offset]! ^= 1 << random.below(8)
      writeFileSync(file, bytes)
      const { out, signal } = loadJournal(dir)
      // The test accepts damage that crashes LMDB in the process of `loadJournal`. A real broker
      // first checks its journal in a child process, so the broker itself nearly never crashes.
      if (signal !== null || out === expected.out) continue
      refusedCount++
      expect(out, `HOLDFAST_SEED=${seed}, byte ${offset}`).to.match(
        /^The journal [^\n]*(?:start empty|update Holdfast)$/,
      )
    }
    expect(refusedCount).to.be.greaterThan(0)
  })
})
