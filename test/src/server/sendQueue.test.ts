/**
 * Tests the send queue of a connection. The queue sends its messages in order in frames of bounded
 * size, once a turn of the event loop. The queue reads streams of messages only as fast as the
 * client reads the messages.
 */
import { SendQueue } from '@holdfast/server/internal'
import { expect } from 'chai'
import { FakeSocket } from './socket.js'

/** Makes a queue and the socket to which the queue sends. */
function setUp(): { socket: FakeSocket; queue: SendQueue } {
  const socket = new FakeSocket()
  return { socket, queue: new SendQueue(socket) }
}

/** Makes a message with the number `n` that has this many bytes. */
function message(n: number, bytes = 20): string {
  const head = `{"n":${n},"fill":"`
  return `${head}${'x'.repeat(bytes - head.length - 2)}"}`
}

/** A stream of numbered messages. `reads.count` is the number of messages that were read. */
function stream(from: number, to: number, bytes?: number) {
  const reads = { count: 0 }
  function* generate(): Generator<string> {
    for (let n = from; n <= to; n++) {
      reads.count++
      yield message(n, bytes)
    }
  }
  return { reads, messages: generate() }
}

/** The numbers of all sent messages, in order. */
function sentNumbers(socket: FakeSocket): number[] {
  return socket.frames
    .flatMap((frame) => JSON.parse(frame) as { n: number } | { n: number }[])
    .map(({ n }) => n)
}

/** The integers from `from` to `to`, both included. */
function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, i) => from + i)
}

describe('send queue: with messages, the queue', () => {
  it('sends nothing until it is flushed, and sends nothing twice', () => {
    const { socket, queue } = setUp()
    queue.add(message(1))
    expect(socket.frames).to.deep.equal([])
    queue.flush()
    queue.flush()
    expect(sentNumbers(socket)).to.deep.equal([1])
  })

  it('sends a single message unchanged, and several messages as one array', () => {
    const { socket, queue } = setUp()
    queue.add('{"n":1}')
    queue.flush()
    queue.add('{"n":2}')
    queue.add('{"n":3}')
    queue.flush()
    expect(socket.frames).to.deep.equal(['{"n":1}', '[{"n":2},{"n":3}]'])
  })

  it('splits many messages into frames of at most 32 KiB, in order', () => {
    const { socket, queue } = setUp()
    for (let n = 1; n <= 200; n++) queue.add(message(n, 1_000))
    queue.flush()
    expect(sentNumbers(socket)).to.deep.equal(range(1, 200))
    // 200 messages of 1,000 bytes fill more than six frames.
    expect(socket.frames).to.have.length(7)
    for (const frame of socket.frames) expect(Buffer.byteLength(frame)).to.be.at.most(32 * 1024)
  })

  it('limits frames by bytes, not by characters', () => {
    const { socket, queue } = setUp()
    // Each euro sign has 3 bytes: 20 messages have 20,000 characters and 60,000 bytes.
    for (let n = 1; n <= 20; n++) queue.add(JSON.stringify({ n, fill: '€'.repeat(990) }))
    queue.flush()
    expect(sentNumbers(socket)).to.deep.equal(range(1, 20))
    for (const frame of socket.frames) expect(Buffer.byteLength(frame)).to.be.at.most(32 * 1024)
  })

  it('sends a message of more than 32 KiB in a frame of its own', () => {
    const { socket, queue } = setUp()
    queue.add(message(1))
    queue.add(message(2, 40_000))
    queue.add(message(3))
    queue.flush()
    expect(socket.frames.map((frame) => frame.length)).to.deep.equal([20, 40_000, 20])
  })

  it('keeps messages while the socket is full, and sends them when the client has read', () => {
    const { socket, queue } = setUp()
    socket.bufferedBytes = 10_000_000
    queue.add(message(1))
    queue.add(message(2))
    queue.flush()
    expect(sentNumbers(socket)).to.deep.equal([])
    // The bytes in the socket, and two messages of 20 bytes.
    expect(queue.backlogBytes).to.equal(10_000_040)
    socket.bufferedBytes = 0
    queue.flush()
    expect(sentNumbers(socket)).to.deep.equal([1, 2])
    expect(queue.backlogBytes).to.equal(0)
  })

  it('sends messages, but no streams, to a full socket in flushMessages', () => {
    const { socket, queue } = setUp()
    socket.bufferedBytes = 10_000_000
    queue.add(message(1))
    queue.addStream(stream(2, 3).messages)
    queue.flushMessages()
    expect(sentNumbers(socket)).to.deep.equal([1])
  })

  it('drops all messages and streams when it is cleared', () => {
    const { socket, queue } = setUp()
    queue.add(message(1))
    queue.addStream(stream(2, 3).messages)
    queue.clear()
    expect(queue.hasOutput).to.equal(false)
    expect(queue.backlogBytes).to.equal(0)
    queue.flush()
    expect(socket.frames).to.deep.equal([])
  })
})

describe('send queue: with streams, the queue', () => {
  it('reads nothing of a new stream before the next flush', () => {
    const { queue } = setUp()
    const { reads, messages } = stream(1, 3)
    queue.addStream(messages)
    expect(reads.count).to.equal(0)
  })

  it('keeps the order of messages and streams', () => {
    const { socket, queue } = setUp()
    queue.add(message(1))
    queue.addStream(stream(2, 4).messages)
    queue.add(message(5))
    queue.add(message(6))
    queue.addStream(stream(7, 8).messages)
    queue.flush()
    expect(sentNumbers(socket)).to.deep.equal(range(1, 8))
    expect(queue.hasOutput).to.equal(false)
  })

  it('reads a stream only while the socket has room', () => {
    const { socket, queue } = setUp()
    socket.isClientReading = false
    const { reads, messages } = stream(1, 100, 10_000)
    queue.addStream(messages)
    queue.flush()
    // The socket has room for 64 KiB, which the seventh message exceeds.
    expect(reads.count).to.equal(7)
    queue.flush()
    expect(reads.count).to.equal(7)
    socket.bufferedBytes = 0
    queue.flush()
    expect(reads.count).to.equal(14)
    socket.isClientReading = true
    socket.bufferedBytes = 0
    queue.flush()
    expect(sentNumbers(socket)).to.deep.equal(range(1, 100))
  })

  it('reads one message of a stream at each flush if no time is left', () => {
    const socket = new FakeSocket()
    const queue = new SendQueue(socket)
    const { reads, messages } = stream(1, 10)
    queue.addStream(messages)
    const isLate = (): boolean => true
    // The ten messages cost far fewer units of work, so only `isLate` stops the queue.
    const [units, streamUnits] = [1_000, 1_000]
    for (let flushes = 1; flushes <= 3; flushes++) {
      queue.flush(units, streamUnits, isLate)
      expect(reads.count).to.equal(flushes)
    }
    queue.flush()
    expect(reads.count).to.equal(10)
  })

  it('sends messages that were added after a stream only after the stream', () => {
    const { socket, queue } = setUp()
    socket.isClientReading = false
    queue.addStream(stream(1, 10, 10_000).messages)
    queue.add(message(11))
    queue.flush()
    queue.add(message(12))
    queue.flush()
    expect(sentNumbers(socket)).to.deep.equal(range(1, 7))
    socket.isClientReading = true
    socket.bufferedBytes = 0
    queue.flush()
    expect(sentNumbers(socket)).to.deep.equal(range(1, 12))
  })

  it('counts messages in its backlog, but not the rest of a stream', () => {
    const { socket, queue } = setUp()
    socket.isClientReading = false
    queue.addStream(stream(1, 10, 10_000).messages)
    queue.add(message(11, 500))
    queue.flush()
    // The backlog counts the seven messages of the stream that are in the socket, but not the other
    // three.
    expect(queue.backlogBytes).to.equal(70_000 + 500)
    socket.isClientReading = true
    socket.bufferedBytes = 0
    queue.flush()
    expect(queue.backlogBytes).to.equal(0)
  })

  it('sends a new message at the next flush once the streams have ended', () => {
    const { socket, queue } = setUp()
    queue.addStream(stream(1, 2).messages)
    queue.flush()
    queue.add(message(3))
    queue.flush()
    expect(sentNumbers(socket)).to.deep.equal([1, 2, 3])
  })
})
