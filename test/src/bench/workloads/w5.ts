/**
 * W5: all kinds of requests at the same time. A change of the code may make each kind fast alone,
 * but slow together with the others, and only W5 shows this. The shape `100×4` is 100 sessions with
 * 4 requests under way in each. The watchers are further sessions that watch some of the keys. The
 * reference is an echo server without locks.
 */
import {
  type Job,
  type JobResult,
  type LoadContext,
  makeJob,
  param,
  type Workload,
} from '../job.js'
import { rowsOf, runContest } from '../load/contest.js'
import { EchoPairs } from '../load/echoPairs.js'
import { ExclusionCheck } from '../load/exclusion.js'
import { MixedLoad } from '../load/mixed.js'

function jobs(): readonly Job[] {
  return [
    makeJob({
      workload: 'W5',
      shape: '100×4, 20 watchers',
      placement: 'split',
      params: { sessions: 100, inFlight: 4, watchers: 20 },
    }),
  ]
}

async function runJob(context: LoadContext): Promise<JobResult> {
  const sessions = param(context.job, 'sessions')
  const inFlight = param(context.job, 'inFlight')
  const watchers = param(context.job, 'watchers')
  const exclusion = new ExclusionCheck()
  const mixed = await MixedLoad.open(context.server, { sessions, inFlight, watchers }, exclusion)
  const reference = await EchoPairs.open(context.echo, sessions, inFlight)
  const results = await runContest(context, [reference, mixed])
  const [, mixedResult] = results
  Object.assign(mixedResult!.figures, mixed.counts)
  const rows = rowsOf(context.job, results)
  return { rows, grants: exclusion.grants, violations: exclusion.violations }
}

export const w5: Workload = {
  name: 'W5',
  title: 'all kinds of requests at the same time',
  jobs,
  runJob,
}
