/**
 * W6: how much CPU time of the load generator the client library uses. W6 runs the same pairs with
 * the library and by hand, which means with frames that the load generator writes itself. A pair is
 * a lock and its unlock. The shape `64×16` is 64 sessions with 16 pairs under way in each. `split`
 * means that the server and the load generator have a core each.
 */
import {
  type Job,
  type JobResult,
  type LoadContext,
  makeJob,
  param,
  type Row,
  type Workload,
} from '../job.js'
import { ClientPairs } from '../load/clientPairs.js'
import { rowsOf, runContest } from '../load/contest.js'
import { ExclusionCheck } from '../load/exclusion.js'
import { clientSystem, openHoldfastClients } from '../load/holdfastClients.js'
import { RawPairs } from '../load/rawPairs.js'

function jobs(): readonly Job[] {
  return [
    makeJob({
      workload: 'W6',
      shape: '1×1',
      placement: 'split',
      params: { sessions: 1, inFlight: 1 },
    }),
    makeJob({
      workload: 'W6',
      shape: '1×256',
      placement: 'split',
      params: { sessions: 1, inFlight: 256 },
    }),
    makeJob({
      workload: 'W6',
      shape: '64×16',
      placement: 'split',
      params: { sessions: 64, inFlight: 16 },
    }),
  ]
}

async function runJob(context: LoadContext): Promise<JobResult> {
  const { server } = context
  const sessions = param(context.job, 'sessions')
  const inFlight = param(context.job, 'inFlight')
  const exclusion = new ExclusionCheck()
  const byHand = await RawPairs.open(server, { sessions, inFlight, prefix: 'raw' }, exclusion)
  const clients = await openHoldfastClients(server.url, sessions)
  const description = { system: clientSystem, serverPid: server.pid, prefix: 'client' }
  const library = new ClientPairs({ ...description, clients, inFlight, exclusion })
  // A contest runs its loads by turns.
  const rows = rowsOf(context.job, await runContest(context, [byHand, library]))
  const { grants, violations } = exclusion
  const [byHandRow] = rows
  return {
    rows: rows.map((row) => ({ ...row, figures: clientFigures(row, byHandRow!) })),
    grants,
    violations,
  }
}

/**
 * Leaves out the figures of the broker, whose work does not depend on the client library. Adds a
 * ratio: the load generator's CPU time in this row, divided by that in the row with frames by hand.
 */
function clientFigures({ figures }: Row, byHandRow: Row): Row['figures'] {
  const figureNames = ['pairsPerSecond', 'generatorUsPerPair', 'p50Us', 'p99Us']
  const keptFigures = Object.entries(figures).filter(([name]) => figureNames.includes(name))
  const cpuRatio = figures['generatorUsPerPair']! / byHandRow.figures['generatorUsPerPair']!
  return { ...Object.fromEntries(keptFigures), clientCpuRatioToByHand: cpuRatio }
}

export const w6: Workload = { name: 'W6', title: 'the client library alone', jobs, runJob }
