/**
 * Tests the snapshots of brokers that share a command log on etcd. The command log orders all
 * changes of the lock table, and a snapshot has the table as it was after one entry of the log. A
 * thread makes the snapshots while the broker serves its clients. A new broker loads the newest
 * snapshot, and older snapshots are removed. A cell is a broker or cluster that serves a part of
 * the keys; `1/1` is cell 1 of 1, which serves all keys. A fence is the number of a grant.
 */
import { etcdLog } from '@holdfast/server'
import { expect } from 'chai'
import { Stage } from '../e2e/stage.js'
import { EtcdStage } from './etcdStage.js'

describe('log: snapshots on etcd', function () {
  this.timeout(60_000)
  const etcd = EtcdStage.forSuite()
  const stage = Stage.forEachTest()

  /** Starts a broker with a log on etcd. */
  async function startBroker({
    snapshotEntries = 20,
    sharedEtcd = false,
    cell = undefined as string | undefined,
  } = {}) {
    const { endpoints } = etcd.cluster
    const { prefix } = etcd
    const log = etcdLog({ endpoints, prefix, snapshotEntries, sharedEtcd })
    return { log, ...(await stage.startBroker({ log, cell })) }
  }

  it('are made in a thread, and a new broker begins with the newest snapshot', async () => {
    // The log stores the cell, so the thread can open the log only with the cell of the broker.
    const first = await startBroker({ cell: '1/1' })
    const session = await stage.openSession(first.url, { grace: 'lease' })
    const keptLock = await session.lock('kept', { metadata: { of: 'the first' } })
    const positions = new Set<number>()
    // The log keeps the newest two snapshots, and may have a third snapshot that is not announced
    // yet. So at most three of four snapshots are left.
    while (positions.size < 4) {
      await (await session.lock('busy')).unlock()
      const { snapshot } = first.log.membership!.status
      if (snapshot !== undefined) positions.add(snapshot.position)
    }
    expect(first.log.membership!.status.problem).to.equal(undefined)
    // Each snapshot is so small that it has one chunk.
    const chunks = (await etcd.keys()).filter((key) => key.startsWith('chunks/'))
    expect(chunks.length).to.be.within(1, 3)

    const second = await startBroker({ cell: '1/1' })
    expect(second.log.membership!.status.snapshot?.position).to.be.at.least(Math.max(...positions))
    const secondSession = await stage.openSession(second.url)
    const { held } = await secondSession.query({ key: 'kept' })
    expect(held).to.have.length(1)
    expect(held[0]).to.deep.include({ fence: keptLock.fence, metadata: { of: 'the first' } })
    await keptLock.unlock()
    expect((await secondSession.lock('kept')).fence).to.be.greaterThan(keptLock.fence)
  })

  it('do not compact an etcd that other programs use', async () => {
    const { log, url } = await startBroker({ sharedEtcd: true })
    // A revision before all snapshots, whose positions are revisions too. Without `sharedEtcd`, the
    // broker would compact etcd beyond this revision.
    const revision = Number((await (await etcd.cluster.leader()).status())!.header.revision)
    const session = await stage.openSession(url)
    const positions = new Set<number>()
    while (positions.size < 4) {
      await (await session.lock('busy')).unlock()
      const { snapshot } = log.membership!.status
      if (snapshot !== undefined) positions.add(snapshot.position)
    }
    expect(Math.min(...positions)).to.be.greaterThan(revision)
    expect(await (await etcd.openEngine()).canReplayFrom(revision)).to.equal(true)
    // The log keeps the newest two snapshots, of one chunk each, and may have a third snapshot that
    // is not announced yet.
    const chunks = (await etcd.keys()).filter((key) => key.startsWith('chunks/'))
    expect(chunks.length).to.be.within(1, 3)
  })

  it('are made for a joining broker if etcd has compacted the entries that the broker needs', async () => {
    // The first broker makes no snapshot by itself, because the log has fewer than 100,000 entries.
    const first = await startBroker({ snapshotEntries: 100_000 })
    const session = await stage.openSession(first.url, { grace: 'lease' })
    const keptLock = await session.lock('kept')
    // Compacts the log, as an etcd with automatic compaction does.
    const leader = await etcd.cluster.leader()
    const { header } = (await leader.status())!
    await leader.ask('/v3/kv/compaction', { revision: header.revision })
    const second = await startBroker()
    const { held } = await (await stage.openSession(second.url)).query({ key: 'kept' })
    expect(held.map(({ fence }) => fence)).to.deep.equal([keptLock.fence])
    expect(keptLock.held).to.equal(true)
  })
})
