/**
 * Tests a broker whose etcd user has no rights beyond the keys of the broker. Recent versions of
 * etcd let only the role root compact (remove old revisions) and ask for the status of a member.
 * The broker must still start, and announce its snapshots (stored copies of the lock table) in the
 * log. The etcd of Debian does not refuse these calls, so a proxy refuses them.
 */
import { etcdLog } from '@holdfast/server'
import { expect } from 'chai'
import { Stage } from '../e2e/stage.js'
import { etcdGateway, permissionDenied } from './etcdGateway.js'
import { EtcdStage } from './etcdStage.js'

const compactionProblem =
  /^the log was not compacted \(.*does not let this user compact: start etcd with/

describe('log: an etcd that refuses compaction and status', function () {
  this.timeout(60_000)
  const etcd = EtcdStage.forSuite({ members: 1 })
  const stage = Stage.forEachTest()

  /**
   * Starts a broker that reaches etcd through a proxy. Returns the paths of the calls to etcd, and
   * two functions. `status` returns the status of the log. `lockUntil` locks and unlocks a key
   * until a condition is true.
   */
  async function startBroker() {
    const calls = new Set<string>()
    const endpoint = await etcdGateway(stage, etcd.cluster.endpoints[0]!, (path) => {
      calls.add(path)
      return /compaction|maintenance/.test(path) ? permissionDenied : undefined
    })
    const { prefix } = etcd
    const log = etcdLog({ endpoints: [endpoint], prefix, snapshotEntries: 20 })
    const { url } = await stage.startBroker({ log })
    const session = await stage.openSession(url, { grace: 'lease' })
    const status = () => log.membership!.status
    const lockUntil = async (condition: () => boolean): Promise<void> => {
      while (!condition()) await (await session.lock('busy')).unlock()
    }
    return { calls, status, lockUntil }
  }

  it('still stores snapshots, and the broker reports the refusal as a problem of the log', async () => {
    const { calls, status, lockUntil } = await startBroker()
    await lockUntil(() => compactionProblem.test(status().problem ?? ''))
    await lockUntil(() => status().snapshot !== undefined)
    const firstPosition = status().snapshot!.position
    await lockUntil(() => (status().snapshot?.position ?? 0) > firstPosition)
    expect([...calls]).to.include('/v3/kv/compaction')
    // The broker does not ask for the status of the member.
    expect([...calls].filter((path) => path.includes('maintenance'))).to.deep.equal([])
    // Each snapshot is so small that it has one chunk. The log keeps the newest two snapshots, and
    // may have a third snapshot that is not announced yet.
    const chunks = (await etcd.keys()).filter((key) => key.startsWith('chunks/'))
    expect(chunks.length).to.be.within(1, 3)
  })

  it('causes a problem of the log only until etcd has compacted by itself', async () => {
    const { status, lockUntil } = await startBroker()
    await lockUntil(() => compactionProblem.test(status().problem ?? ''))
    await lockUntil(() => status().snapshot !== undefined)
    const member = await etcd.cluster.leader()
    const { header } = (await member.status())!
    // The test compacts in place of etcd, up to the newest snapshot, whose position is a revision.
    // So the snapshot contains all removed entries, as after an automatic compaction of etcd with a
    // long retention. etcd refuses a revision above its newest, `header.revision`.
    const revision = Math.min(Number(header.revision), status().snapshot!.position)
    await member.ask('/v3/kv/compaction', { revision: String(revision) })
    await lockUntil(() => status().problem === undefined)
    const { position } = status().snapshot!
    await lockUntil(() => status().snapshot!.position > position)
    expect(status().problem).to.equal(undefined)
  })
})
