/**
 * W5: all kinds of requests at once. The figure has no reference; compare it before and after a
 * change, because code that is fast alone may be slow together.
 */
import { type Job, type JobResult, job, type LoadContext, param, type Workload } from '../job.js'
import { contest, rowsOf } from '../load/contest.js'
import { EchoPairs } from '../load/echoPairs.js'
import { ExclusionCheck } from '../load/exclusion.js'
import { MixedLoad } from '../load/mixed.js'

function jobs(): readonly Job[] {
  return [job('W5', '100×4, 20 watchers', 'split', { sessions: 100, inFlight: 4, watchers: 20 })]
}

async function load(context: LoadContext): Promise<JobResult> {
  const sessions = param(context.job, 'sessions')
  const inFlight = param(context.job, 'inFlight')
  const watchers = param(context.job, 'watchers')
  const exclusion = new ExclusionCheck()
  const mixed = await MixedLoad.open(context.server, { sessions, inFlight, watchers }, exclusion)
  const reference = await EchoPairs.open(context.echo, sessions, inFlight)
  const results = await contest(context, [reference, mixed])
  Object.assign(results[1]!.figures, mixed.counts)
  const rows = rowsOf(context.job, results)
  return { rows, grants: exclusion.grants, violations: exclusion.violations }
}

export const w5: Workload = { name: 'W5', title: 'everything at once', jobs, load }
