/**
 * That the bench itself works: the shortest slice of it, for its shape and for exclusion. What it
 * measures in a tenth of a second on a busy machine says nothing, and nothing is said about it.
 */
import { assert } from 'chai'
import type { JobResult } from './job.js'
import { smokePace } from './paces.js'
import { chartOf } from './report/chart.js'
import { targetTable, workloadTable } from './report/tables.js'
import { judge } from './report/targets.js'
import { runJob } from './run.js'
import { exclusion } from './workloads/exclusion.js'
import { w1 } from './workloads/w1.js'

const options = { pace: smokePace, drivers: ['raw', 'client'], onProgress: () => {} } as const

describe('the bench', () => {
  let result: JobResult

  before('runs W1 with 64 sessions', async () => {
    const job = w1.jobs(smokePace).find(({ shape }) => shape === '64×1')
    result = await runJob(job!, options)
  })

  it('measures the echo, frames by hand and the client library in one run', () => {
    const systems = result.rows.map(({ system }) => system)
    assert.deepEqual(systems, ['ws echo', 'holdfast, by hand', 'holdfast, client'])
    for (const { workload, shape, placement, figures } of result.rows) {
      assert.deepInclude({ workload, shape, placement }, { shape: '64×1', placement: 'split' })
      for (const figure of ['pairsPerSecond', 'ratioToEcho', 'p50Us', 'p99Us']) {
        assert.isAbove(figures[figure]!, 0, figure)
      }
      assert.isAtLeast(figures['p99Us']!, figures['p50Us']!)
    }
    assert.equal(result.rows[0]!.figures['ratioToEcho'], 1)
  })

  it('keeps account of every grant, and finds none wrong', () => {
    assert.isAbove(result.grants, 64)
    assert.equal(result.violations, 0)
  })

  it('makes tables, verdicts and a chart of it', () => {
    const verdicts = judge(result.rows, false)
    const found = verdicts.filter(({ outcome }) => outcome !== 'not run')
    assert.sameMembers(
      found.map(({ target }) => target.title),
      ['W1 64×1, pairs/s, of echo', 'W1 64×1, p99 of p50'],
    )
    assert.include(targetTable(verdicts), '| W1 64×1, pairs/s, of echo ')
    assert.include(workloadTable(w1, result.rows), 'holdfast, client')
    assert.match(chartOf(result.rows, 'a & b'), /^<svg .*a &#38; b.*<rect class="own"/s)
  })

  it('has an exclusion check that catches a server which grants everything', async () => {
    const { rows, violations } = await runJob(exclusion.jobs(smokePace)[0]!, options)
    assert.equal(violations, 0)
    assert.isAbove(rows[1]!.figures['violations']!, 0)
  })
})
