/** Starts the process of a load generator, and runs one job in that process. */
import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Assignment, JobResult, Report } from '../job.js'
import { canPin, endWithParent, generatorCore, type Server } from './servers.js'

const generatorScript = fileURLToPath(new URL('./generator.js', import.meta.url))

export interface GeneratorOptions {
  readonly assignment: Assignment
  /** The servers whose usage the generator may request. */
  readonly servers: readonly Server[]
  /** Called with the finished share of the job, from 0 to 1. */
  readonly onProgress: (share: number) => void
}

/** Starts a load generator, sends the assignment, and resolves with the result. */
export function runGenerator({
  assignment,
  servers,
  onProgress,
}: GeneratorOptions): Promise<JobResult> {
  const core = generatorCore(assignment.job.placement)
  const child = fork(generatorScript, {
    // `taskset` starts Node on the core, and Node then runs the generator.
    ...(canPin && { execPath: 'taskset', execArgv: ['-c', String(core), process.execPath] }),
    // Figures may be NaN, which JSON does not have.
    serialization: 'advanced',
    // Node must not print warnings about the packages of other lock services.
    env: { ...process.env, NODE_NO_WARNINGS: '1' },
  })
  endWithParent(child)
  return new Promise<JobResult>((resolve, reject) => {
    child.on('message', async (report: Report) => {
      switch (report.type) {
        case 'progress':
          onProgress(report.done)
          break
        case 'askUsage': {
          const usage = await servers.find(({ pid }) => pid === report.pid)?.usage()
          child.send({ type: 'usage', usage })
          break
        }
        case 'result':
          resolve(report.result)
          break
        case 'failed':
          reject(new Error(report.message))
          break
      }
    })
    child.once('exit', (code) =>
      reject(new Error(`The load generator ended with code ${code} before it sent a result`)),
    )
    child.send({ type: 'assignment', assignment })
  }).finally(() => child.kill('SIGKILL'))
}
