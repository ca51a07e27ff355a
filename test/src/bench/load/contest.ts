/**
 * Runs the loads of several contestants (the systems to compare) by turns: in each round, each
 * contestant runs for one slice of time. Turns make other load on the machine slow all contestants
 * alike. A pair is one lock and its unlock; for an echo server, a pair is two round trips. The
 * first contestant is the reference. In each round, the pairs per second of a contestant are
 * divided by the pairs per second of the reference.
 */
import type { Job, LoadContext, Row } from '../job.js'
import { loopbackTraffic, ownCpuUs } from '../processes/usage.js'
import type { Latencies } from './latencies.js'
import { median } from './statistics.js'

/** A system to compare, with the load on that system. The load runs from `start` to `stop`. */
export interface Contestant {
  readonly system: string
  /** The id of the process of its server. */
  readonly serverPid: number
  readonly latencies: Latencies
  /** The number of finished pairs in all slices so far. */
  readonly pairs: number
  start(): void
  /** Begins no further pair. Resolves when all pairs under way are finished. */
  stop(): Promise<void>
}

/** What one contestant did and used in one slice of time. */
interface Slice {
  readonly seconds: number
  readonly pairs: number
  readonly serverCpuUs: number
  readonly generatorCpuUs: number
  /** The traffic over loopback; NaN if the operating system does not count it. */
  readonly packets: number
  readonly bytes: number
}

export interface ContestResult {
  readonly system: string
  readonly figures: Record<string, number>
}

/** The results of a job as rows of its table. */
export function rowsOf(
  { workload, shape, placement }: Job,
  results: readonly ContestResult[],
): Row[] {
  return results.map((result) => ({ workload, shape, placement, ...result }))
}

/** Warms up all contestants, runs all rounds, and returns the figures of each contestant. */
export async function runContest(
  context: LoadContext,
  contestants: readonly [reference: Contestant, ...others: Contestant[]],
): Promise<ContestResult[]> {
  const { rounds, sliceMs, warmUpMs } = context.pace
  const slicesOfEach = contestants.map((): Slice[] => [])
  if (warmUpMs > 0) {
    for (const contestant of contestants) {
      await runSlice(context, contestant, warmUpMs)
      contestant.latencies.reset()
    }
  }
  for (let round = 0; round < rounds; round++) {
    for (const [i, contestant] of contestants.entries()) {
      slicesOfEach[i]!.push(await runSlice(context, contestant, sliceMs))
    }
    context.progress((round + 1) / rounds)
  }
  return contestants.map((contestant, i) => ({
    system: contestant.system,
    figures: figuresOf(contestant, slicesOfEach[i]!, slicesOfEach[0]!),
  }))
}

/** Lets one contestant run for this many ms, and measures what it did and used. */
async function runSlice(context: LoadContext, contestant: Contestant, ms: number): Promise<Slice> {
  const { serverPid } = contestant
  const usageBefore = await context.usageOf(serverPid)
  const trafficBefore = loopbackTraffic()
  const generatorCpuUsBefore = ownCpuUs()
  const pairsBefore = contestant.pairs
  const began = performance.now()
  contestant.start()
  await new Promise((resolve) => setTimeout(resolve, ms))
  await contestant.stop()
  const seconds = (performance.now() - began) / 1_000
  const generatorCpuUs = ownCpuUs() - generatorCpuUsBefore
  const trafficAfter = loopbackTraffic()
  return {
    seconds,
    pairs: contestant.pairs - pairsBefore,
    generatorCpuUs,
    serverCpuUs: (await context.usageOf(serverPid)).cpuUs - usageBefore.cpuUs,
    packets: (trafficAfter?.packets ?? Number.NaN) - (trafficBefore?.packets ?? Number.NaN),
    bytes: (trafficAfter?.bytes ?? Number.NaN) - (trafficBefore?.bytes ?? Number.NaN),
  }
}

/**
 * The figures of a contestant: for example its median rate, its median, lowest and highest ratio to
 * the reference, and its latencies.
 */
function figuresOf(
  { latencies }: Contestant,
  slices: readonly Slice[],
  referenceSlices: readonly Slice[],
): Record<string, number> {
  const rates = slices.map(rate)
  const ratios = rates.map((ownRate, i) => ownRate / rate(referenceSlices[i]!))
  const pairs = sum(slices, 'pairs')
  const referencePairs = sum(referenceSlices, 'pairs')
  const serverUsPerPair = sum(slices, 'serverCpuUs') / pairs
  return {
    pairsPerSecond: median(rates),
    ratioToReference: median(ratios),
    lowestRatio: Math.min(...ratios),
    highestRatio: Math.max(...ratios),
    p50Us: latencies.percentile(50),
    p99Us: latencies.percentile(99),
    maxUs: latencies.max,
    serverUsPerPair,
    serverRatioToReference:
      serverUsPerPair / (sum(referenceSlices, 'serverCpuUs') / referencePairs),
    generatorUsPerPair: sum(slices, 'generatorCpuUs') / pairs,
    packetsPerPair: sum(slices, 'packets') / pairs,
    bytesPerPair: sum(slices, 'bytes') / pairs,
  }
}

/** The pairs per second in a slice. */
function rate({ pairs, seconds }: Slice): number {
  return pairs / seconds
}

function sum(slices: readonly Slice[], figure: keyof Slice): number {
  return slices.reduce((total, slice) => total + slice[figure], 0)
}
