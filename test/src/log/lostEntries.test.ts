/**
 * Tests entries of a replicated log that one broker does not receive, or that the log itself has
 * lost. A replicated log is a command log that several brokers share. The log orders all changes of
 * the lock table. A broker that detects a loss must resign (disconnect its clients). Then it must
 * read the log again, and serve only with the same table as the other brokers.
 */
import { closeCodes } from '@holdfast/shared'
import { expect } from 'chai'
import { Cluster, type Member, type RecordingStateMachine } from './cluster.js'
import { fenceFloorCommand } from './logSuite.js'

/** Makes this broker miss the next entry that contains this text. */
function dropOnce({ source }: Pick<Member, 'source'>, text: string): void {
  source.faults.drops = (entry) => {
    if (!entry.includes(text)) return false
    source.faults.drops = () => false
    return true
  }
}

/** Submits one command for each fence, each in an entry of its own. */
async function submit(cluster: Cluster, broker: RecordingStateMachine, fences: number[]) {
  for (const fence of fences) {
    broker.log.submit(fenceFloorCommand(fence))
    await cluster.settle()
  }
}

describe('replicated log: a broker that does not receive an entry', () => {
  it('resigns, reads the log again, and serves with the table of the others', async () => {
    const cluster = new Cluster()
    const [a, b, c] = [await cluster.startLog(), await cluster.startLog(), await cluster.startLog()]
    const formerName = b.brokerName
    dropOnce(b, '"fence":7,')
    await submit(cluster, a, [7])
    expect(b.eventNames).to.deep.equal(['serve'])
    // Only the next entry of broker `a` shows the loss.
    await submit(cluster, a, [8])
    expect(b.eventNames).to.deep.equal(['serve', 'resign', 'restore', 'serve'])
    expect(b.applied).not.to.deep.include(fenceFloorCommand(8))
    expect(b.replayed).to.deep.include(fenceFloorCommand(7)).and.deep.include(fenceFloorCommand(8))
    expect([...b.dump()]).to.deep.equal([...a.dump()])
    // Broker `b` has a new name. Its sessions have passed from its former name to the new name.
    expect(a.restarts).to.deep.equal([[formerName, b.brokerName]])
    expect(b.log.status.problem).to.match(
      /did not receive entry \d+ of broker .*reads the log again/,
    )
    // The status reports a loss for 60 s.
    await cluster.passTime(61_000)
    expect(b.log.status.problem).to.equal(undefined)
    for (const { failure } of [a, b, c]) expect(failure).to.equal(undefined)
    for (const { eventNames } of [a, c]) expect(eventNames).to.deep.equal(['serve'])
  })

  // A heartbeat is an entry without commands.
  it('detects the loss by the next heartbeat, without a further command', async () => {
    const cluster = new Cluster()
    const [a, b] = [await cluster.startLog(), await cluster.startLog()]
    dropOnce(b, '"fence":7,')
    await submit(cluster, a, [7])
    // Longer than the time between two heartbeats of broker `a`.
    await cluster.passTime(1_100)
    expect(b.eventNames).to.deep.equal(['serve', 'resign', 'restore', 'serve'])
  })

  // A snapshot has the lock table as it was at one position of the log.
  it('reads the newest snapshot first if the log has a snapshot', async () => {
    const cluster = new Cluster()
    const options = { snapshotEntries: 20 }
    const [a, b] = [await cluster.startLog(options), await cluster.startLog(options)]
    await submit(
      cluster,
      a,
      Array.from({ length: 50 }, (_, i) => i),
    )
    dropOnce(b, '"fence":77,')
    await submit(cluster, a, [77, 78])
    expect(b.eventNames).to.deep.equal(['serve', 'resign', 'restore', 'serve'])
    expect(b.restored).not.to.deep.equal([])
    expect([...b.dump()]).to.deep.equal([...a.dump()])
  })

  for (const [name, text] of [
    ['its own join', '"join"'],
    ['its own command', '"fence":7,'],
  ] as const) {
    it(`detects the loss of ${name}`, async () => {
      const cluster = new Cluster()
      const a = await cluster.startLog()
      const { log, source } = cluster.newLog()
      const b = cluster.newStateMachine(log, source)
      const starting = log.start(b)
      if (text === '"join"') {
        // In the log, the first join is of broker `a`, and the second join is of broker `b`.
        let joinCount = 0
        source.faults.drops = (entry) => entry.includes(text) && ++joinCount === 2
      } else dropOnce(b, text)
      await cluster.runUntilSettled(starting)
      await submit(cluster, b, [7, 8])
      await cluster.passTime(3_000)
      expect(b.eventNames.at(-1)).to.equal('serve')
      expect(b.eventNames).to.include('restore')
      expect(b.failure).to.equal(undefined)
      expect([...b.dump()]).to.deep.equal([...a.dump()])
    })
  }

  it('tries once more to read the log if an outage interrupts the first attempt', async () => {
    const cluster = new Cluster()
    const [a, b] = [await cluster.startLog(), await cluster.startLog()]
    dropOnce(b, '"fence":7,')
    await submit(cluster, a, [7])
    // The entry of fence 8 arrives after 100 ms, and shows the loss. Broker `b` then asks the store
    // for a snapshot. The answer would arrive at 200 ms, but the connection breaks at 150 ms.
    b.source.faults.delayMs = 100
    a.log.submit(fenceFloorCommand(8))
    await cluster.passTime(150)
    expect(b.eventNames).to.deep.equal(['serve', 'resign'])
    b.source.cut()
    await cluster.passTime(3_000)
    expect(b.eventNames).to.deep.equal(['serve', 'resign'])
    b.source.mend()
    await cluster.passTime(3_000)
    expect(b.eventNames).to.deep.equal(['serve', 'resign', 'restore', 'serve'])
  })

  it('disconnects its clients, and then grants no key that another client holds', async () => {
    const cluster = new Cluster()
    const [a, b] = [await cluster.startBroker(), await cluster.startBroker()]
    const [first, second] = [await cluster.connectClient(a), await cluster.connectClient(b)]
    dropOnce(b, '"key":"k"')
    await cluster.lock(first, { id: 1, key: 'k' })
    expect(second.socket.closedWith).to.equal(undefined)
    // The next entry shows broker `b` that an entry is missing.
    await cluster.send(first, { type: 'lock', id: 2, key: 'l' })
    expect(second.socket.closedWith?.code).to.equal(closeCodes.restart.code)
    await cluster.settle()
    const newClient = await cluster.connectClient(b)
    await cluster.send(newClient, { type: 'lock', id: 1, key: 'k' })
    expect(newClient.socket.takeMessagesOfType('granted')).to.deep.equal([])
    expect(b.failures).to.deep.equal([])
  })
})

describe('replicated log: an entry that the log itself has lost', () => {
  it('stops every broker with a permanent error, and lets no broker start', async () => {
    const cluster = new Cluster()
    const brokers = [await cluster.startLog(), await cluster.startLog(), await cluster.startLog()]
    await submit(cluster, brokers[0]!, [1])
    const text = cluster.store.allTexts.at(-1)!
    const { broker, n } = JSON.parse(text) as { broker: string; n: number }
    // Adds a copy whose number is higher by 2, as if the log had lost the entry between the two.
    cluster.store.put(text.replace(`"n":${n}`, `"n":${n + 2}`))
    await cluster.passTime(2_000)
    const lossMessage = `has lost entry ${n + 1} of broker ${broker}`
    for (const { failure, log } of brokers) {
      expect(failure?.message).to.contain(lossMessage).and.contain('restore the log from a backup')
      expect(log.isLive()).to.equal(false)
    }
    // Each broker has read the log again, and has found the same loss.
    for (const { eventNames } of brokers) {
      expect(eventNames).to.deep.equal(['serve', 'resign', 'restore'])
    }
    const error = await cluster.startLog().then(
      () => undefined,
      (reason: Error) => reason,
    )
    expect(error?.message).to.contain(lossMessage)
    // No broker writes to the log any more.
    const positionBefore = cluster.store.position
    await cluster.passTime(10_000)
    expect(cluster.store.position).to.equal(positionBefore)
  })
})
