/**
 * Runs the peers (other lock services) under the loads of the workloads W1 and W2. Each peer is
 * compared with the same echo server, whose clients use the package `ws`. A pair is a lock and its
 * unlock. Like a usual program, the load awaits the lock of a pair before the unlock. The shape
 * `64×16` is 64 sessions with 16 pairs under way in each; `K=100` is a hot key with 100 clients.
 *
 * The shapes with one pair at a time, which are 1×1 and the hot keys, run on one core (`shared`)
 * and on two cores (`split`). `K=1000` runs on one core only. On one core, the operating system
 * need not wake another core. On two cores, the client and the server can work at the same time.
 */
import type { Job, JobResult, LoadContext, Placement, Workload } from '../job.js'
import { param } from '../job.js'
import { ClientHandoff } from '../load/clientHandoff.js'
import { ClientPairs } from '../load/clientPairs.js'
import { type ContestResult, rowsOf, runContest } from '../load/contest.js'
import { EchoPairs } from '../load/echoPairs.js'
import { ExclusionCheck } from '../load/exclusion.js'
import { peerNamed } from '../peers/index.js'
import { loadPackage } from '../peers/packages.js'
import type { Peer } from '../peers/peer.js'
import { hotKeyLoads } from './w2.js'

/**
 * How long a slice of time lasts for a peer whose clients poll, in ms. The slice is long, because
 * such a peer is slow.
 */
const pollSliceMs = 3_000

type Shape = readonly [shape: string, placement: Placement, params: Job['params']]

const uncontended: readonly Shape[] = [
  ['1×1', 'shared', { sessions: 1, inFlight: 1 }],
  ['1×1', 'split', { sessions: 1, inFlight: 1 }],
  ['64×1', 'split', { sessions: 64, inFlight: 1 }],
  ['64×16', 'split', { sessions: 64, inFlight: 16 }],
]

const contended: readonly Shape[] = hotKeyLoads.map(({ clients, placement }) => [
  `K=${clients}`,
  placement,
  { clients },
])

/** The jobs of a workload for the chosen peers, in the shapes that each peer supports. */
function jobsFor(workload: string, shapes: readonly Shape[], chosen: readonly Peer[]): Job[] {
  return chosen.flatMap((peer) =>
    shapes
      .filter(([shape]) => peer.shapes?.includes(shape) ?? true)
      .map(([shape, placement, params]) => ({
        workload,
        shape,
        placement,
        params,
        subject: peer.name,
        limits: {},
      })),
  )
}

/** Measures lock and unlock on free keys (W1) at the peer of the job. */
async function measurePairs(context: LoadContext): Promise<JobResult> {
  const { server, echo, job } = context
  const sessions = param(job, 'sessions')
  const inFlight = param(job, 'inFlight')
  const exclusion = new ExclusionCheck()
  const clients = await peerNamed(job.subject).connect(server.url, sessions, loadPackage)
  const description = { system: job.subject, serverPid: server.pid, prefix: 'peer' }
  const results = await runContest(context, [
    await EchoPairs.open(echo, sessions, inFlight),
    new ClientPairs({ ...description, clients, inFlight, exclusion }),
  ])
  // Leaves out the row of the echo, which would repeat in the job of each peer.
  return jobResult(job, results.slice(1), exclusion)
}

/** Measures the hand-offs of one hot key (W2) at the peer of the job. */
async function measureHandOffs(context: LoadContext): Promise<JobResult> {
  const { server, echo, job } = context
  const peer = peerNamed(job.subject)
  const exclusion = new ExclusionCheck()
  const clients = await peer.connect(server.url, param(job, 'clients'), loadPackage)
  const description = { system: job.subject, serverPid: server.pid, key: 'hot' }
  const handoff = new ClientHandoff(description, clients, exclusion, { closesAtStop: peer.polls })
  // Clients that poll would disturb the echo server, so `handoff` closes them when its first slice
  // stops. It cannot start again, so there is no warm-up and only one round.
  const pace = peer.polls
    ? { ...context.pace, rounds: 1, sliceMs: pollSliceMs, warmUpMs: 0 }
    : context.pace
  // One message at a time on one connection, because a hot key has one hand-off at a time.
  const reference = await EchoPairs.open(echo, 1, 1)
  const results = await runContest({ ...context, pace }, [reference, handoff])
  results[1]!.figures['unfairness'] = handoff.unfairness
  return jobResult(job, results.slice(1), exclusion)
}

function jobResult(
  job: Job,
  results: readonly ContestResult[],
  { grants, violations }: ExclusionCheck,
): JobResult {
  return { rows: rowsOf(job, results), grants, violations }
}

const w1Peers = { name: 'W1 peers', title: 'uncontended lock and unlock, peers' } as const
const w2Peers = { name: 'W2 peers', title: 'one hot key, peers' } as const

/** The workloads of these peers. */
export function peerWorkloads(chosen: readonly Peer[]): Workload[] {
  return [
    { ...w1Peers, jobs: () => jobsFor(w1Peers.name, uncontended, chosen), runJob: measurePairs },
    { ...w2Peers, jobs: () => jobsFor(w2Peers.name, contended, chosen), runJob: measureHandOffs },
  ]
}
