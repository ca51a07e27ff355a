/**
 * W2: one hot key that all clients lock again and again. W2 measures the cost and the fairness of a
 * hand-off, which is the release of one client and the grant to the next client. The shape `K=100`
 * is 100 clients. The reference is the ring: a server without locks that passes a grant from client
 * to client. A hand-off counts as one pair (a lock and its unlock).
 */
import {
  type Job,
  type JobResult,
  type LoadContext,
  makeJob,
  type Placement,
  param,
  type Workload,
} from '../job.js'
import { ClientHandoff } from '../load/clientHandoff.js'
import { rowsOf, runContest } from '../load/contest.js'
import { EchoPairs } from '../load/echoPairs.js'
import { ExclusionCheck } from '../load/exclusion.js'
import type { Handoff } from '../load/handoff.js'
import { clientSystem, openHoldfastClients } from '../load/holdfastClients.js'
import { RawHandoff } from '../load/rawHandoff.js'
import { RingHandoff } from '../load/ringHandoff.js'

/** The numbers of clients, on one core (`shared`) and on two cores (`split`). */
export const hotKeyLoads: readonly { readonly clients: number; readonly placement: Placement }[] = [
  { clients: 2, placement: 'shared' },
  { clients: 2, placement: 'split' },
  { clients: 100, placement: 'shared' },
  { clients: 100, placement: 'split' },
  { clients: 1_000, placement: 'shared' },
]

function jobs(): readonly Job[] {
  return hotKeyLoads.map(({ clients, placement }) =>
    makeJob({ workload: 'W2', shape: `K=${clients}`, placement, params: { clients } }),
  )
}

async function runJob(context: LoadContext): Promise<JobResult> {
  const { server, echo, drivers } = context
  const clients = param(context.job, 'clients')
  const exclusion = new ExclusionCheck()
  const ring = await RingHandoff.open(echo, clients, exclusion)
  const handoffs: Handoff[] = [ring]
  if (drivers.includes('raw')) {
    // With `together`, a client sends the next lock request with the unlock. With `awaited`, the
    // client first awaits the answer to the unlock.
    const sessions = await RawHandoff.openSessions(server, clients)
    handoffs.push(new RawHandoff(server, 'together', sessions, exclusion))
    handoffs.push(new RawHandoff(server, 'awaited', sessions, exclusion))
  }
  if (drivers.includes('client')) {
    const sessions = await openHoldfastClients(server.url, clients)
    const description = { system: clientSystem, serverPid: server.pid, key: 'hot:client' }
    handoffs.push(new ClientHandoff(description, sessions, exclusion))
  }
  // A hot key has one hand-off at a time, so the echo has one message under way.
  const echoPairs = await EchoPairs.open(echo, /* sessions */ 1, /* inFlight */ 1)
  const results = await runContest(context, [echoPairs, ...handoffs])
  const figuresOf = ({ system }: Handoff): Record<string, number> =>
    results.find((result) => result.system === system)!.figures
  for (const handoff of handoffs) {
    const figures = figuresOf(handoff)
    figures['unfairness'] = handoff.unfairness
    figures['ratioToRing'] = figures['pairsPerSecond']! / figuresOf(ring)['pairsPerSecond']!
  }
  const { grants, violations } = exclusion
  return { rows: rowsOf(context.job, results), grants, violations }
}

export const w2: Workload = { name: 'W2', title: 'hand-offs of one hot key', jobs, runJob }
