/**
 * Tests the broker's memory account: the count of the bytes that the broker keeps for its clients.
 * The count is hardly ever below the bytes on the heap. When all sessions have ended, the count is
 * the same as for an empty broker. Beyond `memoryBytes` the broker refuses new sessions and locks,
 * and serves the existing sessions and locks. A fence is the number of a grant. The grace is the
 * time that a session outlives its connection.
 */
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { settingsFrom } from '@holdfast/server/internal'
import { expect } from 'chai'
import { RefusalRecorder } from '../ops/refusalRecorder.js'
import { quickOrFull } from '../support/counts.js'
import { BrokerHarness, type Client } from './harness.js'

const program = fileURLToPath(new URL('programs/weigh.js', import.meta.url))

/**
 * Makes a broker whose memory limit is `roomBytes` above the bytes that the broker uses after
 * `prepare`. Also returns the client that `prepare` made.
 */
function brokerWithRoom(
  roomBytes: number,
  prepare: (harness: BrokerHarness) => Client,
): { harness: BrokerHarness; client: Client; refusals: RefusalRecorder } {
  const refusals = new RefusalRecorder()
  const unlimited = new BrokerHarness()
  prepare(unlimited)
  const memoryBytes = unlimited.broker.memory.usedBytes + roomBytes
  const harness = new BrokerHarness({ limits: { memoryBytes }, observer: refusals })
  return { harness, client: prepare(harness), refusals }
}

/** The messages that a client got: the id and code of failures, the type of all others. */
function outcomes(client: Client): string[] {
  return client.takeMessages().map((message) => {
    return message.type === 'failed' ? `${message.id} ${message.code}` : message.type
  })
}

describe('memory: the account', () => {
  it('counts at least about the bytes on the heap, and at most eight times as many', async function () {
    this.timeout(60_000)
    const run = promisify(execFile)
    // A quick run uses the first number of `quickOrFull`. So the run measures half the data, only
    // every fourth kind of data (the stride), and accepts larger errors.
    const [scale, stride] = [String(quickOrFull(0.5, 1)), String(quickOrFull(4, 1))]
    const { stdout } = await run(process.execPath, ['--expose-gc', program, scale, stride])
    const measurements = JSON.parse(stdout) as {
      name: string
      counted: number
      heapBytes: number
    }[]
    expect(measurements).to.have.length.above(quickOrFull(2, 9))
    for (const { name, counted, heapBytes } of measurements) {
      // The factor allows for the garbage collector and for growing hash tables.
      expect(counted, `${name}: ${heapBytes} on the heap`).to.be.above(
        heapBytes * quickOrFull(0.6, 0.9),
      )
      // The factor is high because stored refusals share one answer. The account counts this answer
      // for each refusal.
      expect(counted, `${name}: ${heapBytes} on the heap`).to.be.below(heapBytes * 8)
    }
  })

  it('returns to the count of an empty broker when all sessions have ended', () => {
    const harness = new BrokerHarness()
    const empty = harness.broker.memory.usedBytes
    const clients = Array.from({ length: 3 }, () =>
      harness.openSession({ grace: 'lease', name: 'n' }),
    )
    const [holder, waiter, slowReader] = clients as [Client, Client, Client]
    slowReader.say({ type: 'watch', id: 1 }, { type: 'watch', id: 2, prefix: 'k' })
    slowReader.socket.bufferedBytes = 100_000
    holder.acquire('k', { mode: 'shared', metadata: 'm', ttl: 60_000 })
    // The broker refuses this request, and stores the answer.
    waiter.lock('k', { timeout: 0 })
    waiter.lock('k', { metadata: 'waits' })
    waiter.say({ type: 'query', id: 9 })
    const { table, memory } = harness.broker
    // The account also counts connections, watches and unread output, which are not in the table.
    expect(memory.usedBytes).to.be.above(empty + table.bytes)
    for (const client of clients) {
      client.say({ type: 'bye' })
      client.socket.drop()
    }
    expect(table.bytes).to.equal(0)
    // The table keeps an unused key for a while. Only the account counts this key.
    expect(memory.usedBytes - table.keys.idleBytes).to.equal(empty)
  })

  it('counts an unread event once for any number of watchers', () => {
    const used = (watchers: number): number => {
      const harness = new BrokerHarness()
      for (let i = 0; i < watchers; i++) {
        const watcher = harness.openSession()
        watcher.say({ type: 'watch', id: 1 })
        watcher.socket.bufferedBytes = 70_000
      }
      const busy = harness.openSession()
      const bytesBefore = harness.broker.memory.usedBytes
      for (let i = 0; i < 20; i++) busy.unlock(busy.acquire('k', { metadata: 'm'.repeat(3_000) }))
      return harness.broker.memory.usedBytes - bytesBefore
    }
    const [withOneWatcher, withTenWatchers] = [used(1), used(10)]
    // The 20 locks have 40 events: each lock starts and ends. The unread bytes of a socket count
    // from its first event. Each of the nine further watchers adds these bytes, and less than 200
    // bytes for each event.
    expect(withTenWatchers - withOneWatcher).to.be.below(9 * (70_000 + 40 * 200))
    expect(withOneWatcher).to.be.above(40 * 3_000)
  })

  it('counts the bytes that a paused connection has received, until the broker reads them', () => {
    const harness = new BrokerHarness()
    const client = harness.openSession()
    const bytesBefore = harness.broker.memory.usedBytes
    client.socket.unreadBytes = 60_000
    // 1,000 control frames use up the work budget of the connection, so the broker pauses it.
    client.socket.sayControlFrames(1_000)
    harness.environment.endOneTurn()
    expect(client.socket.isPausedByBroker).to.equal(true)
    expect(harness.broker.memory.usedBytes).to.equal(bytesBefore + 60_000)
    client.socket.unreadBytes = 0
    harness.environment.endTurn()
    expect(client.socket.isPausedByBroker).to.equal(false)
    expect(harness.broker.memory.usedBytes).to.equal(bytesBefore)
  })

  it('does not count output that a client has read, although the client sends nothing more', () => {
    const harness = new BrokerHarness()
    const watcher = harness.openSession()
    watcher.say({ type: 'watch', id: 1 })
    const busy = harness.openSession()
    const bytesBefore = harness.broker.memory.usedBytes
    watcher.socket.isClientReading = false
    const fence = busy.acquire('k', { metadata: 'm'.repeat(4_000) })
    // A refresh has no event, so the refreshes add no output.
    for (let i = 0; i < 10; i++) busy.refresh(fence)
    busy.unlock(fence)
    for (let i = 0; i < 5; i++) busy.unlock(busy.acquire('k', { metadata: 'm'.repeat(4_000) }))
    expect(harness.broker.memory.usedBytes).to.be.above(bytesBefore + 40_000)
    watcher.socket.letClientRead()
    harness.environment.endTurn()
    // 2,000 bytes are less than one event, which has more than 4,000 bytes.
    expect(harness.broker.memory.usedBytes).to.be.below(bytesBefore + 2_000)
  })
})

// A room of -1 byte means that the broker already uses one byte more than its limit.
describe('memory: beyond memoryBytes', () => {
  const prepare = (harness: BrokerHarness): Client => {
    // The memory of these connections raises the limit, so that the tests exceed the limit by less
    // than an eighth. Beyond an eighth, the broker would also close connections.
    for (let i = 0; i < 100; i++) harness.connect()
    const client = harness.openSession({ grace: 'lease' })
    client.lock('held', { ttl: 60_000 })
    client.takeMessages()
    return client
  }

  it('the broker refuses new locks and watches with a reason', () => {
    const { client, refusals } = brokerWithRoom(0, prepare)
    client.lock('k')
    client.lock('k', { timeout: 0 })
    client.say({ type: 'watch', id: 7 })
    client.say({ type: 'query', id: 8 })
    const failed = client.socket.takeMessagesOfType('failed')
    expect(failed.map(({ id, code }) => `${id} ${code}`)).to.deep.equal([
      '2 QUOTA_EXCEEDED',
      '3 QUOTA_EXCEEDED',
      '7 QUOTA_EXCEEDED',
    ])
    expect(failed[0]!.message).to.match(/^the broker uses [\d,]+ bytes .* \(memoryBytes\)$/)
    expect(refusals.causes.every((cause) => cause === 'memory_bytes')).to.equal(true)
    expect(refusals.causes).to.have.length(3)
  })

  it('the broker serves refresh, unlock, ack and bye', () => {
    const { harness, client } = brokerWithRoom(-1, prepare)
    client.say({ type: 'refresh', id: 2, fence: 1 }, { type: 'unlock', id: 3, fence: 1 })
    client.say({ type: 'ack', ids: [1, 2, 3] }, { type: 'stats', id: 9 })
    // The broker confirms the client's `ack` by an `ack` of its own.
    expect(outcomes(client)).to.deep.equal(['refreshed', 'unlocked', 'ack', 'stats'])
    client.lock('k')
    expect(harness.broker.table.heldCount).to.equal(0)
    client.say({ type: 'bye' })
    expect(client.socket.closedWith?.code).to.equal(1000)
  })

  it('the broker repeats the answer to a repeated request', () => {
    const { client } = brokerWithRoom(-1, prepare)
    client.say({ type: 'lock', id: 1, key: 'held' })
    expect(outcomes(client)).to.deep.equal(['granted'])
  })

  it('the broker grants a waiting request', () => {
    const prepareWithWaiter = (target: BrokerHarness): Client => {
      const holder = prepare(target)
      target.openSession().lock('held')
      return holder
    }
    const { harness, client } = brokerWithRoom(-1, prepareWithWaiter)
    const waiterConnection = [...harness.broker.connections].at(-1)!
    client.say({ type: 'unlock', id: 2, fence: 1 })
    expect(harness.broker.table.heldCount).to.equal(1)
    expect(waiterConnection.session?.held.size).to.equal(1)
  })

  it('the broker closes the connection of a new session with 1013, and resumes an existing session', () => {
    const { harness, client, refusals } = brokerWithRoom(1, prepare)
    client.socket.drop()
    harness.environment.endTurn()
    // The drop has made room for one connection. A second connection exceeds the limit.
    const filler = harness.connect()
    const refused = harness.connectWithHello()
    expect(refused.closedWith).to.deep.include({ code: 1013 })
    expect(refused.closedWith?.reason).to.match(/^quota exceeded: memoryBytes \d+$/)
    refused.drop()
    filler.drop()
    // Again, the second connection exceeds the limit.
    const socket = harness.connect()
    harness.connect()
    harness.sayAndEndTurn(socket, { type: 'hello', ...client.resumeHello() })
    expect(socket.takeMessagesOfType('welcome')[0]).to.include({ resumed: true })
    expect(refusals.causes).to.deep.equal(['memory_bytes'])
  })

  it('the broker closes new connections with 1013 if its memory exceeds the limit by an eighth', () => {
    const { harness, refusals } = brokerWithRoom(0, prepare)
    let accepted = 0
    let last = harness.connect()
    for (; last.closedWith === undefined && accepted < 100; accepted++) last = harness.connect()
    // The limit has room for 100 connections, so an eighth more has room for about 12.
    expect(accepted).to.be.within(10, 20)
    expect(last.closedWith?.code).to.equal(1013)
    expect(refusals.causes).to.deep.equal(['memory_bytes'])
  })

  it('the broker aborts connections with 16 KiB of unread output if its memory exceeds the limit by an eighth', () => {
    const { harness, client, refusals } = brokerWithRoom(300_000, prepare)
    const other = harness.openSession()
    // The other client has less than 16 KiB unread. The room is enough for 250,000 bytes.
    other.socket.bufferedBytes = 10_000
    client.socket.bufferedBytes = 250_000
    // The broker counts the unread output of a connection when it answers a request.
    for (const each of [client, other]) each.say({ type: 'stats', id: 1 })
    expect(client.socket.closedWith).to.equal(undefined)
    client.socket.bufferedBytes = 600_000
    for (const each of [client, other]) each.say({ type: 'stats', id: 2 })
    expect(client.socket.closedWith?.code).to.equal(4308)
    expect(other.socket.closedWith).to.equal(undefined)
    expect(refusals.causes).to.deep.equal(['memory_bytes'])
  })
})

describe('memory: the limit memoryBytes', () => {
  it('is half of the heap by default, and can be off', () => {
    const { memoryBytes } = settingsFrom({}).limits
    // The heap limit of Node is more than 200 MiB on every machine that runs the tests.
    expect(memoryBytes).to.be.above(100 * 1024 * 1024)
    expect(settingsFrom({ profile: 'public' }).limits.memoryBytes).to.equal(memoryBytes)
    const limits = { memoryBytes: Number.POSITIVE_INFINITY }
    const harness = new BrokerHarness({ limits })
    expect(harness.openSession().acquire('k')).to.equal(1)
  })
})
