/**
 * Tests that only one process at a time can use a journal (a command log on disk, from which a
 * broker restores its lock table). The second process is a second worker of a Node cluster, or a
 * process in another container. The containers of the two processes share the kernel and the disk,
 * but neither the network nor the process ids.
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
import { fenceFloorCommand, RecordingTable } from './logSuite.js'

const program = fileURLToPath(new URL('./programs/clustered.js', import.meta.url))

describe('journal: a second process', () => {
  let dir: string
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'holdfast-journal-'))
  })
  afterEach(() => rmSync(dir, { recursive: true, force: true }))

  it('is refused if it is a worker of the same cluster', async () => {
    // The primary process of the cluster starts two workers, and sends the outcome of each worker.
    const primary = fork(program, ['journal', dir])
    const outcomes: string[] = []
    primary.on('message', (outcome: string) => outcomes.push(outcome))
    await exitOf(primary)
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
      // `fenceFloorCommand` makes a simple command, which the journal must keep.
      log.submit(fenceFloorCommand(1))
      await table.whenApplied(1)
      // `unshare` runs the broker in namespaces of its own for the network and the process ids, as
      // in a container.
      const wrapper = ['unshare', '--net', '--pid', '--fork']
      const args = ['serve', '--port', '0', '--journal', dir]
      const { code, err } = await Holdfast.run(stage, args, { wrapper })
      // The exit code 74 means an input or output error.
      expect({ code, err }).to.deep.equal({
        code: 74,
        err: [
          `holdfast: The journal directory ${dir} is in use by another process: stop that process or choose another directory`,
        ],
      })
      log.submit(fenceFloorCommand(2))
      await log.close()
      const reopenedLog = journalLog({ dir })
      const restoredTable = new RecordingTable()
      await reopenedLog.start(restoredTable)
      await reopenedLog.close()
      expect(restoredTable.replayed).to.deep.equal([fenceFloorCommand(1), fenceFloorCommand(2)])
    })
  })
})
