/**
 * The workloads, in the order in which they run. `peers.ts` has the workloads that measure peers
 * (other lock services).
 */
import type { Workload } from '../job.js'
import { peers } from '../peers/index.js'
import { cells } from './cells.js'
import { deadlocks } from './deadlocks.js'
import { exclusion } from './exclusion.js'
import { floodsWorkload } from './floods.js'
import { idle } from './idle.js'
import { join } from './join.js'
import { journal } from './journal.js'
import { logs } from './logs.js'
import { neighbours } from './neighbours.js'
import { peerWorkloads } from './peers.js'
import { restart } from './restart.js'
import { sets } from './sets.js'
import { startup } from './startup.js'
import { validation } from './validation.js'
import { w1 } from './w1.js'
import { w2 } from './w2.js'
import { w3 } from './w3.js'
import { w4 } from './w4.js'
import { w5 } from './w5.js'
import { w6 } from './w6.js'

export const workloads: readonly Workload[] = [
  exclusion,
  w1,
  w2,
  w3,
  w4,
  w5,
  w6,
  idle,
  restart,
  journal,
  floodsWorkload,
  neighbours,
  logs,
  join,
  cells,
  validation,
  sets,
  deadlocks,
  startup,
]

/**
 * The workload with this name, which may measure a peer.
 *
 * @throws If no workload has this name.
 */
export function workloadNamed(name: string): Workload {
  const allWorkloads = [...workloads, ...peerWorkloads(peers)]
  const workload = allWorkloads.find((candidate) => candidate.name === name)
  if (workload === undefined) throw new Error(`Unknown workload: ${name}`)
  return workload
}
