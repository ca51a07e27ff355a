/**
 * W5: everything at once. Not a figure to compare with anybody's, but the one to look at after a
 * change: what is fast alone can be slow together.
 */
import { type Job, type JobResult, job, type LoadContext, param, type Workload } from '../job.js'
import { contest, rowsOf } from '../load/contest.js'
import { EchoPairs } from '../load/echoPairs.js'
import { Exclusion } from '../load/exclusion.js'
import { MixedLoad } from '../load/mixed.js'

function jobs(): readonly Job[] {
  return [job('W5', '100×4, 20 watchers', 'split', { sessions: 100, inFlight: 4, watchers: 20 })]
}

async function load(context: LoadContext): Promise<JobResult> {
  const sessions = param(context.job, 'sessions')
  const inFlight = param(context.job, 'inFlight')
  const watchers = param(context.job, 'watchers')
  const exclusion = new Exclusion()
  const mixed = await MixedLoad.open(context.server, { sessions, inFlight, watchers }, exclusion)
  const yardstick = await EchoPairs.open(context.echo, sessions, inFlight)
  const standings = await contest(context, [yardstick, mixed])
  Object.assign(standings[1]!.figures, mixed.counts)
  const rows = rowsOf(context.job, standings)
  return { rows, grants: exclusion.grants, violations: exclusion.violations }
}

export const w5: Workload = { name: 'W5', title: 'everything at once', jobs, load }
