/**
 * The work that one client causes is charged to that client: it waits its turn behind the others,
 * and nothing that it said is lost or changes its place.
 */
import { costs } from '@holdfast/server/internal'
import { expect } from 'chai'
import { Bench, type Client } from './bench.js'

/** A table in which one client holds this many locks. */
function crowded(locks: number, options = {}): { bench: Bench; busy: Client; other: Client } {
  const bench = new Bench(options)
  const holder = bench.join({ lease: 60_000 })
  for (let i = 0; i < locks; i += 500) {
    const requests = Array.from({ length: 500 }, (_, j) => ({
      type: 'lock',
      id: i + j + 1,
      key: `held/${i + j}`,
    }))
    holder.say(...requests)
  }
  bench.environment.pass(5_000)
  holder.heard()
  return { bench, busy: bench.join({ lease: 60_000 }), other: bench.join({ lease: 60_000 }) }
}

/** How many turns pass until the client has heard an answer with this id. */
function turnsUntil({ environment }: Bench, client: Client, id: number): number {
  for (let turns = 1; turns < 10_000; turns++) {
    environment.endOneTurn()
    const heard = client.heard()
    if (heard.some((message) => 'id' in message && message.id === id)) return turns
  }
  throw new Error('never answered')
}

const queries = (count: number, terms = {}): object[] =>
  Array.from({ length: count }, (_, i) => ({ type: 'query', id: i + 1, limit: 1, ...terms }))

/** Frames that ask for much work each. */
const dear: Record<string, object[]> = {
  'queries of everything': queries(300),
  'queries that find nothing': queries(300, { prefix: 'nothing/' }),
  watches: Array.from({ length: 300 }, (_, i) => ({ type: 'watch', id: i + 1, prefix: 'held/' })),
  'requests for locks': Array.from({ length: 1_500 }, (_, i) => ({
    type: 'lock',
    id: i + 1,
    key: `more/${i}`,
  })),
  'requests that are refused': Array.from({ length: 1_500 }, (_, i) => ({
    type: 'lock',
    id: i + 1,
    key: 'held/1',
    timeout: 0,
  })),
  refusals: Array.from({ length: 1_500 }, (_, i) => ({ type: 'lock', id: i + 1, key: 7 })),
}

describe('pacing', function () {
  this.timeout(60_000)

  for (const [what, messages] of Object.entries(dear)) {
    it(`lets others have their turn beside a frame of ${what}`, () => {
      const { bench, busy, other } = crowded(5_000)
      busy.socket.say(...messages)
      other.socket.say({ type: 'lock', id: 1, key: 'free' })
      expect(turnsUntil(bench, other, 1)).to.be.below(5)
      bench.environment.endTurn()
    })

    it(`answers each of a frame of ${what}, in order, and a frame behind it`, () => {
      const { bench, busy } = crowded(5_000)
      busy.socket.say(...messages)
      busy.socket.say({ type: 'stats', id: 5_000 })
      bench.environment.endTurn()
      const answered = busy.heard().flatMap((message) => {
        const more = 'more' in message && message.more
        return 'id' in message && !more ? [message.id] : []
      })
      const asked = messages.map((message) => (message as { id: number }).id)
      expect(answered).to.deep.equal([...asked, 5_000])
      expect(busy.socket.isPaused).to.equal(false)
    })
  }

  it('gives each paused connection its turn', () => {
    const { bench, busy, other } = crowded(5_000)
    const third = bench.join({ lease: 60_000 })
    for (const client of [busy, other, third]) client.socket.say(...queries(200))
    const answered = (client: Client): number => client.socket.heardOf('found').length
    const counts = [0, 0, 0]
    for (let turns = 0; turns < 100; turns++) {
      bench.environment.endOneTurn()
      ;[busy, other, third].forEach((client, i) => {
        counts[i]! += answered(client)
      })
    }
    expect(Math.min(...counts)).to.be.above(0)
    expect(Math.max(...counts) - Math.min(...counts)).to.be.below(20)
    bench.environment.endTurn()
  })

  it('pauses a connection whose control frames have used up its share of a turn', () => {
    const { bench, busy, other } = crowded(500)
    busy.socket.sayControlFrames(10)
    expect(busy.socket.isPaused).to.equal(false)
    busy.socket.sayControlFrames(1_000)
    expect(busy.socket.isPaused).to.equal(true)
    busy.socket.say({ type: 'stats', id: 1 })
    other.socket.say({ type: 'lock', id: 1, key: 'free' })
    expect(turnsUntil(bench, other, 1)).to.be.below(3)
    expect(busy.socket.isPaused).to.equal(true)
    expect(turnsUntil(bench, busy, 1)).to.be.above(1)
    expect(busy.socket.isPaused).to.equal(false)
  })

  it('gives control frames the least share of a turn that other clients have used up', () => {
    const { bench, other } = crowded(500)
    const many = Array.from({ length: 100 }, () => bench.join({ lease: 60_000 }))
    for (const { socket } of many) socket.sayControlFrames(10_000)
    for (const { socket } of many) expect(socket.isPaused).to.equal(true)
    other.socket.say({ type: 'lock', id: 1, key: 'free' })
    expect(turnsUntil(bench, other, 1)).to.be.below(3)
    for (const { socket } of many) socket.drop()
    bench.environment.endTurn()
  })

  it('counts control frames among the work of a second', () => {
    const { bench, busy } = crowded(500, { limits: { workPerSecond: 10_000 } })
    bench.environment.pass(2_000)
    let frames = 0
    for (; frames < 10_000 && !busy.socket.isPaused; frames += 10) {
      busy.socket.sayControlFrames(10)
      bench.environment.endTurn()
    }
    // As much as a second allows, all at once; the rest waits for the next second.
    expect(frames * costs.controlFrame).to.be.within(9_000, 10_100)
    bench.environment.pass(1_000)
    expect(busy.socket.isPaused).to.equal(false)
  })

  it('does not read the socket of a paused connection', () => {
    const { bench, busy } = crowded(5_000)
    busy.socket.say(...queries(100))
    expect(busy.socket.isPaused).to.equal(true)
    bench.environment.endTurn()
    expect(busy.socket.isPaused).to.equal(false)
    expect(busy.socket.heardOf('found')).to.have.length(100)
  })

  it('acknowledges only what was handled, by the time at which it arrived', () => {
    const { bench, busy } = crowded(5_000)
    busy.heard()
    const sentAt = bench.environment.clock.monotonic()
    busy.socket.say(...queries(300), { type: 'pong', n: 1 })
    bench.environment.endOneTurn()
    bench.environment.stopFor(50)
    expect(busy.socket.heardOf('ack')).to.deep.equal([])
    bench.environment.endTurn()
    // The hello, 300 queries and the pong.
    expect(busy.socket.heardOf('ack')).to.deep.equal([{ type: 'ack', n: 302, at: sentAt }])
  })

  it('does not end a session for a silence while its socket is not read', () => {
    const limits = { workPerSecond: 10_000 }
    const { bench } = crowded(5_000, { limits })
    const slow = bench.join({ lease: 2_000 })
    slow.socket.say(...queries(500))
    bench.environment.pass(5_000)
    expect(slow.socket.isPaused).to.equal(true)
    expect(slow.socket.closedWith).to.equal(undefined)
    bench.environment.pass(20_000)
    expect(slow.socket.heardOf('found')).to.have.length(500)
    expect(slow.socket.closedWith?.code, 'which says nothing for its lease').to.equal(4410)
  })

  it('gives a session that was paused time to be heard when its socket is read again', () => {
    const limits = { workPerSecond: 10_000 }
    const { bench } = crowded(5_000, { limits })
    const slow = bench.join({ lease: 2_000 })
    slow.socket.say(...queries(100))
    while (slow.socket.isPaused) bench.environment.pass(1)
    // The lease counts from the frame, and is over.
    bench.environment.pass(600)
    expect(slow.socket.closedWith).to.equal(undefined)
    slow.socket.say({ type: 'pong', n: 1 })
    bench.environment.pass(1_000)
    expect(slow.socket.closedWith).to.equal(undefined)
    bench.environment.pass(2_000)
    expect(slow.socket.closedWith?.code).to.equal(4410)
  })

  it('lets no lock expire whose refresh has arrived and waits', () => {
    const limits = { workPerSecond: 10_000 }
    const { bench } = crowded(5_000, { limits })
    const slow = bench.join({ lease: 60_000 })
    const fence = slow.take('mine', { ttl: 1_000 })
    slow.socket.say(...queries(100).map((query, i) => ({ ...query, id: 100 + i })))
    bench.environment.pass(1)
    expect(slow.socket.isPaused).to.equal(true)
    // It waits in the network.
    slow.socket.say({ type: 'refresh', id: 300, fence })
    for (let ms = 0; slow.socket.isPaused; ms++) {
      expect(ms, 'longer than the ttl').to.be.below(10_000)
      bench.environment.pass(1)
    }
    const heard = slow.heard()
    expect(heard.filter(({ type }) => type === 'lost')).to.deep.equal([])
    expect(heard.filter(({ type }) => type === 'refreshed')).to.have.length(1)
  })

  it('spreads what exceeds the work of a second over the seconds that follow', () => {
    const limits = { workPerSecond: 10_000 }
    const { bench } = crowded(5_000, { limits })
    const slow = bench.join({ lease: 60_000 })
    // Some 320 units each.
    slow.socket.say(...queries(300))
    bench.environment.pass(1)
    expect(slow.socket.heardOf('found').length).to.be.within(25, 35)
    bench.environment.pass(1_000)
    expect(slow.socket.heardOf('found').length).to.be.within(25, 35)
    bench.environment.pass(10_000)
    expect(slow.socket.isPaused).to.equal(false)
  })

  it('handles what had arrived before the connection closed, a goodbye for instance', () => {
    const { bench } = crowded(5_000)
    const leaving = bench.join({ lease: 60_000, grace: 'lease' })
    leaving.take('left')
    leaving.socket.say(...queries(100), { type: 'bye' })
    leaving.socket.drop()
    leaving.socket.resume()
    expect(bench.broker.table.sessions.has(leaving.session)).to.equal(true)
    bench.environment.endTurn()
    expect(bench.broker.table.sessions.has(leaving.session)).to.equal(false)
    expect(bench.broker.connections.size).to.equal(2 + 1)
  })

  it('closes for a frame that is none only when what came before it was handled', () => {
    const { bench, busy } = crowded(5_000)
    busy.socket.say(...queries(100))
    busy.socket.resume()
    busy.socket.say('{"type":')
    bench.environment.endTurn()
    expect(busy.socket.heardOf('found')).to.have.length(100)
    expect(busy.socket.closedWith?.code).to.equal(4400)
  })

  it('gives up what waits of a connection that the broker closes', () => {
    const { bench, busy } = crowded(5_000)
    busy.socket.say(...queries(100))
    busy.socket.isReading = false
    for (const connection of [...bench.broker.connections]) bench.broker.dismiss(connection)
    expect(busy.socket.isPaused, 'its closing handshake is read').to.equal(false)
    bench.environment.endTurn()
    expect(busy.socket.heardOf('found').length).to.be.below(100)
  })

  it('lets others have their turn while a session with many locks ends', () => {
    const bench = new Bench()
    const crowd = Array.from({ length: 20 }, () => bench.join({ lease: 60_000 }))
    for (const [n, client] of crowd.entries()) {
      client.say(
        ...Array.from({ length: 1_000 }, (_, i) => ({ type: 'lock', id: i + 1, key: `${n}/${i}` })),
      )
    }
    const other = bench.join({ lease: 60_000 })
    for (const client of crowd) client.socket.drop()
    other.socket.say({ type: 'lock', id: 1, key: 'free' })
    expect(turnsUntil(bench, other, 1)).to.be.below(5)
    expect(bench.broker.table.heldCount).to.be.above(10_000)
    bench.environment.endTurn()
    expect(bench.broker.table.heldCount).to.equal(1)
  })

  it('lets others have their turn while thousands of locks expire together', () => {
    const bench = new Bench()
    const holder = bench.join({ lease: 60_000 })
    holder.say(
      ...Array.from({ length: 3_000 }, (_, i) => ({
        type: 'lock',
        id: i + 1,
        key: `${i}`,
        ttl: 500,
      })),
    )
    const other = bench.join({ lease: 60_000 })
    bench.environment.stopFor(600)
    bench.environment.fireTimers()
    other.socket.say({ type: 'lock', id: 1, key: 'free' })
    expect(turnsUntil(bench, other, 1)).to.be.below(5)
    expect(bench.broker.table.heldCount).to.be.above(1_000)
    bench.environment.pass(1_000)
    expect(bench.broker.table.heldCount).to.equal(1)
  })
})

const hundred = (bench: Bench, hello = {}): Client[] =>
  Array.from({ length: 100 }, () => bench.join({ lease: 60_000, ...hello }))

/** So many locks of this client. */
function fill(client: Client, prefix: string, count: number, terms = {}): void {
  for (let i = 0; i < count; i += 500) {
    const ids = Array.from({ length: 500 }, (_, j) => i + j + 1)
    client.say(...ids.map((id) => ({ type: 'lock', id, key: `${prefix}${id}`, ...terms })))
  }
  client.heard()
}

describe('pacing of what a single message may cause', function () {
  this.timeout(60_000)

  it('ends few of the sessions that say goodbye with thousands of locks in one turn', () => {
    const bench = new Bench()
    const leaving = Array.from({ length: 10 }, () => bench.join({ lease: 60_000 }))
    for (const [n, client] of leaving.entries()) fill(client, `${n}/`, 10_000)
    for (const client of leaving) client.socket.say({ type: 'bye' })
    expect(bench.broker.table.heldCount).to.be.above(80_000)
    bench.environment.endTurn()
    expect(bench.broker.table.heldCount).to.equal(0)
  })

  it('ends few of the sessions whose leases end together in one turn', () => {
    const bench = new Bench()
    const leaving = Array.from({ length: 10 }, () => bench.join({ lease: 2_000 }))
    for (const [n, client] of leaving.entries()) fill(client, `${n}/`, 5_000)
    let held = bench.broker.table.heldCount
    let most = 0
    for (let ms = 0; ms < 4_000; ms += 50) {
      bench.environment.stopFor(50)
      bench.environment.fireTimers()
      while (bench.environment.endOneTurn()) {
        most = Math.max(most, held - bench.broker.table.heldCount)
        held = bench.broker.table.heldCount
      }
    }
    expect(held).to.equal(0)
    expect(most).to.be.below(10_001)
  })

  it('resumes few of the sessions that come back with thousands of locks in one turn', () => {
    const bench = new Bench()
    const away = Array.from({ length: 20 }, () => bench.join({ lease: 60_000, grace: 60_000 }))
    // No more than the answers that a client may leave unacknowledged.
    for (const [n, client] of away.entries()) fill(client, `${n}/`, 1_000)
    for (const client of away) client.socket.drop()
    bench.environment.endTurn()
    const back = away.map((client) => {
      const socket = bench.connect()
      socket.say({ type: 'hello', lease: 60_000, grace: 60_000, ...client.resume() })
      return socket
    })
    const attached = (): number =>
      [...bench.broker.connections].filter(({ state }) => state === 'open').length
    expect(attached()).to.be.within(1, 15)
    bench.environment.endTurn()
    expect(attached()).to.equal(20)
    for (const socket of back) expect(socket.heardOf('welcome')).to.have.length(1)
  })

  it('charges for the frame whose message closes the connection', () => {
    const bench = new Bench()
    const hostile = hundred(bench)
    const ids = Array.from({ length: 1_023 }, (_, i) => i + 1)
    const bad = Array.from({ length: 12 }, () => ({ type: 'ack', ids: [...ids, 'x'] }))
    for (const { socket } of hostile) socket.say(...bad)
    const closed = hostile.filter(({ socket }) => socket.closedWith !== undefined)
    expect(closed.length).to.be.within(1, 20)
    bench.environment.endTurn()
    for (const { socket } of hostile) expect(socket.closedWith?.code).to.equal(4400)
  })

  it('charges a frame of nested arrays by the arrays', () => {
    const bench = new Bench()
    const hostile = hundred(bench)
    const deep = '['.repeat(30_000) + ']'.repeat(30_000)
    for (const { socket } of hostile) {
      socket.say(`[{"type":"lock","id":1,"key":"a","metadata":${deep}}]`)
    }
    expect(hostile.filter(({ socket }) => !socket.isPaused).length).to.be.below(5)
    bench.environment.endTurn()
    for (const { socket } of hostile) expect(socket.heardOf('failed')).to.have.length(1)
  })

  it('charges for metadata, which is made text again', () => {
    const bench = new Bench()
    const hostile = hundred(bench)
    const metadata = Array.from({ length: 1_500 }, () => 1)
    const frame = Array.from({ length: 20 }, (_, i) => ({
      ...{ type: 'lock', id: i + 1, key: 'm', timeout: 0, metadata },
    }))
    for (const { socket } of hostile) socket.say(...frame)
    const commands = (): number =>
      hostile.reduce((sum, { socket }) => {
        const heard = socket.heard().filter(({ type }) => type === 'granted' || type === 'failed')
        return sum + heard.length
      }, 0)
    bench.environment.endOneTurn()
    expect(commands()).to.be.within(1, 200)
    bench.environment.endTurn()
    expect(commands()).to.be.above(1_700)
  })

  it('charges for the holders of a key that a page begins behind', () => {
    const bench = new Bench()
    fill(bench.join({ lease: 60_000 }), '', 500)
    const holder = bench.join({ lease: 60_000 })
    for (let i = 0; i < 10_000; i += 500) {
      holder.say(
        ...Array.from({ length: 500 }, (_, j) => ({
          ...{ type: 'lock', id: i + j + 1, key: 'crowd', mode: 'shared' },
        })),
      )
    }
    const hostile = hundred(bench)
    for (const { socket } of hostile) {
      socket.say({
        type: 'query',
        id: 1,
        key: 'crowd',
        after: 'crowd',
        afterFence: 5_000,
        limit: 1,
      })
    }
    bench.environment.endOneTurn()
    const answered = hostile.filter(({ socket }) => socket.heardOf('found').length > 0)
    expect(answered.length).to.be.within(1, 30)
    bench.environment.endTurn()
  })

  it('charges for the connections that are told of an event', () => {
    const bench = new Bench()
    const watching = hundred(bench)
    for (const client of watching) client.say({ type: 'watch', id: 1, prefix: '' })
    const busy = bench.join({ lease: 60_000 })
    // What the watches took beyond the budget of one turn is missing in the next ones.
    for (let n = 1; n <= 3; n++) {
      busy.socket.say({ type: 'pong', n })
      bench.environment.endTurn()
    }
    const steal = { type: 'lock', key: 'churn', steal: true }
    busy.socket.say(...Array.from({ length: 200 }, (_, i) => ({ ...steal, id: i + 1 })))
    expect(bench.broker.table.fence).to.be.within(10, 100)
    bench.environment.endTurn()
    expect(bench.broker.table.fence).to.equal(200)
  })

  it('cuts no client that reads, whatever happens in a turn to what it watches', () => {
    const bench = new Bench()
    const watching = hundred(bench)
    const leaving = bench.join({ lease: 60_000 })
    fill(leaving, 'held/', 10_000)
    for (const client of watching) client.say({ type: 'watch', id: 1, prefix: '' })
    for (const client of watching) client.heard()
    leaving.say({ type: 'bye' })
    for (const { socket } of watching) {
      expect(socket.closedWith).to.equal(undefined)
      expect(socket.heardOf('event')).to.have.length(10_000)
    }
  })
})
