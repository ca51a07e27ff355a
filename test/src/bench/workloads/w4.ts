/**
 * W4: the stampede. A thousand clients wait for one key. The connection of the holder dies, and
 * then each client locks and unlocks the key once. The reference is a bare server, which exchanges
 * the same number of frames but has no locks. When a client of the bare server sends `unlock` or
 * dies, the next client in the queue gets a constant grant.
 */
import {
  type Endpoint,
  type Job,
  type JobResult,
  type LoadContext,
  makeJob,
  type Pace,
  param,
  type Workload,
} from '../job.js'
import { ExclusionCheck } from '../load/exclusion.js'
import { RawSession } from '../load/rawSession.js'
import { median } from '../load/statistics.js'

const key = 'stampede'
/**
 * How long to wait until all requests have arrived, and again until all connections are closed, in
 * ms. The time is fixed, because the bare server cannot report the length of its queue.
 */
const settleMs = 250

/** The times of one stampede, in ms. */
interface Stampede {
  /** The time from the death of the holder to the first grant. */
  readonly firstMs: number
  /** The time from the death of the holder to the last grant. */
  readonly allMs: number
}

function jobs({ sizeDivisor }: Pace): readonly Job[] {
  const clients = Math.max(100, 1_000 / sizeDivisor)
  return (['shared', 'split'] as const).map((placement) =>
    makeJob({
      workload: 'W4',
      shape: `${clients} wait, the holder dies`,
      placement,
      params: { clients },
    }),
  )
}

async function runJob(context: LoadContext): Promise<JobResult> {
  const { server, echo, pace } = context
  const clients = param(context.job, 'clients')
  const bareServer = { ...echo, url: `${echo.url}/chain` }
  const exclusion = new ExclusionCheck()
  const brokerStampedes: Stampede[] = []
  const bareStampedes: Stampede[] = []
  // The first round only warms up the code, so `slice(1)` leaves its two stampedes out.
  for (let round = 0; round <= pace.rounds; round++) {
    bareStampedes.push(await stampede(bareServer, clients, undefined))
    brokerStampedes.push(await stampede(server, clients, exclusion))
    context.progress(round / pace.rounds)
  }
  const { workload, shape, placement } = context.job
  const row = { workload, shape, placement }
  const bareMs = bareStampedes.map(({ allMs }) => allMs)
  const ratios = brokerStampedes.map(({ allMs }, i) => allMs / bareMs[i]!).slice(1)
  const rows = [
    { ...row, system: 'bare frames, no lock logic', figures: figuresOf(bareStampedes.slice(1)) },
    {
      ...row,
      system: 'holdfast, by hand',
      figures: {
        ...figuresOf(brokerStampedes.slice(1)),
        timeRatioToBare: median(ratios),
        lowestRatio: Math.min(...ratios),
        highestRatio: Math.max(...ratios),
      },
    },
  ]
  return { rows, grants: exclusion.grants, violations: exclusion.violations }
}

/** The medians of several stampedes. */
function figuresOf(stampedes: readonly Stampede[]): Record<string, number> {
  return {
    firstMs: median(stampedes.map(({ firstMs }) => firstMs)),
    allMs: median(stampedes.map(({ allMs }) => allMs)),
  }
}

/**
 * Runs one stampede.
 *
 * @param exclusion Checks the grants; undefined for the bare server.
 */
async function stampede(
  server: Endpoint,
  clients: number,
  exclusion: ExclusionCheck | undefined,
): Promise<Stampede> {
  const holder = await RawSession.open(server.url)
  // The number of the holder's grant.
  const fence = await new Promise<number>((resolve) => {
    holder.lock(key, (answer) => resolve(answer.fence))
  })
  exclusion?.granted(key, fence)
  const sessions: RawSession[] = []
  for (let i = 0; i < clients; i++) sessions.push(await RawSession.open(server.url))
  const result = await new Promise<Stampede>((resolve) => {
    let diedAt = Number.NaN
    let firstMs = Number.NaN
    let grants = 0
    for (const session of sessions) {
      session.lock(key, (answer) => {
        const ms = performance.now() - diedAt
        if (grants === 0) firstMs = ms
        exclusion?.granted(key, answer.fence)
        // `exclusion` must know of the release before the broker can grant the lock again.
        exclusion?.released(key)
        if (++grants === clients) resolve({ firstMs, allMs: ms })
        session.unlock(answer.fence, () => {})
      })
    }
    setTimeout(() => {
      exclusion?.released(key)
      diedAt = performance.now()
      holder.destroy()
    }, settleMs)
  })
  for (const session of sessions) session.destroy()
  // Lets the server handle the closed connections before the next stampede.
  await new Promise((resolve) => setTimeout(resolve, settleMs))
  return result
}

export const w4: Workload = {
  name: 'W4',
  title: 'a stampede after the death of the holder',
  jobs,
  runJob,
}
