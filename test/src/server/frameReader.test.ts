/**
 * The frame reader beside `ws` alone: whatever a client sends, however the network cuts it up, and
 * whenever the connection pauses, the listeners hear the same. And what `ws` cannot do: a pause
 * stops the reading between two frames of a chunk.
 */
import type { Duplex } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import { FrameReader } from '@holdfast/server/internal'
import { assert } from 'chai'
import fc from 'fast-check'
import { type RawData, type WebSocket, WebSocketServer } from 'ws'
import { Random, runs } from '../support/counts.js'
import { dropConnections, encodeFrame, type Frame, frame, upgrade } from './upgraded.js'

const maxBytes = 1_000
const maxFragments = 4
const sockets = new WebSocketServer({
  noServer: true,
  maxPayload: maxBytes,
  maxFragments,
  autoPong: false,
})

/** The broker's end of a connection: what it hears, in order. */
class Ear {
  readonly raw: Duplex
  readonly websocket: WebSocket
  readonly reader: FrameReader | undefined
  readonly heard: string[] = []
  /** Called after everything that is heard. */
  onHeard: () => void = () => {}
  /** Texts that the reader decoded. */
  decoded = 0
  controlFrames = 0

  constructor(hasReader: boolean) {
    const { raw, websocket } = upgrade(sockets)
    this.raw = raw
    this.websocket = websocket
    websocket.on('message', (data: RawData, isBinary) => {
      this.reader?.onMessage()
      this.#hear(isBinary ? `binary ${String(data)}` : `text ${String(data)}`)
    })
    websocket.on('ping', (data) => this.#hear(`ping ${String(data)}`))
    websocket.on('pong', (data) => this.#hear(`pong ${String(data)}`))
    websocket.on('error', ({ message }) => this.heard.push(`error ${message}`))
    websocket.on('close', (code, reason) => this.heard.push(`close ${code} ${String(reason)}`))
    if (!hasReader) return
    const listener = {
      onFrame: (text: string): void => {
        this.decoded++
        this.#hear(`text ${text}`)
      },
      onControlFrame: (): void => {
        this.controlFrames++
      },
    }
    this.reader = FrameReader.attach(websocket, raw, listener, { maxBytes, maxFragments })
  }

  /** Sends these chunks, the end of the stream, and waits for the close. */
  async receive(chunks: readonly Buffer[]): Promise<void> {
    const closed = this.closed()
    // Copies, because the reader takes the mask off in place.
    for (const chunk of chunks) this.raw.push(Buffer.from(chunk))
    this.raw.push(null)
    await closed
  }

  pause(): void {
    this.websocket.pause()
    this.reader?.onPause()
  }

  /** Resolves at the close; `once` would reject at an error. */
  closed(): Promise<void> {
    return new Promise((resolve) => this.websocket.on('close', () => resolve()))
  }

  #hear(event: string): void {
    this.heard.push(this.websocket.isPaused ? `during a pause: ${event}` : event)
    this.onHeard()
  }
}

/** The bytes of these frames, cut into chunks at these places. */
function cut(frames: readonly Frame[], places: readonly number[]): Buffer[] {
  const bytes = Buffer.concat(frames.map(encodeFrame))
  const ends = places.map((place) => place % (bytes.length + 1)).sort((a, b) => a - b)
  const starts = [0, ...ends]
  return starts.map((start, i) => bytes.subarray(start, ends[i])).filter(({ length }) => length > 0)
}

const mask = fc.uint8Array({ minLength: 4, maxLength: 4 }).map((bytes) => Buffer.from(bytes))
const ascii = fc.string({ maxLength: 300, size: 'max' }).map((text) => Buffer.from(text))
const short = fc.string({ maxLength: 20 }).map((text) => Buffer.from(text))
const isLong = fc.nat(9).map((n) => n === 0)
const text: fc.Arbitrary<Frame> = fc.record({
  first: fc.constant(0x81),
  payload: fc.oneof(
    { arbitrary: ascii, weight: 6 },
    fc.string({ unit: 'binary', maxLength: 200 }).map((some) => Buffer.from(some)),
  ),
  mask,
  isLong,
})
const control: fc.Arbitrary<Frame> = fc.record({
  first: fc.constantFrom(0x89, 0x8a),
  payload: short,
  mask,
})
/** A message in fragments, perhaps with a ping between them. */
const fragmented: fc.Arbitrary<Frame[]> = fc
  .record({
    opcode: fc.constantFrom(1, 2),
    payloads: fc.array(ascii, { minLength: 2, maxLength: maxFragments + 1 }),
    ping: fc.option(control),
    mask,
    isLong,
  })
  .map(({ opcode, payloads, ping, ...rest }) => {
    const frames: Frame[] = payloads.map((payload, i) => {
      const last = i === payloads.length - 1 ? 0x80 : 0
      return { first: last | (i === 0 ? opcode : 0), payload, ...rest }
    })
    if (ping !== null) frames.splice(1, 0, ping)
    return frames
  })
const anything: fc.Arbitrary<Frame> = fc.record({
  first: fc.constantFrom(0x81, 0x01, 0x80, 0x00, 0x82, 0x88, 0x89, 0x8a, 0x09, 0xc1, 0x91, 0x83),
  payload: fc.oneof(
    ascii,
    fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes)),
    fc.constant(Buffer.from([0x03, 0xe8, 0x62, 0x79, 0x65])),
    fc.constant(Buffer.alloc(maxBytes, 'x')),
    fc.constant(Buffer.alloc(maxBytes + 1, 'x')),
  ),
  mask: fc.option(mask, { freq: 8, nil: undefined }),
  isLong,
})
const frames = fc
  .array(
    fc.oneof(
      { arbitrary: text.map((frame) => [frame]), weight: 8 },
      { arbitrary: control.map((frame) => [frame]), weight: 4 },
      { arbitrary: fragmented, weight: 2 },
      { arbitrary: anything.map((frame) => [frame]), weight: 1 },
    ),
    { maxLength: 16 },
  )
  .map((groups) => groups.flat())
const places = fc.array(fc.nat(5_000), { maxLength: 8 })

/** Chunks of frames with these texts, cut at these places. */
function texts(words: readonly string[], ...at: number[]): Buffer[] {
  return cut(
    words.map((each) => frame(0x81, each)),
    at,
  )
}

describe('FrameReader', () => {
  afterEach(dropConnections)

  it('makes the same events as ws alone, whatever arrives and however it is cut', async () => {
    const property = fc.asyncProperty(frames, places, async (sent, cuts) => {
      const chunks = cut(sent, cuts)
      const [alone, read] = [new Ear(false), new Ear(true)]
      await Promise.all([alone.receive(chunks), read.receive(chunks)])
      assert.deepEqual(read.heard, alone.heard)
    })
    await fc.assert(property, runs(300, 10_000))
  })

  it('makes the same events, and none during a pause, whenever the connection pauses', async () => {
    const property = fc.asyncProperty(frames, places, fc.integer(), async (sent, cuts, from) => {
      const chunks = cut(sent, cuts)
      const [alone, read] = [new Ear(false), new Ear(true)]
      const random = new Random(from)
      read.onHeard = () => {
        if (!random.chance(0.5)) return
        read.pause()
        setImmediate(() => read.websocket.resume())
      }
      await Promise.all([alone.receive(chunks), read.receive(chunks)])
      assert.deepEqual(read.heard, alone.heard)
    })
    await fc.assert(property, runs(300, 10_000))
  })

  it('decodes texts itself, also one that came in two chunks or is not ASCII', async () => {
    const words = ['one', 'two, in two chunks', 'three é', 'four']
    const ear = new Ear(true)
    await ear.receive(texts(words, encodeFrame(frame(0x81, words[0]!)).length + 12))
    assert.deepEqual(
      ear.heard.slice(0, -1),
      words.map((each) => `text ${each}`),
    )
    assert.equal(ear.decoded, 4)
  })

  it('leaves a text in three chunks to ws, and decodes the next one', async () => {
    const ear = new Ear(true)
    await ear.receive(texts(['in three chunks', 'whole'], 9, 14))
    assert.deepEqual(ear.heard.slice(0, -1), ['text in three chunks', 'text whole'])
    assert.equal(ear.decoded, 1)
  })

  it('decodes texts between and behind frames that ws reads', async () => {
    const ear = new Ear(true)
    const sent = [frame(0x81, 'a'), frame(0x89, ''), frame(0x81, 'b'), frame(0x01, 'c')]
    sent.push(frame(0x8a, ''), frame(0x80, 'd'), frame(0x81, 'e'))
    await ear.receive(cut(sent, []))
    const heard = ['text a', 'ping ', 'text b', 'pong ', 'text cd', 'text e']
    assert.deepEqual(ear.heard.slice(0, -1), heard)
    assert.equal(ear.decoded, 3)
    // The ping, the pong and both fragments.
    assert.equal(ear.controlFrames, 4)
  })

  for (const [kind, first] of [
    ['text', 0x81],
    ['ping', 0x89],
  ] as const) {
    it(`reads no further ${kind} of a chunk once the connection pauses`, async () => {
      const ear = new Ear(true)
      const sent = Array.from({ length: 5 }, (_, i) => frame(first, String(i)))
      ear.onHeard = () => ear.pause()
      const chunk = Buffer.concat(sent.map(encodeFrame))
      ear.raw.push(Buffer.from(chunk))
      for (let i = 0; i < 5; i++) {
        for (let turns = 0; turns < 3; turns++) await turn()
        const heard = Array.from({ length: i + 1 }, (_, n) => `${kind} ${n}`)
        assert.deepEqual(ear.heard, heard)
        assert.equal(ear.reader!.unreadBytes, (chunk.length / 5) * (4 - i))
        ear.websocket.resume()
      }
      ear.websocket.terminate()
    })
  }

  it('keeps what arrives during a pause behind the rest of the chunk', async () => {
    const ear = new Ear(true)
    ear.onHeard = () => {
      if (ear.heard.length === 1) ear.pause()
    }
    for (const chunk of texts(['one', 'two', 'three'], 15)) ear.raw.push(chunk)
    await turn()
    ear.raw.push(encodeFrame(frame(0x81, 'four')))
    ear.raw.push(null)
    await turn()
    assert.deepEqual(ear.heard, ['text one'])
    ear.websocket.resume()
    await ear.closed()
    const all = ['text one', 'text two', 'text three', 'text four']
    assert.deepEqual(ear.heard.slice(0, -1), all)
  })

  for (const [words, at] of [
    ['whole frames', 9],
    ['a frame of which the beginning had been read', 12],
  ] as const) {
    it(`keeps the rest if a paused connection breaks off, until it resumes: ${words}`, async () => {
      const ear = new Ear(true)
      const [first, ...more] = texts(['one', 'two', 'three'], at)
      ear.raw.push(first)
      await turn()
      ear.pause()
      for (const chunk of more) ear.raw.push(chunk)
      await turn()
      ear.raw.destroy()
      await ear.closed()
      assert.deepEqual(ear.heard, ['text one', 'close 1006 '])
      assert.isFalse(ear.reader!.readRest())
      ear.onHeard = () => ear.raw.pause()
      for (const [i, isAll] of [
        [2, false],
        [3, true],
      ] as const) {
        ear.raw.resume()
        assert.equal(ear.reader!.readRest(), isAll)
        assert.lengthOf(ear.heard, i + 1)
      }
      const after = ear.heard.slice(2).map((event) => event.replace('during a pause: ', ''))
      assert.deepEqual(after, ['text two', 'text three'])
    })
  }

  it('hands on whole texts only of what a client left that breaks off', async () => {
    const ear = new Ear(true)
    await turn()
    ear.pause()
    const sent = [frame(0x81, 'a'), frame(0x89, 'p'), frame(0x01, 'b'), frame(0x80, 'c')]
    const broken = { ...frame(0x81, ''), payload: Buffer.from([0xff]) }
    const close = frame(0x88, '')
    const frames = [...sent, broken, frame(0x81, 'd'), close, frame(0x81, 'e')]
    ear.raw.push(Buffer.concat(frames.map(encodeFrame)))
    await turn()
    ear.raw.destroy()
    await ear.closed()
    ear.raw.resume()
    assert.isTrue(ear.reader!.readRest())
    const texts = ear.heard.filter((event) => event.includes('text'))
    assert.deepEqual(texts, ['during a pause: text a', 'during a pause: text d'])
    assert.equal(ear.controlFrames, 0)
  })

  it('counts the beginning of a frame as unread, without the chunk that it came in', async () => {
    const ear = new Ear(true)
    ear.raw.push(
      Buffer.concat([...texts(['x'.repeat(900)]), encodeFrame(frame(0x81, 'y')).subarray(0, 5)]),
    )
    await turn()
    assert.equal(ear.decoded, 1)
    assert.equal(ear.reader!.unreadBytes, 5)
    ear.websocket.terminate()
  })

  it('reads nothing but the close frame once the broker closes', async () => {
    const ear = new Ear(true)
    await turn()
    ear.websocket.close(4000, 'enough')
    const sent = [frame(0x81, 'a'), frame(0x89, 'b'), frame(0x01, 'c'), frame(0x80, 'd')]
    await ear.receive(cut([...sent, frame(0x88, '')], [3, 10]))
    assert.deepEqual(ear.heard, ['close 1005 '])
    assert.equal(ear.controlFrames, 0)
  })

  it('leaves a socket to ws that has another listener', () => {
    const { raw, websocket } = upgrade(sockets)
    raw.on('data', () => {})
    const listener = { onFrame: () => {}, onControlFrame: () => {} }
    const limits = { maxBytes, maxFragments }
    assert.isUndefined(FrameReader.attach(websocket, raw, listener, limits))
    assert.equal(raw.listenerCount('data'), 2)
    websocket.terminate()
  })
})
