/**
 * Tests the founding of a replicated log (a command log that several brokers share). A broker whose
 * log address is mistyped would begin a new, empty log and grant locks that are held already. So
 * the operator can set the number of brokers of the log. No broker of a new log then serves clients
 * until a majority of these brokers has joined.
 */
import { closeCodes } from '@holdfast/shared'
import { expect } from 'chai'
import { Cluster } from './cluster.js'

describe('replicated log: founding', () => {
  /** A cluster whose store marks a new log as being founded. */
  function newCluster(): Cluster {
    const cluster = new Cluster()
    cluster.store.marksNewLogAsFounding = true
    return cluster
  }

  it('refuses clients until a majority of the brokers has joined, also after a restart', async () => {
    const cluster = newCluster()
    const onlyMember = await cluster.startBroker({}, { brokers: 3 })
    expect(onlyMember.broker.isServing).to.equal(false)
    expect(onlyMember.connect().closedWith?.code).to.equal(closeCodes.restart.code)
    expect(onlyMember.log.status.problem).to.match(
      /^the log is new, and only 1 of 3 brokers have joined/,
    )
    await cluster.runUntilSettled(onlyMember.log.close())
    const first = await cluster.startBroker({}, { brokers: 3 })
    expect(first.broker.isServing).to.equal(false)
    // Two of three brokers are a majority.
    const second = await cluster.startBroker({}, { brokers: 3 })
    await cluster.passTime(2_000)
    for (const { broker, log } of [first, second]) {
      expect(broker.isServing).to.equal(true)
      expect(log.status.problem).to.equal(undefined)
    }
    expect(cluster.store.isFounding).to.equal(false)
  })

  it('ends for good when a majority has joined, so that later a single broker serves clients', async () => {
    const cluster = newCluster()
    const [a, b] = [
      await cluster.startBroker({}, { brokers: 3 }),
      await cluster.startBroker({}, { brokers: 3 }),
    ]
    // The founding ends within 2 s after the second broker has joined.
    await cluster.passTime(2_000)
    expect(a.broker.isServing).to.equal(true)
    await cluster.runUntilSettled(a.log.close())
    expect(b.broker.isServing).to.equal(true)
    await cluster.runUntilSettled(b.log.close())
    const last = await cluster.startBroker({}, { brokers: 3 })
    expect(last.broker.isServing).to.equal(true)
  })
})

describe('replicated log: the names of brokers', () => {
  it('are shown to operators, with ids for two brokers that have the same name', async () => {
    const cluster = new Cluster()
    const a = await cluster.startLog({ name: 'a' })
    const b = await cluster.startLog({ name: 'b' })
    expect(a.log.status.members).to.deep.equal(['a', 'b'])
    expect([a.log.status.name, b.log.status.name]).to.deep.equal(['a', 'b'])
    expect(b.log.status.givenName).to.equal('b')
    // A second broker has the name `a`, so the list shows `a~` and an id for both.
    await cluster.startLog({ name: 'a' })
    await cluster.settle()
    const [first, second, third] = a.log.status.members
    expect(second).to.equal('b')
    expect(first).to.match(/^a~./)
    expect(third).to.match(/^a~./).and.not.equal(first)
  })
})
