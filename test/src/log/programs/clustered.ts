/**
 * Two workers of a cluster that claim the same thing, which only one of them may have. Not a test:
 * a test starts this program and receives both results.
 *
 *   node clustered.js journal DIRECTORY | fenceFile PATH | port PORT | attach PORT
 */
import cluster, { type Worker } from 'node:cluster'
import { createServer } from 'node:http'
import { createBroker, journalLog } from '@holdfast/server'
import type { HoldfastError } from '@holdfast/shared'
import { RecordingTable } from '../logSuite.js'

const [, , what, where = ''] = process.argv

const attempts: Readonly<Record<string, () => unknown>> = {
  journal: () => journalLog({ dir: where }).start(new RecordingTable()),
  fenceFile: () => createBroker({ fenceFile: where }),
  port: () => createBroker().listen({ port: Number(where) }),
  attach: () => createBroker().attach(createServer()),
}

if (cluster.isPrimary) {
  const workers = new Set<Worker>()
  for (let i = 0; i < 2; i++) workers.add(cluster.fork())
  let outcomes = 0
  for (const worker of workers) {
    worker.on('message', (outcome: string) => {
      process.send!(outcome)
      if (++outcomes < workers.size) return
      for (const { process } of workers) process.kill('SIGKILL')
      process.disconnect()
    })
  }
} else {
  try {
    await attempts[what!]!()
    process.send!('started')
  } catch (error) {
    const { code, message } = error as HoldfastError
    process.send!(`${code} ${message}`)
  }
}
