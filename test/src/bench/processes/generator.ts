/**
 * The load generator, a process of its own: receives a job, runs the load of its workload, and
 * reports.
 */
import type { Assignment, Report } from '../job.js'
import { workloadNamed } from '../workloads/index.js'
import { hasProc, type Usage, usageFromProc } from './usage.js'

type Order =
  | { readonly type: 'assignment'; readonly assignment: Assignment }
  | { readonly type: 'usage'; readonly usage: Usage }

let onUsage: (usage: Usage) => void = () => {}

/** What a server has used: read from outside, or requested through the parent. */
function usageOf(pid: number): Promise<Usage> {
  if (hasProc) return Promise.resolve(usageFromProc(pid))
  return new Promise((resolve) => {
    onUsage = resolve
    report({ type: 'usage', pid })
  })
}

function report(message: Report): void {
  process.send?.(message)
}

async function run(assignment: Assignment): Promise<void> {
  const workload = workloadNamed(assignment.job.workload)
  const progress = (done: number): void => report({ type: 'progress', done })
  const result = await workload.load({ ...assignment, progress, usageOf })
  report({ type: 'result', result })
}

process.on('message', (order: Order) => {
  if (order.type === 'usage') onUsage(order.usage)
  else {
    run(order.assignment).catch((error: unknown) => {
      const message = error instanceof Error ? (error.stack ?? error.message) : String(error)
      report({ type: 'failed', message })
    })
  }
})
