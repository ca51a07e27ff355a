/**
 * A broker that shares its log goes away: whoever takes its locks along is not waited for, and
 * whoever would lose them is.
 */
import { drain } from '@holdfast/server/internal'
import { closeCodes } from '@holdfast/shared'
import { expect } from 'chai'
import type { Client } from '../server/bench.js'
import { Cluster, type Member } from './cluster.js'

const drainMs = 10_000

/** Drains, and lets sockets behave as sockets do; returns when that was done, in ms, if it was. */
async function drained(
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

describe('a broker that shares its log goes away', () => {
  it('sends who holds and who waits to the others, and is done as soon as they are gone', async () => {
    const cluster = new Cluster()
    const [a, b] = [await cluster.broker(), await cluster.broker()]
    const holder = await cluster.client(a, { grace: 'lease' })
    const waiter = await cluster.client(a, { grace: 'lease' })
    const fence = await cluster.take(holder, 1, 'k')
    await cluster.say(waiter, { type: 'lock', id: 1, key: 'k' })
    expect(await drained(cluster, a, [holder, waiter], drainMs)).to.be.lessThan(500)
    for (const { socket } of [holder, waiter]) {
      expect(socket.closedWith?.code).to.equal(closeCodes.restart.code)
    }
    const socket = b.greet(holder.resume({ grace: 'lease' }))
    await cluster.settle()
    expect(b.clientOn(socket).welcome.resumed).to.equal(true)
    expect([...b.broker.table.keys.get('k')!.holders].map((lock) => lock.fence)).to.deep.equal([
      fence,
    ])
  })

  it('takes new requests of those who go on elsewhere', async () => {
    const cluster = new Cluster()
    const [a, b] = [await cluster.broker(), await cluster.broker()]
    const [moves, stays] = [
      await cluster.client(a, { grace: 'lease' }),
      await cluster.client(a, { grace: 0 }),
    ]
    a.broker.startDraining(drainMs)
    await cluster.say(moves, { type: 'lock', id: 1, key: 'k' })
    await cluster.say(stays, { type: 'lock', id: 1, key: 'l' })
    expect(moves.socket.heardOf('granted')).to.have.length(1)
    expect(stays.socket.heardOf('failed')[0]).to.include({ id: 1, code: 'UNAVAILABLE' })
    expect(b.broker.table.heldCount).to.equal(1)
  })

  it('gives who would lose its locks the whole time', async () => {
    const cluster = new Cluster()
    const [a] = [await cluster.broker(), await cluster.broker()]
    const holder = await cluster.client(a, { grace: 0 })
    await cluster.take(holder, 1, 'k')
    const took = await drained(cluster, a, [holder], 2 * drainMs)
    expect(took).to.be.at.least(drainMs)
  })

  it('gives all of them the whole time, if nobody else is there', async () => {
    const cluster = new Cluster()
    const a = await cluster.broker()
    const holder = await cluster.client(a, { grace: 'lease' })
    await cluster.take(holder, 1, 'k')
    const took = await drained(cluster, a, [holder], 2 * drainMs)
    expect(took).to.be.at.least(drainMs)
  })
})
