/**
 * Tests brokers in the workers of `node:cluster`, whose servers share ports by default. Brokers in
 * two workers would grant one lock to two clients, unless they share a command log, which
 * puts the requests of all brokers in order. Without a shared log, only one worker may serve
 * clients.
 */
import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { freePort } from '../support/freePort.js'
import { exitOf } from './remote.js'

const program = fileURLToPath(new URL('../log/programs/clustered.js', import.meta.url))

/** Starts two workers of `clustered.ts`. Returns `started` or an error for each worker, sorted. */
async function outcomesOf(...args: readonly string[]): Promise<string[]> {
  const cluster = fork(program, args)
  const outcomes: string[] = []
  cluster.on('message', (outcome: string) => outcomes.push(outcome))
  await exitOf(cluster)
  return outcomes.sort()
}

/** Each error message in this file ends with this advice. */
const remedy =
  'run the broker in one process, or give the brokers of all workers a shared log (etcdLog)'

describe('e2e: workers of a cluster', () => {
  it('do not share a port: the second worker is refused', async () => {
    const port = await freePort()
    const why = 'another program is using the port, perhaps another worker'
    expect(await outcomesOf('port', String(port))).to.deep.equal([
      `UNAVAILABLE Cannot listen on 127.0.0.1:${port}: ${why}: ${remedy}`,
      'started',
    ])
  })

  it('cannot attach a broker with locks in memory to an HTTP server', async () => {
    const why = 'every worker would grant the same locks'
    const refused =
      'INVALID_OPTION attach in a worker of node:cluster does not work with a log in memory, ' +
      `because ${why}: ${remedy}`
    expect(await outcomesOf('attach')).to.deep.equal([refused, refused])
  })
})
