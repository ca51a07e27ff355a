/**
 * A program for tests: two workers of a Node cluster take the same step of a broker's start. At
 * most one worker may succeed. The program sends the results of both workers to the test.
 *
 *   node clustered.js journal DIRECTORY | fenceFile PATH | port PORT | attach
 */
import cluster, { type Worker } from 'node:cluster'
import { createServer } from 'node:http'
import { createBroker, journalLog } from '@holdfast/server'
import type { HoldfastError } from '@holdfast/shared'
import { RecordingTable } from '../logSuite.js'

/** The step, and its path or port. The step `attach` needs neither. */
const [, , step, pathOrPort = ''] = process.argv

/** For each step, the function that takes the step. */
const steps: Readonly<Record<string, () => unknown>> = {
  journal: () => journalLog({ dir: pathOrPort }).start(new RecordingTable()),
  fenceFile: () => createBroker({ fenceFile: pathOrPort }),
  port: () => createBroker().listen({ port: Number(pathOrPort) }),
  attach: () => createBroker().attach(createServer()),
}

if (cluster.isPrimary) {
  const workers = new Set<Worker>()
  for (let i = 0; i < 2; i++) workers.add(cluster.fork())
  let outcomeCount = 0
  for (const worker of workers) {
    worker.on('message', (outcome: string) => {
      process.send!(outcome)
      if (++outcomeCount < workers.size) return
      // Kills the workers, because a worker that succeeded would run forever.
      for (const each of workers) each.process.kill('SIGKILL')
      process.disconnect()
    })
  }
} else {
  try {
    await steps[step!]!()
    process.send!('started')
  } catch (error) {
    const { code, message } = error as HoldfastError
    process.send!(`${code} ${message}`)
  }
}
