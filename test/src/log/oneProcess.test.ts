/**
 * A journal belongs to one process at a time. This includes workers of one cluster, and processes
 * in other containers, which share the kernel and the disk but neither the network nor process ids.
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

describe('journal: one process at a time', () => {
  let dir: string
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'holdfast-journal-'))
  })
  afterEach(() => rmSync(dir, { recursive: true, force: true }))

  it('among the workers of a cluster, which share their listening sockets', async () => {
    const cluster = fork(program, ['journal', dir])
    const outcomes: string[] = []
    cluster.on('message', (outcome: string) => outcomes.push(outcome))
    await exitOf(cluster)
    expect(outcomes.sort().map((line) => line.split(' ')[0])).to.deep.equal([
      'UNAVAILABLE',
      'started',
    ])
  })

  describe('among several containers', () => {
    needs('namespaces')
    const stage = Stage.forEachTest()

    it('and the second one changes nothing', async () => {
      const log = journalLog({ dir })
      const replica = new RecordingTable()
      await log.start(replica)
      log.submit(raiseFenceFloor(1))
      await replica.hasApplied(1)
      const inside = ['unshare', '--net', '--pid', '--fork']
      const args = ['serve', '--port', '0', '--journal', dir]
      const { code, err } = await Holdfast.run(stage, args, { inside })
      expect({ code, err }).to.deep.equal({
        code: 74,
        err: [
          `holdfast: The journal directory ${dir} is in use by another process: stop that process or choose another directory`,
        ],
      })
      log.submit(raiseFenceFloor(2))
      await log.close()
      const next = journalLog({ dir })
      const listener = new RecordingTable()
      await next.start(listener)
      await next.close()
      expect(listener.replayed).to.deep.equal([raiseFenceFloor(1), raiseFenceFloor(2)])
    })
  })
})
