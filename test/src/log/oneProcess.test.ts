/**
 * A journal is one process at a time, whatever kind of other process it is that comes.
 */
import { fork } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { exitOf } from '../e2e/remote.js'

const program = fileURLToPath(new URL('./programs/clustered.js', import.meta.url))

describe('journal: one process at a time', () => {
  let dir: string
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'holdfast-journal-'))
  })
  afterEach(() => rmSync(dir, { recursive: true, force: true }))

  it('of the workers of a cluster, which share what they listen on', async () => {
    const cluster = fork(program, [dir])
    const outcomes: string[] = []
    cluster.on('message', (outcome: string) => outcomes.push(outcome))
    await exitOf(cluster)
    expect(outcomes.sort()).to.deep.equal(['UNAVAILABLE', 'started'])
  })
})
