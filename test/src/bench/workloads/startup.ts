/**
 * The workload "startup": the time from the start of `holdfast serve` to the first grant, without
 * locks and with a journal of a million locks. The broker reads the locks of its journal before it
 * listens. Afterwards it starts the deadlines of the locks with a ttl (how long a lock lives
 * without a refresh). The job also measures how long the event loop stalls.
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

/** The number of measured starts for each round of the pace. */
const startsPerRound = 2
/** How many locks the journal has. */
const heldLocks = 1_000_000
/** In ms. No lock expires, because the ttl is far longer than a run of the bench. */
const ttl = 86_400_000

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
      await grantFirst(broker)
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

/** Opens a session and acquires a lock. */
async function grantFirst({ url }: Server): Promise<void> {
  const session = await RawSession.open(url)
  await new Promise((resolve) => session.lock('first', resolve))
  session.destroy()
}

/** Fills a journal with `held` locks, and measures starts of a broker with this journal. */
async function startWithLocks(context: LoadContext, held: number): Promise<JobResult> {
  const { pace, job, progress, usageOf } = context
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-bench-'))
  const serveFlags = ['--journal', folder, '--durability', 'relaxed']
  const start = () => startBroker({ limits: {} }, watchLoopFlags, serveFlags)
  const startMs: number[] = []
  const cpuMs: number[] = []
  const stallMs: number[] = []
  // The parameter only says whether the locks have the ttl above.
  const fields = job.params['ttl'] === undefined ? '' : `,"ttl":${ttl}`
  try {
    // The start 0 does not count, because its journal is empty. Its broker fills the journal.
    for (let i = 0; i <= pace.rounds; i++) {
      const startedAt = Date.now()
      const began = performance.now()
      const broker = await start()
      try {
        await grantFirst(broker)
        if (i === 0) await fillHeld(broker.url, 'held', held, () => {}, fields)
        else {
          startMs.push(performance.now() - began)
          cpuMs.push((await usageOf(broker.pid)).cpuUs / 1_000)
          stallMs.push(longestStall(broker.pid, startedAt))
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
  title: 'from starting the command to the first grant',
  jobs: ({ sizeDivisor }: Pace) => {
    const held = Math.max(1_000, heldLocks / sizeDivisor)
    const shape = `a journal with ${held.toLocaleString('en')} locks`
    return [
      makeJob('startup', 'start to first grant', 'split', {}),
      makeJob('startup', shape, 'split', { held }),
      makeJob('startup', `${shape} with a ttl`, 'split', { held, ttl: 1 }),
    ]
  },
  runJob,
}
