/**
 * W6: the cost of the client library in its own process: the same pairs with the library and with
 * frames by hand, and the CPU time of the generator for each.
 */
import {
  type Job,
  type JobResult,
  job,
  type LoadContext,
  param,
  type Row,
  type Workload,
} from '../job.js'
import { ClientPairs } from '../load/clientPairs.js'
import { contest, rowsOf } from '../load/contest.js'
import { ExclusionCheck } from '../load/exclusion.js'
import { clientSystem, openHoldfastClients } from '../load/holdfastClients.js'
import { RawPairs } from '../load/rawPairs.js'

function jobs(): readonly Job[] {
  return [
    job('W6', '1×1', 'split', { sessions: 1, inFlight: 1 }),
    job('W6', '1×256', 'split', { sessions: 1, inFlight: 256 }),
    job('W6', '64×16', 'split', { sessions: 64, inFlight: 16 }),
  ]
}

async function load(context: LoadContext): Promise<JobResult> {
  const { server } = context
  const sessions = param(context.job, 'sessions')
  const inFlight = param(context.job, 'inFlight')
  const exclusion = new ExclusionCheck()
  const byHand = await RawPairs.open(server, { sessions, inFlight, prefix: 'raw' }, exclusion)
  const clients = await openHoldfastClients(server.url, sessions)
  const about = { system: clientSystem, serverPid: server.pid, prefix: 'client' }
  const library = new ClientPairs({ ...about, clients, inFlight, exclusion })
  const rows = rowsOf(context.job, await contest(context, [byHand, library]))
  const { grants, violations } = exclusion
  return {
    rows: rows.map((row) => ({ ...row, figures: ownCost(row, rows[0]!) })),
    grants,
    violations,
  }
}

/** Leaves out the broker, which is the same for both. */
function ownCost({ figures }: Row, byHand: Row): Row['figures'] {
  const kept = ['pairsPerSecond', 'generatorUsPerPair', 'p50Us', 'p99Us']
  const own = Object.entries(figures).filter(([name]) => kept.includes(name))
  const cost = figures['generatorUsPerPair']! / byHand.figures['generatorUsPerPair']!
  return { ...Object.fromEntries(own), generatorRatioToHand: cost }
}

export const w6: Workload = { name: 'W6', title: 'the client library alone', jobs, load }
