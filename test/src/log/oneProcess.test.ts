/**
 * Only one process at a time may use a journal, the command log on disk from which a broker
 * restores its lock table. The tests try a second worker of a Node cluster, and a process in
 * another container: both containers share the kernel and the disk, but neither network nor process
 * ids.
 */
import { fork } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { journalLog } from '@holdfast/server'
import { expect } from 'chai'
import { exitOf } from '../e2e/remote.js'
import { Stage } from '../e2e/stage.js'
import { Holdfast } from '../ops/command.js'
import { needs } from '../support/needs.js'
import { RecordingTable, raiseFenceFloor } from './logSuite.js'

const program = fileURLToPath(new URL('./programs/clustered.js', import.meta.url))

describe('journal: a second process', () => {
  let dir: string
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'holdfast-journal-'))
  })
  afterEach(() => rmSync(dir, { recursive: true, force: true }))

  it('is refused if it is a worker of the same cluster', async () => {
    const cluster = fork(program, ['journal', dir])
    const outcomes: string[] = []
    cluster.on('message', (outcome: string) => outcomes.push(outcome))
    await exitOf(cluster)
    expect(outcomes.sort().map((line) => line.split(' ')[0])).to.deep.equal([
      'UNAVAILABLE',
      'started',
    ])
  })

  describe('in another container', () => {
    needs('namespaces')
    const stage = Stage.forEachTest()

    it('is refused and does not change the journal', async () => {
      const log = journalLog({ dir })
      const table = new RecordingTable()
      await log.start(table)
      log.submit(raiseFenceFloor(1))
      await table.hasApplied(1)
      const wrapper = ['unshare', '--net', '--pid', '--fork']
      const args = ['serve', '--port', '0', '--journal', dir]
      const { code, err } = await Holdfast.run(stage, args, { wrapper })
      expect({ code, err }).to.deep.equal({
        code: 74,
        err: [
          `holdfast: The journal directory ${dir} is in use by another process: stop that process or choose another directory`,
        ],
      })
      log.submit(raiseFenceFloor(2))
      await log.close()
      const reopened = journalLog({ dir })
      const restored = new RecordingTable()
      await reopened.start(restored)
      await reopened.close()
      expect(restored.replayed).to.deep.equal([raiseFenceFloor(1), raiseFenceFloor(2)])
    })
  })
})
