/**
 * Tests how a broker drains, which means that it lets its clients leave before it ends. The broker
 * shares its command log with other brokers. The command log orders all changes of the lock table,
 * so a client can resume its session at another broker. The grace is how long a session survives
 * the loss of its connection. A session without a grace cannot be resumed. A draining broker waits
 * only for clients that cannot resume at another broker. A fence is the number of a grant.
 *
 * Also tests rebalancing, which sends the clients of a running broker to other brokers.
 */
import { drain, rebalance } from '@holdfast/server/internal'
import { closeCodes } from '@holdfast/shared'
import { expect } from 'chai'
import type { Client } from '../server/harness.js'
import { Cluster, type Member } from './cluster.js'

/** The time limit of a drain, in ms. */
const drainMs = 10_000

/**
 * Drains a broker. As real clients do, drops each socket that the broker has closed. Returns the
 * duration in ms; undefined if the drain has not ended after `limitMs`.
 */
async function drainAndMeasure(
  cluster: Cluster,
  member: Member,
  clients: readonly Client[],
  limitMs: number,
): Promise<number | undefined> {
  const { clock } = cluster.environment
  const startedAt = clock.monotonic()
  let duration: number | undefined
  void drain(member.broker, clock, drainMs, member.log.membership).then(() => {
    duration = clock.monotonic() - startedAt
  })
  // The connected clients answer pings at the end of each step.
  const stepMs = 100
  for (let passed = 0; passed < limitMs && duration === undefined; passed += stepMs) {
    const connected = clients.filter(({ socket }) => socket.closedWith === undefined)
    await cluster.passTimeAnsweringPings(stepMs, ...connected)
    for (const { socket } of clients) if (socket.closedWith !== undefined) socket.drop()
    await cluster.settle()
  }
  return duration
}

describe('draining a broker that shares its log', () => {
  it('lets holders and waiters resume at other brokers, and ends when they have left', async () => {
    const cluster = new Cluster()
    const [a, b] = [await cluster.startBroker(), await cluster.startBroker()]
    const holder = await cluster.connectClient(a, { grace: 'lease' })
    const waiter = await cluster.connectClient(a, { grace: 'lease' })
    const fence = await cluster.lock(holder, { id: 1, key: 'k' })
    await cluster.send(waiter, { type: 'lock', id: 1, key: 'k' })
    // The drain ends long before its limit of 10 s.
    expect(await drainAndMeasure(cluster, a, [holder, waiter], drainMs)).to.be.lessThan(500)
    for (const { socket } of [holder, waiter]) {
      expect(socket.closedWith?.code).to.equal(closeCodes.restart.code)
    }
    const socket = b.connectWithHello(holder.resumeHello({ grace: 'lease' }))
    await cluster.settle()
    expect(b.clientOn(socket).welcome.resumed).to.equal(true)
    expect([...b.broker.table.keys.get('k')!.holders].map((lock) => lock.fence)).to.deep.equal([
      fence,
    ])
  })

  it('accepts new requests only of clients that can resume at another broker', async () => {
    const cluster = new Cluster()
    const [a, b] = [await cluster.startBroker(), await cluster.startBroker()]
    const [withGrace, withoutGrace] = [
      await cluster.connectClient(a, { grace: 'lease' }),
      await cluster.connectClient(a, { grace: 0 }),
    ]
    a.broker.startDraining(drainMs)
    await cluster.send(withGrace, { type: 'lock', id: 1, key: 'k' })
    await cluster.send(withoutGrace, { type: 'lock', id: 1, key: 'l' })
    expect(withGrace.socket.takeMessagesOfType('granted')).to.have.length(1)
    expect(withoutGrace.socket.takeMessagesOfType('failed')[0]).to.include({
      id: 1,
      code: 'UNAVAILABLE',
    })
    expect(b.broker.table.heldCount).to.equal(1)
  })

  it('waits the whole drain time for a client that would lose its locks', async () => {
    const cluster = new Cluster()
    const a = await cluster.startBroker()
    // The second broker cannot help, because the session has no grace.
    await cluster.startBroker()
    const holder = await cluster.connectClient(a, { grace: 0 })
    await cluster.lock(holder, { id: 1, key: 'k' })
    const duration = await drainAndMeasure(cluster, a, [holder], 2 * drainMs)
    expect(duration).to.be.at.least(drainMs)
  })

  it('waits the whole drain time also for a session with a grace if there is no other broker', async () => {
    const cluster = new Cluster()
    const a = await cluster.startBroker()
    const holder = await cluster.connectClient(a, { grace: 'lease' })
    await cluster.lock(holder, { id: 1, key: 'k' })
    const duration = await drainAndMeasure(cluster, a, [holder], 2 * drainMs)
    expect(duration).to.be.at.least(drainMs)
  })
})

describe('rebalancing a broker that shares its log', () => {
  it('closes, one by one, the connections of sessions that other brokers can take over, and still serves clients', async () => {
    const cluster = new Cluster()
    const a = await cluster.startBroker()
    await cluster.startBroker()
    const movable: Client[] = []
    for (let i = 0; i < 10; i++) movable.push(await cluster.connectClient(a, { grace: 'lease' }))
    const withoutGrace = await cluster.connectClient(a)
    await cluster.lock(movable[0]!, { id: 1, key: 'k' })
    let returnedCount: number | undefined
    void rebalance(a.broker, cluster.environment.clock, 1_000, a.log.membership).then((count) => {
      returnedCount = count
    })
    const closedCount = () => movable.filter(({ socket }) => socket.closedWith !== undefined).length
    await cluster.passTimeAnsweringPings(500, withoutGrace)
    // About half of the ten connections, because half of the time of 1 s has passed.
    expect(closedCount()).to.be.within(4, 7)
    await cluster.passTimeAnsweringPings(600, withoutGrace)
    expect([closedCount(), returnedCount]).to.deep.equal([10, 10])
    for (const { socket } of movable) {
      expect(socket.closedWith?.code).to.equal(closeCodes.restart.code)
    }
    expect(withoutGrace.socket.closedWith).to.equal(undefined)
    expect(a.broker.isServing).to.equal(true)
    // The broker also accepts a new session.
    expect((await cluster.connectClient(a)).welcome.resumed).to.equal(false)
  })

  it('closes no connection if the log has no other member', async () => {
    const cluster = new Cluster()
    const a = await cluster.startBroker()
    const client = await cluster.connectClient(a, { grace: 'lease' })
    expect(await rebalance(a.broker, cluster.environment.clock, 1_000, a.log.membership)).to.equal(
      0,
    )
    expect(client.socket.closedWith).to.equal(undefined)
  })
})
