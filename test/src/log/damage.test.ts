/**
 * Journals with one flipped bit, anywhere in the file. The broker must restore exactly what was
 * written, or refuse the journal.
 */
import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { connect } from '@holdfast/client'
import { createBroker, journalLog } from '@holdfast/server'
import { expect } from 'chai'
import { Stage } from '../e2e/stage.js'
import { scratch } from '../ops/scratch.js'
import { count, Random, seed } from '../support/counts.js'

const program = fileURLToPath(new URL('./programs/loading.js', import.meta.url))
const pageBytes = 4_096
/** The first bytes of a page, which have LMDB's page header and the offsets of the entries. */
const headBytes = 64

interface Loaded {
  readonly out: string
  readonly signal: NodeJS.Signals | null
}

function load(dir: string): Loaded {
  const { stdout, signal } = spawnSync(process.execPath, [program, dir], {
    encoding: 'utf8',
    timeout: 20_000,
  })
  return { out: stdout, signal }
}

/** A journal with a snapshot and later records. */
async function fill(dir: string): Promise<void> {
  let isMade: () => void = () => {}
  const made = new Promise<void>((resolve) => {
    isMade = resolve
  })
  const log = journalLog({ dir, snapshotBytes: 50_000, onSnapshot: () => isMade() })
  const broker = createBroker({ log })
  const { url } = await broker.listen({ port: 0 })
  const session = await connect(url)
  const locks = Array.from({ length: 600 }, (_, i) => session.lock(`key ${i}`))
  await Promise.all(locks)
  await made
  for (let i = 0; i < 100; i++) await (await session.lock(`later ${i}`)).unlock()
  await session.close()
  await broker.close()
}

describe('journal: damaged at random', () => {
  const stage = Stage.forEachTest()

  it('is restored as it was written, or refused', async function () {
    this.timeout(120_000)
    const dir = scratch(stage).path('journal')
    await fill(dir)
    const file = `${dir}/data.mdb`
    const whole = readFileSync(file)
    const right = load(dir)
    expect(right.out).to.match(/^[0-9a-f]{64}$/)
    const random = new Random()
    let refused = 0
    for (let i = 0; i < count(6, 100); i++) {
      const page = random.below(whole.length / pageBytes) * pageBytes
      const at = page + random.below(i % 2 === 0 ? pageBytes : headBytes)
      const bytes = Buffer.from(whole)
      bytes[at]! ^= 1 << random.below(8)
      writeFileSync(file, bytes)
      const { out, signal } = load(dir)
      // Damage that kills LMDB has nearly always ended the checking process. Otherwise the broker
      // must refuse the journal.
      if (signal !== null || out === right.out) continue
      refused++
      expect(out, `HOLDFAST_SEED=${seed}, byte ${at}`).to.match(
        /^The journal [^\n]*(?:start empty|update Holdfast)$/,
      )
    }
    expect(refused).to.be.greaterThan(0)
  })
})
