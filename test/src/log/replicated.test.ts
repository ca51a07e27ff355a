/**
 * Tests the membership of brokers in a replicated log (a command log that several brokers share).
 * The tests break connections to the log, lose answers and delay entries. The dead time is the
 * silence after which the other brokers declare a broker dead, here 6 s. The self-lease is the time
 * for which a broker knows that it is still a member: nearly the dead time. By the command
 * `restart`, another broker takes over the sessions of a dead broker. The self-lease of the dead
 * broker must end before this command. A heartbeat is an entry without commands. The tests submit
 * the command `raiseFenceFloor`, because its number distinguishes the commands.
 */
import { encodeCommands } from '@holdfast/server/internal'
import { expect } from 'chai'
import { Cluster, type RecordingStateMachine } from './cluster.js'
import { fenceFloorCommand } from './logSuite.js'

/** When the log last called this method of the state machine. */
function timeOf(stateMachine: RecordingStateMachine, name: string): number {
  const lastCall = stateMachine.events.filter((event) => event.name === name).at(-1)
  if (lastCall === undefined) throw new Error(`The log has not called ${name}`)
  return lastCall.at
}

describe('replicated log: the order of commands', () => {
  it('is the same at all brokers, for commands of any broker', async () => {
    const cluster = new Cluster()
    const brokers = [await cluster.startLog(), await cluster.startLog(), await cluster.startLog()]
    for (let i = 0; i < 60; i++) brokers[i % 3]!.log.submit(fenceFloorCommand(i))
    await cluster.settle()
    const [first] = brokers
    expect(first!.applied).to.have.length(60)
    for (const other of brokers) expect(other.applied).to.deep.equal(first!.applied)
  })

  it('contains each command once, even if entries are doubled and answers are lost', async () => {
    const cluster = new Cluster()
    const brokers = [await cluster.startLog(), await cluster.startLog()]
    Object.assign(brokers[0]!.source.faults, { appendsTwice: true })
    Object.assign(brokers[1]!.source.faults, { losesAnswers: true })
    for (let i = 0; i < 40; i++) {
      brokers[i % 2]!.log.submit(fenceFloorCommand(i))
      await cluster.passTime(10)
    }
    for (const { applied } of brokers) {
      const fences = applied.map((command) => 'fence' in command && command.fence)
      expect(fences).to.have.members(Array.from({ length: 40 }, (_, i) => i))
    }
  })

  it('is the same at a broker that joins later', async () => {
    const cluster = new Cluster()
    const earlyBroker = await cluster.startLog()
    for (let i = 0; i < 5; i++) earlyBroker.log.submit(fenceFloorCommand(i))
    await cluster.settle()
    const lateBroker = await cluster.startLog()
    expect(lateBroker.replayed).to.deep.equal(earlyBroker.applied)
    expect(lateBroker.applied).to.deep.equal([])
    expect(lateBroker.eventNames).to.deep.equal(['serve'])
  })
})

describe('replicated log: a permanent error', () => {
  it('is reported even if it directly follows the join entry of the broker', async () => {
    const cluster = new Cluster()
    const { log, source } = cluster.newLog()
    const stateMachine = cluster.newStateMachine(log, source)
    // The first append is the join entry. An entry of a newer format follows immediately.
    const unwatch = cluster.store.watch(() => {
      unwatch()
      cluster.store.put('{"v":4}')
    })
    await cluster.runUntilSettled(log.start(stateMachine))
    expect(stateMachine.eventNames).to.deep.equal(['serve'])
    expect(stateMachine.failure?.message).to.contain('The shared log has format 4')
    expect(log.isLive()).to.equal(false)
  })
})

describe('replicated log: the self-lease', () => {
  it('is extended by heartbeats', async () => {
    const cluster = new Cluster()
    const brokers = [await cluster.startLog(), await cluster.startLog()]
    await cluster.passTime(60_000)
    for (const { eventNames } of brokers) expect(eventNames).to.deep.equal(['serve'])
    expect(brokers[0]!.restarts).to.deep.equal([])
  })

  it('ends at a broker that is cut off, before another broker takes over', async () => {
    const cluster = new Cluster()
    const [a, b] = [await cluster.startLog(), await cluster.startLog()]
    const formerName = a.brokerName
    await cluster.passTime(10_000)
    const cutAt = cluster.environment.clock.monotonic()
    a.source.cut()
    // 5 s are shorter than the self-lease.
    await cluster.passTime(5_000)
    expect([a.eventNames, b.eventNames]).to.deep.equal([['serve'], ['serve']])
    let deadAt: number | undefined
    b.onApply = ({ type }) => {
      if (type === 'restart') deadAt ??= cluster.environment.clock.monotonic()
    }
    // Now the self-lease and then the dead time end.
    await cluster.passTime(6_000)
    expect(a.eventNames).to.deep.equal(['serve', 'resign'])
    expect(a.brokerName).to.equal('')
    expect(timeOf(a, 'resign') - cutAt).to.be.lessThan(6_000)
    expect(b.restarts).to.deep.equal([[formerName, b.brokerName]])
    expect(deadAt).to.be.greaterThan(timeOf(a, 'resign'))
    expect(b.eventNames).to.deep.equal(['serve'])
  })

  it('is checked by each call of isLive, even if the timers are late', async () => {
    const cluster = new Cluster()
    const a = await cluster.startLog()
    // The self-lease of 5.8 s ends in the second pause.
    cluster.environment.advanceWithoutTimers(5_700)
    expect(a.log.isLive()).to.equal(true)
    cluster.environment.advanceWithoutTimers(200)
    expect(a.log.isLive()).to.equal(false)
    expect(a.eventNames).to.deep.equal(['serve', 'resign'])
    expect(a.log.isLive()).to.equal(false)
    await cluster.passTime(1_000)
    expect(a.log.isLive()).to.equal(true)
  })

  it('begins again after an outage, and the broker gets a new name and its former sessions', async () => {
    const cluster = new Cluster()
    const [a, b] = [await cluster.startLog(), await cluster.startLog()]
    const formerName = a.brokerName
    a.source.cut()
    b.source.cut()
    await cluster.passTime(10_000)
    expect([a.eventNames, b.eventNames]).to.deep.equal([
      ['serve', 'resign'],
      ['serve', 'resign'],
    ])
    a.source.mend()
    b.source.mend()
    await cluster.passTime(3_000)
    expect(a.eventNames).to.deep.equal(['serve', 'resign', 'serve'])
    expect(a.brokerName).not.to.equal(formerName)
    expect(b.restarts).to.deep.include([formerName, a.brokerName])
    expect(b.restarts).to.have.length(2)
    expect(a.log.status.members).to.have.members([a.brokerName, b.brokerName])
  })

  it('does not end in a short outage, and no broker is declared dead', async () => {
    const cluster = new Cluster()
    const brokers = [await cluster.startLog(), await cluster.startLog(), await cluster.startLog()]
    for (let outage = 0; outage < 3; outage++) {
      for (const { source } of brokers) source.cut()
      // The outage is shorter than the self-lease.
      await cluster.passTime(4_000)
      for (const { source } of brokers) source.mend()
      await cluster.passTime(2_000)
    }
    for (const { eventNames } of brokers) expect(eventNames).to.deep.equal(['serve'])
    expect(brokers[0]!.restarts).to.deep.equal([])
  })

  it('does not end while all entries are late', async () => {
    const cluster = new Cluster()
    const [a, b] = [await cluster.startLog(), await cluster.startLog()]
    // The call of an append then takes 1 s, and the delivery of its entry takes 1 s more.
    a.source.faults.delayMs = 1_000
    b.source.faults.delayMs = 1_000
    await cluster.passTime(40_000)
    expect([a.eventNames, b.eventNames]).to.deep.equal([['serve'], ['serve']])
  })

  it('ends immediately when another broker declares this broker dead', async () => {
    const cluster = new Cluster()
    const [a, b] = [await cluster.startLog(), await cluster.startLog()]
    const formerName = a.brokerName
    const notices = { dead: [{ broker: formerName, last: 1 }] }
    // Broker `b` does not suspect broker `a`, so the test itself writes an entry of broker `b`. The
    // entry is the second of `b`, because entry 1 of each broker is its `join`.
    cluster.store.put(encodeCommands({ broker: b.brokerName, n: 2, at: 0 }, [], notices))
    await cluster.settle()
    expect(a.eventNames).to.deep.equal(['serve', 'resign', 'serve'])
    expect(a.restarts).to.deep.equal([[formerName, b.brokerName]])
  })

  it('invalidates the unstored commands of its broker when it ends', async () => {
    const cluster = new Cluster()
    const [a, b] = [await cluster.startLog(), await cluster.startLog()]
    a.source.cut()
    await cluster.passTime(1_000)
    // The broker submits the first command as a member. It has resigned when it submits the second
    // command.
    a.log.submit(fenceFloorCommand(1))
    await cluster.passTime(9_000)
    a.log.submit(fenceFloorCommand(2))
    a.source.mend()
    await cluster.passTime(2_000)
    a.log.submit(fenceFloorCommand(3))
    await cluster.settle()
    expect(b.applied.filter(({ type }) => type === 'raiseFenceFloor')).to.deep.equal([
      fenceFloorCommand(3),
    ])
    expect(a.eventNames).to.deep.equal(['serve', 'resign', 'serve'])
  })
})
