/**
 * Whether the lock is one: clients that really keep it, and an account of who held it when. The
 * same account is kept of a server that grants everything to everybody; if that passes, the check
 * is blind and the bench ends there.
 */
import { type JobResult, job, type LoadContext, type Workload } from '../job.js'
import { keepInTurn } from '../load/holders.js'

const clients = 50

async function load({ server, echo, pace, job, progress }: LoadContext): Promise<JobResult> {
  const ms = pace.rounds * pace.sliceMs
  const { grants, violations } = await keepInTurn(server, clients, ms)
  progress(0.7)
  const control = await keepInTurn({ ...echo, url: `${echo.url}/yes` }, clients, ms / 4)
  if (control.violations === 0) throw new Error('the exclusion check did not catch a broken server')
  const { workload, shape, placement } = job
  const row = { workload, shape, placement }
  const rows = [
    { ...row, system: 'holdfast, by hand', figures: { grants, violations } },
    {
      ...row,
      system: 'a server that grants everything (control)',
      figures: { grants: control.grants, violations: control.violations },
    },
  ]
  return { rows, grants, violations }
}

export const exclusion: Workload = {
  name: 'exclusion',
  title: 'the exclusion check, and its control',
  jobs: () => [job('exclusion', '50 clients keep a key 0 to 4 ms', 'split', {})],
  load,
}
