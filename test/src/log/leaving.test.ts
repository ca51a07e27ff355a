/**
 * Tests how brokers join and leave a shared command log, and which errors stop a broker. The
 * command log orders all changes of the lock table, so each broker has the same table. A broker
 * that leaves announces this by an entry, unless the broker cannot reach the log. The command
 * `restart` passes all sessions of one broker to another broker. The dead time is the silence after
 * which the other brokers declare a broker dead, here 6 s.
 */
import { nodeEnvironment, ReplicatedLog } from '@holdfast/server/internal'
import { HoldfastError } from '@holdfast/shared'
import { expect } from 'chai'
import { Cluster, type RecordingStateMachine } from './cluster.js'
import { fenceFloorCommand } from './logSuite.js'
import { MemorySource, MemoryStore } from './memoryEngine.js'

describe('replicated log: joining and leaving', () => {
  it('a leaving broker sends its last commands, and passes its sessions to another broker immediately', async () => {
    const cluster = new Cluster()
    const [a, b] = [await cluster.startLog(), await cluster.startLog()]
    // A log that was closed has no name.
    const formerName = a.brokerName
    a.log.submit(fenceFloorCommand(1))
    await cluster.runUntilSettled(a.log.close())
    expect(b.applied).to.deep.include.members([fenceFloorCommand(1)])
    expect(b.restarts).to.deep.equal([[formerName, b.brokerName]])
    expect(b.log.status.members).to.deep.equal([b.brokerName])
  })

  it('a broker that joins an empty cluster takes over the sessions of the last broker', async () => {
    const cluster = new Cluster()
    const a = await cluster.startLog()
    const formerName = a.brokerName
    await cluster.runUntilSettled(a.log.close())
    const b = await cluster.startLog()
    expect(b.restarts).to.deep.equal([])
    // 9 s are more than the dead time. After the dead time, broker `b` takes over the sessions.
    await cluster.passTime(9_000)
    expect(b.restarts).to.deep.equal([[formerName, b.brokerName]])
  })

  it('a close ends after a timeout if the log does not answer', async () => {
    const cluster = new Cluster()
    const a = await cluster.startLog()
    a.source.cut()
    a.log.submit(fenceFloorCommand(1))
    const startedAt = cluster.environment.clock.monotonic()
    await cluster.runUntilSettled(a.log.close())
    // The close waits at most 3 s for the `leave` entry of the broker.
    expect(cluster.environment.clock.monotonic() - startedAt).to.be.lessThan(4_000)
    expect(cluster.environment.timerCount).to.equal(0)
  })

  it('a closed log leaves no timer behind', async () => {
    const cluster = new Cluster()
    const [a, b] = [await cluster.startLog(), await cluster.startLog()]
    await cluster.passTime(2_000)
    await cluster.runUntilSettled(Promise.all([a.log.close(), b.log.close()]))
    expect(cluster.environment.timerCount).to.equal(0)
  })

  it('a start fails with an error if the log does not answer', async () => {
    const cluster = new Cluster()
    const { log, source } = cluster.newLog()
    source.cut()
    const error = await cluster.runUntilSettled(
      log.start(cluster.newStateMachine(log, source)).catch((error) => error),
    )
    expect(error).to.be.instanceOf(HoldfastError)
    expect(error).to.deep.include({ code: 'UNAVAILABLE' })
    expect(error.message).to.contain('no answer')
    expect(cluster.environment.timerCount).to.equal(0)
  })

  it('a start fails with an error if the broker cannot join', async () => {
    const cluster = new Cluster()
    const { log, source } = cluster.newLog()
    const starting = log.start(cluster.newStateMachine(log, source)).catch((error) => error)
    // In this turn, the store answers the opening of the log, and then no other call.
    cluster.environment.endTurn()
    source.cut()
    const error = await cluster.runUntilSettled(starting)
    expect(error.code).to.equal('UNAVAILABLE')
    expect(cluster.environment.timerCount).to.equal(0)
  })

  it('a broker whose join returns too late does not serve', async () => {
    const cluster = new Cluster()
    const { log, source } = cluster.newLog()
    // The join takes 3 s to the log and 3 s back. The self-lease is the time for which a broker
    // knows that it is a member. This time ends 5.8 s after the broker has sent the join.
    source.faults.delayMs = 3_000
    const stateMachine = cluster.newStateMachine(log, source)
    const error = await cluster.runUntilSettled(log.start(stateMachine).catch((error) => error))
    expect(error.message).to.contain('could not join')
    expect(stateMachine.eventNames).to.deep.equal([])
  })

  it('a close cancels a start', async () => {
    const cluster = new Cluster()
    const { log, source } = cluster.newLog()
    source.faults.delayMs = 10_000
    const starting = log.start(cluster.newStateMachine(log, source)).catch((error) => error)
    await cluster.passTime(1_000)
    await cluster.runUntilSettled(log.close())
    expect((await cluster.runUntilSettled(starting)).message).to.contain('closed')
  })

  it('a start is refused with another cluster name or another dead time', async () => {
    const cluster = new Cluster()
    await cluster.startLog({ cluster: 'one' })
    for (const options of [{ cluster: 'two' }, { cluster: 'one', deadMs: 5_000 }]) {
      const { log, source } = cluster.newLog(options)
      const error = await cluster.runUntilSettled(
        log.start(cluster.newStateMachine(log, source)).catch((error) => error),
      )
      expect(error.code).to.equal('INVALID_OPTION')
    }
  })

  it('invalid options are refused', () => {
    const source = new MemorySource(new MemoryStore(nodeEnvironment))
    // `deadMs` must be an integer from 1,000 to 60,000, `snapshotMs` at least 10,000, and the other
    // two options at least 1.
    for (const options of [
      { deadMs: 999 },
      { deadMs: 60_001 },
      { deadMs: 1_500.5 },
      { snapshotEntries: 0 },
      { snapshotCharacters: 0 },
      { snapshotMs: 9_999 },
    ]) {
      expect(() => new ReplicatedLog(source, options, nodeEnvironment)).to.throw(HoldfastError)
    }
  })
})

describe('replicated log: permanent errors', () => {
  const invalidEntries: [string, string, string][] = [
    ['an entry of a newer format', '{"v":4}', 'has format 4'],
    ['text that is not an entry', 'nonsense', 'invalid entry at position'],
  ]
  for (const [name, text, message] of invalidEntries) {
    it(`a broker stops at ${name}`, async () => {
      const cluster = new Cluster()
      const a = await cluster.startLog()
      cluster.store.put(text)
      // The broker stops at the first of these two entries, so the second entry changes nothing.
      cluster.store.put(text)
      await cluster.passTime(1_000)
      expect(a.failure?.message).to.contain(message)
      const positionBefore = cluster.store.position
      a.log.submit(fenceFloorCommand(1))
      await cluster.passTime(10_000)
      expect(cluster.store.position).to.equal(positionBefore)
      expect(a.log.isLive()).to.equal(false)
      await a.log.close()
      expect(cluster.environment.timerCount).to.equal(0)
    })
  }

  /**
   * Gives a broker a wrong digest (hash of its table), and lets this broker submit entries until
   * the brokers compare their digests.
   */
  async function runComparison(
    cluster: Cluster,
    brokerWithWrongDigest: RecordingStateMachine,
  ): Promise<void> {
    await cluster.passTime(1_000)
    brokerWithWrongDigest.digestValue = 'another'
    // The brokers compare their digests after every 1,000 entries.
    for (let i = 0; i < 1_100 && brokerWithWrongDigest.failure === undefined; i++) {
      brokerWithWrongDigest.log.submit(fenceFloorCommand(i))
      await cluster.settle()
    }
  }

  it('a broker with a different table stops, even if its digest came first', async () => {
    const cluster = new Cluster()
    const [a, b, c] = [await cluster.startLog(), await cluster.startLog(), await cluster.startLog()]
    // Broker `a` gets each entry before the other brokers, so its digest is the first in the log.
    await runComparison(cluster, a)
    expect(a.failure?.message).to.contain('differs from the table of the majority at position')
    await cluster.passTime(9_000)
    for (const { failure, eventNames } of [b, c]) {
      expect(failure).to.equal(undefined)
      expect(eventNames).to.deep.equal(['serve'])
    }
    expect(b.log.status.members).to.deep.equal([b.brokerName, c.brokerName])
  })

  it('a broker with a different table stops within seconds, even if the log gets few entries', async () => {
    const cluster = new Cluster()
    const [a, b, c] = [await cluster.startLog(), await cluster.startLog(), await cluster.startLog()]
    await cluster.passTime(1_000)
    c.digestValue = 'another'
    b.log.submit(fenceFloorCommand(1))
    // The brokers also compare their digests 5 s after a command.
    await cluster.passTime(6_500)
    expect(c.failure?.message).to.contain('differs from the table of the majority at position')
    expect(cluster.store.allTexts.length).to.be.lessThan(100)
    for (const { failure, eventNames } of [a, b]) {
      expect(failure).to.equal(undefined)
      expect(eventNames).to.deep.equal(['serve'])
    }
  })

  it('brokers compare their tables only after commands, and at most every 5 s', async () => {
    const cluster = new Cluster()
    const brokers = [await cluster.startLog(), await cluster.startLog(), await cluster.startLog()]
    await cluster.passTime(20_000)
    const countComparisons = (): number =>
      cluster.store.allTexts.filter((text) => text.includes('"digestRound"')).length
    const comparisonsBefore = countComparisons()
    await cluster.passTime(20_000)
    expect(countComparisons()).to.equal(comparisonsBefore)
    for (let i = 0; i < 20; i++) {
      brokers[1]!.log.submit(fenceFloorCommand(i))
      await cluster.passTime(1_000)
    }
    // A comparison begins at the first entry that comes at least 5 s after the former comparison,
    // so 20 s may have only three comparisons.
    expect(countComparisons() - comparisonsBefore).to.be.within(3, 4)
    for (const { failure } of brokers) expect(failure).to.equal(undefined)
  })

  it('two brokers with different tables both stop, because there is no majority', async () => {
    const cluster = new Cluster()
    const brokers = [await cluster.startLog(), await cluster.startLog()]
    await runComparison(cluster, brokers[0]!)
    for (const { failure } of brokers) {
      expect(failure?.message).to.match(
        /differ at position \d+ of the shared log, without a majority/,
      )
    }
  })
})
