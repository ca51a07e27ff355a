/**
 * Snapshots of a shared log: which broker makes them, which brokers load them, and how a broker
 * catches up when the entries that it needs are compacted.
 */
import { expect } from 'chai'
import { Cluster, type RecordingStateMachine } from './cluster.js'
import { raiseFenceFloor } from './logSuite.js'

describe('replicated log: snapshots', () => {
  const options = { snapshotEntries: 20 }

  it('are made by the oldest member, and known to all members', async () => {
    const cluster = new Cluster()
    const [a, b] = [await cluster.join(options), await cluster.join(options)]
    for (let i = 0; i < 70; i++) {
      a.log.submit(raiseFenceFloor(i))
      await cluster.settle()
    }
    expect(cluster.store.snapshots.length).to.equal(2)
    const [former, newest] = cluster.store.snapshots
    expect(cluster.store.compactedTo).to.equal(former!.position)
    for (const { log } of [a, b]) {
      expect(log.status.snapshot?.position).to.equal(newest!.position)
      expect(log.status.snapshot?.ageMs).to.be.within(0, 5_000)
    }
  })

  it('are loaded by a joining broker, with the entries since', async () => {
    const cluster = new Cluster()
    const a = await cluster.join(options)
    for (let i = 0; i < 50; i++) {
      a.log.submit(raiseFenceFloor(i))
      await cluster.settle()
    }
    const b = await cluster.join(options)
    expect(b.eventNames).to.deep.equal(['restore', 'serve'])
    expect(b.replayed.length).to.be.lessThan(25)
    expect(b.log.status.members).to.deep.equal([a.brokerName, b.brokerName])
    expect(b.log.status.position).to.equal(a.log.status.position)
    await cluster.pass(20_000)
    expect([a.eventNames, b.eventNames]).to.deep.equal([['serve'], ['restore', 'serve']])
  })

  it('are made by the next member when the oldest is gone', async () => {
    const cluster = new Cluster()
    const [a, b] = [await cluster.join(options), await cluster.join(options)]
    a.source.cut()
    await cluster.pass(30_000)
    expect(cluster.store.snapshots.length).to.be.greaterThan(0)
    expect(b.log.status.members).to.deep.equal([b.brokerName])
  })

  it('that fail are tried again, and reported as missing', async () => {
    const cluster = new Cluster()
    const a = await cluster.join(options)
    const create = a.source.create.bind(a.source)
    a.source.create = () => Object.assign(create(), { open: () => Promise.reject(new Error('no')) })
    const say = async (): Promise<void> => {
      for (let i = 0; i < 25; i++) {
        a.log.submit(raiseFenceFloor(i))
        await cluster.settle()
      }
    }
    await say()
    expect(a.log.status.problem).to.contain('no snapshot could be made')
    a.source.create = create
    await say()
    expect(a.log.status.problem).to.equal(undefined)
    expect(cluster.store.snapshots.length).to.equal(1)
  })

  it('bring back a broker that was away until the entries were compacted', async () => {
    const cluster = new Cluster()
    const [a, b] = [await cluster.join(options), await cluster.join(options)]
    const former = b.brokerName
    b.source.cut()
    for (let i = 0; i < 70; i++) {
      a.log.submit(raiseFenceFloor(i))
      await cluster.settle()
    }
    expect(b.eventNames).to.deep.equal(['serve'])
    b.source.mend()
    await cluster.pass(2_000)
    // The broker never loads a table while it has clients.
    expect(b.eventNames).to.deep.equal(['serve', 'resign', 'restore', 'serve'])
    expect(b.brokerName).not.to.equal(former)
    expect(a.log.status.members).to.deep.equal([a.brokerName, b.brokerName])
    expect(a.restarts).to.deep.equal([[former, b.brokerName]])
  })

  it('bring it back although the log was unreachable for a while at the time', async () => {
    const cluster = new Cluster()
    const [a, b] = [await cluster.join(options), await cluster.join(options)]
    b.source.cut()
    for (let i = 0; i < 70; i++) {
      a.log.submit(raiseFenceFloor(i))
      await cluster.settle()
    }
    b.source.faults.delayMs = 100
    b.source.mend()
    await cluster.pass(150)
    b.source.cut()
    await cluster.pass(5_000)
    expect(b.eventNames).to.deep.equal(['serve', 'resign'])
    b.source.mend()
    await cluster.pass(3_000)
    expect(b.eventNames).to.deep.equal(['serve', 'resign', 'restore', 'serve'])
  })

  describe('if another program compacts the log', () => {
    /** Some fifty locks, with some snapshots or none, and a log that is compacted to the end. */
    async function compactedLog(cluster: Cluster, a: RecordingStateMachine): Promise<void> {
      for (let i = 0; i < 50; i++) {
        a.log.submit(raiseFenceFloor(i))
        await cluster.settle()
      }
      cluster.store.compact(cluster.store.position)
    }

    for (const [finding, logOptions] of [
      ['no snapshot', {}],
      ['a snapshot that is too old', options],
    ] as const) {
      it(`a joining broker that finds ${finding} gets one from a live broker`, async () => {
        const cluster = new Cluster()
        const a = await cluster.join(logOptions)
        await compactedLog(cluster, a)
        const b = await cluster.join(logOptions)
        expect(b.eventNames.at(-1)).to.equal('serve')
        expect(b.eventNames).to.include('restore')
        expect([...b.dump()]).to.deep.equal([...a.dump()])
        expect(b.log.status.members).to.deep.equal([a.brokerName, b.brokerName])
        expect(b.log.status.problem).to.equal(undefined)
        expect(a.log.status.snapshot?.position).to.be.at.least(cluster.store.compactedTo)
        await cluster.pass(20_000)
        expect(a.eventNames).to.deep.equal(['serve'])
      })
    }

    it('brokers that were away get one as well, one for both', async () => {
      const cluster = new Cluster()
      const [a, b, c] = [await cluster.join(), await cluster.join(), await cluster.join()]
      b.source.cut()
      c.source.cut()
      await compactedLog(cluster, a)
      b.source.mend()
      c.source.mend()
      await cluster.pass(5_000)
      for (const broker of [b, c]) {
        expect(broker.eventNames).to.deep.equal(['serve', 'resign', 'restore', 'serve'])
      }
      expect(cluster.store.snapshots.length).to.equal(1)
    })

    it('the next member makes it if the oldest is gone', async () => {
      const cluster = new Cluster()
      const [a, b] = [await cluster.join(), await cluster.join()]
      await compactedLog(cluster, a)
      a.source.cut()
      const c = await cluster.join()
      expect(c.eventNames).to.deep.equal(['restore', 'serve'])
      expect(c.log.status.members).to.deep.equal([b.brokerName, c.brokerName])
    })

    it('the next snapshot is made from the table, and later ones from the log again', async () => {
      const cluster = new Cluster()
      const a = await cluster.join({ snapshotEntries: 70 })
      await compactedLog(cluster, a)
      for (let i = 50; i < 250; i++) {
        a.log.submit(raiseFenceFloor(i))
        await cluster.settle()
      }
      expect(cluster.store.snapshots.length).to.equal(2)
      expect(a.log.status.problem).to.equal(undefined)
      expect(cluster.store.compactedTo).to.equal(cluster.store.snapshots[0]!.position)
      const b = await cluster.join()
      expect([...b.dump()]).to.deep.equal([...a.dump()])
    })

    it('the compaction is noticed within two minutes and reported, and a snapshot is made', async () => {
      const cluster = new Cluster()
      const [a, b] = [await cluster.join(), await cluster.join()]
      await compactedLog(cluster, a)
      await cluster.pass(65_000)
      expect(cluster.store.snapshots.length).to.equal(1)
      expect(a.log.status.problem).to.contain('another program than the brokers has compacted')
      await cluster.pass(65_000)
      expect(cluster.store.snapshots.length).to.equal(1)
      expect(a.log.status.problem).to.equal(undefined)
      // So nothing is lost even if all brokers go at once.
      for (const { source } of [a, b]) source.cut()
      const c = await cluster.join()
      expect([...c.dump()]).to.deep.equal([...a.dump()])
    })

    it('and no broker is alive, a start fails', async () => {
      const cluster = new Cluster()
      const a = await cluster.join()
      await compactedLog(cluster, a)
      a.source.cut()
      const { log, source } = cluster.newLog()
      const error = await cluster.until(
        log.start(cluster.stateMachine(log, source)).catch((error) => error),
      )
      expect(error.message).to.match(
        /are compacted, and neither a snapshot nor a live broker has them/,
      )
    })
  })
})
