/**
 * Frames read by hand beside the same frames read by `ws` alone: whatever a client sends, and
 * however the network cuts it up, both hear the same.
 */
import type { IncomingMessage } from 'node:http'
import { Duplex } from 'node:stream'
import { FrameReader } from '@holdfast/server/internal'
import { assert } from 'chai'
import fc from 'fast-check'
import { type RawData, type WebSocket, WebSocketServer } from 'ws'
import { runs } from '../support/counts.js'

const maxBytes = 1_000
const sockets = new WebSocketServer({ noServer: true, maxPayload: maxBytes, maxFragments: 3 })

/** A WebSocket whose network is this test. */
function upgraded(): { raw: Duplex; websocket: WebSocket } {
  const raw = new Duplex({ read: () => {}, write: (_chunk, _encoding, done) => done() })
  const headers = {
    upgrade: 'websocket',
    'sec-websocket-key': Buffer.alloc(16).toString('base64'),
    'sec-websocket-version': '13',
  }
  const request = { method: 'GET', url: '/', headers } as unknown as IncomingMessage
  let accepted: WebSocket | undefined
  sockets.handleUpgrade(request, raw, Buffer.alloc(0), (websocket) => {
    accepted = websocket
  })
  return { raw, websocket: accepted! }
}

/** What is heard of these chunks, in order, and how many texts of it were read by hand. */
function heard(chunks: readonly Buffer[], byHand: boolean): { said: string[]; own: number } {
  const { raw, websocket } = upgraded()
  const said: string[] = []
  let own = 0
  websocket.on('message', (data: RawData, isBinary) => {
    said.push(isBinary ? `binary ${String(data)}` : String(data))
  })
  websocket.on('error', ({ message }) => said.push(`error: ${message}`))
  websocket.on('ping', () => said.push('ping'))
  const onFrame = (text: string): void => {
    // After an error nobody is listened to any more, which is the connection's business here.
    if (websocket.readyState !== websocket.OPEN) return
    own++
    said.push(text)
  }
  if (byHand) FrameReader.attach(raw, { onFrame }, maxBytes)
  // A copy, since the mask is taken off in place.
  for (const chunk of chunks) raw.emit('data', Buffer.from(chunk))
  websocket.terminate()
  return { said, own }
}

interface Frame {
  readonly first: number
  readonly payload: Buffer
  readonly mask: Buffer | undefined
}

function encode({ first, payload, mask }: Frame): Buffer {
  const { length } = payload
  const maskBit = mask === undefined ? 0 : 0x80
  const header =
    length < 126
      ? Buffer.from([first, maskBit | length])
      : Buffer.from([first, maskBit | 126, length >> 8, length & 0xff])
  if (mask === undefined) return Buffer.concat([header, payload])
  return Buffer.concat([header, mask, payload.map((byte, i) => byte ^ mask[i & 3]!)])
}

/** The bytes of these frames, cut into chunks at these places. */
function cut(frames: readonly Frame[], places: readonly number[]): Buffer[] {
  const bytes = Buffer.concat(frames.map(encode))
  const ends = places.map((place) => place % (bytes.length + 1)).sort((a, b) => a - b)
  const starts = [0, ...ends]
  return starts.map((start, i) => bytes.subarray(start, ends[i])).filter(({ length }) => length > 0)
}

const mask = fc.uint8Array({ minLength: 4, maxLength: 4 }).map((bytes) => Buffer.from(bytes))
const ascii = fc.string({ maxLength: 300, size: 'max' }).map((text) => Buffer.from(text))
const text: fc.Arbitrary<Frame> = fc.record({
  first: fc.constant(0x81),
  payload: fc.oneof(
    { arbitrary: ascii, weight: 6 },
    fc.string({ unit: 'binary', maxLength: 200 }).map((some) => Buffer.from(some)),
  ),
  mask,
})
const anything: fc.Arbitrary<Frame> = fc.record({
  first: fc.constantFrom(0x81, 0x01, 0x80, 0x00, 0x82, 0x88, 0x89, 0x8a, 0xc1, 0x91, 0x83),
  payload: fc.oneof(
    ascii,
    fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes)),
    fc.constant(Buffer.alloc(maxBytes, 'x')),
    fc.constant(Buffer.alloc(maxBytes + 1, 'x')),
  ),
  mask: fc.option(mask, { freq: 8, nil: undefined }),
})
const frames = fc.array(fc.oneof({ arbitrary: text, weight: 8 }, anything), { maxLength: 12 })
const places = fc.array(fc.nat(4_000), { maxLength: 6 })

describe('frames of clients, read by hand', () => {
  it('are what ws reads, whatever comes and however it is cut', () => {
    const property = fc.property(frames, places, (sent, cuts) => {
      const chunks = cut(sent, cuts)
      assert.deepEqual(heard(chunks, true).said, heard(chunks, false).said)
    })
    fc.assert(property, runs(300, 10_000))
  })

  it('are read by hand if they are texts, also one that came in two chunks or is not ASCII', () => {
    const said = ['one', 'two, in two chunks', 'three é', 'four']
    const some = Buffer.from([1, 2, 3, 4])
    const sent = said.map((words) => ({ first: 0x81, payload: Buffer.from(words), mask: some }))
    const chunks = cut(sent, [encode(sent[0]!).length + 12])
    assert.deepEqual(heard(chunks, true), { said, own: 4 })
  })

  it('are for ws once one came in three chunks', () => {
    const some = Buffer.from([1, 2, 3, 4])
    const said = ['in three chunks', 'whole']
    const sent = said.map((words) => ({ first: 0x81, payload: Buffer.from(words), mask: some }))
    assert.deepEqual(heard(cut(sent, [3, 7]), true), { said, own: 0 })
  })

  it('are for ws from the first that is anything else', () => {
    const some = Buffer.from([1, 2, 3, 4])
    const frame = (first: number, words: string): Frame => ({
      first,
      payload: Buffer.from(words),
      mask: some,
    })
    const chunks = cut([frame(0x81, 'a'), frame(0x89, ''), frame(0x81, 'b')], [])
    assert.deepEqual(heard(chunks, true), { said: ['a', 'ping', 'b'], own: 1 })
  })
})
