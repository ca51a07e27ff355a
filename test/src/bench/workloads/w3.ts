/**
 * W3: the memory that the broker needs for an idle session, a held lock and a waiting request. W3
 * also measures the cost of a pair (a lock and its unlock) while the table has up to a million
 * other locks.
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
import { runContest } from '../load/contest.js'
import { EchoPairs } from '../load/echoPairs.js'
import { ExclusionCheck } from '../load/exclusion.js'
import { fillHeld, fillWaiting, openIdle, rssWhenIdle } from '../load/fill.js'
import { RawPairs } from '../load/rawPairs.js'

/** What a job adds to the broker, and its name in the results. */
const fills = {
  sessions: 'idle sessions',
  held: 'held locks',
  waitingOnOne: 'waiters on one key',
  waitingSpread: 'waiters, spread over keys',
} as const

type Fill = keyof typeof fills

/** The number of waiters on each key, if a job spreads the waiters over keys. */
const waitersEach = 10
/** The load of the measured pairs: 16 sessions with 16 pairs under way in each. */
const pairsLoad = { sessions: 16, inFlight: 16 } as const

/** The jobs. In a quick run, the sizes are divided by `sizeDivisor`. */
function jobs({ sizeDivisor }: { readonly sizeDivisor: number }): readonly Job[] {
  const memoryJob = (fill: Fill, count: number, limits: Job['limits'] = {}): Job =>
    makeJob({
      workload: 'W3',
      shape: `${fills[fill]}: ${grouped(count / sizeDivisor)}`,
      placement: 'split',
      params: { [fill]: count / sizeDivisor },
      limits,
    })
  return [
    memoryJob('sessions', 10_000),
    memoryJob('held', 100_000),
    memoryJob('held', 1_000_000),
    memoryJob('waitingOnOne', 1_000_000, { waitersPerKey: 1_000_000 }),
    memoryJob('waitingSpread', 1_000_000),
    makeJob({
      workload: 'W3',
      shape: 'a pair among many',
      placement: 'split',
      params: { maxLocks: 1_000_000 / sizeDivisor },
    }),
  ]
}

async function runJob(context: LoadContext): Promise<JobResult> {
  const { params } = context.job
  if ('maxLocks' in params) return measurePairs(context, param(context.job, 'maxLocks'))
  const [fill, count] = Object.entries(params)[0]! as [Fill, number]
  return { rows: await measureMemory(context, fill, count), grants: 0, violations: 0 }
}

/**
 * Measures the memory of each item (session, lock or request) that the job adds to the broker. The
 * reference for sessions is the memory of bare connections to the echo server.
 */
async function measureMemory(context: LoadContext, fill: Fill, count: number): Promise<Row[]> {
  const { workload, shape, placement } = context.job
  const row = { workload, shape, placement }
  const holdfast = await bytesEach(context, context.server.pid, count, (onProgress) =>
    fillWith(context, fill, count, onProgress),
  )
  const rows: Row[] = [{ ...row, system: 'holdfast', figures: holdfast }]
  if (fill === 'sessions') {
    const { echo } = context
    const bare = await bytesEach(context, echo.pid, count, (onProgress) =>
      openIdle(`${echo.url}/echo`, count, /* withSession */ false, onProgress),
    )
    rows.push({ ...row, system: 'ws echo, connections', figures: bare })
  }
  return rows
}

/** Fills the broker. For idle sessions, resolves with a function that drops their connections. */
async function fillWith(
  { server }: LoadContext,
  fill: Fill,
  count: number,
  onProgress: (share: number) => void,
): Promise<(() => void) | undefined> {
  switch (fill) {
    case 'sessions':
      return openIdle(server.url, count, /* withSession */ true, onProgress)
    case 'held':
      await fillHeld(server.url, 'held', count, onProgress)
      break
    case 'waitingOnOne':
      await fillWaiting(server.url, count, 1, onProgress)
      break
    case 'waitingSpread':
      await fillWaiting(server.url, count, Math.ceil(count / waitersEach), onProgress)
      break
  }
  return undefined
}

/** Measures the memory of a process before and after a fill, and the bytes of each filled item. */
async function bytesEach(
  context: LoadContext,
  pid: number,
  count: number,
  runFill: (onProgress: (share: number) => void) => Promise<(() => void) | undefined>,
): Promise<Record<string, number>> {
  const before = await rssWhenIdle(context, pid)
  const began = performance.now()
  const undoFill = await runFill(context.progress)
  const fillSeconds = (performance.now() - began) / 1_000
  const after = await rssWhenIdle(context, pid)
  undoFill?.()
  return {
    count,
    beforeMiB: before / 2 ** 20,
    afterMiB: after / 2 ** 20,
    bytesEach: (after - before) / count,
    fillSeconds,
  }
}

/** Measures the same pairs again and again, while the table has more and more other locks. */
async function measurePairs(context: LoadContext, maxLocks: number): Promise<JobResult> {
  const { server, echo, pace } = context
  const { workload, placement } = context.job
  const exclusion = new ExclusionCheck()
  const reference = await EchoPairs.open(echo, pairsLoad.sessions, pairsLoad.inFlight)
  const pairs = await RawPairs.open(server, { ...pairsLoad, prefix: 'own' }, exclusion)
  const rows: Row[] = []
  let heldCount = 0
  // In a normal run: 1,000 locks, then 10,000 locks, up to a million.
  for (let count = maxLocks / 1_000; count <= maxLocks; count *= 10) {
    // Each `count` has its own prefix, so that all added keys are new.
    await fillHeld(server.url, `of${count}`, count - heldCount, () => {})
    heldCount = count
    // Wait until the broker is idle, so that no garbage collection after the fill slows the pairs.
    await rssWhenIdle(context, server.pid)
    // One round fewer than usual, but at least 2, because this job runs several contests.
    const shorterPace = { ...pace, rounds: Math.max(2, pace.rounds - 1) }
    const results = await runContest({ ...context, pace: shorterPace }, [reference, pairs])
    for (const { system, figures } of results) {
      rows.push({
        workload,
        shape: `a pair among ${grouped(count)} locks`,
        placement,
        system,
        figures,
      })
    }
  }
  return { rows, grants: exclusion.grants, violations: exclusion.violations }
}

function grouped(count: number): string {
  return count.toLocaleString('en')
}

export const w3: Workload = {
  name: 'W3',
  title: 'memory, and the cost among many locks',
  jobs,
  runJob,
}
