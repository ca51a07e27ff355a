/**
 * The workload "startup": the time from the start of `holdfast serve` to the first grant. In the
 * first job, the broker has no locks. In the other jobs, the broker has a journal of a million
 * locks, which it reads before it listens. The ttl of a lock is how long the lock lives without a
 * refresh. If the locks have a ttl, the broker starts their deadlines after it begins to listen.
 * The jobs with a journal also measure how long the event loop stalls: until the first grant, and
 * after the last start until the broker has released all locks, because no client has come back.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type JobResult, type LoadContext, makeJob, type Pace, type Workload } from '../job.js'
import { fillHeld } from '../load/fill.js'
import { RawSession } from '../load/rawSession.js'
import { median } from '../load/statistics.js'
import { longestStall, removeStallFile } from '../processes/loopStalls.js'
import { type Server, startBroker, watchLoopFlags } from '../processes/servers.js'

/** The number of measured starts in each round of the job without locks. */
const startsPerRound = 2
/** How many locks the journal has. */
const heldLocks = 1_000_000
/** The keys of the locks begin with this prefix. */
const keyPrefix = 'held'
/** The ttl of the locks, in ms. No lock expires, because the bench never runs for so long. */
const ttlMs = 86_400_000

async function runJob(context: LoadContext): Promise<JobResult> {
  const { held } = context.job.params
  return held === undefined ? startEmpty(context) : startWithLocks(context, held)
}

async function startEmpty({ pace, job, progress, usageOf }: LoadContext): Promise<JobResult> {
  const startMs: number[] = []
  const cpuMs: number[] = []
  const starts = pace.rounds * startsPerRound
  // The start 0 does not count, because it reads the files from the disk.
  for (let i = 0; i <= starts; i++) {
    const began = performance.now()
    const broker = await startBroker({ limits: {} })
    try {
      await grantLock(broker, 'first')
      if (i > 0) {
        startMs.push(performance.now() - began)
        cpuMs.push((await usageOf(broker.pid)).cpuUs / 1_000)
      }
    } finally {
      await broker.stop('SIGKILL')
    }
    progress(i / starts)
  }
  const { workload, shape, placement } = job
  const figures = { startMs: median(startMs), startCpuMs: median(cpuMs) }
  const row = { workload, shape, placement, system: 'holdfast serve', figures }
  return { rows: [row], grants: 0, violations: 0 }
}

/** Opens a session, acquires a lock and drops the connection. */
async function grantLock({ url }: Server, key: string): Promise<void> {
  const session = await RawSession.open(url)
  await new Promise((resolve) => session.lock(key, resolve))
  session.destroy()
}

/** Fills a journal with `held` locks, and measures starts of a broker with this journal. */
async function startWithLocks(context: LoadContext, held: number): Promise<JobResult> {
  const { pace, job, progress, usageOf } = context
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-bench-'))
  const serveFlags = ['--journal', folder, '--durability', 'relaxed']
  const start = () => startBroker({ limits: {} }, { nodeFlags: watchLoopFlags, serveFlags })
  const startMs: number[] = []
  const cpuMs: number[] = []
  const stallMs: number[] = []
  // The parameter `ttl` says only whether the locks have a ttl, not how long it is.
  const fields = job.params['ttl'] === undefined ? '' : `,"ttl":${ttlMs}`
  try {
    // The start 0 does not count, because its journal is empty. Its broker fills the journal.
    for (let i = 0; i <= pace.rounds; i++) {
      // The wall clock, because `longestStall` needs ms since 1970.
      const beganWallMs = Date.now()
      const began = performance.now()
      const broker = await start()
      try {
        // The key of the start before is still locked: its broker was killed at once, so that the
        // session of that lock lasts for one more lease.
        await grantLock(broker, `first:${i}`)
        if (i === 0) await fillHeld(broker.url, keyPrefix, held, () => {}, fields)
        else {
          startMs.push(performance.now() - began)
          cpuMs.push((await usageOf(broker.pid)).cpuUs / 1_000)
          // The broker releases all locks when the leases of their sessions have ended.
          if (i === pace.rounds) await grantLock(broker, `${keyPrefix}:${held - 1}`)
          stallMs.push(longestStall(broker.pid, beganWallMs))
        }
      } finally {
        await broker.stop('SIGKILL')
        removeStallFile(broker.pid)
      }
      progress(i / pace.rounds)
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
  const { workload, shape, placement } = job
  const figures = {
    startMs: median(startMs),
    startCpuMs: median(cpuMs),
    stallMs: Math.max(...stallMs),
  }
  const row = { workload, shape, placement, system: 'holdfast serve', figures }
  return { rows: [row], grants: 0, violations: 0 }
}

export const startup: Workload = {
  name: 'startup',
  title: 'from the start of the broker to the first grant',
  jobs: ({ sizeDivisor }: Pace) => {
    const held = Math.max(1_000, heldLocks / sizeDivisor)
    const shape = `a journal with ${held.toLocaleString('en')} locks`
    return [
      makeJob({
        workload: 'startup',
        shape: 'start to first grant',
        placement: 'split',
        params: {},
      }),
      makeJob({ workload: 'startup', shape, placement: 'split', params: { held } }),
      makeJob({
        workload: 'startup',
        shape: `${shape} with a ttl`,
        placement: 'split',
        params: { held, ttl: 1 },
      }),
    ]
  },
  runJob,
}
