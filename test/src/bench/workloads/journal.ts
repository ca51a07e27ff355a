/**
 * The workload "journal": the cost of durability. The load of W1 (pairs of lock and unlock on free
 * keys) runs on a broker that answers only after the flush of its journal. The journal lies in the
 * folder for temporary files, so the figures depend mostly on the disk of this folder.
 */
import { type Job, makeJob, type Workload } from '../job.js'
import { w1 } from './w1.js'

function jobs(): readonly Job[] {
  const shapes: readonly (readonly [sessions: number, inFlight: number])[] = [
    [1, 1],
    [64, 1],
    [64, 16],
  ]
  return shapes.map(([sessions, inFlight]) => ({
    ...makeJob({
      workload: 'journal',
      shape: `${sessions}×${inFlight}`,
      placement: 'split',
      params: { sessions, inFlight },
    }),
    journal: 'flushed',
  }))
}

export const journal: Workload = {
  name: 'journal',
  title: 'lock and unlock, flushed to the disk',
  jobs,
  runJob: w1.runJob,
}
