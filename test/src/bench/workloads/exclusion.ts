/**
 * The workload "exclusion": clients lock the same key and hold the lock for some milliseconds. The
 * exclusion check counts grants to a client while another client holds the lock. As a control, the
 * check must detect a server that grants every request immediately: the echo server at `/yes`.
 * Otherwise the bench stops.
 */
import { type JobResult, type LoadContext, makeJob, type Workload } from '../job.js'
import { runHolders } from '../load/holders.js'

/** The number of clients that contend for the lock. */
const clientCount = 50

async function runJob({ server, echo, pace, job, progress }: LoadContext): Promise<JobResult> {
  const ms = pace.rounds * pace.sliceMs
  const { grants, violations } = await runHolders(server, clientCount, ms)
  // A rough share of the work.
  progress(0.7)
  // The control is shorter, because the check needs only a few grants to detect its server.
  const grantingServer = { ...echo, url: `${echo.url}/yes` }
  const control = await runHolders(grantingServer, clientCount, ms / 4)
  if (control.violations === 0)
    throw new Error('The exclusion check did not detect a server that grants every request')
  const { workload, shape, placement } = job
  const row = { workload, shape, placement }
  const rows = [
    { ...row, system: 'holdfast, by hand', figures: { grants, violations } },
    {
      ...row,
      system: 'a server that grants every request (control)',
      figures: { grants: control.grants, violations: control.violations },
    },
  ]
  return { rows, grants, violations }
}

export const exclusion: Workload = {
  name: 'exclusion',
  title: 'the exclusion check, and its control',
  jobs: () => [
    makeJob({
      workload: 'exclusion',
      shape: '50 clients hold one key for 0 to 4 ms',
      placement: 'split',
      params: {},
    }),
  ],
  runJob,
}
