/**
 * Two workers of a cluster that want the same journal. Not a test: a test starts it, and is sent
 * what becomes of each.
 */
import cluster, { type Worker } from 'node:cluster'
import { journalLog } from '@holdfast/server'
import type { HoldfastError } from '@holdfast/shared'
import { Listener } from '../logSuite.js'

const dir = process.argv[2]!

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
  journalLog({ dir })
    .start(new Listener())!
    .then(
      () => process.send!('started'),
      ({ code }: HoldfastError) => process.send!(code),
    )
}
