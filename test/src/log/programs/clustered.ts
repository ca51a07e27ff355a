/**
 * A program for tests: two workers of a Node cluster try to start the same part of a broker. At
 * most one worker may succeed. The program sends the results of both workers to the test.
 *
 *   node clustered.js journal DIRECTORY | fenceFile PATH | port PORT | attach
 */
import cluster, { type Worker } from 'node:cluster'
import { createServer } from 'node:http'
import { createBroker, journalLog } from '@holdfast/server'
import type { HoldfastError } from '@holdfast/shared'
import { RecordingTable } from '../logSuite.js'

/** The part to start, and its path or port. An attach needs neither. */
const [, , part, place = ''] = process.argv

/** For each part, the function that starts the part. */
const starts: Readonly<Record<string, () => unknown>> = {
  journal: () => journalLog({ dir: place }).start(new RecordingTable()),
  fenceFile: () => createBroker({ fenceFile: place }),
  port: () => createBroker().listen({ port: Number(place) }),
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
      // The worker that succeeded would run forever.
      for (const each of workers) each.process.kill('SIGKILL')
      process.disconnect()
    })
  }
} else {
  try {
    await starts[part!]!()
    process.send!('started')
  } catch (error) {
    const { code, message } = error as HoldfastError
    process.send!(`${code} ${message}`)
  }
}
