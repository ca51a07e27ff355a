/**
 * A key that very many wait for is released: all of them are granted, a part in each turn, and the
 * clients of other keys have their turn in between.
 */
import { expect } from 'chai'
import { Bench, type Client } from './bench.js'

/** Clients with shared requests, 1,250 each, that wait behind an exclusive lock. */
function scene(): { bench: Bench; holder: Client; crowd: Client[] } {
  const bench = new Bench()
  const holder = bench.join()
  holder.take('k')
  const crowd = Array.from({ length: 2 }, () => bench.join({ grace: 'lease' }))
  for (const client of crowd) {
    for (let from = 0; from < 1_250; from += 250) {
      const ids = Array.from({ length: 250 }, (_, i) => from + i + 1)
      client.say(...ids.map((id) => ({ type: 'lock', id, key: 'k', mode: 'shared' })))
    }
    client.heard()
  }
  return { bench, holder, crowd }
}

const grants = (crowd: readonly Client[]): number =>
  crowd.reduce((sum, { socket }) => sum + socket.heardOf('granted').length, 0)

describe('a release for very many', () => {
  it('is granted to all of them, in parts, with a turn for others in between', () => {
    const { bench, holder, crowd } = scene()
    const { table } = bench.broker
    holder.socket.say({ type: 'unlock', id: 2, fence: 1 })
    expect(table.heldCount).to.equal(1_000)
    bench.environment.endOneTurn()
    const other = bench.connect()
    other.say({ type: 'hello' })
    expect(table.heldCount).to.be.below(2_500)
    expect(table.sessions.size).to.equal(4)
    bench.environment.endTurn()
    expect(table.heldCount).to.equal(2_500)
    expect(grants(crowd)).to.equal(2_500)
  })

  it('is granted to all of them although the first of them leave meanwhile', () => {
    const { bench, holder, crowd } = scene()
    holder.socket.say({ type: 'unlock', id: 2, fence: 1 })
    crowd[0]!.say({ type: 'bye' })
    bench.environment.endTurn()
    expect(bench.broker.table.heldCount).to.equal(1_250)
    expect(bench.broker.table.waitingCount).to.equal(0)
    expect(grants([crowd[1]!])).to.equal(1_250)
  })
})
