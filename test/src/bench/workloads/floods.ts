/**
 * Floods: measures how many hostile clients without a token affect a good client. The good client
 * locks and unlocks at its own pace, by turns alone and beside each flood, which comes from another
 * process.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { defaultsOf } from '@holdfast/server/internal'
import { type Job, type JobResult, job, type LoadContext, type Workload } from '../job.js'
import { ExclusionCheck } from '../load/exclusion.js'
import { Latencies } from '../load/latencies.js'
import { RawSession } from '../load/rawSession.js'
import { median } from '../load/statistics.js'
import type { Flooded, FloodOrder } from '../processes/flooder.js'

const flooder = fileURLToPath(new URL('../processes/flooder.js', import.meta.url))
const floods = ['upgrades', 'hellos', 'slow readers'] as const
/** The time between two pairs of the good client, in ms. */
const paceMs = 1
/** A p99 needs more samples than the usual slices have. */
const slicesEach = 4
/** How long a flood runs before it is measured, in ms, because its start is different. */
const settleMs = 300

/** Limits that admit the clients of the flood, made for the profile `public`. */
function limitsOfPublic(): Job['limits'] {
  const { connectionsPerSecond, connectionsPerSecondPerAddress, ...others } = defaultsOf('public')
  const {
    pendingConnections,
    pendingConnectionsPerAddress,
    helloMs,
    slowBytes,
    slowMs,
    backlogBytes,
  } = others
  const rates = { connectionsPerSecond, connectionsPerSecondPerAddress }
  return {
    ...rates,
    pendingConnections,
    pendingConnectionsPerAddress,
    helloMs,
    slowBytes,
    slowMs,
    backlogBytes,
  }
}

async function load(context: LoadContext): Promise<JobResult> {
  const { server, pace, progress } = context
  const exclusion = new ExclusionCheck()
  const client = new GoodClient(await RawSession.open(server.url), exclusion)
  const flooderProcess = fork(flooder, { serialization: 'advanced' })
  const kinds = [undefined, ...floods] as const
  const slicesOf = kinds.map((): Slice[] => [])
  const ms = pace.sliceMs * slicesEach
  await client.run(pace.warmUpMs)
  for (let round = 0; round < pace.rounds; round++) {
    for (const [i, flood] of kinds.entries()) {
      if (flood !== undefined) await tell(flooderProcess, { url: server.url, flood })
      await pause(Math.min(settleMs, pace.sliceMs))
      const latencies = await client.run(ms)
      const counts = await tell(flooderProcess, { url: server.url, flood: undefined })
      slicesOf[i]!.push({ latencies, counts: flood === undefined ? undefined : counts })
    }
    progress((round + 1) / pace.rounds)
  }
  flooderProcess.disconnect()
  const { workload, shape, placement } = context.job
  const rows = kinds.map((flood, i) => ({
    ...{ workload, shape, placement, system: flood ?? 'calm' },
    figures: figuresOf(slicesOf[i]!, slicesOf[0]!, ms + settleMs),
  }))
  return { rows, grants: exclusion.grants, violations: exclusion.violations }
}

interface Slice {
  readonly latencies: Latencies
  readonly counts: Flooded | undefined
}

function figuresOf(slices: readonly Slice[], calm: readonly Slice[], ms: number) {
  const percentile = (each: Slice, percent: number): number => each.latencies.percentile(percent)
  const ofCalm = (percent: number): number =>
    median(slices.map((each, i) => percentile(each, percent) / percentile(calm[i]!, percent)))
  const perSecond = (name: keyof Flooded): number =>
    median(slices.map(({ counts }) => ((counts?.[name] ?? 0) * 1_000) / ms))
  return {
    p50Us: median(slices.map((each) => percentile(each, 50))),
    p99Us: median(slices.map((each) => percentile(each, 99))),
    p50OfCalm: ofCalm(50),
    p99OfCalm: ofCalm(99),
    acceptedPerSecond: perSecond('accepted'),
    refusedPerSecond: perSecond('refused'),
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

async function tell(flooderProcess: ChildProcess, order: FloodOrder): Promise<Flooded> {
  flooderProcess.send(order)
  const [counts] = (await once(flooderProcess, 'message')) as [Flooded]
  return counts
}

/** Locks and unlocks a key, then waits a moment. */
class GoodClient {
  readonly #session: RawSession
  readonly #exclusion: ExclusionCheck

  constructor(session: RawSession, exclusion: ExclusionCheck) {
    this.#session = session
    this.#exclusion = exclusion
  }

  async run(ms: number): Promise<Latencies> {
    const latencies = new Latencies()
    for (const end = performance.now() + ms; performance.now() < end; await pause(paceMs)) {
      const requestedAt = performance.now()
      await this.#pair()
      latencies.record(performance.now() - requestedAt)
    }
    return latencies
  }

  #pair(): Promise<void> {
    return new Promise((resolve) => {
      this.#session.lock('good', ({ fence }) => {
        this.#exclusion.granted('good', fence)
        this.#exclusion.released('good')
        this.#session.unlock(fence, () => resolve())
      })
    })
  }
}

const jobs = (): readonly Job[] => [job('floods', 'one good client', 'split', {}, limitsOfPublic())]

export const floodsWorkload: Workload = {
  name: 'floods',
  title: 'a good client beside floods',
  jobs,
  load,
}
