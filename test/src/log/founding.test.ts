/**
 * Tests the founding of a replicated log (a command log that several brokers share). The operator
 * can set the number of brokers of the log. A new log then is being founded until a majority of
 * these brokers has joined, and no broker serves clients before. Otherwise a broker with a mistyped
 * log address would begin a new, empty log and grant locks that are held already.
 */
import { closeCodes } from '@holdfast/shared'
import { expect } from 'chai'
import { Cluster } from './cluster.js'

describe('replicated log: founding', () => {
  const logOptions = { brokers: 3 }

  /** A cluster whose first broker marks the new log as being founded. */
  function newCluster(): Cluster {
    const cluster = new Cluster()
    cluster.store.marksNewLogAsFounding = true
    return cluster
  }

  it('refuses clients until a majority of the brokers has joined, also after a restart', async () => {
    const cluster = newCluster()
    const onlyMember = await cluster.startBroker({}, logOptions)
    expect(onlyMember.broker.isServing).to.equal(false)
    expect(onlyMember.connect().closedWith?.code).to.equal(closeCodes.restart.code)
    expect(onlyMember.log.status.problem).to.match(
      /^the log is new, and only 1 of 3 brokers have joined/,
    )
    await cluster.runUntilSettled(onlyMember.log.close())
    // Starts the only member again.
    const first = await cluster.startBroker({}, logOptions)
    expect(first.broker.isServing).to.equal(false)
    // Two of three brokers are a majority.
    const second = await cluster.startBroker({}, logOptions)
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
      await cluster.startBroker({}, logOptions),
      await cluster.startBroker({}, logOptions),
    ]
    // The founding ends within 2 s after the second broker has joined.
    await cluster.passTime(2_000)
    expect(a.broker.isServing).to.equal(true)
    await cluster.runUntilSettled(a.log.close())
    expect(b.broker.isServing).to.equal(true)
    await cluster.runUntilSettled(b.log.close())
    const last = await cluster.startBroker({}, logOptions)
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
    // Two brokers now have the name `a`, so the list shows each of the two as `a~` with an id.
    await cluster.startLog({ name: 'a' })
    await cluster.settle()
    const [first, second, third] = a.log.status.members
    expect(second).to.equal('b')
    expect(first).to.match(/^a~./)
    expect(third).to.match(/^a~./).and.not.equal(first)
  })
})
