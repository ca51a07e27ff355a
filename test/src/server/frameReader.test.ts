/**
 * Tests the frame reader, which decodes common text frames in place of the library `ws`. The tests
 * compare a WebSocket that has a frame reader with a WebSocket of `ws` alone. The events must be
 * equal for any frames, any chunks and any pauses. One difference is intended: only the frame
 * reader stops between two frames of a chunk when the connection is paused.
 *
 * The first byte of a frame has an opcode, and a flag for the end of a message (0x80). The opcodes
 * are 0 (continuation), 1 (text), 2 (binary), 8 (close), 9 (ping) and 0xa (pong).
 */
import type { Duplex } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import { FrameReader } from '@holdfast/server/internal'
import { assert } from 'chai'
import fc from 'fast-check'
import { type RawData, type WebSocket, WebSocketServer } from 'ws'
import { quickOrFullRuns, Random } from '../support/counts.js'
import {
  dropConnections,
  encodeFrame,
  type Frame,
  maskedFrame,
  upgradeConnection,
} from './upgraded.js'

/** The longest message that the WebSockets of the tests accept, in bytes. */
const maxBytes = 1_000
/** The largest number of fragments of a message that the WebSockets accept. */
const maxFragments = 4
const sockets = new WebSocketServer({
  noServer: true,
  maxPayload: maxBytes,
  maxFragments,
  autoPong: false,
})

/** Whether the WebSocket of an `EventRecorder` has a frame reader. */
const [withReader, withoutReader] = [true, false]

/**
 * The view that a frame reader has of a WebSocket of `ws`. In the broker, the reader may make the
 * WebSocket at the first frame that it leaves to `ws`. In these tests the WebSocket is there first.
 */
function viewOf(websocket: WebSocket) {
  return {
    get isOpen(): boolean {
      return websocket.readyState === websocket.OPEN
    },
    makeWs: () => assert.fail('`ws` has a WebSocket already'),
  }
}

/** The broker's end of a connection, which records its events in order. */
class EventRecorder {
  readonly raw: Duplex
  readonly websocket: WebSocket
  readonly reader: FrameReader | undefined
  readonly events: string[] = []
  /** Called after each event. */
  onEvent: () => void = () => {}
  /** The number of texts that the reader decoded. */
  decodedTextCount = 0
  /**
   * The number of frames that the reader left to `ws`: control frames and fragments. The reader
   * reports fragments as control frames too.
   */
  wsFrameCount = 0

  constructor(hasReader: boolean) {
    const { raw, websocket } = upgradeConnection(sockets)
    this.raw = raw
    this.websocket = websocket
    websocket.on('message', (data: RawData, isBinary) => {
      this.reader?.onMessage()
      this.#record(isBinary ? `binary ${String(data)}` : `text ${String(data)}`)
    })
    websocket.on('ping', (data) => this.#record(`ping ${String(data)}`))
    websocket.on('pong', (data) => this.#record(`pong ${String(data)}`))
    // These two events may occur during a pause.
    websocket.on('error', ({ message }) => this.events.push(`error ${message}`))
    websocket.on('close', (code, reason) => this.events.push(`close ${code} ${String(reason)}`))
    if (!hasReader) return
    const listener = {
      onFrame: (text: string): void => {
        this.decodedTextCount++
        this.#record(`text ${text}`)
      },
      onControlFrame: (): void => {
        this.wsFrameCount++
      },
    }
    this.reader = FrameReader.attach(
      viewOf(websocket),
      raw,
      listener,
      { maxBytes, maxFragments },
      /* hasWs */ true,
    )
  }

  /** Pushes these chunks and the end of the stream, and waits for the close. */
  async receive(chunks: readonly Buffer[]): Promise<void> {
    const closed = this.closed()
    // `Buffer.from` copies each chunk, because the reader removes the masks in place.
    for (const chunk of chunks) this.raw.push(Buffer.from(chunk))
    this.raw.push(null)
    await closed
  }

  /** All events but the last event, the close. */
  get eventsBeforeClose(): string[] {
    return this.events.slice(0, -1)
  }

  /** Pauses the connection, as the broker does. */
  pause(): void {
    this.websocket.pause()
    this.reader?.onPause()
  }

  /** Resolves at the close. The `once` of `node:events` would reject after an `error` event. */
  closed(): Promise<void> {
    return new Promise((resolve) => this.websocket.on('close', () => resolve()))
  }

  #record(event: string): void {
    this.events.push(this.websocket.isPaused ? `during a pause: ${event}` : event)
    this.onEvent()
  }
}

/** Encodes frames, and cuts the bytes into chunks at these offsets. */
function chunksOf(frames: readonly Frame[], offsets: readonly number[]): Buffer[] {
  const bytes = Buffer.concat(frames.map(encodeFrame))
  const ends = offsets.map((offset) => offset % (bytes.length + 1)).sort((a, b) => a - b)
  const starts = [0, ...ends]
  return starts.map((start, i) => bytes.subarray(start, ends[i])).filter(({ length }) => length > 0)
}

const mask = fc.uint8Array({ minLength: 4, maxLength: 4 }).map((bytes) => Buffer.from(bytes))
const ascii = fc.string({ maxLength: 300, size: 'max' }).map((text) => Buffer.from(text))
const short = fc.string({ maxLength: 20 }).map((text) => Buffer.from(text))
/** Whether a frame encodes even a short length in eight bytes; true for one of ten frames. */
const isLong = fc.nat(9).map((n) => n === 0)
const text: fc.Arbitrary<Frame> = fc.record({
  first: fc.constant(0x81),
  payload: fc.oneof(
    { arbitrary: ascii, weight: 6 },
    fc.string({ unit: 'binary', maxLength: 200 }).map((content) => Buffer.from(content)),
  ),
  mask,
  isLong,
})
const control: fc.Arbitrary<Frame> = fc.record({
  first: fc.constantFrom(0x89, 0x8a),
  payload: short,
  mask,
})
/** A message in fragments, sometimes with a control frame between two fragments. */
const fragmented: fc.Arbitrary<Frame[]> = fc
  .record({
    opcode: fc.constantFrom(1, 2),
    payloads: fc.array(ascii, { minLength: 2, maxLength: maxFragments + 1 }),
    between: fc.option(control),
    mask,
    isLong,
  })
  .map(({ opcode, payloads, between, ...rest }) => {
    const frames: Frame[] = payloads.map((payload, i) => {
      const endFlag = i === payloads.length - 1 ? 0x80 : 0
      return { first: endFlag | (i === 0 ? opcode : 0), payload, ...rest }
    })
    if (between !== null) frames.splice(1, 0, between)
    return frames
  })
/**
 * A frame that may be invalid. 0xc1 and 0x91 set a reserved bit, 0x83 has an unknown opcode, and
 * 0x09 is a ping fragment. A client must send a mask.
 */
const validOrInvalid: fc.Arbitrary<Frame> = fc.record({
  first: fc.constantFrom(0x81, 0x01, 0x80, 0x00, 0x82, 0x88, 0x89, 0x8a, 0x09, 0xc1, 0x91, 0x83),
  payload: fc.oneof(
    ascii,
    fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes)),
    // The close code 1000 and the reason `bye`.
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
      { arbitrary: validOrInvalid.map((frame) => [frame]), weight: 1 },
    ),
    { maxLength: 16 },
  )
  .map((groups) => groups.flat())
const offsets = fc.array(fc.nat(5_000), { maxLength: 8 })

/**
 * Encodes one frame for each text, and cuts the bytes into chunks at these offsets. A short frame
 * has six bytes before its text.
 */
function textChunks(texts: readonly string[], ...cuts: number[]): Buffer[] {
  return chunksOf(
    texts.map((content) => maskedFrame(0x81, content)),
    cuts,
  )
}

describe('FrameReader', () => {
  afterEach(dropConnections)

  it('emits the same events as ws alone for any frames in any chunks', async () => {
    const property = fc.asyncProperty(frames, offsets, async (sent, cuts) => {
      const chunks = chunksOf(sent, cuts)
      const [ofWs, ofReader] = [new EventRecorder(withoutReader), new EventRecorder(withReader)]
      await Promise.all([ofWs.receive(chunks), ofReader.receive(chunks)])
      assert.deepEqual(ofReader.events, ofWs.events)
    })
    await fc.assert(property, quickOrFullRuns(300, 10_000))
  })

  it('emits the same events, and none during a pause, for any pauses', async () => {
    const property = fc.asyncProperty(frames, offsets, fc.integer(), async (sent, cuts, seed) => {
      const chunks = chunksOf(sent, cuts)
      const [ofWs, ofReader] = [new EventRecorder(withoutReader), new EventRecorder(withReader)]
      const random = new Random(seed)
      ofReader.onEvent = () => {
        if (!random.chance(0.5)) return
        ofReader.pause()
        setImmediate(() => ofReader.websocket.resume())
      }
      await Promise.all([ofWs.receive(chunks), ofReader.receive(chunks)])
      assert.deepEqual(ofReader.events, ofWs.events)
    })
    await fc.assert(property, quickOrFullRuns(300, 10_000))
  })

  it('decodes a text without ws, also in two chunks and with characters beyond ASCII', async () => {
    const texts = ['one', 'two, in two chunks', 'three é', 'four']
    const recorder = new EventRecorder(withReader)
    // The frame of the text `one` has nine bytes. The cut is within the second frame.
    await recorder.receive(textChunks(texts, 9 + 12))
    assert.deepEqual(
      recorder.eventsBeforeClose,
      texts.map((content) => `text ${content}`),
    )
    assert.equal(recorder.decodedTextCount, 4)
  })

  it('leaves a text in three chunks to ws, and decodes the next text', async () => {
    const recorder = new EventRecorder(withReader)
    await recorder.receive(textChunks(['in three chunks', 'whole'], 9, 14))
    assert.deepEqual(recorder.eventsBeforeClose, ['text in three chunks', 'text whole'])
    assert.equal(recorder.decodedTextCount, 1)
  })

  it('decodes texts between and after frames that ws reads', async () => {
    const recorder = new EventRecorder(withReader)
    const sent = [
      maskedFrame(0x81, 'a'),
      maskedFrame(0x89, ''),
      maskedFrame(0x81, 'b'),
      maskedFrame(0x01, 'c'),
    ]
    sent.push(maskedFrame(0x8a, ''), maskedFrame(0x80, 'd'), maskedFrame(0x81, 'e'))
    await recorder.receive(chunksOf(sent, []))
    const expected = ['text a', 'ping ', 'text b', 'pong ', 'text cd', 'text e']
    assert.deepEqual(recorder.eventsBeforeClose, expected)
    assert.equal(recorder.decodedTextCount, 3)
    // `ws` reads the ping, the pong and both fragments.
    assert.equal(recorder.wsFrameCount, 4)
  })

  for (const [kind, first] of [
    ['text', 0x81],
    ['ping', 0x89],
  ] as const) {
    it(`reads no further ${kind} of a chunk after the connection was paused`, async () => {
      const recorder = new EventRecorder(withReader)
      const sent = Array.from({ length: 5 }, (_, i) => maskedFrame(first, String(i)))
      recorder.onEvent = () => recorder.pause()
      const chunk = Buffer.concat(sent.map(encodeFrame))
      recorder.raw.push(Buffer.from(chunk))
      for (let i = 0; i < 5; i++) {
        // `ws` may need a few turns to continue after a pause.
        for (let turns = 0; turns < 3; turns++) await turn()
        const expected = Array.from({ length: i + 1 }, (_, n) => `${kind} ${n}`)
        assert.deepEqual(recorder.events, expected)
        assert.equal(recorder.reader!.unreadBytes, (chunk.length / 5) * (4 - i))
        recorder.websocket.resume()
      }
      recorder.websocket.terminate()
    })
  }

  it('reads the rest of a chunk before the chunks that arrived during a pause', async () => {
    const recorder = new EventRecorder(withReader)
    recorder.onEvent = () => {
      if (recorder.events.length === 1) recorder.pause()
    }
    // The first chunk has the whole frame `one`, of nine bytes, and the start of the next frame.
    for (const chunk of textChunks(['one', 'two', 'three'], 15)) recorder.raw.push(chunk)
    await turn()
    recorder.raw.push(encodeFrame(maskedFrame(0x81, 'four')))
    recorder.raw.push(null)
    await turn()
    assert.deepEqual(recorder.events, ['text one'])
    recorder.websocket.resume()
    await recorder.closed()
    const allTexts = ['text one', 'text two', 'text three', 'text four']
    assert.deepEqual(recorder.eventsBeforeClose, allTexts)
  })

  // The frame of the text `one` has nine bytes.
  for (const [unread, at] of [
    ['whole frames', 9],
    ['the rest of a partly read frame', 12],
  ] as const) {
    it(`reads ${unread} at the end of a pause in which the connection broke`, async () => {
      const recorder = new EventRecorder(withReader)
      const [first, ...more] = textChunks(['one', 'two', 'three'], at)
      recorder.raw.push(first)
      await turn()
      recorder.pause()
      for (const chunk of more) recorder.raw.push(chunk)
      await turn()
      recorder.raw.destroy()
      await recorder.closed()
      // 1006 stands for a connection that broke without a close frame.
      assert.deepEqual(recorder.events, ['text one', 'close 1006 '])
      // The socket is still paused, so the reader reads nothing.
      assert.isFalse(recorder.reader!.readUnreadChunks())
      // Each text pauses the socket again, so each call below reads one text.
      recorder.onEvent = () => recorder.raw.pause()
      for (const [eventCount, hasReadAll] of [
        [3, false],
        [4, true],
      ] as const) {
        recorder.raw.resume()
        assert.equal(recorder.reader!.readUnreadChunks(), hasReadAll)
        assert.lengthOf(recorder.events, eventCount)
      }
      // `ws` cannot resume a closed WebSocket, so the recorder still marks the events.
      const after = recorder.events.slice(2).map((event) => event.replace('during a pause: ', ''))
      assert.deepEqual(after, ['text two', 'text three'])
    })
  }

  it('reads only valid whole texts before the close frame if the connection broke during a pause', async () => {
    const recorder = new EventRecorder(withReader)
    // In this turn, before the pause, the socket begins to read.
    await turn()
    recorder.pause()
    const sent = [
      maskedFrame(0x81, 'a'),
      maskedFrame(0x89, 'p'),
      maskedFrame(0x01, 'b'),
      maskedFrame(0x80, 'c'),
    ]
    const invalidText = { ...maskedFrame(0x81, ''), payload: Buffer.from([0xff]) }
    const close = maskedFrame(0x88, '')
    const frames = [...sent, invalidText, maskedFrame(0x81, 'd'), close, maskedFrame(0x81, 'e')]
    recorder.raw.push(Buffer.concat(frames.map(encodeFrame)))
    await turn()
    recorder.raw.destroy()
    await recorder.closed()
    recorder.raw.resume()
    assert.isTrue(recorder.reader!.readUnreadChunks())
    const texts = recorder.events.filter((event) => event.includes('text'))
    assert.deepEqual(texts, ['during a pause: text a', 'during a pause: text d'])
    assert.equal(recorder.wsFrameCount, 0)
  })

  it('counts the bytes of an incomplete frame as unread, and not its whole chunk', async () => {
    const recorder = new EventRecorder(withReader)
    recorder.raw.push(
      Buffer.concat([
        ...textChunks(['x'.repeat(900)]),
        encodeFrame(maskedFrame(0x81, 'y')).subarray(0, 5),
      ]),
    )
    await turn()
    assert.equal(recorder.decodedTextCount, 1)
    assert.equal(recorder.reader!.unreadBytes, 5)
    recorder.websocket.terminate()
  })

  it('reads only the close frame after the broker has closed the connection', async () => {
    const recorder = new EventRecorder(withReader)
    // In this turn, before the close, the socket begins to read.
    await turn()
    recorder.websocket.close(4000, 'enough')
    const sent = [
      maskedFrame(0x81, 'a'),
      maskedFrame(0x89, 'b'),
      maskedFrame(0x01, 'c'),
      maskedFrame(0x80, 'd'),
    ]
    await recorder.receive(chunksOf([...sent, maskedFrame(0x88, '')], [3, 10]))
    // 1005 stands for a close frame without a code.
    assert.deepEqual(recorder.events, ['close 1005 '])
    assert.equal(recorder.wsFrameCount, 0)
  })

  it('does not read a socket that has another data listener', () => {
    const { raw, websocket } = upgradeConnection(sockets)
    raw.on('data', () => {})
    const listener = { onFrame: () => {}, onControlFrame: () => {} }
    const limits = { maxBytes, maxFragments }
    const hasWs = true
    assert.isUndefined(FrameReader.attach(viewOf(websocket), raw, listener, limits, hasWs))
    assert.equal(raw.listenerCount('data'), 2)
    websocket.terminate()
  })
})
