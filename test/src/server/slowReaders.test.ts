/**
 * Tests clients that do not read their output, which must cost the broker only bounded memory. The
 * broker aborts the connection of a client that has more than 256 KiB unread for five seconds. The
 * broker also aborts a connection with more than 1 MiB unread at any time. The lease is the time
 * that the broker keeps a session without a message of its client. The grace is the time that a
 * session outlives its connection. A fence is the number of a grant.
 */
import type { LockEvent } from '@holdfast/shared'
import { expect } from 'chai'
import { RefusalRecorder } from '../ops/refusalRecorder.js'
import { BrokerHarness, type Client, passTimeAnsweringPings } from './harness.js'

const kib = 1024
/**
 * The broker writes at most 64 KiB and one frame of 32 KiB into a socket that is not read. This
 * limit is slightly higher.
 */
const maxSocketBytes = 100 * kib

/** A client that watches all keys and has stopped reading, and a client that causes events. */
function setUp(options = {}): { harness: BrokerHarness; slowReader: Client; busy: Client } {
  const harness = new BrokerHarness(options)
  const slowReader = harness.openSession({ lease: 60_000 })
  const busy = harness.openSession({ lease: 60_000 })
  slowReader.acquire('held by the slow reader')
  slowReader.say({ type: 'watch', id: 100 })
  slowReader.takeMessages()
  slowReader.socket.isClientReading = false
  return { harness, slowReader, busy }
}

/**
 * Causes events until the socket and the broker hold this many unread bytes for the slow reader.
 */
function sendUntilUnread(
  { harness, busy, slowReader }: ReturnType<typeof setUp>,
  bytes: number,
): void {
  const metadata = 'x'.repeat(4_000)
  const [slowConnection] = harness.broker.connections
  while (slowConnection!.backlogBytes < bytes && slowReader.socket.closedWith === undefined) {
    busy.unlock(busy.acquire('k', { metadata }))
  }
}

describe('slow readers', () => {
  it('may leave up to 256 KiB unread without a time limit', () => {
    const scenario = setUp()
    const { harness, slowReader, busy } = scenario
    sendUntilUnread(scenario, 240 * kib)
    passTimeAnsweringPings(harness, 20_000, busy)
    expect(slowReader.socket.closedWith).to.equal(undefined)
  })

  it('are aborted with 4308 when they leave more than 256 KiB unread for five seconds', () => {
    const scenario = setUp()
    const { harness, slowReader } = scenario
    sendUntilUnread(scenario, 257 * kib)
    harness.environment.advance(4_999)
    expect(slowReader.socket.closedWith).to.equal(undefined)
    harness.environment.advance(1)
    expect(slowReader.socket.closedWith?.code).to.equal(4308)
    expect(slowReader.socket.isTerminated, 'without a closing handshake').to.equal(true)
  })

  it('have five seconds again after they have read all output', () => {
    const scenario = setUp()
    const { harness, slowReader, busy } = scenario
    for (let round = 0; round < 3; round++) {
      sendUntilUnread(scenario, 257 * kib)
      passTimeAnsweringPings(harness, 4_000, busy)
      slowReader.socket.letClientRead()
      harness.environment.endTurn()
      passTimeAnsweringPings(harness, 2_000, busy)
    }
    expect(slowReader.socket.closedWith).to.equal(undefined)
  })

  it('are not aborted after they have read all output, even if the broker sends nothing more', () => {
    const scenario = setUp({ limits: { slowBytes: 10 * kib } })
    const { harness, slowReader } = scenario
    sendUntilUnread(scenario, 11 * kib)
    // Unlike `read()`, this tells the broker nothing, so the broker checks only at the deadline.
    slowReader.socket.bufferedBytes = 0
    harness.environment.advance(6_000)
    expect(slowReader.socket.closedWith).to.equal(undefined)
  })

  it('are not reported to the observer as aborted after they have disconnected', () => {
    const refusals = new RefusalRecorder()
    const scenario = setUp({ observer: refusals })
    const { harness, slowReader, busy } = scenario
    slowReader.socket.bufferedBytes = 257 * kib
    // The broker writes the event of this lock at the end of the turn, which is after the drop.
    busy.socket.say({ type: 'lock', id: 1, key: 'k' })
    slowReader.socket.drop()
    harness.environment.advance(6_000)
    expect(refusals.causes).to.deep.equal([])
  })

  it('are aborted immediately beyond 1 MiB', () => {
    const scenario = setUp()
    const { slowReader } = scenario
    sendUntilUnread(scenario, 1_000 * kib)
    expect(slowReader.socket.closedWith).to.equal(undefined)
    sendUntilUnread(scenario, 1_025 * kib)
    expect(slowReader.socket.closedWith?.code).to.equal(4308)
    expect(slowReader.socket.isTerminated).to.equal(true)
  })

  it('are aborted at the limits in the options of the broker', () => {
    const limits = { slowBytes: 10 * kib, slowMs: 100, backlogBytes: 40 * kib }
    const first = setUp({ limits })
    sendUntilUnread(first, 11 * kib)
    first.harness.environment.advance(100)
    expect(first.slowReader.socket.closedWith?.code).to.equal(4308)
    const second = setUp({ limits })
    sendUntilUnread(second, 41 * kib)
    expect(second.slowReader.socket.closedWith?.code).to.equal(4308)
  })

  it('keep their locks for their lease after the abort, although they have no grace', () => {
    const scenario = setUp()
    const { harness, slowReader, busy } = scenario
    sendUntilUnread(scenario, 1_025 * kib)
    slowReader.socket.drop()
    const id = busy.lock('held by the slow reader')
    const [earlyMessages] = passTimeAnsweringPings(harness, 59_900, busy)
    expect(earlyMessages!.filter(({ type }) => type === 'granted')).to.deep.equal([])
    const [laterMessages] = passTimeAnsweringPings(harness, 200, busy)
    expect(laterMessages!.filter(({ type }) => type === 'granted')).to.have.length(1)
    // The grant to `busy` is the newest grant of the broker.
    expect(laterMessages).to.deep.include({
      type: 'granted',
      id,
      fence: harness.broker.table.fence,
    })
  })

  it('are not aborted for the answer to a query, which the broker sends as they read', () => {
    const harness = new BrokerHarness()
    const holder = harness.openSession({ lease: 60_000 })
    for (let i = 0; i < 1_000; i++) holder.lock(`k${i}`, { metadata: 'x'.repeat(4_000) })
    const reader = harness.openSession({ lease: 60_000 })
    reader.socket.isClientReading = false
    reader.say({ type: 'query', id: 1 })
    expect(reader.socket.bufferedBytes).to.be.below(maxSocketBytes)
    let reads = 0
    while (reader.socket.bufferedBytes > 0) {
      reader.socket.letClientRead()
      harness.environment.endTurn()
      reads++
    }
    const parts = reader.socket.takeMessagesOfType('found')
    expect(parts.flatMap(({ held }) => held)).to.have.length(1_000)
    expect(parts.filter(({ more }) => !more)).to.deep.equal([parts.at(-1)])
    expect(reader.socket.closedWith).to.equal(undefined)
    // The answer has 4 MB, and the broker puts less than 100 KiB into the socket at a time.
    expect(reads).to.be.above(40)
  })

  it('are not aborted while they read an answer, even if slowBytes is only 64 KiB', () => {
    // The option `profile: 'public'` sets this limit.
    const harness = new BrokerHarness({ limits: { slowBytes: 64 * kib } })
    const holder = harness.openSession({ lease: 60_000 })
    for (let i = 0; i < 1_000; i++) holder.lock(`k${i}`, { metadata: 'x'.repeat(1_000) })
    const reader = harness.openSession({ lease: 60_000 })
    reader.socket.isClientReading = false
    reader.say({ type: 'query', id: 1 })
    while (reader.socket.bufferedBytes > 0) {
      harness.environment.advance(1_000)
      reader.socket.letClientRead()
      harness.environment.endTurn()
    }
    expect(reader.socket.closedWith).to.equal(undefined)
    const parts = reader.socket.takeMessagesOfType('found')
    expect(parts.flatMap(({ held }) => held)).to.have.length(1_000)
  })

  it('are not aborted if the broker writes slowly, as long as they read all output', () => {
    // One unit of work is 128 bytes of output, so the broker writes 640 KB of events a second to a
    // connection. The events below are 1.6 MB.
    const limits = { workPerSecond: 5_000, slowBytes: 10 * kib, slowMs: 100 }
    const harness = new BrokerHarness({ limits })
    const reader = harness.openSession({ lease: 60_000 })
    reader.say({ type: 'watch', id: 1 })
    const metadata = 'x'.repeat(4_000)
    for (let i = 0; i < 20; i++) {
      const busy = harness.openSession({ lease: 60_000 })
      for (let id = 1; id <= 20; id++) {
        busy.socket.say({ type: 'lock', id, key: `k${i} ${id}`, metadata })
      }
    }
    harness.environment.endTurn()
    const [readerConnection] = harness.broker.connections
    let msUntilWritten = 0
    while (readerConnection!.hasUnencodedOutput) {
      harness.environment.advance(10)
      msUntilWritten += 10
    }
    expect(reader.socket.closedWith).to.equal(undefined)
    expect(msUntilWritten).to.be.above(10 * limits.slowMs)
    expect(reader.socket.takeMessagesOfType('event')).to.have.length(400)
  })

  for (const type of ['query', 'watch'] as const) {
    it(`are aborted after five seconds in which they read nothing of the answer to a ${type}`, () => {
      const harness = new BrokerHarness()
      const holder = harness.openSession({ lease: 60_000 })
      for (let i = 0; i < 1_000; i++) holder.lock(`k${i}`, { metadata: 'x'.repeat(4_000) })
      const reader = harness.openSession({ lease: 60_000 })
      reader.socket.isClientReading = false
      reader.say({ type, id: 1 })
      harness.environment.advance(4_999)
      reader.socket.letClientRead(40 * kib)
      harness.environment.endTurn()
      harness.environment.advance(4_999)
      expect(reader.socket.closedWith, 'after reading a part').to.equal(undefined)
      harness.environment.advance(1)
      expect(reader.socket.closedWith?.code).to.equal(4308)
    })
  }

  it('are paused when they send requests without reading, and aborted after five seconds', () => {
    const harness = new BrokerHarness()
    const slowReader = harness.openSession({ lease: 60_000 })
    slowReader.socket.isClientReading = false
    let requests = 0
    while (!slowReader.socket.isPausedByBroker && requests < 100_000) {
      slowReader.say({ type: 'stats', id: ++requests })
    }
    expect(slowReader.socket.isPausedByBroker).to.equal(true)
    const [slowConnection] = harness.broker.connections
    // Even with less than 256 KiB unread, a paused client must read within five seconds.
    expect(slowConnection!.backlogBytes).to.be.below(256 * kib)
    harness.environment.advance(4_999)
    expect(slowReader.socket.closedWith).to.equal(undefined)
    harness.environment.advance(1)
    expect(slowReader.socket.closedWith?.code).to.equal(4308)
  })

  it('are not aborted for the answers that the broker repeats when they resume a session', () => {
    const harness = new BrokerHarness()
    // Each answer names the 16 holders with their metadata, so 200 answers have more than 1 MiB.
    const crowd = Array.from({ length: 16 }, () => harness.openSession({ lease: 60_000 }))
    for (const holder of crowd) {
      holder.acquire('k', { mode: 'shared', metadata: 'x'.repeat(1_000) })
    }
    const first = harness.openSession({ lease: 60_000, grace: 'lease' })
    for (let i = 0; i < 200; i++) first.lock('k', { timeout: 0 })
    first.socket.drop()
    const socket = harness.connect()
    socket.isClientReading = false
    harness.sayAndEndTurn(socket, { type: 'hello', ...first.resumeHello() })
    expect(socket.closedWith).to.equal(undefined)
    expect(socket.bufferedBytes).to.be.below(maxSocketBytes)
    while (socket.bufferedBytes > 0) {
      socket.letClientRead()
      harness.environment.endTurn()
    }
    const heard = socket.takeMessages()
    const ids = heard.flatMap((message) => (message.type === 'failed' ? [message.id] : []))
    expect(ids).to.deep.equal(Array.from({ length: 200 }, (_, i) => i + 1))
    expect(heard.at(-1)).to.deep.include({ type: 'snapshot', more: false })
    expect(socket.frames.every((frame) => Buffer.byteLength(frame) <= 32 * kib)).to.equal(true)
  })

  it('have at most 100 KiB in their socket, and get all events when they read again', () => {
    const scenario = setUp()
    const { harness, slowReader, busy } = scenario
    sendUntilUnread(scenario, 240 * kib)
    expect(slowReader.socket.bufferedBytes).to.be.below(maxSocketBytes)
    const fence = busy.acquire('last')
    slowReader.socket.isClientReading = true
    slowReader.socket.letClientRead()
    harness.environment.endTurn()
    const events = slowReader.socket
      .takeMessagesOfType('event')
      .map(({ event }) => (event as LockEvent).fence)
    expect(events.at(-1)).to.equal(fence)
    // The first grant, to the slow reader itself, came before its watch.
    expect(new Set(events).size).to.equal(fence - 1)
  })

  it('do not delay the answers to other clients', () => {
    const scenario = setUp()
    const { busy } = scenario
    sendUntilUnread(scenario, 1_025 * kib)
    expect(busy.acquire('free')).to.be.above(0)
  })
})
