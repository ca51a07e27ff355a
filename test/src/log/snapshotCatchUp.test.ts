/**
 * Tests the snapshots of a replicated log, a command log that several brokers share. A snapshot has
 * the lock table as it is at one position of the log. The entries up to this position can then be
 * compacted (removed). The oldest member makes the snapshots. A broker that misses compacted
 * entries resigns, which means that it disconnects its clients, and loads a snapshot.
 */
import { expect } from 'chai'
import { Cluster, type RecordingStateMachine } from './cluster.js'
import { fenceFloorCommand } from './logSuite.js'

describe('replicated log: snapshots', () => {
  /** Options for a snapshot every 20 entries. Each command of the tests becomes one entry. */
  const every20Entries = { snapshotEntries: 20 }

  it('are made every 20 entries, and all members know the position of the newest', async () => {
    const cluster = new Cluster()
    const [a, b] = [await cluster.startLog(every20Entries), await cluster.startLog(every20Entries)]
    for (let i = 0; i < 70; i++) {
      a.log.submit(fenceFloorCommand(i))
      await cluster.settle()
    }
    // Three snapshots were made, and the store keeps the newest two.
    expect(cluster.store.snapshots.length).to.equal(2)
    const [former, newest] = cluster.store.snapshots
    expect(cluster.store.compactedTo).to.equal(former!.position)
    for (const { log } of [a, b]) {
      expect(log.status.snapshot?.position).to.equal(newest!.position)
      expect(log.status.snapshot?.ageMs).to.be.within(0, 5_000)
    }
  })

  it('are loaded by a joining broker together with the later entries', async () => {
    const cluster = new Cluster()
    const a = await cluster.startLog(every20Entries)
    for (let i = 0; i < 50; i++) {
      a.log.submit(fenceFloorCommand(i))
      await cluster.settle()
    }
    const b = await cluster.startLog(every20Entries)
    expect(b.eventNames).to.deep.equal(['restore', 'serve'])
    // Only the entries after the newest snapshot, and not all 50 commands, are replayed.
    expect(b.replayed.length).to.be.lessThan(25)
    expect(b.log.status.members).to.deep.equal([a.brokerName, b.brokerName])
    expect(b.log.status.position).to.equal(a.log.status.position)
    await cluster.passTime(20_000)
    expect([a.eventNames, b.eventNames]).to.deep.equal([['serve'], ['restore', 'serve']])
  })

  it('are made by the next member when the oldest member is dead', async () => {
    const cluster = new Cluster()
    const [a, b] = [await cluster.startLog(every20Entries), await cluster.startLog(every20Entries)]
    a.source.cut()
    // Broker `b` declares broker `a` dead. Meanwhile, broker `b` appends more than 20 entries, its
    // heartbeats.
    await cluster.passTime(30_000)
    expect(cluster.store.snapshots.length).to.be.greaterThan(0)
    expect(b.log.status.members).to.deep.equal([b.brokerName])
  })

  it('are tried again after a failure, which is reported as a problem', async () => {
    const cluster = new Cluster()
    const a = await cluster.startLog(every20Entries)
    // An engine connects a broker with the log. From now on, no new engine can be opened. So every
    // snapshot fails, because it needs a new engine. The engine of the broker stays open.
    const create = a.source.create.bind(a.source)
    a.source.create = () => Object.assign(create(), { open: () => Promise.reject(new Error('no')) })
    const submitCommands = async (): Promise<void> => {
      for (let i = 0; i < 25; i++) {
        a.log.submit(fenceFloorCommand(i))
        await cluster.settle()
      }
    }
    await submitCommands()
    expect(a.log.status.problem).to.contain('no snapshot could be made')
    a.source.create = create
    await submitCommands()
    expect(a.log.status.problem).to.equal(undefined)
    expect(cluster.store.snapshots.length).to.equal(1)
  })

  it('are made after some time, even if only a few entries came', async () => {
    const cluster = new Cluster()
    const a = await cluster.startLog({ snapshotMs: 30_000 })
    const b = await cluster.startLog({ snapshotMs: 60_000 })
    // The oldest member makes a snapshot after its interval, 30 s, and not before.
    await cluster.passTime(29_000)
    expect(cluster.store.snapshots.length).to.equal(0)
    await cluster.passTime(2_000)
    expect(cluster.store.snapshots.length).to.equal(1)
    expect(b.log.status.snapshot?.position).to.equal(cluster.store.snapshots[0]!.position)
    // The remaining member becomes the oldest member, and makes the next snapshot after its own
    // interval, 60 s.
    await cluster.runUntilSettled(a.log.close())
    await cluster.passTime(50_000)
    expect(cluster.store.snapshots.length).to.equal(1)
    await cluster.passTime(12_000)
    expect(cluster.store.snapshots.length).to.equal(2)
  })

  it('are loaded by a broker that missed compacted entries while it was cut off', async () => {
    const cluster = new Cluster()
    const [a, b] = [await cluster.startLog(every20Entries), await cluster.startLog(every20Entries)]
    const formerName = b.brokerName
    b.source.cut()
    for (let i = 0; i < 70; i++) {
      a.log.submit(fenceFloorCommand(i))
      await cluster.settle()
    }
    expect(b.eventNames).to.deep.equal(['serve'])
    b.source.mend()
    await cluster.passTime(2_000)
    // The broker resigns first, because it never loads a table while it has clients.
    expect(b.eventNames).to.deep.equal(['serve', 'resign', 'restore', 'serve'])
    expect(b.brokerName).not.to.equal(formerName)
    expect(a.log.status.members).to.deep.equal([a.brokerName, b.brokerName])
    // The command `restart` has passed the sessions of the former name to the new name.
    expect(a.restarts).to.deep.equal([[formerName, b.brokerName]])
  })

  it('are loaded by a broker that was cut off, although the log is briefly unreachable again', async () => {
    const cluster = new Cluster()
    const [a, b] = [await cluster.startLog(every20Entries), await cluster.startLog(every20Entries)]
    b.source.cut()
    for (let i = 0; i < 70; i++) {
      a.log.submit(fenceFloorCommand(i))
      await cluster.settle()
    }
    // Each call takes 100 ms, so 150 ms are enough to resign, but not to load the snapshot.
    b.source.faults.delayMs = 100
    b.source.mend()
    await cluster.passTime(150)
    b.source.cut()
    await cluster.passTime(5_000)
    expect(b.eventNames).to.deep.equal(['serve', 'resign'])
    b.source.mend()
    await cluster.passTime(3_000)
    expect(b.eventNames).to.deep.equal(['serve', 'resign', 'restore', 'serve'])
  })

  describe('if a part of the newest snapshot is damaged', () => {
    /** A cluster of one broker. The newest snapshot in the store is damaged. */
    async function damagedCluster(): Promise<[Cluster, RecordingStateMachine]> {
      const cluster = new Cluster()
      const a = await cluster.startLog(every20Entries)
      for (let i = 0; i < 50; i++) {
        a.log.submit(fenceFloorCommand(i))
        await cluster.settle()
      }
      cluster.store.damagedSnapshot = cluster.store.snapshots.at(-1)!.position
      return [cluster, a]
    }

    it('a live broker makes a newer snapshot for a joining broker', async () => {
      const [cluster, a] = await damagedCluster()
      const b = await cluster.startLog(every20Entries)
      expect(b.eventNames).to.deep.equal(['restore', 'serve'])
      expect([...b.dump()]).to.deep.equal([...a.dump()])
      expect(b.log.status.problem).to.equal(undefined)
      await cluster.passTime(20_000)
      expect(a.eventNames).to.deep.equal(['serve'])
    })

    it('the start of a broker fails for good if no other broker is live', async () => {
      const [cluster, a] = await damagedCluster()
      a.source.cut()
      const { log, source } = cluster.newLog()
      const error = await cluster.runUntilSettled(
        log.start(cluster.newStateMachine(log, source)).catch((error) => error),
      )
      expect(error.message).to.match(
        /snapshot .* is damaged at its last part, and no live broker has a newer one: restore/,
      )
      expect(error.code).to.equal('INVALID_OPTION')
    })

    it('the broker makes the next snapshot from its own table, and counts a failed snapshot', async () => {
      const [cluster, a] = await damagedCluster()
      for (let i = 50; i < 75; i++) {
        a.log.submit(fenceFloorCommand(i))
        await cluster.settle()
      }
      expect(cluster.store.snapshots.at(-1)!.position).to.be.above(cluster.store.damagedSnapshot!)
      expect(a.log.status.failedSnapshots).to.equal(1)
      expect(a.log.status.problem).to.equal(undefined)
      // Without broker `a`, only the new snapshot can give broker `b` the table.
      a.source.cut()
      const b = await cluster.startLog()
      expect([...b.dump()]).to.deep.equal([...a.dump()])
    })
  })

  describe('if another program compacts the log', () => {
    /** Submits fifty commands, and then removes all entries of the log. */
    async function fillAndCompact(cluster: Cluster, broker: RecordingStateMachine): Promise<void> {
      for (let i = 0; i < 50; i++) {
        broker.log.submit(fenceFloorCommand(i))
        await cluster.settle()
      }
      cluster.store.compact(cluster.store.position)
    }

    for (const [situation, logOptions] of [
      ['no snapshot', {}],
      ['a snapshot that is too old', every20Entries],
    ] as const) {
      it(`a broker makes a snapshot for a joining broker that finds ${situation}`, async () => {
        const cluster = new Cluster()
        const a = await cluster.startLog(logOptions)
        await fillAndCompact(cluster, a)
        const b = await cluster.startLog(logOptions)
        expect(b.eventNames.at(-1)).to.equal('serve')
        expect(b.eventNames).to.include('restore')
        expect([...b.dump()]).to.deep.equal([...a.dump()])
        expect(b.log.status.members).to.deep.equal([a.brokerName, b.brokerName])
        expect(b.log.status.problem).to.equal(undefined)
        expect(a.log.status.snapshot?.position).to.be.at.least(cluster.store.compactedTo)
        await cluster.passTime(20_000)
        expect(a.eventNames).to.deep.equal(['serve'])
      })
    }

    it('a live broker makes one snapshot for two brokers that were cut off', async () => {
      const cluster = new Cluster()
      const [a, b, c] = [
        await cluster.startLog(),
        await cluster.startLog(),
        await cluster.startLog(),
      ]
      b.source.cut()
      c.source.cut()
      await fillAndCompact(cluster, a)
      b.source.mend()
      c.source.mend()
      await cluster.passTime(5_000)
      for (const broker of [b, c]) {
        expect(broker.eventNames).to.deep.equal(['serve', 'resign', 'restore', 'serve'])
      }
      expect(cluster.store.snapshots.length).to.equal(1)
    })

    it('the next member makes the snapshot if the oldest member is cut off', async () => {
      const cluster = new Cluster()
      const [a, b] = [await cluster.startLog(), await cluster.startLog()]
      await fillAndCompact(cluster, a)
      a.source.cut()
      const c = await cluster.startLog()
      expect(c.eventNames).to.deep.equal(['restore', 'serve'])
      expect(c.log.status.members).to.deep.equal([b.brokerName, c.brokerName])
    })

    it('snapshots are still made, and have the whole lock table', async () => {
      const cluster = new Cluster()
      const a = await cluster.startLog({ snapshotEntries: 70 })
      await fillAndCompact(cluster, a)
      for (let i = 50; i < 250; i++) {
        a.log.submit(fenceFloorCommand(i))
        await cluster.settle()
      }
      expect(cluster.store.snapshots.length).to.equal(2)
      expect(a.log.status.problem).to.equal(undefined)
      expect(cluster.store.compactedTo).to.equal(cluster.store.snapshots[0]!.position)
      const b = await cluster.startLog()
      expect([...b.dump()]).to.deep.equal([...a.dump()])
    })

    it('a broker detects and reports the compaction, and makes a snapshot', async () => {
      const cluster = new Cluster()
      const [a, b] = [await cluster.startLog(), await cluster.startLog()]
      await fillAndCompact(cluster, a)
      // A broker checks every 60 s whether the log has lost entries that no snapshot contains.
      await cluster.passTime(65_000)
      expect(cluster.store.snapshots.length).to.equal(1)
      expect(a.log.status.problem).to.contain('another program has compacted entries')
      await cluster.passTime(65_000)
      expect(cluster.store.snapshots.length).to.equal(1)
      expect(a.log.status.problem).to.equal(undefined)
      // With this snapshot no command is lost even if all brokers stop at the same time.
      for (const { source } of [a, b]) source.cut()
      const c = await cluster.startLog()
      expect([...c.dump()]).to.deep.equal([...a.dump()])
    })

    it('the log keeps only the newest two snapshots, however often the program compacts', async () => {
      const cluster = new Cluster()
      const a = await cluster.startLog()
      for (let i = 0; i < 4; i++) {
        await fillAndCompact(cluster, a)
        await cluster.passTime(65_000)
      }
      expect(cluster.store.snapshots.length).to.equal(2)
    })

    it('no entry is lost if the program retains entries for twice the time between snapshots', async () => {
      const cluster = new Cluster()
      const a = await cluster.startLog({ snapshotMs: 30_000 })
      const positions: number[] = []
      for (let seconds = 0; seconds < 300; seconds++) {
        // The program compacts up to the position of a minute ago.
        positions.push(cluster.store.position)
        if (seconds >= 60) cluster.store.compact(positions[seconds - 60]!)
        await cluster.passTime(1_000)
        expect(a.log.status.problem).to.equal(undefined)
      }
      expect(a.log.status.snapshot?.ageMs).to.be.at.most(31_000)
      const b = await cluster.startLog()
      expect([...b.dump()]).to.deep.equal([...a.dump()])
    })

    it('the start of a broker fails if no other broker is live', async () => {
      const cluster = new Cluster()
      const a = await cluster.startLog()
      await fillAndCompact(cluster, a)
      a.source.cut()
      const { log, source } = cluster.newLog()
      const error = await cluster.runUntilSettled(
        log.start(cluster.newStateMachine(log, source)).catch((error) => error),
      )
      expect(error.message).to.match(
        /are compacted, and neither a snapshot nor a live broker has them/,
      )
    })
  })
})
