/**
 * What a connection has to say: one write a turn, in order, in frames of bounded size, and long
 * answers only as fast as they are read.
 */
import { SendQueue } from '@holdfast/server/internal'
import { expect } from 'chai'
import { FakeSocket } from './socket.js'

function bench(): { socket: FakeSocket; outbox: SendQueue } {
  const socket = new FakeSocket()
  return { socket, outbox: new SendQueue(socket) }
}

/** A message of this many bytes, which says which it is. */
function message(n: number, bytes = 20): string {
  const head = `{"n":${n},"fill":"`
  return `${head}${'x'.repeat(bytes - head.length - 2)}"}`
}

/** Messages one after the other, counting how many were drawn. */
function stream(from: number, to: number, bytes?: number) {
  const drawn = { count: 0 }
  function* draw(): Generator<string> {
    for (let n = from; n <= to; n++) {
      drawn.count++
      yield message(n, bytes)
    }
  }
  return { drawn, messages: draw() }
}

/** The `n` of every message that was sent, in order. */
function sent(socket: FakeSocket): number[] {
  return socket.frames
    .flatMap((frame) => JSON.parse(frame) as { n: number } | { n: number }[])
    .map(({ n }) => n)
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, i) => from + i)
}

describe('outbox: messages of a turn', () => {
  it('sends nothing until it is flushed, and nothing twice', () => {
    const { socket, outbox } = bench()
    outbox.add(message(1))
    expect(socket.frames).to.deep.equal([])
    outbox.flush()
    outbox.flush()
    expect(sent(socket)).to.deep.equal([1])
  })

  it('sends one message as it is, and several as one array', () => {
    const { socket, outbox } = bench()
    outbox.add('{"n":1}')
    outbox.flush()
    outbox.add('{"n":2}')
    outbox.add('{"n":3}')
    outbox.flush()
    expect(socket.frames).to.deep.equal(['{"n":1}', '[{"n":2},{"n":3}]'])
  })

  it('cuts a long turn into frames of at most 32 KiB, in order', () => {
    const { socket, outbox } = bench()
    for (let n = 1; n <= 200; n++) outbox.add(message(n, 1_000))
    outbox.flush()
    expect(sent(socket)).to.deep.equal(range(1, 200))
    expect(socket.frames).to.have.length(7)
    for (const frame of socket.frames) expect(Buffer.byteLength(frame)).to.be.at.most(32 * 1024)
  })

  it('counts bytes, not characters', () => {
    const { socket, outbox } = bench()
    // 3 bytes each: 20 of these messages are 20,000 characters and 60,000 bytes.
    for (let n = 1; n <= 20; n++) outbox.add(JSON.stringify({ n, fill: '€'.repeat(990) }))
    outbox.flush()
    expect(sent(socket)).to.deep.equal(range(1, 20))
    for (const frame of socket.frames) expect(Buffer.byteLength(frame)).to.be.at.most(32 * 1024)
  })

  it('gives a single message that is longer a frame of its own', () => {
    const { socket, outbox } = bench()
    outbox.add(message(1))
    outbox.add(message(2, 40_000))
    outbox.add(message(3))
    outbox.flush()
    expect(socket.frames.map((frame) => frame.length)).to.deep.equal([20, 40_000, 20])
  })

  it('holds back what the socket has no room for, and goes on when it was read', () => {
    const { socket, outbox } = bench()
    socket.bufferedBytes = 10_000_000
    outbox.add(message(1))
    outbox.add(message(2))
    outbox.flush()
    expect(sent(socket)).to.deep.equal([])
    expect(outbox.backlogBytes).to.equal(10_000_040)
    socket.bufferedBytes = 0
    outbox.flush()
    expect(sent(socket)).to.deep.equal([1, 2])
    expect(outbox.backlogBytes).to.equal(0)
  })

  it('sends its last words although there is no room, and of streams what there is room for', () => {
    const { socket, outbox } = bench()
    socket.bufferedBytes = 10_000_000
    outbox.add(message(1))
    outbox.addStream(stream(2, 3).messages)
    outbox.flushMessages()
    expect(sent(socket)).to.deep.equal([1])
  })

  it('forgets everything when it is cleared', () => {
    const { socket, outbox } = bench()
    outbox.add(message(1))
    outbox.addStream(stream(2, 3).messages)
    outbox.clear()
    expect(outbox.hasOutput).to.equal(false)
    expect(outbox.backlogBytes).to.equal(0)
    outbox.flush()
    expect(socket.frames).to.deep.equal([])
  })
})

describe('outbox: streams', () => {
  it('draws on a stream only when it is flushed', () => {
    const { outbox } = bench()
    const { drawn, messages } = stream(1, 3)
    outbox.addStream(messages)
    expect(drawn.count).to.equal(0)
  })

  it('keeps the order of messages and streams', () => {
    const { socket, outbox } = bench()
    outbox.add(message(1))
    outbox.addStream(stream(2, 4).messages)
    outbox.add(message(5))
    outbox.add(message(6))
    outbox.addStream(stream(7, 8).messages)
    outbox.flush()
    expect(sent(socket)).to.deep.equal(range(1, 8))
    expect(outbox.hasOutput).to.equal(false)
  })

  it('draws only while the socket has room, and goes on when it was read', () => {
    const { socket, outbox } = bench()
    socket.isReading = false
    const { drawn, messages } = stream(1, 100, 10_000)
    outbox.addStream(messages)
    outbox.flush()
    // Room is 64 KiB; the message that fills it is the last.
    expect(drawn.count).to.equal(7)
    outbox.flush()
    expect(drawn.count).to.equal(7)
    socket.bufferedBytes = 0
    outbox.flush()
    expect(drawn.count).to.equal(14)
    socket.isReading = true
    socket.bufferedBytes = 0
    outbox.flush()
    expect(sent(socket)).to.deep.equal(range(1, 100))
  })

  it('lets what was said after a stream wait behind it', () => {
    const { socket, outbox } = bench()
    socket.isReading = false
    outbox.addStream(stream(1, 10, 10_000).messages)
    outbox.add(message(11))
    outbox.flush()
    outbox.add(message(12))
    outbox.flush()
    expect(sent(socket)).to.deep.equal(range(1, 7))
    socket.isReading = true
    socket.bufferedBytes = 0
    outbox.flush()
    expect(sent(socket)).to.deep.equal(range(1, 12))
  })

  it('counts the messages that wait in the backlog, and the streams not', () => {
    const { socket, outbox } = bench()
    socket.isReading = false
    outbox.addStream(stream(1, 10, 10_000).messages)
    outbox.add(message(11, 500))
    outbox.flush()
    expect(outbox.backlogBytes).to.equal(70_000 + 500)
    socket.isReading = true
    socket.bufferedBytes = 0
    outbox.flush()
    expect(outbox.backlogBytes).to.equal(0)
  })

  it('makes room for messages again once the last stream is through', () => {
    const { socket, outbox } = bench()
    outbox.addStream(stream(1, 2).messages)
    outbox.flush()
    outbox.add(message(3))
    outbox.flush()
    expect(sent(socket)).to.deep.equal([1, 2, 3])
  })
})
