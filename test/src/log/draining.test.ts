/**
 * Draining a broker that shares its log. It need not wait for clients whose locks survive at
 * another broker, but for all others.
 */
import { drain } from '@holdfast/server/internal'
import { closeCodes } from '@holdfast/shared'
import { expect } from 'chai'
import type { Client } from '../server/harness.js'
import { Cluster, type Member } from './cluster.js'

const drainMs = 10_000

/**
 * Drains a broker, and closes sockets as real ones would. Returns the duration in ms; undefined if
 * it did not end.
 */
async function drainAndMeasure(
  cluster: Cluster,
  member: Member,
  clients: readonly Client[],
  within: number,
): Promise<number | undefined> {
  const { clock } = cluster.machine
  const begun = clock.monotonic()
  let took: number | undefined
  void drain(member.broker, clock, drainMs, member.log.membership).then(() => {
    took = clock.monotonic() - begun
  })
  for (let passed = 0; passed < within && took === undefined; passed += 50) {
    await cluster.passAlive(50, ...clients.filter(({ socket }) => socket.closedWith === undefined))
    for (const { socket } of clients) if (socket.closedWith !== undefined) socket.drop()
    await cluster.settle()
  }
  return took
}

describe('draining a broker that shares its log', () => {
  it('sends holders and waiters to the other brokers, and ends as soon as they are gone', async () => {
    const cluster = new Cluster()
    const [a, b] = [await cluster.broker(), await cluster.broker()]
    const holder = await cluster.client(a, { grace: 'lease' })
    const waiter = await cluster.client(a, { grace: 'lease' })
    const fence = await cluster.lock(holder, 1, 'k')
    await cluster.send(waiter, { type: 'lock', id: 1, key: 'k' })
    expect(await drainAndMeasure(cluster, a, [holder, waiter], drainMs)).to.be.lessThan(500)
    for (const { socket } of [holder, waiter]) {
      expect(socket.closedWith?.code).to.equal(closeCodes.restart.code)
    }
    const socket = b.connectWithHello(holder.resume({ grace: 'lease' }))
    await cluster.settle()
    expect(b.clientOn(socket).welcome.resumed).to.equal(true)
    expect([...b.broker.table.keys.get('k')!.holders].map((lock) => lock.fence)).to.deep.equal([
      fence,
    ])
  })

  it('accepts new requests of clients that will continue at another broker', async () => {
    const cluster = new Cluster()
    const [a, b] = [await cluster.broker(), await cluster.broker()]
    const [moves, stays] = [
      await cluster.client(a, { grace: 'lease' }),
      await cluster.client(a, { grace: 0 }),
    ]
    a.broker.startDraining(drainMs)
    await cluster.send(moves, { type: 'lock', id: 1, key: 'k' })
    await cluster.send(stays, { type: 'lock', id: 1, key: 'l' })
    expect(moves.socket.heardOf('granted')).to.have.length(1)
    expect(stays.socket.heardOf('failed')[0]).to.include({ id: 1, code: 'UNAVAILABLE' })
    expect(b.broker.table.heldCount).to.equal(1)
  })

  it('waits the whole time for a client that would lose its locks', async () => {
    const cluster = new Cluster()
    const [a] = [await cluster.broker(), await cluster.broker()]
    const holder = await cluster.client(a, { grace: 0 })
    await cluster.lock(holder, 1, 'k')
    const took = await drainAndMeasure(cluster, a, [holder], 2 * drainMs)
    expect(took).to.be.at.least(drainMs)
  })

  it('waits the whole time for all clients if there is no other broker', async () => {
    const cluster = new Cluster()
    const a = await cluster.broker()
    const holder = await cluster.client(a, { grace: 'lease' })
    await cluster.lock(holder, 1, 'k')
    const took = await drainAndMeasure(cluster, a, [holder], 2 * drainMs)
    expect(took).to.be.at.least(drainMs)
  })
})
