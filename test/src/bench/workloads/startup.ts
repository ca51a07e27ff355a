/** The workload "startup": the time from the start of `holdfast serve` to the first grant. */
import { type JobResult, type LoadContext, makeJob, type Workload } from '../job.js'
import { RawSession } from '../load/rawSession.js'
import { median } from '../load/statistics.js'
import { startBroker } from '../processes/servers.js'

/** How many measured starts stand for one round of another workload. */
const startsPerRound = 2

async function runJob({ pace, job, progress, usageOf }: LoadContext): Promise<JobResult> {
  const startMs: number[] = []
  const cpuMs: number[] = []
  const starts = pace.rounds * startsPerRound
  // The start 0 does not count, because it reads the files from the disk.
  for (let i = 0; i <= starts; i++) {
    const began = performance.now()
    const broker = await startBroker({ limits: {} })
    try {
      const session = await RawSession.open(broker.url)
      await new Promise((resolve) => session.lock('first', resolve))
      if (i > 0) {
        startMs.push(performance.now() - began)
        cpuMs.push((await usageOf(broker.pid)).cpuUs / 1_000)
      }
      session.destroy()
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

export const startup: Workload = {
  name: 'startup',
  title: 'from starting the command to the first grant',
  jobs: () => [makeJob('startup', 'start to first grant', 'split', {})],
  runJob,
}
