/**
 * The workload "floods": measures how hostile clients without a token affect a good client. The
 * good client makes pairs of a lock and its unlock, with a fixed pause after each pair. In each
 * round the good client runs alone ("calm"), and then together with each kind of flood. The floods
 * come from another process, which `flooder.ts` describes. A fence is the number of a grant.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { defaultsOf } from '@holdfast/server/internal'
import { type Job, type JobResult, type LoadContext, makeJob, type Workload } from '../job.js'
import { ExclusionCheck } from '../load/exclusion.js'
import { Latencies } from '../load/latencies.js'
import { RawSession } from '../load/rawSession.js'
import { median } from '../load/statistics.js'
import type { FloodCommand, FloodCounts } from '../processes/flooder.js'

const flooder = fileURLToPath(new URL('../processes/flooder.js', import.meta.url))
const floodKinds = ['connections', 'hellos', 'slow readers'] as const
/** The time between two pairs of the good client, in ms. */
const pauseMs = 1
/**
 * The length of a measurement, in slices (`sliceMs` of the pace). A shorter measurement has too few
 * pairs for a 99th percentile.
 */
const slicesPerMeasurement = 4
/**
 * How long a flood runs before the measurement, in ms, because the start of a flood is not typical.
 */
const settleMs = 300

/** The limits of the profile `public` that concern the clients of a flood. */
function limitsOfPublic(): Job['limits'] {
  const {
    connectionsPerSecond,
    connectionsPerSecondPerAddress,
    pendingConnections,
    pendingConnectionsPerAddress,
    helloMs,
    slowBytes,
    slowMs,
    backlogBytes,
  } = defaultsOf('public')
  return {
    connectionsPerSecond,
    connectionsPerSecondPerAddress,
    pendingConnections,
    pendingConnectionsPerAddress,
    helloMs,
    slowBytes,
    slowMs,
    backlogBytes,
  }
}

async function runJob(context: LoadContext): Promise<JobResult> {
  const { server, pace, progress } = context
  const exclusion = new ExclusionCheck()
  const client = new PacedClient(await RawSession.open(server.url), exclusion)
  const flooderProcess = fork(flooder, { serialization: 'advanced' })
  // `undefined` stands for a calm measurement.
  const situations = [undefined, ...floodKinds] as const
  const measurementsOf = situations.map((): Measurement[] => [])
  const measurementMs = pace.sliceMs * slicesPerMeasurement
  // The tests have short slices, and so wait for a shorter time.
  const waitMs = Math.min(settleMs, pace.sliceMs)
  await client.run(pace.warmUpMs)
  for (let round = 0; round < pace.rounds; round++) {
    for (const [i, flood] of situations.entries()) {
      if (flood !== undefined) await send(flooderProcess, { url: server.url, flood })
      await pause(waitMs)
      const latencies = await client.run(measurementMs)
      // Stops the flood. After a calm measurement, the command has no effect.
      const counts = await send(flooderProcess, { url: server.url, flood: undefined })
      measurementsOf[i]!.push({ latencies, counts: flood === undefined ? undefined : counts })
    }
    progress((round + 1) / pace.rounds)
  }
  flooderProcess.disconnect()
  const { workload, shape, placement } = context.job
  const calm = measurementsOf[0]!
  const rows = situations.map((flood, i) => ({
    workload,
    shape,
    placement,
    system: flood ?? 'calm',
    figures: figuresOf(measurementsOf[i]!, calm, waitMs + measurementMs),
  }))
  return { rows, grants: exclusion.grants, violations: exclusion.violations }
}

interface Measurement {
  readonly latencies: Latencies
  readonly counts: FloodCounts | undefined
}

/**
 * The figures of measurements, and their ratios to the calm measurements of the same rounds.
 *
 * @param floodMs How long each flood ran: before and during the measurement.
 */
function figuresOf(
  measurements: readonly Measurement[],
  calm: readonly Measurement[],
  floodMs: number,
) {
  const percentile = (measurement: Measurement, percent: number): number =>
    measurement.latencies.percentile(percent)
  const ratioToCalm = (percent: number): number =>
    median(
      measurements.map(
        (measurement, i) => percentile(measurement, percent) / percentile(calm[i]!, percent),
      ),
    )
  const perSecond = (name: keyof FloodCounts): number =>
    median(measurements.map(({ counts }) => ((counts?.[name] ?? 0) * 1_000) / floodMs))
  return {
    p50Us: median(measurements.map((measurement) => percentile(measurement, 50))),
    p99Us: median(measurements.map((measurement) => percentile(measurement, 99))),
    p50OfCalm: ratioToCalm(50),
    p99OfCalm: ratioToCalm(99),
    acceptedPerSecond: perSecond('accepted'),
    refusedPerSecond: perSecond('refused'),
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

/** Starts or stops a flood, and resolves with the counts of the flood so far. */
async function send(flooderProcess: ChildProcess, command: FloodCommand): Promise<FloodCounts> {
  flooderProcess.send(command)
  const [counts] = (await once(flooderProcess, 'message')) as [FloodCounts]
  return counts
}

/** A client that locks and unlocks a key, waits for `pauseMs`, and begins again. */
class PacedClient {
  readonly #session: RawSession
  readonly #exclusion: ExclusionCheck

  constructor(session: RawSession, exclusion: ExclusionCheck) {
    this.#session = session
    this.#exclusion = exclusion
  }

  /** Runs for this many ms. Resolves with the time of each pair, from request to `unlocked`. */
  async run(ms: number): Promise<Latencies> {
    const latencies = new Latencies()
    for (const end = performance.now() + ms; performance.now() < end; await pause(pauseMs)) {
      const requestedAt = performance.now()
      await this.#pair()
      latencies.record(performance.now() - requestedAt)
    }
    return latencies
  }

  /** Locks and unlocks the key once. */
  #pair(): Promise<void> {
    return new Promise((resolve) => {
      this.#session.lock('good', ({ fence }) => {
        this.#exclusion.granted('good', fence)
        // The check must know of the release before the broker can grant the lock again.
        this.#exclusion.released('good')
        this.#session.unlock(fence, () => resolve())
      })
    })
  }
}

const jobs = (): readonly Job[] => [
  makeJob({
    workload: 'floods',
    shape: 'one good client',
    placement: 'split',
    params: {},
    limits: limitsOfPublic(),
  }),
]

export const floodsWorkload: Workload = {
  name: 'floods',
  title: 'a good client during floods',
  jobs,
  runJob,
}
