/**
 * Floods: what a good client notices of strangers who come in masses. It takes and gives back locks
 * at its own pace, by turns in peace and beside each flood, which comes from another process.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { defaultsOf } from '@holdfast/server/internal'
import { type Job, type JobResult, job, type LoadContext, type Workload } from '../job.js'
import { Exclusion } from '../load/exclusion.js'
import { Latencies } from '../load/latencies.js'
import { RawSession } from '../load/rawSession.js'
import { median } from '../load/statistics.js'
import type { Flooded, FloodOrder } from '../processes/flooder.js'

const flooder = fileURLToPath(new URL('../processes/flooder.js', import.meta.url))
const floods = ['upgrades', 'hellos', 'slow readers'] as const
/** A good client asks as often as this, in ms. */
const paceMs = 1
/** A p99 needs more than the slices of a race. */
const slicesEach = 4
/** What the flood does at first is not what it does. */
const settleMs = 300

/** Strangers are let in by the limits of the profile that is made for them. */
function limitsForStrangers(): Job['limits'] {
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
  const exclusion = new Exclusion()
  const client = new GoodClient(await RawSession.open(server.url), exclusion)
  const stranger = fork(flooder, { serialization: 'advanced' })
  const kinds = [undefined, ...floods] as const
  const taken = kinds.map((): Slice[] => [])
  const ms = pace.sliceMs * slicesEach
  await client.run(pace.warmUpMs)
  for (let round = 0; round < pace.rounds; round++) {
    for (const [i, flood] of kinds.entries()) {
      if (flood !== undefined) await tell(stranger, { url: server.url, flood })
      await pause(Math.min(settleMs, pace.sliceMs))
      const latencies = await client.run(ms)
      const counts = await tell(stranger, { url: server.url, flood: undefined })
      taken[i]!.push({ latencies, counts: flood === undefined ? undefined : counts })
    }
    progress((round + 1) / pace.rounds)
  }
  stranger.disconnect()
  const { workload, shape, placement } = context.job
  const rows = kinds.map((flood, i) => ({
    ...{ workload, shape, placement, system: flood ?? 'calm' },
    figures: figuresOf(taken[i]!, taken[0]!, ms + settleMs),
  }))
  return { rows, grants: exclusion.grants, violations: exclusion.violations }
}

interface Slice {
  readonly latencies: Latencies
  readonly counts: Flooded | undefined
}

function figuresOf(slices: readonly Slice[], calm: readonly Slice[], ms: number) {
  const percentile = (each: Slice, which: number): number => each.latencies.percentile(which)
  const against = (which: number): number =>
    median(slices.map((each, i) => percentile(each, which) / percentile(calm[i]!, which)))
  const perSecond = (name: keyof Flooded): number =>
    median(slices.map(({ counts }) => ((counts?.[name] ?? 0) * 1_000) / ms))
  return {
    p50Us: median(slices.map((each) => percentile(each, 50))),
    p99Us: median(slices.map((each) => percentile(each, 99))),
    p50OfCalm: against(50),
    p99OfCalm: against(99),
    letInPerSecond: perSecond('letIn'),
    refusedPerSecond: perSecond('refused'),
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

async function tell(stranger: ChildProcess, order: FloodOrder): Promise<Flooded> {
  stranger.send(order)
  const [counts] = (await once(stranger, 'message')) as [Flooded]
  return counts
}

/** Takes a lock and gives it back, then waits a moment. */
class GoodClient {
  readonly #session: RawSession
  readonly #exclusion: Exclusion

  constructor(session: RawSession, exclusion: Exclusion) {
    this.#session = session
    this.#exclusion = exclusion
  }

  async run(ms: number): Promise<Latencies> {
    const latencies = new Latencies()
    for (const end = performance.now() + ms; performance.now() < end; await pause(paceMs)) {
      const askedAt = performance.now()
      await this.#pair()
      latencies.record(performance.now() - askedAt)
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

const jobs = (): readonly Job[] => [
  job('floods', 'one good client', 'split', {}, limitsForStrangers()),
]

export const floodsWorkload: Workload = {
  name: 'floods',
  title: 'a good client beside strangers',
  jobs,
  load,
}
