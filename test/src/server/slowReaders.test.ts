/**
 * A client that does not read what it is sent costs bounded memory and nobody else anything: it has
 * five seconds with more than 256 KiB unread, and no time at all beyond 1 MiB.
 */
import { expect } from 'chai'
import { RefusalRecorder } from '../ops/refusalRecorder.js'
import { Bench, type Client, passAlive } from './bench.js'

const kib = 1024

/** A client that watches everything and has stopped reading, and one that makes things happen. */
function scene(options = {}): { bench: Bench; sloth: Client; busy: Client } {
  const bench = new Bench(options)
  const sloth = bench.join({ lease: 60_000 })
  const busy = bench.join({ lease: 60_000 })
  sloth.take('held by the sloth')
  sloth.say({ type: 'watch', id: 100 })
  sloth.heard()
  sloth.socket.isReading = false
  return { bench, sloth, busy }
}

/** Makes events until the sloth has at least this much unread, in its socket and before it. */
function pile({ bench, busy, sloth }: ReturnType<typeof scene>, bytes: number): void {
  const metadata = 'x'.repeat(4_000)
  const [connection] = bench.broker.connections
  while (connection!.backlogBytes < bytes && sloth.socket.closedWith === undefined) {
    busy.unlock(busy.take('k', { metadata }))
  }
}

describe('slow readers', () => {
  it('may leave up to 256 KiB unread for as long as they like', () => {
    const made = scene()
    const { bench: b, sloth, busy } = made
    pile(made, 240 * kib)
    passAlive(b, 20_000, busy)
    expect(sloth.socket.closedWith).to.equal(undefined)
  })

  it('are cut with 4308 when they leave more for five seconds', () => {
    const made = scene()
    const { bench: b, sloth } = made
    pile(made, 257 * kib)
    b.environment.pass(4_999)
    expect(sloth.socket.closedWith).to.equal(undefined)
    b.environment.pass(1)
    expect(sloth.socket.closedWith?.code).to.equal(4308)
    expect(sloth.socket.terminated, 'without a handshake that nobody reads').to.equal(true)
  })

  it('are let off when they catch up in time, and begin anew', () => {
    const made = scene()
    const { bench: b, sloth, busy } = made
    for (let round = 0; round < 3; round++) {
      pile(made, 257 * kib)
      passAlive(b, 4_000, busy)
      sloth.socket.read()
      b.environment.endTurn()
      passAlive(b, 2_000, busy)
    }
    expect(sloth.socket.closedWith).to.equal(undefined)
  })

  it('are let off when they caught up, although nothing was sent since', () => {
    const made = scene({ limits: { slowBytes: 10 * kib } })
    const { bench: b, sloth } = made
    pile(made, 11 * kib)
    sloth.socket.bufferedBytes = 0
    b.environment.pass(6_000)
    expect(sloth.socket.closedWith).to.equal(undefined)
  })

  it('are not counted once they are gone', () => {
    const notices = new RefusalRecorder()
    const made = scene({ observer: notices })
    const { bench: b, sloth, busy } = made
    sloth.socket.bufferedBytes = 257 * kib
    busy.socket.say({ type: 'lock', id: 1, key: 'k' })
    sloth.socket.drop()
    b.environment.pass(6_000)
    expect(notices.causes).to.deep.equal([])
  })

  it('are cut at once beyond 1 MiB', () => {
    const made = scene()
    const { sloth } = made
    pile(made, 1_000 * kib)
    expect(sloth.socket.closedWith).to.equal(undefined)
    pile(made, 1_025 * kib)
    expect(sloth.socket.closedWith?.code).to.equal(4308)
    expect(sloth.socket.terminated).to.equal(true)
  })

  it('have their limits from the options', () => {
    const limits = { slowBytes: 10 * kib, slowMs: 100, backlogBytes: 40 * kib }
    const first = scene({ limits })
    pile(first, 11 * kib)
    first.bench.environment.pass(100)
    expect(first.sloth.socket.closedWith?.code).to.equal(4308)
    const second = scene({ limits })
    pile(second, 41 * kib)
    expect(second.sloth.socket.closedWith?.code).to.equal(4308)
  })

  it('keep their locks for their lease, although they have no grace', () => {
    const made = scene()
    const { bench: b, sloth, busy } = made
    pile(made, 1_025 * kib)
    sloth.socket.drop()
    const id = busy.lock('held by the sloth')
    const [before] = passAlive(b, 59_900, busy)
    expect(before!.filter(({ type }) => type === 'granted')).to.deep.equal([])
    const [after] = passAlive(b, 200, busy)
    expect(after!.filter(({ type }) => type === 'granted')).to.have.length(1)
    expect(after).to.deep.include({ type: 'granted', id, fence: b.broker.table.fence })
  })

  it('do not count what they are only shown on request: it is sent as fast as it is read', () => {
    const b = new Bench()
    const holder = b.join({ lease: 60_000 })
    for (let i = 0; i < 1_000; i++) holder.lock(`k${i}`, { metadata: 'x'.repeat(4_000) })
    const reader = b.join({ lease: 60_000 })
    reader.socket.isReading = false
    reader.say({ type: 'query', id: 1 })
    expect(reader.socket.bufferedBytes).to.be.below(100 * kib)
    let reads = 0
    while (reader.socket.bufferedBytes > 0) {
      reader.socket.read()
      b.environment.endTurn()
      reads++
    }
    const parts = reader.socket.heardOf('found')
    expect(parts.flatMap(({ held }) => held)).to.have.length(1_000)
    expect(parts.filter(({ more }) => !more)).to.deep.equal([parts.at(-1)])
    expect(reads).to.be.above(40)
  })

  it('are not cut while they read, where they may leave as much as is sent at once', () => {
    // As in the public profile.
    const b = new Bench({ limits: { slowBytes: 64 * kib } })
    const holder = b.join({ lease: 60_000 })
    for (let i = 0; i < 1_000; i++) holder.lock(`k${i}`, { metadata: 'x'.repeat(1_000) })
    const reader = b.join({ lease: 60_000 })
    reader.socket.isReading = false
    reader.say({ type: 'query', id: 1 })
    while (reader.socket.bufferedBytes > 0) {
      b.environment.pass(1_000)
      reader.socket.read()
      b.environment.endTurn()
    }
    expect(reader.socket.closedWith).to.equal(undefined)
    const parts = reader.socket.heardOf('found')
    expect(parts.flatMap(({ held }) => held)).to.have.length(1_000)
  })

  for (const type of ['query', 'watch'] as const) {
    it(`are cut when they read nothing of the answer to a ${type} for five seconds`, () => {
      const b = new Bench()
      const holder = b.join({ lease: 60_000 })
      for (let i = 0; i < 1_000; i++) holder.lock(`k${i}`, { metadata: 'x'.repeat(4_000) })
      const reader = b.join({ lease: 60_000 })
      reader.socket.isReading = false
      reader.say({ type, id: 1 })
      b.environment.pass(4_999)
      reader.socket.read(40 * kib)
      b.environment.endTurn()
      b.environment.pass(4_999)
      expect(reader.socket.closedWith, 'some of it was read').to.equal(undefined)
      b.environment.pass(1)
      expect(reader.socket.closedWith?.code).to.equal(4308)
    })
  }

  it('are paused when they ask without reading, and cut after five seconds', () => {
    const b = new Bench()
    const sloth = b.join({ lease: 60_000 })
    sloth.socket.isReading = false
    let asked = 0
    while (!sloth.socket.isPaused && asked < 100_000) sloth.say({ type: 'stats', id: ++asked })
    expect(sloth.socket.isPaused).to.equal(true)
    const [connection] = b.broker.connections
    expect(connection!.backlogBytes).to.be.below(256 * kib)
    b.environment.pass(4_999)
    expect(sloth.socket.closedWith).to.equal(undefined)
    b.environment.pass(1)
    expect(sloth.socket.closedWith?.code).to.equal(4308)
  })

  it('are not cut for the answers that a resume repeats, however many and long', () => {
    const b = new Bench()
    const crowd = Array.from({ length: 16 }, () => b.join({ lease: 60_000 }))
    for (const holder of crowd) {
      holder.take('k', { mode: 'shared', metadata: 'x'.repeat(1_000) })
    }
    const first = b.join({ lease: 60_000, grace: 'lease' })
    for (let i = 0; i < 200; i++) first.lock('k', { timeout: 0 })
    first.socket.drop()
    const socket = b.connect()
    socket.isReading = false
    b.say(socket, { type: 'hello', ...first.resume() })
    expect(socket.closedWith).to.equal(undefined)
    expect(socket.bufferedBytes).to.be.below(100 * kib)
    while (socket.bufferedBytes > 0) {
      socket.read()
      b.environment.endTurn()
    }
    const heard = socket.heard()
    const ids = heard.flatMap((message) => (message.type === 'failed' ? [message.id] : []))
    expect(ids).to.deep.equal(Array.from({ length: 200 }, (_, i) => i + 1))
    expect(heard.at(-1)).to.deep.include({ type: 'snapshot', more: false })
    expect(socket.frames.every((frame) => Buffer.byteLength(frame) <= 32 * kib)).to.equal(true)
  })

  it('cost no more than a socket, until they read', () => {
    const made = scene()
    const { bench: b, sloth, busy } = made
    pile(made, 240 * kib)
    expect(sloth.socket.bufferedBytes).to.be.below(100 * kib)
    const fence = busy.take('last')
    sloth.socket.isReading = true
    sloth.socket.read()
    b.environment.endTurn()
    const events = sloth.socket.heardOf('event').map(({ event }) => event.fence)
    expect(events.at(-1)).to.equal(fence)
    expect(new Set(events).size).to.equal(fence - 1)
  })

  it('are nobody else’s business: the others are answered as ever', () => {
    const made = scene()
    const { busy } = made
    pile(made, 1_025 * kib)
    expect(busy.take('free')).to.be.above(0)
  })
})
