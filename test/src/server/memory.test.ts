/**
 * The account of the broker's memory: what it counts is what the heap holds, it is back where it
 * was when everything is gone, and beyond its bound new work is refused while everybody may go on
 * with what it has.
 */
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { settingsFrom } from '@holdfast/server/internal'
import { expect } from 'chai'
import { RefusalRecorder } from '../ops/refusalRecorder.js'
import { count } from '../support/counts.js'
import { Bench, type Client } from './bench.js'

const program = fileURLToPath(new URL('programs/weigh.js', import.meta.url))

/** A broker that has this much room left once `prepare` is through. */
function tight(
  roomBytes: number,
  prepare: (bench: Bench) => Client,
): { bench: Bench; client: Client; notices: RefusalRecorder } {
  const notices = new RefusalRecorder()
  const rehearsal = new Bench()
  prepare(rehearsal)
  const memoryBytes = rehearsal.broker.memory.usedBytes + roomBytes
  const bench = new Bench({ limits: { memoryBytes }, observer: notices })
  return { bench, client: prepare(bench), notices }
}

function codes(client: Client): string[] {
  return client.heard().map((message) => {
    return message.type === 'failed' ? `${message.id} ${message.code}` : message.type
  })
}

describe('memory: the account', () => {
  it('counts what the heap holds, and at most five times as much', async function () {
    this.timeout(60_000)
    const run = promisify(execFile)
    const { stdout } = await run(process.execPath, [
      ...['--expose-gc', program],
      ...[String(count(0.5, 1)), String(count(4, 1))],
    ])
    const weighed = JSON.parse(stdout) as { name: string; counted: number; real: number }[]
    expect(weighed).to.have.length.above(count(2, 9))
    for (const { name, counted, real } of weighed) {
      // The rest is what the collector and growing tables make of it from run to run.
      expect(counted, `${name}: ${real} taken`).to.be.above(real * count(0.6, 0.9))
      expect(counted, `${name}: ${real} taken`).to.be.below(real * 5)
    }
  })

  it('is back where it was when everything is gone', () => {
    const bench = new Bench()
    const empty = bench.broker.memory.usedBytes
    const clients = Array.from({ length: 3 }, () => bench.join({ grace: 'lease', name: 'n' }))
    const [a, b, sloth] = clients as [Client, Client, Client]
    sloth.say({ type: 'watch', id: 1 }, { type: 'watch', id: 2, prefix: 'k' })
    sloth.socket.bufferedBytes = 100_000
    a.take('k', { mode: 'shared', metadata: 'm', ttl: 60_000 })
    b.lock('k', { timeout: 0 })
    b.lock('k', { metadata: 'waits' })
    b.say({ type: 'query', id: 9 })
    const { table, memory } = bench.broker
    expect(memory.usedBytes).to.be.above(empty + table.bytes)
    for (const client of clients) {
      client.say({ type: 'bye' })
      client.socket.drop()
    }
    expect(table.bytes).to.equal(0)
    expect(memory.usedBytes - table.keys.idleBytes).to.equal(empty)
  })

  it('counts an event once, however many do not read it', () => {
    const used = (sloths: number): number => {
      const bench = new Bench()
      for (let i = 0; i < sloths; i++) {
        const sloth = bench.join()
        sloth.say({ type: 'watch', id: 1 })
        sloth.socket.bufferedBytes = 70_000
      }
      const busy = bench.join()
      const before = bench.broker.memory.usedBytes
      for (let i = 0; i < 20; i++) busy.unlock(busy.take('k', { metadata: 'm'.repeat(3_000) }))
      return bench.broker.memory.usedBytes - before
    }
    const [one, ten] = [used(1), used(10)]
    // What waits in each socket counts for each.
    expect(ten - one).to.be.below(9 * (70_000 + 40 * 200))
    expect(one).to.be.above(40 * 3_000)
  })

  it('counts what a paused connection has not read, until it has', () => {
    const bench = new Bench()
    const client = bench.join()
    const before = bench.broker.memory.usedBytes
    client.socket.unreadBytes = 60_000
    client.socket.sayControlFrames(1_000)
    bench.environment.endOneTurn()
    expect(client.socket.isPaused).to.equal(true)
    expect(bench.broker.memory.usedBytes).to.equal(before + 60_000)
    client.socket.unreadBytes = 0
    bench.environment.endTurn()
    expect(client.socket.isPaused).to.equal(false)
    expect(bench.broker.memory.usedBytes).to.equal(before)
  })

  it('forgets the output of a client that has read it, although nothing is said since', () => {
    const bench = new Bench()
    const sloth = bench.join()
    sloth.say({ type: 'watch', id: 1 })
    const busy = bench.join()
    const before = bench.broker.memory.usedBytes
    sloth.socket.isReading = false
    const fence = busy.take('k', { metadata: 'm'.repeat(4_000) })
    for (let i = 0; i < 10; i++) busy.refresh(fence)
    busy.unlock(fence)
    for (let i = 0; i < 5; i++) busy.unlock(busy.take('k', { metadata: 'm'.repeat(4_000) }))
    expect(bench.broker.memory.usedBytes).to.be.above(before + 40_000)
    sloth.socket.read()
    bench.environment.endTurn()
    expect(bench.broker.memory.usedBytes).to.be.below(before + 2_000)
  })
})

describe('memory: beyond memoryBytes', () => {
  const prepare = (bench: Bench): Client => {
    // So much that an eighth more is more than what a test does.
    for (let i = 0; i < 100; i++) bench.connect()
    const client = bench.join({ grace: 'lease' })
    client.lock('held', { ttl: 60_000 })
    client.heard()
    return client
  }

  it('new locks and watches are refused, and say why', () => {
    const { client, notices } = tight(0, prepare)
    client.lock('k')
    client.lock('k', { timeout: 0 })
    client.say({ type: 'watch', id: 7 })
    client.say({ type: 'query', id: 8 })
    const failed = client.socket.heardOf('failed')
    expect(failed.map(({ id, code }) => `${id} ${code}`)).to.deep.equal([
      '2 QUOTA_EXCEEDED',
      '3 QUOTA_EXCEEDED',
      '7 QUOTA_EXCEEDED',
    ])
    expect(failed[0]!.message).to.match(/^the broker keeps [\d,]+ bytes .* \(memoryBytes\)$/)
    expect(notices.causes.every((cause) => cause === 'memory_bytes')).to.equal(true)
    expect(notices.causes).to.have.length(3)
  })

  it('what is held can be refreshed, given back and acknowledged, and that makes room', () => {
    const { bench, client } = tight(-1, prepare)
    client.say({ type: 'refresh', id: 2, fence: 1 }, { type: 'unlock', id: 3, fence: 1 })
    client.say({ type: 'ack', ids: [1, 2, 3] }, { type: 'stats', id: 9 })
    expect(codes(client)).to.deep.equal(['refreshed', 'unlocked', 'ack', 'stats'])
    client.lock('k')
    expect(bench.broker.table.heldCount).to.equal(0)
    client.say({ type: 'bye' })
    expect(client.socket.closedWith?.code).to.equal(1000)
  })

  it('what was asked before is answered as it was', () => {
    const { client } = tight(-1, prepare)
    client.say({ type: 'lock', id: 1, key: 'held' })
    expect(codes(client)).to.deep.equal(['granted'])
  })

  it('a waiting request is granted, and can be given up', () => {
    const { bench, client } = tight(-1, (b) => {
      const one = prepare(b)
      b.join().lock('held')
      return one
    })
    const other = [...bench.broker.connections].at(-1)!
    client.say({ type: 'unlock', id: 2, fence: 1 })
    expect(bench.broker.table.heldCount).to.equal(1)
    expect(other.session?.held.size).to.equal(1)
  })

  it('a new session is closed with 1013, and one that comes back is taken up', () => {
    const { bench, client, notices } = tight(1, prepare)
    client.socket.drop()
    bench.environment.endTurn()
    const filler = bench.connect()
    const stranger = bench.greet()
    expect(stranger.closedWith).to.deep.include({ code: 1013 })
    expect(stranger.closedWith?.reason).to.match(/^quota exceeded: memoryBytes \d+$/)
    stranger.drop()
    filler.drop()
    const socket = bench.connect()
    bench.connect()
    bench.say(socket, { type: 'hello', ...client.resume() })
    expect(socket.heardOf('welcome')[0]).to.include({ resumed: true })
    expect(notices.causes).to.deep.equal(['memory_bytes'])
  })

  it('an eighth beyond, new connections are closed with 1013', () => {
    const { bench, notices } = tight(0, prepare)
    let taken = 0
    let last = bench.connect()
    for (; last.closedWith === undefined && taken < 100; taken++) last = bench.connect()
    expect(taken).to.be.within(10, 20)
    expect(last.closedWith?.code).to.equal(1013)
    expect(notices.causes).to.deep.equal(['memory_bytes'])
  })

  it('an eighth beyond, clients that leave more than 16 KiB unread are cut with 4308', () => {
    const { bench, client, notices } = tight(300_000, prepare)
    const other = bench.join()
    other.socket.bufferedBytes = 10_000
    client.socket.bufferedBytes = 250_000
    for (const one of [client, other]) one.say({ type: 'stats', id: 1 })
    expect(client.socket.closedWith).to.equal(undefined)
    client.socket.bufferedBytes = 600_000
    for (const one of [client, other]) one.say({ type: 'stats', id: 2 })
    expect(client.socket.closedWith?.code).to.equal(4308)
    expect(other.socket.closedWith).to.equal(undefined)
    expect(notices.causes).to.deep.equal(['memory_bytes'])
  })

  it('is half of the heap by default, and can be off', () => {
    const { memoryBytes } = settingsFrom({}).limits
    expect(memoryBytes).to.be.above(100 * 1024 * 1024)
    expect(settingsFrom({ profile: 'public' }).limits.memoryBytes).to.equal(memoryBytes)
    const limits = { memoryBytes: Number.POSITIVE_INFINITY }
    const bench = new Bench({ limits })
    expect(bench.join().take('k')).to.equal(1)
  })
})
