/**
 * W1: pairs of a lock and its unlock on keys that no other client uses. So W1 measures the usual
 * case, in which each lock is free. The shape `64×16` is 64 sessions with 16 pairs under way in
 * each. The server and the load generator share one core (`shared`), or have a core each (`split`).
 * The load uses the client library (`client`), or writes the frames itself (`raw`). The reference
 * is an echo server without locks.
 */
import {
  type Job,
  type JobResult,
  type LoadContext,
  makeJob,
  param,
  type Workload,
} from '../job.js'
import { ClientPairs } from '../load/clientPairs.js'
import { type Contestant, rowsOf, runContest } from '../load/contest.js'
import { EchoPairs } from '../load/echoPairs.js'
import { ExclusionCheck } from '../load/exclusion.js'
import { clientSystem, openHoldfastClients } from '../load/holdfastClients.js'
import { RawPairs } from '../load/rawPairs.js'

function jobs(): readonly Job[] {
  return [
    makeJob({
      workload: 'W1',
      shape: '1×1',
      placement: 'shared',
      params: { sessions: 1, inFlight: 1 },
    }),
    makeJob({
      workload: 'W1',
      shape: '1×1',
      placement: 'split',
      params: { sessions: 1, inFlight: 1 },
    }),
    makeJob({
      workload: 'W1',
      shape: '64×1',
      placement: 'split',
      params: { sessions: 64, inFlight: 1 },
    }),
    makeJob({
      workload: 'W1',
      shape: '64×16',
      placement: 'split',
      params: { sessions: 64, inFlight: 16 },
    }),
  ]
}

async function runJob(context: LoadContext): Promise<JobResult> {
  const { server, echo, drivers } = context
  const sessions = param(context.job, 'sessions')
  const inFlight = param(context.job, 'inFlight')
  const exclusion = new ExclusionCheck()
  const contestants: Contestant[] = []
  if (drivers.includes('raw')) {
    const options = { sessions, inFlight, prefix: 'raw' }
    contestants.push(await RawPairs.open(server, options, exclusion))
  }
  if (drivers.includes('client')) {
    const clients = await openHoldfastClients(server.url, sessions)
    const description = { system: clientSystem, serverPid: server.pid, prefix: 'client' }
    contestants.push(new ClientPairs({ ...description, clients, inFlight, exclusion }))
  }
  const reference = await EchoPairs.open(echo, sessions, inFlight)
  const results = await runContest(context, [reference, ...contestants])
  const { grants, violations } = exclusion
  return { rows: rowsOf(context.job, results), grants, violations }
}

export const w1: Workload = { name: 'W1', title: 'uncontended lock and unlock', jobs, runJob }
