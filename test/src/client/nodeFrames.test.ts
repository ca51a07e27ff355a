/**
 * Tests the fast path of the client in Node, by which common frames bypass the library `ws`. The
 * client must read and write exactly as `ws` alone does. So the tests give the same bytes to the
 * WebSocket class of the client and to the class of `ws`.
 *
 * The first byte of a frame has an opcode, and a flag for the end of a message (0x80). The opcodes
 * are 0 (continuation), 1 (text), 2 (binary), 9 (ping) and 0xa (pong).
 */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import { platformEnvironment } from '@holdfast/client/internal'
import { assert } from 'chai'
import { type RawData, WebSocket, WebSocketServer } from 'ws'

type SocketClass = new (url: string) => WebSocket

/** The class of the client, which extends the class of `ws`. */
const ClientSocket = platformEnvironment.WebSocket as unknown as SocketClass

interface ConnectedClient {
  readonly client: WebSocket
  /** The network socket of the client. */
  readonly raw: Duplex
  readonly broker: WebSocket
  /** What the client emits, in order. */
  readonly events: string[]
}

const server = createServer()
const webSocketServer = new WebSocketServer({ server, perMessageDeflate: false })
const clients: WebSocket[] = []

/** Connects a client, and returns both ends of the connection. */
async function connectWith(Socket: SocketClass): Promise<ConnectedClient> {
  const { port } = server.address() as AddressInfo
  const connection = once(webSocketServer, 'connection')
  const client = new Socket(`ws://127.0.0.1:${port}`)
  clients.push(client)
  const events: string[] = []
  client.on('message', (data, isBinary) => {
    events.push(`${isBinary ? 'binary' : 'text'} ${String(data)}`)
  })
  client.on('ping', (data) => events.push(`ping ${String(data)}`))
  client.on('pong', (data) => events.push(`pong ${String(data)}`))
  client.on('error', (error) => events.push(`error ${error.message}`))
  await once(client, 'open')
  const [broker] = (await connection) as [WebSocket]
  const { _socket: raw } = client as unknown as { readonly _socket: Duplex }
  return { client, raw, broker, events }
}

/** A frame without a mask, as a server sends it. */
function frame(firstByte: number, payload: string | Buffer): Buffer {
  const bytes = Buffer.from(payload)
  const header =
    bytes.length < 126
      ? Buffer.from([firstByte, bytes.length])
      : bytes.length <= 0xffff
        ? Buffer.from([firstByte, 126, bytes.length >> 8, bytes.length & 0xff])
        : Buffer.concat([Buffer.from([firstByte, 127, 0, 0, 0, 0]), uint32(bytes.length)])
  return Buffer.concat([header, bytes])
}

/** The four bytes of a number, the highest byte first. */
function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

/** A text whose frame header has two further bytes for the length. */
const long = 'l'.repeat(200)
/** A text whose frame header has eight further bytes for the length. */
const longest = 'm'.repeat(70_000)

/**
 * Streams of frames. The tests cut each stream into chunks of several sizes. The size must not
 * change what the client reads.
 */
const streams: Readonly<Record<string, readonly Buffer[]>> = {
  'short and long texts': [
    frame(0x81, 'a'),
    frame(0x81, ''),
    frame(0x81, long),
    frame(0x81, 'é😀'),
  ],
  'pings and pongs between texts': [
    frame(0x89, 'p'),
    frame(0x81, 'a'),
    frame(0x8a, ''),
    frame(0x81, 'b'),
  ],
  'a fragmented text and a ping inside it': [
    frame(0x81, 'a'),
    frame(0x01, 'b'),
    frame(0x89, 'p'),
    frame(0x80, 'c'),
    frame(0x81, 'd'),
  ],
  'a binary frame': [frame(0x81, 'a'), frame(0x82, 'b'), frame(0x81, 'c')],
  'a text with invalid UTF-8': [
    frame(0x81, 'a'),
    frame(0x81, Buffer.from([0xff])),
    frame(0x81, 'b'),
  ],
  'a reserved bit': [frame(0x81, 'a'), frame(0xc1, 'b'), frame(0x81, 'c')],
  // A header of two bytes with the mask bit (0x80), a mask of four bytes, and one masked byte. Only
  // a client may send such a frame.
  'a masked frame': [frame(0x81, 'a'), Buffer.from([0x81, 0x81, 1, 2, 3, 4, 5]), frame(0x81, 'c')],
  'a text inside a fragmented text': [frame(0x01, 'a'), frame(0x81, 'b')],
}

describe('the WebSocket of the client in Node', () => {
  before(async () => {
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
  })

  afterEach(() => {
    for (const client of clients.splice(0)) client.terminate()
  })

  after(() => {
    webSocketServer.close()
    server.close()
  })

  for (const [name, frames] of Object.entries(streams)) {
    it(`reads ${name} as \`ws\` does, in one chunk and in chunks of a few bytes`, async () => {
      const bytes = Buffer.concat(frames)
      for (const size of [1, 2, 3, 5, 7, bytes.length]) {
        // First the events of `ws`, then the events of the client.
        const eventsByClass: string[][] = []
        for (const Socket of [WebSocket, ClientSocket] as SocketClass[]) {
          const { raw, events } = await connectWith(Socket)
          for (let at = 0; at < bytes.length; at += size) {
            raw.emit('data', Buffer.from(bytes.subarray(at, at + size)))
          }
          // `ws` emits an error in a later turn.
          await turn()
          eventsByClass.push([...events])
        }
        assert.isNotEmpty(eventsByClass[0])
        assert.deepEqual(eventsByClass[1], eventsByClass[0], `chunks of ${size} bytes`)
      }
    })
  }

  it('reads a text of more than 64 KiB, and the texts after it', async () => {
    const { broker, client, events } = await connectWith(ClientSocket)
    for (const text of ['before', longest, 'after']) broker.send(text)
    broker.close(1000, 'done')
    await once(client, 'close')
    assert.deepEqual(events, ['text before', `text ${longest}`, 'text after'])
  })

  it('does not call a removed listener with a later message of the same chunk', async () => {
    const { raw, client, events } = await connectWith(ClientSocket)
    client.once('message', () => {
      // The client drops a connection with the first and the last of these calls.
      client.onmessage = null
      client.removeAllListeners('message')
      client.terminate()
    })
    raw.emit('data', Buffer.concat([frame(0x81, 'a'), frame(0x81, 'b')]))
    assert.deepEqual(events, ['text a'])
  })

  it('writes texts of all lengths, and a ping between texts, in the order of the calls', async () => {
    const { broker, client } = await connectWith(ClientSocket)
    const received: string[] = []
    broker.on('message', (data: RawData) => received.push(String(data)))
    broker.on('ping', (data) => received.push(`ping ${String(data)}`))
    const texts = ['', 'a', 'b'.repeat(125), 'c'.repeat(126), 'é😀', 'd'.repeat(0xffff), longest]
    for (const text of texts) client.send(text)
    client.ping('p')
    client.send('last')
    client.close(1000, 'done')
    const [code, reason] = (await once(broker, 'close')) as [number, Buffer]
    assert.deepEqual(received, [...texts, 'ping p', 'last'])
    assert.deepEqual([code, String(reason)], [1000, 'done'])
  })

  it('masks every frame with a new mask', async () => {
    const { client, raw } = await connectWith(ClientSocket)
    const written: Buffer[] = []
    raw.write = (chunk: Buffer) => {
      written.push(Buffer.from(chunk))
      return true
    }
    for (let i = 0; i < 3_000; i++) client.send('text')
    const masks = new Set(written.map((bytes) => bytes.readUInt32BE(2)))
    // The second byte has the flag of a mask (0x80) and the length of `text`.
    assert.isTrue(written.every((bytes) => bytes[0] === 0x81 && bytes[1] === 0x84))
    // Random masks of 32 bits are hardly ever equal.
    assert.isAbove(masks.size, 2_990)
  })
})
