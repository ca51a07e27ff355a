/**
 * The program of the load generator, which runs in a process of its own. The program receives an
 * assignment (a job and its servers), runs the job, and sends the result to the parent process.
 */
import type { Assignment, Report } from '../job.js'
import { workloadNamed } from '../workloads/index.js'
import { hasProc, type Usage, usageFromProc } from './usage.js'

/** A message from the parent process. */
type ParentMessage =
  | { readonly type: 'assignment'; readonly assignment: Assignment }
  | { readonly type: 'usage'; readonly usage: Usage }

/** Called with the parent's answer to `askUsage`. Only one such request is under way at a time. */
let onUsage: (usage: Usage) => void = () => {}

/** The CPU time and memory of a server, read from `/proc` or requested through the parent. */
function usageOf(pid: number): Promise<Usage> {
  if (hasProc) return Promise.resolve(usageFromProc(pid))
  return new Promise((resolve) => {
    onUsage = resolve
    send({ type: 'askUsage', pid })
  })
}

/** Sends a message to the parent process. */
function send(message: Report): void {
  process.send?.(message)
}

async function runAssignment(assignment: Assignment): Promise<void> {
  const workload = workloadNamed(assignment.job.workload)
  const progress = (finishedShare: number): void => send({ type: 'progress', done: finishedShare })
  const result = await workload.runJob({ ...assignment, progress, usageOf })
  send({ type: 'result', result })
}

process.on('message', (received: ParentMessage) => {
  if (received.type === 'usage') onUsage(received.usage)
  else {
    runAssignment(received.assignment).catch((error: unknown) => {
      const message = error instanceof Error ? (error.stack ?? error.message) : String(error)
      send({ type: 'failed', message })
    })
  }
})
