/**
 * Tests that the bench works: runs workloads with the shortest slices of time, and checks the form
 * of the results. Also tests that the bench finds wrong grants. No test expects a certain speed,
 * because the speed in a tenth of a second on a busy machine means nothing.
 *
 * W1 is the workload of free locks; the shape `64×1` is 64 sessions with one request under way in
 * each. "By hand" means that the bench writes the frames itself, without the client library. The
 * echo is a WebSocket server without locks. The placement `split` gives server and load generator
 * one core each. Cells are brokers that divide the keys among them. Peers are other lock services.
 */
import { readFile } from 'node:fs/promises'
import { join as joinPath } from 'node:path'
import { assert } from 'chai'
import { root } from '../conventions/repository.js'
import { isFullRun } from '../support/counts.js'
import { machineMeets } from '../support/needs.js'
import type { JobResult } from './job.js'
import { smokePace } from './paces.js'
import { chartOf } from './report/chart.js'
import { overviewOf } from './report/overview.js'
import { targetTable, workloadTable } from './report/tables.js'
import { compareWithTargets } from './report/targets.js'
import { runJob } from './run.js'
import { cells } from './workloads/cells.js'
import { exclusion } from './workloads/exclusion.js'
import { idle } from './workloads/idle.js'
import { join } from './workloads/join.js'
import { restart } from './workloads/restart.js'
import { w1 } from './workloads/w1.js'

const options = { pace: smokePace, drivers: ['raw', 'client'], onProgress: () => {} } as const
/**
 * The number of sessions of W1 64×1 and of the workload "cells". If there are more grants than
 * sessions, some session has locked again.
 */
const sessionCount = 64

describe('the bench', () => {
  let result: JobResult

  before('runs W1 with 64 sessions', async () => {
    const job = w1.jobs(smokePace).find(({ shape }) => shape === '64×1')
    result = await runJob(job!, options)
  })

  it('measures sessions by hand, sessions of the client library, and an echo server', () => {
    const systems = result.rows.map(({ system }) => system)
    assert.deepEqual(systems, ['ws echo', 'holdfast, by hand', 'holdfast, client'])
    for (const { workload, shape, placement, figures } of result.rows) {
      assert.deepInclude({ workload, shape, placement }, { shape: '64×1', placement: 'split' })
      for (const figure of ['pairsPerSecond', 'ratioToReference', 'p50Us', 'p99Us']) {
        assert.isAbove(figures[figure]!, 0, figure)
      }
      assert.isAtLeast(figures['p99Us']!, figures['p50Us']!)
    }
    assert.equal(result.rows[0]!.figures['ratioToReference'], 1)
  })

  it('checks every grant and finds no violation', () => {
    assert.isAbove(result.grants, sessionCount)
    assert.equal(result.violations, 0)
  })

  it('makes tables, targets and a chart from the rows', () => {
    const targetResults = compareWithTargets(result.rows, /* withPeers */ false)
    const measuredTargets = targetResults.filter(({ outcome }) => outcome !== 'not run')
    assert.sameMembers(
      measuredTargets.map(({ target }) => target.title),
      ['W1 64×1: pairs/s ÷ echo', 'W1 64×1: p99 ÷ p50', 'client W1 64×1: pairs/s ÷ echo'],
    )
    assert.include(targetTable(targetResults), '| W1 64×1: pairs/s ÷ echo ')
    assert.include(workloadTable(w1, result.rows), 'holdfast, client')
    assert.match(chartOf(result.rows, 'a & b'), /^<svg .*a &#38; b.*<rect class="own"/s)
  })

  it('shows the table of lock services from README.md in overview.svg', async () => {
    const folder = joinPath(root, 'test/bench')
    const readme = await readFile(joinPath(folder, 'README.md'), 'utf8')
    const savedChart = await readFile(joinPath(folder, 'overview.svg'), 'utf8')
    const advice = 'the chart is old: run `node test/tools/run.mjs bench/overviewMain.js`'
    assert.isTrue(savedChart === overviewOf(readme), advice)
  })

  it('measures the broker while sessions hold a lock and do nothing', async () => {
    // In the first job the sessions hold nothing; in the second job each session holds a lock.
    const [, job] = idle.jobs(smokePace)
    const { rows } = await runJob(job!, options)
    assert.deepEqual(
      rows.map(({ system }) => system),
      ['holdfast, client', 'holdfast, answering pings by hand'],
    )
    for (const { figures } of rows) {
      assert.isAbove(figures['idleUsPerLease']!, 0)
      assert.isAbove(figures['idlePercent']!, 0)
    }
  })

  it('measures how sessions come back after a restart of the broker', async () => {
    const [byHand, withClient] = restart.jobs(smokePace)
    // The backoff of the client library can take seconds, so the second job needs a full run.
    for (const job of isFullRun ? [byHand!, withClient!] : [byHand!]) {
      const { rows } = await runJob(job, options)
      const [{ figures }] = rows as [JobResult['rows'][number]]
      for (const figure of ['backMs', 'serverUsPerHandshake', 'clientUsPerHandshake']) {
        assert.isAbove(figures[figure]!, 0, figure)
      }
    }
  })

  it('measures two cells (with the processor time of both) beside a single broker', async () => {
    const job = cells.jobs(smokePace).find(({ shape }) => shape === '2 cells')
    const { rows, grants, violations } = await runJob(job!, options)
    const systems = rows.map(({ system }) => system)
    assert.deepEqual(systems, ['ws echo', 'holdfast, client', 'holdfast, 2 cells'])
    for (const { figures } of rows) {
      assert.isAbove(figures['pairsPerSecond']!, 0)
      assert.isAbove(figures['serverUsPerPair']!, 0)
    }
    assert.isAbove(grants, sessionCount)
    assert.equal(violations, 0)
  })

  // The job waits up to 10 s for the next snapshot of the log, so this test needs a full run.
  if (isFullRun && machineMeets('postgres')) {
    it('measures how a second broker joins the log of a broker with many locks', async () => {
      const { rows } = await runJob(join.jobs(smokePace)[0]!, options)
      const systems = rows.map(({ system }) => system)
      assert.deepEqual(systems, ['the serving broker', 'the joining broker'])
      for (const figure of ['joinSeconds', 'joinCpuSeconds', 'peakMiB']) {
        assert.isAbove(rows[1]!.figures[figure]!, 0, figure)
      }
    })
  }

  it('detects a server that grants every request immediately', async () => {
    const { rows, violations } = await runJob(exclusion.jobs(smokePace)[0]!, options)
    // The job counts only the violations of the real broker.
    assert.equal(violations, 0)
    // The second row is the control: the server that grants every request.
    assert.isAbove(rows[1]!.figures['violations']!, 0)
  })
})
