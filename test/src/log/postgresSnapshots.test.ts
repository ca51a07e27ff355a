/**
 * Tests the snapshots of brokers that share a command log in PostgreSQL. The command log is the
 * record of all changes of the lock table. A snapshot has the table as it was after one entry of
 * the log. A thread makes the snapshots while the broker serves its clients. A new broker loads the
 * newest snapshot. The log keeps the newest two snapshots, and the entries after the older of these
 * two. A cell is a broker or cluster that serves a part of the keys; `1/1` is the only cell.
 */
import { postgresLog } from '@holdfast/server'
import { expect } from 'chai'
import { Stage } from '../e2e/stage.js'
import { PostgresStage } from './postgresStage.js'

describe('log: snapshots in PostgreSQL', function () {
  this.timeout(60_000)
  const postgres = PostgresStage.forSuite()
  const stage = Stage.forEachTest()

  /**
   * Starts a broker with a log in PostgreSQL. The broker has a cell, and its snapshot thread must
   * open the log with the same cell.
   */
  async function startBroker() {
    const log = postgresLog({ url: postgres.url, snapshotEntries: 20 })
    return { log, ...(await stage.startBroker({ log, cell: '1/1' })) }
  }

  it('are made in a thread, and a new broker begins with the newest snapshot', async () => {
    const first = await startBroker()
    const session = await stage.openSession(first.url, { grace: 'lease' })
    const keptLock = await session.lock('kept', { metadata: { of: 'the first broker' } })
    const positions = new Set<number>()
    // The fourth snapshot removes the first. The log keeps the newest two, and may already have a
    // third that is not announced yet.
    while (positions.size < 4) {
      await (await session.lock('busy')).unlock()
      const { snapshot } = first.log.membership!.status
      if (snapshot !== undefined) positions.add(snapshot.position)
    }
    expect(first.log.membership!.status.problem).to.equal(undefined)
    // The log has deleted all entries up to the position `compacted`.
    const { schema } = postgres
    const [row] = await postgres.server.sql.unsafe(`
      select (select count(*) from ${schema}.log_snapshots)::int as snapshots,
        (select min(position) from ${schema}.log_entries)::int as first_entry,
        (select compacted from ${schema}.log_state)::int as compacted`)
    expect(row!['snapshots']).to.be.within(1, 3)
    expect(row!['first_entry']).to.equal(row!['compacted'] + 1)
    expect(row!['compacted']).to.be.at.least([...positions][0]!)

    const second = await startBroker()
    expect(second.log.membership!.status.snapshot?.position).to.be.at.least(Math.max(...positions))
    const other = await stage.openSession(second.url)
    const { held } = await other.query({ key: 'kept' })
    expect(held).to.have.length(1)
    expect(held[0]).to.deep.include({ fence: keptLock.fence, metadata: { of: 'the first broker' } })
    await keptLock.unlock()
    expect((await other.lock('kept')).fence).to.be.greaterThan(keptLock.fence)
  })
})
